"""Errors by kind: by hand, against slow loops, and what must hold for any detector."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.eval.test_analysis import found, objects_of
from tests.oracles import error_kinds as oracle
from yolox.eval.analysis import analyse, rank_images
from yolox.eval.error_kinds import KINDS, analyse_errors, image_errors
from yolox.eval.postprocess import Detections

NAMES = ["a", "b", "c"]


def drawn(seed, images=12):
    """Objects, some of them close together, and detections with every kind of mistake."""
    rng, gt, detections = np.random.default_rng(seed), [], []
    for _ in range(images):
        count = int(rng.integers(0, 7))
        corners = rng.uniform(0, 120, (count, 2))
        boxes, classes = np.hstack([corners, corners + rng.uniform(20, 60, (count, 2))]), rng.integers(0, 3, count)
        rows = rng.integers(0, count, 2 * count) if count else np.zeros(0, int)
        moved = boxes[rows] + rng.normal(0, 1, (len(rows), 4)) * rng.choice([1, 6, 18], (len(rows), 1))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 3)
        low = rng.uniform(0, 150, (3, 2))
        moved = np.vstack([moved, np.hstack([low, low + rng.uniform(8, 30, (3, 2))])])
        guess = np.where(rng.random(len(rows)) < 0.7, classes[rows], rng.integers(0, 3, len(rows)))
        guess = np.append(guess, rng.integers(0, 3, 3))
        gt.append(objects_of(boxes, classes))
        detections.append(found(moved, rng.random(len(moved)), guess))
    return gt, detections


def as_rows(gt, detections):
    return [
        (list(zip(g.boxes.tolist(), g.classes.tolist(), strict=True)),
         list(zip(d.boxes.tolist(), d.scores.tolist(), d.classes.tolist(), strict=True)))
        for g, d in zip(gt, detections, strict=True)
    ]  # fmt: skip


def test_each_kind_by_hand():
    objects = objects_of([[0, 0, 10, 10], [20, 0, 30, 10], [50, 0, 60, 10], [80, 0, 90, 10]], [0, 1, 0, 1])
    boxes = [[0, 0, 10, 10], [0, 1, 10, 10], [20, 0, 30, 10], [50, 0, 60, 3], [20, 0, 30, 3], [200, 0, 210, 10]]
    one = found(boxes, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0, 0, 0, 0, 0, 0])
    answer = image_errors(objects, one)
    assert answer.kinds.tolist() == ["correct", "duplicate", "classification", "localisation", "both", "background"]
    assert answer.targets.tolist() == [-1, -1, 1, 2, -1, -1]
    assert answer.found.tolist() == [True, False, False, False] and answer.missed.tolist() == [False, False, False, True]


def test_added_ap_by_hand():
    gt = [objects_of([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 1])]  # the second is found as class 0, the surest of all
    answer = analyse_errors(gt, [found([[20, 0, 30, 10], [0, 0, 10, 10]], [0.9, 0.8], [0, 0])], class_names=["a", "b"])
    assert answer["AP"] == 0.25  # precision 1/2 of a, nothing of b
    assert answer["dAP"] == {
        "classification": 0.75, "localisation": 0, "both": 0, "duplicate": 0, "background": 0, "missed": 0,
        "false_positives": 0.25, "false_negatives": 0,
    }  # fmt: skip
    assert answer["counts"]["classification"] == [1, 0] and answer["counts"]["missed"] == [0, 0]


@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_with_slow_loops(seed):
    gt, detections = drawn(seed)
    rows, classes = as_rows(gt, detections), range(3)
    for (objects, boxes), pair in zip(rows, zip(gt, detections, strict=True), strict=True):
        kinds, about, has, missed = oracle.kinds_of_image(objects, boxes)
        answer = image_errors(*pair)
        assert answer.kinds.tolist() == [kinds[d] for d in range(len(boxes))]
        assert answer.targets.tolist() == [about.get(d, -1) for d in range(len(boxes))]
        assert set(np.flatnonzero(answer.found)) == has and set(np.flatnonzero(answer.missed)) == missed
    answer = analyse_errors(gt, detections, class_names=NAMES)
    assert answer["AP"] == pytest.approx(oracle.fixed_ap(rows, classes), abs=2e-6)
    for kind, value in answer["dAP"].items():
        assert value == pytest.approx(oracle.fixed_ap(rows, classes, kind) - oracle.fixed_ap(rows, classes), abs=3e-6), kind
        assert value >= 0
    assert answer["counts"] == oracle.counted(rows, classes, 0.25)
    assert all(sum(answer["counts"][kind]) for kind in KINDS)  # the drawn images have every kind


def test_ap_is_that_of_the_curves():
    gt, detections = drawn(7)
    curves = analyse(gt, detections, class_names=NAMES)["precision"]
    assert analyse_errors(gt, detections, class_names=NAMES)["AP"] == pytest.approx(np.mean(curves), abs=1e-4)


def test_the_order_of_images_and_classes_changes_nothing():
    gt, detections = drawn(5)
    answer = analyse_errors(gt, detections, class_names=NAMES)
    turned = analyse_errors(gt[::-1], detections[::-1], class_names=NAMES)
    assert turned["counts"] == answer["counts"] and turned["AP"] == pytest.approx(answer["AP"], abs=2e-6)


def test_nothing_and_crowds():
    answer = analyse_errors([objects_of([], [])], [Detections()], class_names=["a"])
    assert answer["AP"] is None and set(answer["dAP"].values()) == {None} and answer["counts"]["missed"] == [0]
    json.dumps(answer, allow_nan=False)
    only = analyse_errors([objects_of([[0, 0, 9, 9]], [0])], [Detections()], class_names=["a"])
    assert only["AP"] == 0 and only["dAP"]["missed"] == 0 and only["counts"]["missed"] == [1]
    crowd = objects_of([[0, 0, 100, 100]], [0], [True])
    pair = found([[0, 0, 10, 10], [0, 0, 10, 10]], [0.9, 0.9], [0, 1])
    assert image_errors(crowd, pair).kinds.tolist() == ["ignored", "background"]
    with pytest.raises(ValueError, match="ground truth of 1 images and detections of 2"):
        analyse_errors([crowd], [pair, pair], class_names=["a", "b"])


def test_images_are_ranked_by_f1():
    one, two = objects_of([[0, 0, 9, 9]], [0]), objects_of([[0, 0, 9, 9], [20, 0, 29, 9]], [0, 0])
    right, half = found([[0, 0, 9, 9]], [0.9], [0]), found([[0, 0, 9, 9], [20, 0, 29, 9]], [0.9, 0.2], [0, 0])
    images = [(one, right), (two, half), (one, Detections()), (two, Detections()), (objects_of([], []), Detections())]
    assert rank_images(*zip(*images, strict=True), class_names=["a"]) == [(3, 0.0), (2, 0.0), (1, 2 / 3), (0, 1.0)]
