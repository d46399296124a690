"""What a detector confuses and at which score it works best: precision, recall, F1 and a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from yolox.data.dataset import DetectionDataset
from yolox.eval.postprocess import Detections

RECALLS = np.linspace(0, 1, 101)
SCORES = np.linspace(0, 1, 101)


@frozen(eq=False, kw_only=True)
class Truths:
    """The objects of one image."""

    boxes: np.ndarray
    """[N,4] xyxy px."""
    classes: np.ndarray
    """[N] int."""
    crowd: np.ndarray
    """[N] bool; detections inside a crowd region are neither right nor wrong."""


def truths_of_dataset(dataset: DetectionDataset) -> list[Truths]:
    """Give the objects of every image of a dataset, as annotated, crowds included.

    Args:
        dataset: N images.

    Returns:
        N Truths, boxes xyxy px.
    """
    ends = zip(dataset.offsets[:-1], dataset.offsets[1:], strict=True)
    columns = dataset.boxes, dataset.classes, dataset.crowd
    return [
        Truths(**{name: column[a:b] for name, column in zip(("boxes", "classes", "crowd"), columns, strict=True)})
        for a, b in ends
    ]


def analyse(
    truths: Sequence[Truths],
    detections: Sequence[Detections],
    *,
    class_names: Sequence[str],
    iou_threshold: float = 0.5,
    score_threshold: float = 0.25,
) -> dict:
    """Compute what the pictures of an evaluation show, as values for `json.dumps`.

    Args:
        truths: of each image.
        detections: of each image, in the same pixels, down to low scores.
        class_names: names of the C classes.
        iou_threshold: overlap from which a detection finds a truth.
        score_threshold: detections that the confusion matrix counts.

    Returns:
        dict with `class_names`, `iou_threshold`, `score_threshold`; `truths`, a number for each class; `recall`
        (101 values) with `precision`, a list of 101 for each class, null for a class without truths; `score`
        (101 values) with `f1` likewise; `confusion`, [C+1][C+1] counts: rows are true classes, columns predicted
        ones, the last row is "nothing there" and the last column "not found".

    Raises:
        ValueError: if there are not as many truths as detections.

    Source: precision is interpolated as in the COCO evaluation. The confusion matrix pairs detections and
        truths of any class, best score first, each with the free truth that it overlaps most.
    """
    if len(truths) != len(detections):
        raise ValueError(f"analyse: truths of {len(truths)} images and detections of {len(detections)}")
    count = len(class_names)
    confusion = sum(
        (confusion_of(t, d, count, iou_threshold, score_threshold) for t, d in zip(truths, detections, strict=True)),
        np.zeros((count + 1, count + 1), np.int64),
    )
    curves = [_class_curves(truths, detections, index, iou_threshold) for index in range(count)]
    return {
        "class_names": list(class_names),
        "iou_threshold": iou_threshold,
        "score_threshold": score_threshold,
        "truths": [curve[0] for curve in curves],
        "recall": RECALLS.round(4).tolist(),
        "precision": [curve[1] for curve in curves],
        "score": SCORES.round(4).tolist(),
        "f1": [curve[2] for curve in curves],
        "confusion": confusion.tolist(),
    }


def confusion_of(truths: Truths, found: Detections, count: int, iou_threshold: float, score_threshold: float):
    """Count one image: [C+1,C+1] int, rows true, columns predicted, the last of each "none".

    Args:
        truths: of the image.
        found: detections in the image.
        count: C, the number of classes.
        iou_threshold: least overlap of a find.
        score_threshold: scores must be above it.

    Returns:
        [C+1,C+1] int64 counts; detections inside crowds are not counted.

    Example:
        >>> one = np.array([[0, 0, 10, 10.0]])
        >>> truth = Truths(boxes=one, classes=np.array([0]), crowd=np.array([False]))
        >>> confusion_of(truth, Detections(one, np.array([0.9]), np.array([1])), 2, 0.5, 0.25).tolist()
        [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    """
    order = [i for i in np.argsort(-found.scores, kind="stable") if found.scores[i] > score_threshold]
    mine, crowds = truths.boxes[~truths.crowd], truths.boxes[truths.crowd]
    classes = truths.classes[~truths.crowd]
    owners = match(found.boxes[order], mine, iou_threshold)
    table = np.zeros((count + 1, count + 1), np.int64)
    for position, owner in zip(order, owners, strict=True):
        if owner >= 0:
            table[classes[owner], found.classes[position]] += 1
        elif not _inside(found.boxes[position], crowds):
            table[count, found.classes[position]] += 1
    for index in set(range(len(mine))) - set(owners):
        table[classes[index], count] += 1
    return table


def match(boxes, truths, iou_threshold: float) -> list[int]:  # [N,4],[M,4] -> N
    """Give each box, in order, the free truth that it overlaps most, at least by the threshold; -1 for none.

    Args:
        boxes: [N,4] xyxy, the surest first.
        truths: [M,4] xyxy.
        iou_threshold: least overlap.

    Returns:
        N indices of truths or -1; no truth twice.
    """
    overlaps = _pairwise_iou(boxes, truths)
    owners = [-1] * len(boxes)
    for row in np.flatnonzero((overlaps >= iou_threshold).any(1)):
        best = int(overlaps[row].argmax())
        if overlaps[row, best] >= iou_threshold:
            owners[row] = best
            overlaps[:, best] = -1.0
    return owners


def _class_curves(truths, detections, index: int, iou_threshold: float):
    """Number of truths of a class, its precision by recall, and its F1 by score."""
    total, scores, hits = 0, [], []
    for truth, found in zip(truths, detections, strict=True):
        mine = truth.boxes[(truth.classes == index) & ~truth.crowd]
        crowds = truth.boxes[(truth.classes == index) & truth.crowd]
        rows = np.flatnonzero(found.classes == index)
        rows = rows[np.argsort(-found.scores[rows], kind="stable")]
        total += len(mine)
        for row, owner in zip(rows, match(found.boxes[rows], mine, iou_threshold), strict=True):
            if owner >= 0 or not _inside(found.boxes[row], crowds):
                scores.append(float(found.scores[row]))
                hits.append(owner >= 0)
    if total == 0:
        return 0, None, None
    order = np.argsort(-np.array(scores), kind="stable")
    scores, hits = np.array(scores)[order], np.array(hits, bool)[order]
    right = np.cumsum(hits)
    precision, recall = right / np.maximum(np.arange(1, len(hits) + 1), 1), right / total
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS - 1e-9)
    interpolated = np.append(envelope, 0.0)[np.minimum(places, len(envelope))]
    kept = (scores[None] > SCORES[:, None]).sum(1)
    f1 = 2 * np.append(0, right)[kept] / (kept + total)
    return total, interpolated.round(4).tolist(), f1.round(4).tolist()


def _inside(box, crowds) -> bool:
    """Whether half of a box lies in a crowd region."""
    if not len(crowds):
        return False
    low, high = np.maximum(box[:2], crowds[:, :2]), np.minimum(box[2:], crowds[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    return bool((shared >= 0.5 * max(np.prod(box[2:] - box[:2]), 1e-9)).any())


def _pairwise_iou(a, b):  # [N,4],[M,4] -> [N,M]
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
