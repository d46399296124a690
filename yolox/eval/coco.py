"""COCO records of detections, and the COCO metrics by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections import Counter

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

COCO_LIMIT = 100
"""Detections of an image and class that COCO's metrics take."""
METRIC_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def detections_to_coco(detections, *, image_ids, category_ids) -> list[dict]:
    """Converts detections to COCO results.

    Call it on the result of ``predict_dataset``, to evaluate it or to write a results file.

    Args:
        detections: one Detections per image, boxes xyxy in pixels of the original image.
        image_ids: id of each image, in the same order; any ids.
        category_ids: the data set's category id of each class index; any ids.

    Returns:
        A list of records with ``image_id``, ``category_id``, ``bbox`` (x, y, width, height in pixels) and
        ``score``, of plain Python numbers.

    Raises:
        ValueError: when the number of images differs, or a class index has no category id.

    Source:
        The results format of cocodataset.org.

    Example:
        >>> from yolox.eval.postprocess import Detections
        >>> one = Detections(np.array([[1, 2, 4, 6.0]]), np.array([0.5]), np.array([1]))
        >>> detections_to_coco([one], image_ids=[139], category_ids=[1, 7])
        [{'image_id': 139, 'category_id': 7, 'bbox': [1.0, 2.0, 3.0, 4.0], 'score': 0.5}]
    """
    image_ids, category_ids = _plain(image_ids), _plain(category_ids)
    if len(detections) != len(image_ids):
        raise ValueError(f"detections_to_coco: {len(detections)} detections for {len(image_ids)} image ids")
    pairs = zip(detections, image_ids, strict=True)
    return [record for found, image_id in pairs for record in _image_records(found, image_id, category_ids)]


def evaluate_coco(ground_truth: dict, records: list[dict], *, class_names=None, max_detections: int = COCO_LIMIT) -> dict:
    """Computes the twelve COCO metrics and the AP of every class.

    Call it with the ground truth of a dataset and the records of ``detections_to_coco``. It prints nothing and
    changes neither argument.

    Args:
        ground_truth: COCO annotations in memory: ``images``, ``annotations``, ``categories``; crowd regions
            included. Ids may be anything that can be sorted, 0 too.
        records: COCO results; may be empty.
        class_names: names for ``per_class`` in the order of the categories of ``ground_truth``; None takes
            theirs.
        max_detections: above 100, AP and AR are also computed with so many detections of an image and class: COCO's
            100 hide the rest of crowded images.

    Returns:
        A dict for ``json.dumps``: AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl in [0,1],
        and ``per_class``, AP by class name. None stands where there is no object to find (no small objects, a
        class without objects); zero where there are objects and nothing was found.
        With N = `max_detections` above 100 also ``AP@N`` and ``AR@N``; all other numbers stay those at 100.

    Raises:
        ValueError: when a record names an image or a category that the ground truth does not have.

    Source:
        pycocotools' COCOeval with its default parameters (ten IoU thresholds, at most 100 detections).

    Example:
        >>> ground_truth = {"images": [{"id": 5}], "categories": [{"id": 3, "name": "cat"}], "annotations": [
        ...     {"id": 0, "image_id": 5, "category_id": 3, "bbox": [0, 0, 50, 50]}]}
        >>> record = {"image_id": 5, "category_id": 3, "bbox": [0, 0, 50, 50], "score": 0.9}
        >>> metrics = evaluate_coco(ground_truth, [record])
        >>> round(metrics["APm"], 6), metrics["APs"], sorted(metrics["per_class"])
        (1.0, None, ['cat'])
    """
    _check_ids(ground_truth, records)
    with contextlib.redirect_stdout(io.StringIO()):
        annotations, results = _index(ground_truth, _annotations(ground_truth)), _index(ground_truth, _results(records))
        evaluation = _Evaluation(annotations, results, "bbox")
        limits = [1, 10, COCO_LIMIT, *([max_detections] if max_detections > COCO_LIMIT else [])]
        evaluation.params.maxDets = limits
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = {name: _defined(value) for name, value in zip(METRIC_NAMES, evaluation.stats, strict=True)}
    if max_detections > COCO_LIMIT:
        metrics |= {f"{name}@{max_detections}": _mean(evaluation.eval[key][..., 0, -1])
                    for name, key in (("AP", "precision"), ("AR", "recall"))}  # fmt: skip
    return {**metrics, "per_class": _per_class(evaluation, _names(ground_truth, class_names))}


