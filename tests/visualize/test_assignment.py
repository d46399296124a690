"""Predictions beside ground truth, and the assignment of an image, looked at pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from yolox.config import AssignConfig
from yolox.decode import make_points
from yolox.eval.postprocess import Detections
from yolox.visualize import draw_beside_ground_truth, visualize_assign
from yolox.visualize.assignment import PANEL, _draw_points, assign_costs, object_lines
from yolox.visualize.draw import class_color, enlarge_small


def detections(boxes, classes):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.array(classes, np.int32))


def has(picture, color) -> bool:
    return bool((picture == np.array(color)).all(-1).any())


def test_ground_truths_lie_left_and_detections_right():
    image = np.full((100, 200, 3), 128, np.uint8)
    picture = draw_beside_ground_truth(
        image, detections([[10, 40, 60, 90]], [0]), detections([[100, 40, 150, 90]], [1]), ["cat", "dog"], title="a.jpg"
    )
    assert picture.shape == (26 + 320, 2 * 640 + 4, 3)
    left, right = picture[26:, :640], picture[26:, 644:]
    assert has(left, class_color(0)) and not has(left, class_color(1))
    assert has(right, class_color(1)) and not has(right, class_color(0))
    assert (left[40 * 32 // 10 + 60, 10 * 32 // 10] == class_color(0)).all()  # the left edge of the ground truth
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
    assert picture.shape == (26 + 600, 900 + PANEL, 3)
    matched_gt, cost = assign_costs(decoded, points, strides, BOXES, CLASSES, AssignConfig())
    assert cost.shape == (2, 126) and set(matched_gt) == {-1, 0, 1}
    for row in np.flatnonzero(matched_gt >= 0):
        x, y = (points[row] * 9.375).round().astype(int) + [int(2 * strides[row]), 0]
        assert (picture[26 + y, x] == class_color(matched_gt[row])).all() or has(
            picture[26 + y - 12 : 26 + y + 12, x - 12 : x + 12], class_color(matched_gt[row])
        )
    for index in (0, 1):  # the assigned points are the cheapest of the object's candidates
        mine = matched_gt == index
        assert cost[index][mine].max() <= np.sort(cost[index])[: mine.sum() + (matched_gt == 1 - index).sum()].max()


def test_fine_points_lie_on_coarse_ones_and_on_true_boxes():
    picture, places = np.zeros((100, 100, 3), np.uint8), np.full((3, 2), 50.0)
    _draw_points(picture, places, np.array([8.0, 64.0, 16.0]), np.array([0, 1, 2]), [(1, 0, 0), (2, 0, 0), (3, 0, 0)])
    assert [picture[50, x, 0] for x in (50, 54, 60)] == [1, 3, 2]
    boxes = np.array([[44, 4, 56, 40], [52, 0, 90, 60]], np.float32)  # a line of the second runs through points of the first
    points, strides = make_points((64, 96), (8, 16, 32))
    args = predictions(points, strides, boxes), boxes, np.array([0, 1])
    drawn = visualize_assign(np.zeros((64, 96, 3), np.uint8), *args, ["cat", "dog"])
    matched_gt, _ = assign_costs(args[0], points, strides, *args[1:], AssignConfig())
    assert (points[matched_gt == 0][:, 0] == 52).any()
    for row in np.flatnonzero((matched_gt >= 0) & (strides == 8)):
        x, y = points[row] * 9.375
        assert (drawn[26 + round(y), round(x)] == class_color(matched_gt[row])).all()


def test_the_list_has_every_cost_and_the_fewest_points_first():
    rng = np.random.default_rng(0)
    matched_gt, cost = np.array([0] * 10 + [1, -1, 1]), rng.uniform(0, 9, (3, 13))
    cost[1, 12] += 1e6
    lines = object_lines(matched_gt, cost, [1, 0, 0], ["a name that is very long indeed", "dog"])
    assert [index for index, _ in lines] == [2, 1, 0]
    assert lines[0][1] == "3 a name t..g indeed: 0" and lines[1][1] == f"2 a name t..g indeed: 2   {cost[1, 10]:.1f} far"
    assert lines[2][1] == "1 dog: 10   " + " ".join(f"{value:.1f}" for value in sorted(cost[0, :10]))


def test_more_objects_than_lines_are_counted():
    boxes = np.tile(np.array([[8, 8, 40, 40]], np.float32), (40, 1))
    points, strides = make_points((64, 96), (8, 16, 32))
    args = np.zeros((64, 96, 3), np.uint8), predictions(points, strides, boxes), boxes, np.zeros(40, int), ["cat"]
    picture = visualize_assign(*args)
    assert picture.shape == (626, 1380, 3) and (picture[26 + 32 * 18 : 26 + 33 * 18, 922:] < 128).any()


def test_an_image_without_objects_and_one_that_does_not_fit():
    empty = np.zeros((0, 4), np.float32)
    image = np.zeros((64, 96, 3), np.uint8)
    assert visualize_assign(image, np.zeros((126, 7), np.float32), empty, np.zeros(0, int), ["a"]).shape == (626, 1380, 3)
    with pytest.raises(ValueError, match="decoded has 5 rows, the image 126 points"):
        visualize_assign(image, np.zeros((5, 7), np.float32), empty, np.zeros(0, int), ["a"])
