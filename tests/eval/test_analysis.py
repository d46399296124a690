"""Curves and confusion matrix: by hand, against pycocotools, and with crowds."""

from __future__ import annotations

import numpy as np
import pytest

from yolox.eval.analysis import GroundTruth, analyse, match_detections
from yolox.eval.coco import evaluate_coco
from yolox.eval.postprocess import Detections


def objects_of(boxes, classes, crowd=None):
    crowd = np.zeros(len(boxes), bool) if crowd is None else np.array(crowd)
    return GroundTruth(boxes=np.array(boxes, float).reshape(-1, 4), classes=np.array(classes, int), crowd=crowd)


def found(boxes, scores, classes):
    return Detections(np.array(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(classes, int))


A, B, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]


def test_one_image_by_hand():
    answer = analyse(
        [objects_of([A, B, FAR], [0, 1, 1])],
        [found([A, B, [90, 90, 95, 95]], [0.9, 0.8, 0.6], [0, 0, 1])],
        class_names=["cat", "dog"],
    )
    # A is right; B is a dog called cat; FAR is not found; the last box is a dog where nothing is
    assert answer["confusion"] == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]
    assert answer["truths"] == [1, 2]
    assert answer["precision"][0] == [1.0] * 101  # the right one comes first
    assert answer["precision"][1] == [0.0] * 101
    f1 = dict(zip(answer["score"], answer["f1"][0], strict=True))
    assert (f1[0.5], f1[0.85], f1[0.95]) == (pytest.approx(2 / 3, abs=1e-4), 1.0, 0.0)


def test_weak_detections_are_not_confused():
    one = [found([A], [0.2], [0])]
    assert analyse([objects_of([A], [0])], one, class_names=["cat"])["confusion"] == [[0, 1], [0, 0]]
    assert analyse([objects_of([A], [0])], one, class_names=["cat"], score_threshold=0.1)["confusion"] == [[1, 0], [0, 0]]


def test_detections_in_a_crowd_are_neither_right_nor_wrong():
    crowded = [objects_of([[0, 0, 100, 100]], [0], [True])]
    answer = analyse(crowded, [found([A], [0.9], [0])], class_names=["cat"])
    assert answer["confusion"] == [[0, 0], [0, 0]] and answer["precision"] == [None] and answer["f1"] == [None]
    outside = analyse(crowded, [found([[200, 0, 210, 10]], [0.9], [0])], class_names=["cat"])
    assert outside["confusion"] == [[0, 0], [1, 0]]


def test_a_ground_truth_is_found_once():
    boxes = np.array([A, A, B], float)
    assert match_detections(boxes, np.array([A, B], float), 0.5) == [0, -1, 1]
    assert match_detections(boxes, np.zeros((0, 4)), 0.5) == [-1, -1, -1]


def test_nothing_at_all():
    answer = analyse([objects_of([], [])], [Detections()], class_names=["cat"])
    assert answer["confusion"] == [[0, 0], [0, 0]] and answer["truths"] == [0]
    answer = analyse([objects_of([A], [0])], [Detections()], class_names=["cat"])
    assert answer["precision"] == [[0.0] * 101] and max(answer["f1"][0]) == 0
    with pytest.raises(ValueError, match="ground truth of 1 images and detections of 2"):
        analyse([objects_of([], [])], [Detections()] * 2, class_names=["cat"])


def test_mean_precision_is_ap50_of_pycocotools():
    rng = np.random.default_rng(0)
    objects, detections, annotations, records = [], [], [], []
    for image in range(12):
        corners = rng.uniform(0, 300, (6, 2))
        boxes, classes = np.hstack([corners, corners + rng.uniform(20, 90, (6, 2))]), rng.integers(0, 3, 6)
        moved = np.vstack([boxes + rng.normal(0, 6, boxes.shape), boxes[:3] + 40])
        guess = np.append(np.where(rng.random(6) < 0.8, classes, (classes + 1) % 3), classes[:3])
        scores = rng.random(9)
        objects.append(objects_of(boxes, classes))
        detections.append(found(moved, scores, guess))
        for box, index in zip(boxes.tolist(), classes.tolist(), strict=True):
            size = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            annotations.append({"id": len(annotations), "image_id": image, "category_id": index, "bbox": size})
        records += detections[-1].to_coco(image_id=image, category_ids=[0, 1, 2])
    answer = analyse(objects, detections, class_names=list("abc"))
    categories = [{"id": index, "name": name} for index, name in enumerate("abc")]
    ground = {"images": [{"id": i} for i in range(12)], "categories": categories, "annotations": annotations}
    want = evaluate_coco(ground, records)["AP50"]
    assert np.mean(answer["precision"]) == pytest.approx(want, abs=2e-3) and 0.2 < want < 0.9
    table = np.array(answer["confusion"])
    assert table[:3].sum() == 72 and table[:, :3].sum() == sum((d.scores > 0.25).sum() for d in detections)
