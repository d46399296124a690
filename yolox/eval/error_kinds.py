"""Errors of a detector by kind, and what fixing each kind would add to AP50 (TIDE)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from yolox.eval.analysis import GroundTruth, inside_crowd, interpolated_precision, match_detections, overlaps_of
from yolox.eval.postprocess import Detections

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
CORRECT, IGNORED = "correct", "ignored"


@frozen(eq=False, kw_only=True)
class ImageErrors:
    """What each detection and each object of one image is."""

    kinds: np.ndarray
    """[N] text: one of `KINDS` but "missed", "correct", or "ignored" for detections inside a crowd region of their class."""
    targets: np.ndarray
    """[N] int: the object that a classification or localisation error is about, -1 for others."""
    found: np.ndarray
    """[M] bool: objects that a correct detection has, crowd regions left out."""
    missed: np.ndarray
    """[M] bool: objects that are neither found nor the target of an error."""


def image_errors(
    ground_truth: GroundTruth, found: Detections, *, iou_threshold: float = 0.5, background_iou: float = 0.1
) -> ImageErrors:
    """Computes the kind of error of each detection in one image.

    A detection that is not matched to an object of its class is, by the first rule that fits, a

    - localisation error: it overlaps an object of its class by `background_iou` or more, and none by `iou_threshold`;
    - classification error: it overlaps an object of another class by `iou_threshold` or more;
    - duplicate: it overlaps an object of its class by `iou_threshold` or more, which a better detection has;
    - background error: it overlaps no object by more than `background_iou`;
    - both (classification and localisation): all others.

    Args:
        ground_truth: objects of the image, M of them without crowd regions.
        found: N detections, boxes in the same pixels.
        iou_threshold: overlap from which a detection finds an object.
        background_iou: overlap below which a detection has nothing to do with an object.

    Returns:
        ImageErrors, in the order of the detections and of the objects.

    Source: Bolya et al. 2020, "TIDE: A General Toolbox for Identifying Object Detection Errors", section 2.2; the order of the
        rules is that of its authors' toolbox.

    Example:
        >>> cat = GroundTruth(boxes=np.array([[0, 0, 10, 10.0]]), classes=np.array([0]), crowd=np.array([False]))
        >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 4], [50, 50, 60, 60.0]])
        >>> found = Detections(boxes, np.array([0.9, 0.8, 0.7, 0.6]), np.array([0, 0, 0, 1]))
        >>> image_errors(cat, found).kinds.tolist()
        ['correct', 'duplicate', 'localisation', 'background']
    """
    boxes, classes = ground_truth.boxes[~ground_truth.crowd], ground_truth.classes[~ground_truth.crowd]
    overlaps = np.column_stack([np.zeros(len(found)), overlaps_of(found.boxes, boxes)])  # the first column is no object
    is_same = np.column_stack([np.ones(len(found), bool), found.classes[:, None] == classes[None]])
    same, other = np.where(is_same, overlaps, 0), np.where(is_same, 0, overlaps)
    best_same, best_other = same.max(1), other.max(1)
    is_localised, is_other = best_same >= iou_threshold, best_other >= iou_threshold
    rules = {
        "localisation": (best_same >= background_iou) & ~is_localised,
        "classification": is_other,
        "duplicate": is_localised,
        "background": np.maximum(best_same, best_other) <= background_iou,
    }
    kinds = np.select(list(rules.values()), list(rules), "both").astype(object)
    targets = np.select([kinds == "localisation", kinds == "classification"], [same.argmax(1), other.argmax(1)], 0) - 1
    has_detection = np.zeros(len(boxes), bool)
    for index in np.unique(found.classes):
        rows = np.flatnonzero(found.classes == index)
        rows = rows[np.argsort(-found.scores[rows], kind="stable")]
        mine = np.flatnonzero(classes == index)
        crowds = ground_truth.boxes[(ground_truth.classes == index) & ground_truth.crowd]
        for row, matched in zip(rows, match_detections(found.boxes[rows], boxes[mine], iou_threshold), strict=True):
            if matched >= 0:
                kinds[row], has_detection[mine[matched]] = CORRECT, True
            elif inside_crowd(found.boxes[row], crowds):
                kinds[row] = IGNORED
    targets[(kinds == CORRECT) | (kinds == IGNORED)] = -1
    missed = ~has_detection
    missed[targets[targets >= 0]] = False
    return ImageErrors(kinds=kinds, targets=targets, found=has_detection, missed=missed)


def analyse_errors(
    ground_truth: Sequence[GroundTruth],
    detections: Sequence[Detections],
    *,
    class_names: Sequence[str],
    iou_threshold: float = 0.5,
    background_iou: float = 0.1,
    score_threshold: float = 0.25,
) -> dict:
    """Computes what fixing each kind of error would add to AP at one IoU threshold, as values for `json.dumps`.

    Each kind is fixed alone. A classification error gets the class of its object, a localisation error the box; it is removed
    where the object is found already, or a better error of these two kinds is about it. Errors of both, duplicates and
    background errors are removed. Missed objects are not counted as objects. What the kinds add does not sum up to 1 - AP.

    Args:
        ground_truth: objects of each image.
        detections: of each image, in the same pixels, down to low scores.
        class_names: names of the C classes.
        iou_threshold: overlap from which a detection finds an object.
        background_iou: as in `image_errors`.
        score_threshold: `counts` takes detections above it only.

    Returns:
        dict with `class_names`, `iou_threshold`, `background_iou`, `score_threshold`; `AP`, the mean over the classes with
        objects, None without objects; `dAP`, what fixing each of `KINDS` adds, and for all wrong detections (`false_positives`)
        and all objects that are not found (`false_negatives`); `counts`, of each kind a number for each class (of the
        detections, of the objects that are missed).

    Raises:
        ValueError: if there are not as many images of ground truth as of detections.

    Source: Bolya et al. 2020, section 2.3; which of several errors about an object is fixed is that of their toolbox, whose
        numbers these are. Other than there, classes without objects do not count, and a class whose objects are all missed
        keeps an AP of 0.
    """
    if len(ground_truth) != len(detections):
        raise ValueError(f"analyse_errors: ground truth of {len(ground_truth)} images and detections of {len(detections)}")
    limits = {"iou_threshold": iou_threshold, "background_iou": background_iou}
    table = _table(ground_truth, detections, len(class_names), limits)
    above = [found.above(score_threshold) for found in detections]
    return {
        "class_names": list(class_names),
        **limits,
        "score_threshold": score_threshold,
        **_fixed(table),
        "counts": _counts(_table(ground_truth, above, len(class_names), limits)),
    }


@frozen(eq=False, kw_only=True)
class _Table:
    """Detections and objects of all images; targets are indices of the objects."""

    scores: np.ndarray
    classes: np.ndarray
    kinds: np.ndarray
    targets: np.ndarray
    object_classes: np.ndarray
    found: np.ndarray
    missed: np.ndarray
    num_classes: int


def _table(ground_truth, detections, num_classes: int, limits: dict) -> _Table:
    """Joins the errors of all images, without detections inside crowd regions."""
    errors = [image_errors(*pair, **limits) for pair in zip(ground_truth, detections, strict=True)]
    firsts = np.cumsum([0, *(len(each.found) for each in errors)])[:-1]
    targets = [np.where(each.targets >= 0, each.targets + first, -1) for each, first in zip(errors, firsts, strict=True)]

    def joined(parts, kind):
        return np.concatenate([np.zeros(0, kind), *parts]).astype(kind)

    kinds = joined([each.kinds for each in errors], object)
    kept = kinds != IGNORED
    return _Table(
        scores=joined([each.scores for each in detections], float)[kept],
        classes=joined([each.classes for each in detections], int)[kept],
        kinds=kinds[kept],
        targets=joined(targets, int)[kept],
        object_classes=joined([each.classes[~each.crowd] for each in ground_truth], int),
        found=joined([each.found for each in errors], bool),
        missed=joined([each.missed for each in errors], bool),
        num_classes=num_classes,
    )


def _counts(table: _Table) -> dict[str, list[int]]:
    """Returns of each kind the number of errors for each class."""
    classes = {kind: table.classes[table.kinds == kind] for kind in KINDS}
    classes["missed"] = table.object_classes[table.missed]
    return {kind: np.bincount(of_kind, minlength=table.num_classes).tolist() for kind, of_kind in classes.items()}


def _fixed(table: _Table) -> dict:
    """Returns AP, and what fixing each kind adds."""

    def objects(classes) -> np.ndarray:  # -> [C]
        return np.bincount(classes, minlength=table.num_classes)

    hits, totals = table.kinds == CORRECT, objects(table.object_classes)
    known = np.flatnonzero(totals)
    if not len(known):
        return {"AP": None, "dAP": dict.fromkeys((*KINDS, "false_positives", "false_negatives"))}

    def mean_ap(keep, *, classes=table.classes, hits=hits, totals=totals) -> float:
        """Computes the mean AP of the detections that are kept, with other classes, hits or numbers of objects."""
        parts = [(keep & (classes == index), totals[index]) for index in known]
        return float(np.mean([interpolated_precision(table.scores[rows], hits[rows], total).mean() for rows, total in parts]))

    everything = np.ones(len(hits), bool)
    ap, added = mean_ap(everything), {}
    best_of_objects = _best_of_each_object(table)
    for kind in KINDS[:-1]:
        is_kind = table.kinds == kind
        best = best_of_objects[is_kind[best_of_objects]]
        classes, corrected = table.classes.copy(), hits.copy()
        classes[best], corrected[best] = table.object_classes[table.targets[best]], True
        added[kind] = mean_ap(~is_kind | corrected, classes=classes, hits=corrected)
    added["missed"] = mean_ap(everything, totals=totals - objects(table.object_classes[table.missed]))
    added["false_positives"] = mean_ap(hits)
    added["false_negatives"] = mean_ap(everything, totals=objects(table.object_classes[table.found]))
    return {"AP": round(ap, 6), "dAP": {kind: round(value - ap, 6) for kind, value in added.items()}}


def _best_of_each_object(table: _Table) -> np.ndarray:
    """Returns the row of the error with the highest score about each object that is not found."""
    rows = np.flatnonzero(table.targets >= 0)
    rows = rows[~table.found[table.targets[rows]]]
    rows = rows[np.argsort(-table.scores[rows], kind="stable")]
    return rows[np.unique(table.targets[rows], return_index=True)[1]]
