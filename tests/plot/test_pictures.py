"""Predictions beside truths, and the assignment of an image, looked at pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from yolox.config import AssignConfig
from yolox.eval.draw import class_color, enlarge_small
from yolox.eval.postprocess import Detections
from yolox.plot import beside_truths, visualize_assign
from yolox.plot.assignment import assign_costs
from yolox.points import make_points


def detections(boxes, classes):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.array(classes, np.int32))


def has(picture, color) -> bool:
    return bool((picture == np.array(color)).all(-1).any())


def test_truths_lie_left_and_detections_right():
    image = np.full((100, 200, 3), 128, np.uint8)
    picture = beside_truths(
        image, detections([[10, 40, 60, 90]], [0]), detections([[100, 40, 150, 90]], [1]), ["cat", "dog"], title="a.jpg"
    )
    assert picture.shape == (26 + 320, 2 * 640 + 4, 3)
    left, right = picture[26:, :640], picture[26:, 644:]
    assert has(left, class_color(0)) and not has(left, class_color(1))
    assert has(right, class_color(1)) and not has(right, class_color(0))
    assert (left[40 * 32 // 10 + 60, 10 * 32 // 10] == class_color(0)).all()  # the left edge of the truth
    assert (image == 128).all()


def test_small_images_are_enlarged_with_their_boxes():
    image, found = enlarge_small(np.zeros((100, 128, 3), np.uint8), detections([[1, 2, 3, 4]], [0]))
    assert image.shape == (400, 512, 3) and found.boxes.tolist() == [[4, 8, 12, 16]]
    large = np.zeros((480, 480, 3), np.uint8)
    assert enlarge_small(large, found)[0] is large


def predictions(points, strides, boxes):
    """Every point predicts the nearest object's box, with probability one half."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    nearest = ((points[:, None] - centers[None]) ** 2).sum(-1).argmin(1)
    sizes = boxes[:, 2:] - boxes[:, :2]
    half = np.full((len(points), 3), 0.5)
    return np.hstack([centers[nearest], sizes[nearest], half]).astype(np.float32)


BOXES, CLASSES = np.array([[8, 8, 40, 40], [60, 20, 90, 60]], np.float32), np.array([1, 0])


def test_points_are_drawn_in_the_colour_of_their_object():
    points, strides = make_points((64, 96), (8, 16, 32))
    decoded = predictions(points, strides, BOXES)
    picture = visualize_assign(np.zeros((64, 96, 3), np.uint8), decoded, BOXES, CLASSES, ["cat", "dog"])
    assert picture.shape == (26 + 640, 960, 3)
    owner, cost = assign_costs(decoded, points, strides, BOXES, CLASSES, AssignConfig())
    assert cost.shape == (2, 126) and set(owner) == {-1, 0, 1}
    for row in np.flatnonzero(owner >= 0):
        x, y = (points[row] * 10).round().astype(int) + [int(2 * strides[row]), 0]
        assert (picture[26 + y, x] == class_color(owner[row])).all() or has(
            picture[26 + y - 12 : 26 + y + 12, x - 12 : x + 12], class_color(owner[row])
        )
    for index in (0, 1):  # the owners are the cheapest of the object's candidates
        mine = owner == index
        assert cost[index][mine].max() <= np.sort(cost[index])[: mine.sum() + (owner == 1 - index).sum()].max()


def test_an_image_without_objects_and_one_that_does_not_fit():
    empty = np.zeros((0, 4), np.float32)
    image = np.zeros((64, 96, 3), np.uint8)
    assert visualize_assign(image, np.zeros((126, 7), np.float32), empty, np.zeros(0, int), ["a"]).shape == (666, 960, 3)
    with pytest.raises(ValueError, match="decoded has 5 rows, the image 126 points"):
        visualize_assign(image, np.zeros((5, 7), np.float32), empty, np.zeros(0, int), ["a"])
