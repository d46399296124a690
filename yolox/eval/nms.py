"""Non-maximum suppression on the host, exact and without a Python loop over boxes."""

from __future__ import annotations

import numpy as np

_CHUNK = 2048  # boxes resolved at once: bounds the memory when all of them overlap


def nms(boxes, scores, iou_threshold, *, max_kept=None):  # [N,4],[N] -> [K]
    """Keeps the best-scored boxes that overlap no better kept box by more than a threshold.

    Call it for boxes of one class, or to suppress across classes; ``batched_nms`` keeps the classes apart.

    Args:
        boxes: [N,4] float, xyxy in any unit.
        scores: [N] float; ties go to the lower index.
        iou_threshold: a box goes when its IoU with a better kept box is strictly above this.
        max_kept: stop after this many boxes; None keeps all.

    Returns:
        [K] int64, indices of the kept boxes by falling score. Boxes without area suppress nothing.

    Raises:
        ValueError: when the shapes do not belong together.

    Source:
        The greedy rule of torchvision.ops.nms; IoU is computed in float64 here.

    Example:
        >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]], np.float32)
        >>> nms(boxes, np.array([0.8, 0.9, 0.5]), 0.65)
        array([1, 2])
    """
    return batched_nms(boxes, scores, np.zeros(len(scores), np.int32), iou_threshold, max_kept=max_kept)


def batched_nms(boxes, scores, classes, iou_threshold, *, max_kept=None):  # [N,4],[N],[N] -> [K]
    """Suppresses overlapping boxes within each class, all classes in one call.

    Call it on the candidates of one image. Typical inputs (1,000 boxes, 80 classes) take about a millisecond.

    Args:
        boxes: [N,4] float, xyxy in any unit.
        scores: [N] float; ties go to the lower index.
        classes: [N] int; boxes of different classes never suppress each other.
        iou_threshold: a box goes when its IoU with a better kept box of its class is strictly above this.
        max_kept: stop after this many boxes over all classes; None keeps all.

    Returns:
        [K] int64, indices of the kept boxes by falling score.

    Raises:
        ValueError: when the shapes do not belong together.

    Source:
        The greedy rule of torchvision.ops.batched_nms, without its offsets, which cost precision.

    Example:
        >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]], np.float32)
        >>> batched_nms(boxes, np.array([0.8, 0.9, 0.5]), np.array([0, 0, 1]), 0.65)
        array([1, 2])
    """
    boxes, scores, classes = np.asarray(boxes, np.float64), np.asarray(scores), np.asarray(classes)
    _check(boxes, scores, classes)
    order = np.argsort(-scores, kind="stable")
    kept = order[:0]
    for start in range(0, len(order), _CHUNK):
        if max_kept is not None and len(kept) >= max_kept:
            break
        group = np.concatenate([kept, order[start : start + _CHUNK]])
        kept = group[_survivors(boxes[group], classes[group], iou_threshold)]
    return kept[:max_kept]


def _survivors(boxes, classes, iou_threshold):  # [N,4] by falling score, [N] -> [N] bool
    first, second = _close_pairs(boxes, classes, iou_threshold)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        overlap = _paired_iou(boxes, first, second) > iou_threshold
    first, second = first[overlap], second[overlap]
    better, worse = np.minimum(first, second), np.maximum(first, second)
    keep = np.ones(len(boxes), bool)
    while True:  # after round r every box is right whose chain of better overlapping boxes is shorter than r
        now = np.ones(len(boxes), bool)
        now[worse[keep[better]]] = False
        if (now == keep).all():
            return keep
        keep = now


def _close_pairs(boxes, classes, iou_threshold):  # [N,4],[N] -> [E],[E]
    """Returns pairs of one class whose left edges allow an IoU above the threshold; each pair once.

    IoU is at most the horizontal overlap over the width of the left box, so the right box must start within
    (1 - threshold) widths. One sort by class and left edge then holds the partners of a box in one run.
    """
    left, width = boxes[:, 0], boxes[:, 2] - boxes[:, 0]
    with np.errstate(invalid="ignore", over="ignore"):
        slack = 1e-9 * (np.abs(left) + np.abs(width))
        reach = left + (1.0 - iou_threshold) * width + slack
    order = np.lexsort((left, classes))
    start, stop = np.arange(1, len(order) + 1), _run_ends(left, reach, classes)[order]
    count = np.maximum(stop - start, 0)
    first = np.repeat(np.arange(len(order)), count)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return order[first], order[first + 1 + offset]


def _run_ends(left, reach, classes):  # [N] each -> [N]
    """Returns the number of boxes that come, by class and left edge, no later than the class and reach of each."""
    n = len(left)
    kind = np.repeat([0, 1], n)
    order = np.lexsort((kind, np.concatenate([left, reach]), np.tile(classes, 2)))
    seen = np.cumsum(kind[order] == 0)
    ends = np.empty(2 * n, np.int64)
    ends[order] = seen
    return ends[n:]


def _paired_iou(boxes, first, second):  # [N,4],[E],[E] -> [E]
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)
    area = (x2 - x1) * (y2 - y1)
    wide = np.minimum(x2[first], x2[second]) - np.maximum(x1[first], x1[second])
    high = np.minimum(y2[first], y2[second]) - np.maximum(y1[first], y1[second])
    shared = np.maximum(wide, 0) * np.maximum(high, 0)
    return shared / (area[first] + area[second] - shared)


def _check(boxes, scores, classes) -> None:
    rows = boxes.shape[:1]
    if boxes.shape != (*rows, 4) or scores.shape != rows or classes.shape != rows:
        raise ValueError(
            f"nms: boxes {boxes.shape}, scores {scores.shape}, classes {classes.shape}, want [N,4], [N], [N]"
        )
