"""Analysis of an evaluation: precision by recall, F1 by score, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from yolox.data.dataset import DetectionDataset
from yolox.eval.postprocess import Detections

RECALLS = np.linspace(0, 1, 101)
SCORES = np.linspace(0, 1, 101)


@frozen(eq=False, kw_only=True)
class GroundTruth:
    """The objects of one image."""

    boxes: np.ndarray
    """[N,4] xyxy px."""
    classes: np.ndarray
    """[N] int."""
    crowd: np.ndarray
    """[N] bool; detections inside a crowd region are not counted."""


def image_ground_truth(dataset: DetectionDataset) -> list[GroundTruth]:
    """Returns the annotated objects of every image of a dataset, crowds included.

    Args:
        dataset: N images.

    Returns:
        N GroundTruth, boxes xyxy px.
    """
    ends = zip(dataset.offsets[:-1], dataset.offsets[1:], strict=True)
    columns = dataset.boxes, dataset.classes, dataset.crowd
    return [
        GroundTruth(**{name: column[a:b] for name, column in zip(("boxes", "classes", "crowd"), columns, strict=True)})
        for a, b in ends
    ]


def analyse(
    ground_truth: Sequence[GroundTruth],
    detections: Sequence[Detections],
    *,
    class_names: Sequence[str],
    iou_threshold: float = 0.5,
    score_threshold: float = 0.25,
) -> dict:
    """Computes precision by recall, F1 by score and the confusion matrix, as values for `json.dumps`.

    Args:
        ground_truth: objects of each image.
        detections: of each image, in the same pixels, down to low scores.
        class_names: names of the C classes.
        iou_threshold: overlap from which a detection finds an object.
        score_threshold: detections that the confusion matrix counts.

    Returns:
        dict with `class_names`, `iou_threshold`, `score_threshold`; `truths`, a number for each class; `recall`
        (101 values) with `precision`, a list of 101 for each class, null for a class without objects; `score`
        (101 values) with `f1` likewise; `confusion`, [C+1][C+1] counts: rows are true classes, columns predicted
        ones, the last row is "nothing there" and the last column "not found".

    Raises:
        ValueError: if there are not as many images of ground truth as of detections.

    Source: precision is interpolated as in the COCO evaluation. The confusion matrix pairs detections and
        objects of any class, best score first, each with the free object that it overlaps most.
    """
    if len(ground_truth) != len(detections):
        raise ValueError(f"analyse: ground truth of {len(ground_truth)} images and detections of {len(detections)}")
    count = len(class_names)
    confusion = sum(
        (confusion_counts(g, d, count, iou_threshold, score_threshold) for g, d in zip(ground_truth, detections, strict=True)),
        np.zeros((count + 1, count + 1), np.int64),
    )
    curves = [_class_curves(ground_truth, detections, index, iou_threshold) for index in range(count)]
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


def confusion_counts(ground_truth: GroundTruth, found: Detections, count: int, iou_threshold: float, score_threshold: float):
    """Counts the pairs of true and predicted class in one image.

    Args:
        ground_truth: objects of the image.
        found: detections in the image.
        count: C, the number of classes.
        iou_threshold: least overlap of a find.
        score_threshold: scores must be above it.

    Returns:
        [C+1,C+1] int64: rows true, columns predicted, the last of each "none"; detections inside crowds are not counted.

    Example:
        >>> one = np.array([[0, 0, 10, 10.0]])
        >>> ground_truth = GroundTruth(boxes=one, classes=np.array([0]), crowd=np.array([False]))
        >>> confusion_counts(ground_truth, Detections(one, np.array([0.9]), np.array([1])), 2, 0.5, 0.25).tolist()
        [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    """
    order = [i for i in np.argsort(-found.scores, kind="stable") if found.scores[i] > score_threshold]
    mine, crowds = ground_truth.boxes[~ground_truth.crowd], ground_truth.boxes[ground_truth.crowd]
    classes = ground_truth.classes[~ground_truth.crowd]
    matched = match_detections(found.boxes[order], mine, iou_threshold)
    table = np.zeros((count + 1, count + 1), np.int64)
    for position, index in zip(order, matched, strict=True):
        if index >= 0:
            table[classes[index], found.classes[position]] += 1
        elif not inside_crowd(found.boxes[position], crowds):
            table[count, found.classes[position]] += 1
    for index in set(range(len(mine))) - set(matched):
        table[classes[index], count] += 1
    return table


def match_detections(boxes, objects, iou_threshold: float) -> list[int]:  # [N,4],[M,4] -> N
    """Matches each box, in order, to the free object that it overlaps most, at least by the threshold.

    Args:
        boxes: [N,4] xyxy, the surest first.
        objects: [M,4] xyxy.
        iou_threshold: least overlap.

    Returns:
        N indices of objects, -1 for none; no object twice.
    """
    overlaps = overlaps_of(boxes, objects)
    matched = [-1] * len(boxes)
    for row in np.flatnonzero((overlaps >= iou_threshold).any(1)):
        best = int(overlaps[row].argmax())
        if overlaps[row, best] >= iou_threshold:
            matched[row] = best
            overlaps[:, best] = -1.0
    return matched


def _class_curves(ground_truth, detections, index: int, iou_threshold: float):
    """Returns the number of objects of a class, its precision by recall, and its F1 by score."""
    total, scores, hits = 0, [], []
    for objects, found in zip(ground_truth, detections, strict=True):
        mine = objects.boxes[(objects.classes == index) & ~objects.crowd]
        crowds = objects.boxes[(objects.classes == index) & objects.crowd]
        rows = np.flatnonzero(found.classes == index)
        rows = rows[np.argsort(-found.scores[rows], kind="stable")]
        total += len(mine)
        for row, matched in zip(rows, match_detections(found.boxes[rows], mine, iou_threshold), strict=True):
            if matched >= 0 or not inside_crowd(found.boxes[row], crowds):
                scores.append(float(found.scores[row]))
                hits.append(matched >= 0)
    if total == 0:
        return 0, None, None
    scores, hits = np.array(scores), np.array(hits, bool)
    right = np.append(0, np.cumsum(hits[np.argsort(-scores, kind="stable")]))
    kept = (scores[None] > SCORES[:, None]).sum(1)
    f1 = 2 * right[kept] / (kept + total)
    return total, interpolated_precision(scores, hits, total).round(4).tolist(), f1.round(4).tolist()


def interpolated_precision(scores: np.ndarray, hits: np.ndarray, total: int) -> np.ndarray:  # [N],[N] -> [101]
    """Computes the precision at 101 recalls, as the COCO evaluation interpolates it; its mean is AP.

    Args:
        scores: of the detections of a class, in any order.
        hits: bool; which of them are right.
        total: objects of the class; 0 gives zeros.

    Returns:
        The highest precision at each recall of `RECALLS` or above it, 0 where it is not reached.

    Example:
        >>> precision = interpolated_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2)
        >>> precision[[0, 50, 51, 100]].round(3).tolist()
        [1.0, 1.0, 0.667, 0.667]
    """
    if total == 0:
        return np.zeros(len(RECALLS))
    right = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    precision, recall = right / np.arange(1, len(right) + 1), right / total
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return envelope[np.minimum(np.searchsorted(recall, RECALLS - 1e-9), len(right))]


def rank_images(
    ground_truth: Sequence[GroundTruth],
    detections: Sequence[Detections],
    *,
    class_names: Sequence[str],
    iou_threshold: float = 0.5,
    score_threshold: float = 0.25,
) -> list[tuple[int, float]]:
    """Sorts images by the F1 of their detections, the worst first.

    Args:
        ground_truth, detections, class_names, iou_threshold, score_threshold: as in `analyse`.

    Returns:
        Index and F1 of each image; of equal F1 the image with more objects and detections is nearer to its end of the list.
        Images with neither an object nor a detection are left out.

    Example:
        >>> cat = GroundTruth(boxes=np.array([[0, 0, 10, 10.0]]), classes=np.array([0]), crowd=np.array([False]))
        >>> found = Detections(cat.boxes, np.array([0.9]), cat.classes)
        >>> rank_images([cat, cat], [found, Detections()], class_names=["cat"])
        [(1, 0.0), (0, 1.0)]
    """
    ranked, count = [], len(class_names)
    for index, pair in enumerate(zip(ground_truth, detections, strict=True)):
        table = confusion_counts(*pair, count, iou_threshold, score_threshold)
        right, every = int(np.trace(table)), int(table[:-1].sum() + table[:, :-1].sum())
        if every:
            ranked.append((index, 2 * right / every, every))
    ranked.sort(key=lambda each: (each[1], each[2] if each[1] > 0.5 else -each[2], each[0]))
    return [(index, f1) for index, f1, _ in ranked]


def inside_crowd(box: np.ndarray, crowds: np.ndarray) -> bool:
    """Returns whether half of a box lies in a crowd region.

    Args:
        box: [4] xyxy.
        crowds: [N,4] xyxy.

    Returns:
        False without regions.
    """
    if not len(crowds):
        return False
    low, high = np.maximum(box[:2], crowds[:, :2]), np.minimum(box[2:], crowds[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    return bool((shared >= 0.5 * max(np.prod(box[2:] - box[:2]), 1e-9)).any())


def overlaps_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # [N,4],[M,4] -> [N,M]
    """Computes the pairwise IoU of boxes on the host.

    Args:
        a: [N,4] xyxy.
        b: [M,4] xyxy.

    Returns:
        [N,M] float in 0..1.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