def write_results(path: str | os.PathLike, records: list[dict]) -> None:
    """Writes COCO's list of results, which pycocotools' `loadRes` and COCO's server take.

    Args:
        path: of the file, which is replaced.
        records: from `detections_to_coco`.
    """
    with open(path, "w") as file:
        json.dump(records, file)


class _Evaluation(COCOeval):
    """COCOeval that skips the pairs of image and category in which there is nothing; same numbers."""

    def evaluateImg(self, imgId, catId, aRng, maxDet):  # noqa: N802, N803  names of the base class
        if (imgId, catId) not in self._gts and (imgId, catId) not in self._dts:
            return None
        return super().evaluateImg(imgId, catId, aRng, maxDet)


def _image_records(found, image_id, category_ids) -> list[dict]:
    if len(found) and not 0 <= found.classes.min() <= found.classes.max() < len(category_ids):
        raise ValueError(
            f"detections_to_coco: class {found.classes.max()} in image {image_id!r}, "
            f"but the data set has {len(category_ids)} categories"
        )
    boxes = np.concatenate([found.boxes[:, :2], found.boxes[:, 2:] - found.boxes[:, :2]], axis=1)
    rows = zip(boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True)
    return [
        {"image_id": image_id, "category_id": category_ids[index], "bbox": box, "score": score}
        for box, score, index in rows
    ]


def _annotations(ground_truth: dict) -> list[dict]:
    # COCOeval takes an annotation whose id is 0 for "no match", so ids start from 1; it writes into the records
    return [
        {"iscrowd": 0, "area": entry["bbox"][2] * entry["bbox"][3], **entry, "id": number}
        for number, entry in enumerate(ground_truth["annotations"], start=1)
    ]


def _results(records: list[dict]) -> list[dict]:
    return [
        {**record, "id": number, "area": record["bbox"][2] * record["bbox"][3], "iscrowd": 0}
        for number, record in enumerate(records, start=1)
    ]


def _index(ground_truth: dict, annotations: list[dict]) -> COCO:
    coco = COCO()
    images, categories = ground_truth["images"], ground_truth["categories"]
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco


def _per_class(evaluation: COCOeval, names: dict) -> dict[str, float | None]:
    precision = evaluation.eval["precision"][:, :, :, 0, 2]  # at 100: [T,R,classes], -1 for a class without objects
    means = precision.mean(axis=(0, 1))
    by_id = dict(zip(evaluation.params.catIds, means, strict=True))
    return {name: _defined(by_id[category]) for category, name in names.items()}


def _names(ground_truth: dict, class_names) -> dict:
    """Returns the name of each category id, unique."""
    categories = ground_truth["categories"]
    names = [category["name"] for category in categories] if class_names is None else list(class_names)
    if len(names) != len(categories):
        raise ValueError(f"evaluate_coco: {len(names)} class names for {len(categories)} categories")
    times = Counter(names)
    ids = [category["id"] for category in categories]
    return {i: name if times[name] == 1 else f"{name} ({i})" for i, name in zip(ids, names, strict=True)}


def _check_ids(ground_truth: dict, records: list[dict]) -> None:
    for key, known in (("image_id", ground_truth["images"]), ("category_id", ground_truth["categories"])):
        unknown = {record[key] for record in records} - {entry["id"] for entry in known}
        if unknown:
            first = next(iter(unknown))
            raise ValueError(
                f"evaluate_coco: {len(unknown)} {key} of the records, such as {first!r}, "
                f"are not among the {len(known)} of the ground truth: was it made from another data set?"
            )


def _mean(values: np.ndarray) -> float | None:
    """Averages what is defined: COCOeval has -1 for classes without objects."""
    return float(values[values > -1].mean()) if (values > -1).any() else None


def _defined(value) -> float | None:
    return None if value < 0 else float(value)


def _plain(ids) -> list:
    return np.asarray(ids).tolist() if isinstance(ids, np.ndarray) else list(ids)
