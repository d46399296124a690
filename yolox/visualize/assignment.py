"""Draws SimOTA on one image: which points are assigned to which object, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from mindspore import Tensor

from yolox.assign.cost import class_cost, class_terms, simota_cost
from yolox.assign.geometry import geometry_prior
from yolox.assign.simota import simota_assign
from yolox.boxes import cxcywh_to_xyxy, pairwise_iou
from yolox.config import AssignConfig
from yolox.data.pixels import viewable
from yolox.decode import make_points
from yolox.visualize.draw import class_color, draw_labels, drawn_names

SIDE = 900  # longest side of the image, px
PANEL, ROW, BAR = 480, 18, 26  # width of the list beside it, height of a line of it and of the title, px
PENALTY = 1e5  # costs above it are of points outside the object's centre region


def visualize_assign(
    image: np.ndarray,
    decoded: np.ndarray,
    gt_boxes: np.ndarray,
    gt_classes: np.ndarray,
    class_names: Sequence[str],
    *,
    strides: Sequence[int] = (8, 16, 32),
    config: AssignConfig = AssignConfig(),  # noqa: B008  frozen
) -> np.ndarray:  # [H,W,3],[P,5+C],[N,4],[N] -> [h,w,3]
    """Draws which points SimOTA assigns to which object of an image.

    Call it to understand a dataset: an object with a single point is hardly learned, and two objects that
    share a centre take points from each other. Points are squares that grow with their stride, the predicted
    box of each lies thin around the object, and a list beside the image has the costs of each object's points.

    Args:
        image: [H,W,3] uint8 BGR, the input of the network (after the letterbox).
        decoded: [P,5+C] float32 predictions for it: cxcywh px and probabilities, of `make_eval_step`.
        gt_boxes: [N,4] xyxy px of the input.
        gt_classes: [N] int.
        class_names: names of the classes.
        strides: of the levels.
        config: the rule.

    Returns:
        [h,w,3] uint8 BGR; the list has the objects with the fewest points first and ends with the number of those left out.

    Raises:
        ValueError: predictions and image do not fit together.

    Example:
        >>> rows = np.tile(np.float32([16, 16, 16, 16, 0.5, 0.5]), (21, 1))
        >>> box, kind = np.float32([[8, 8, 24, 24]]), np.array([0])
        >>> visualize_assign(np.zeros((32, 32, 3), np.uint8), rows, box, kind, ["cat"]).shape
        (926, 1380, 3)
    """
    points, point_strides = make_points(image.shape[:2], tuple(strides))
    if len(points) != len(decoded):
        raise ValueError(f"visualize_assign: decoded has {len(decoded)} rows, the image {len(points)} points")
    ratio = SIDE / max(image.shape[:2])
    picture = cv2.resize(viewable(image), None, fx=ratio, fy=ratio, interpolation=cv2.INTER_LINEAR)
    picture = (picture * 0.6).astype(np.uint8)  # so that the colours of the points stand out
    if not len(gt_boxes):
        return _titled(_beside(picture, []), "no objects")
    matched_gt, cost = assign_costs(decoded, points, point_strides, gt_boxes, gt_classes, config)
    colors = [class_color(index) for index in range(len(gt_boxes))]  # by number: neighbours differ, whatever their classes
    _draw_boxes(picture, decoded[:, :4] * ratio, matched_gt, gt_boxes * ratio, colors)
    _draw_points(picture, points * ratio, point_strides * ratio, matched_gt, colors)
    _draw_names(picture, gt_boxes * ratio, gt_classes, class_names, colors)
    count = int((matched_gt >= 0).sum())
    title = f"{len(gt_boxes)} objects, {count} of {len(points)} points; right: points of each object, their costs"
    return _titled(_beside(picture, object_lines(matched_gt, cost, gt_classes, class_names)), title)


def _draw_boxes(picture, predicted, matched_gt, gt_boxes, colors) -> None:
    for row in np.flatnonzero(matched_gt >= 0):
        _draw_box(picture, _corners(predicted[row]), colors[matched_gt[row]], 1)
    for box, color in zip(gt_boxes, colors, strict=True):
        _draw_box(picture, box, color, 3)


def _draw_points(picture, points, point_strides, matched_gt, colors) -> None:
    """Draws the points, coarse ones first: they would hide the fine ones."""
    assigned = np.flatnonzero(matched_gt >= 0)
    for row in assigned[np.argsort(-point_strides[assigned], kind="stable")]:
        _draw_point(picture, points[row], point_strides[row], colors[matched_gt[row]])


def _draw_names(picture, gt_boxes, gt_classes, class_names, colors) -> None:
    last, names = np.array([picture.shape[1] - 1, picture.shape[0] - 1] * 2), drawn_names(class_names)
    labels = [f"{number} {names[kind]}" for number, kind in enumerate(gt_classes, start=1)]
    draw_labels(picture, np.clip(gt_boxes, 0, last).astype(int).tolist(), labels, colors, scale=0.45)


def assign_costs(decoded, points, point_strides, gt_boxes, gt_classes, config: AssignConfig):
    """Runs SimOTA on one image and computes the costs.

    Args:
        decoded: [P,5+C] float32 boxes cxcywh px, objectness and class probabilities.
        points: [P,2] px.
        point_strides: [P] px.
        gt_boxes: [N,4] xyxy px.
        gt_classes: [N].
        config: of SimOTA.

    Returns:
        matched_gt [P] int, -1 for none, and cost [N,P] float, as numpy.
    """
    boxes, obj, cls = decoded[None, :, :4], _logit(decoded[None, :, 4]), _logit(decoded[None, :, 5:])
    predicted = [Tensor(np.ascontiguousarray(part, np.float32)) for part in (boxes, obj, cls)]
    places = [Tensor(points), Tensor(point_strides)]
    boxes_and_classes = Tensor(gt_boxes[None].astype(np.float32)), Tensor(gt_classes[None].astype(np.int32))
    valid = Tensor(np.ones((1, len(gt_boxes)), bool))
    matched_gt, _ = simota_assign(*predicted, *places, *boxes_and_classes, valid, config=config)
    prior, _ = geometry_prior(*places, boxes_and_classes[0], valid, config=config)
    iou = pairwise_iou(boxes_and_classes[0], cxcywh_to_xyxy(predicted[0]))
    cost = simota_cost(class_cost(*class_terms(*predicted[1:]), boxes_and_classes[1]), iou, prior, config=config)
    return matched_gt.asnumpy()[0], cost.asnumpy()[0]


def _logit(probability):
    clipped = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))


def object_lines(matched_gt, cost, gt_classes, class_names) -> list[tuple[int, str]]:
    """Returns for each object a line with the number and costs of its points, fewest points first.

    Args:
        matched_gt: int [P], the object of each point, -1 for none.
        cost: float [G,P].
        gt_classes: [G].
        class_names: by class.

    Returns:
        The object's index and a line of ASCII, which OpenCV can draw; "far" stands for the cost of a point outside
        of the object's centre region.

    Example:
        >>> cost = np.array([[2.0, 1.0, 3.0], [1.0, 1.0, 1.0]])
        >>> object_lines(np.array([0, 0, -1]), cost, [0, 1], ["cat", "red blood cell of a horse"])
        [(1, '2 red bloo.. a horse: 0'), (0, '1 cat: 2   1.0 2.0')]
    """
    names, lines = drawn_names(class_names), []
    counts = [int((matched_gt == index).sum()) for index in range(len(gt_classes))]
    for index in np.argsort(counts, kind="stable").tolist():
        costs = [f"{value:.1f}" if value < PENALTY else "far" for value in np.sort(cost[index, matched_gt == index])]
        line = f"{index + 1} {names[gt_classes[index]]}: {counts[index]}   {' '.join(costs)}"
        lines.append((index, line.rstrip()))
    return lines


def _corners(box):
    return np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2])


def _whole(values) -> tuple[int, int]:
    return tuple(int(round(float(np.clip(value, -20000, 20000)))) for value in values)


def _draw_point(picture, center, side, color) -> None:
    cv2.rectangle(picture, _whole(center - 0.3 * side), _whole(center + 0.3 * side), color, cv2.FILLED)
    cv2.rectangle(picture, _whole(center - 0.3 * side), _whole(center + 0.3 * side), (255, 255, 255), 1)


def _draw_box(picture, box, color, line) -> None:
    cv2.rectangle(picture, _whole(box[:2]), _whole(box[2:]), color, line)


def _beside(picture, lines):
    """Adds the list at the right of the picture: as many lines as fit."""
    panel = np.full((max(picture.shape[0], 10 * ROW), PANEL, 3), 255, np.uint8)
    rows = panel.shape[0] // ROW
    shown = lines if len(lines) <= rows else lines[: rows - 1]
    for place, (index, line) in enumerate(shown):
        cv2.rectangle(panel, (6, place * ROW + 5), (16, place * ROW + 15), class_color(index), cv2.FILLED)
        _write(panel, line, (22, place * ROW + 14), 0.4)
    if len(lines) > rows:
        _write(panel, f"and {len(lines) - rows + 1} more objects, with as many points or more", (22, rows * ROW - 4), 0.4)
    below = panel.shape[0] - picture.shape[0]
    return np.hstack([cv2.copyMakeBorder(picture, 0, below, 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255)), panel])


def _titled(picture, text):
    bar = np.full((BAR, picture.shape[1], 3), 255, np.uint8)
    _write(bar, text, (6, 18), 0.5)
    return np.vstack([bar, picture])


def _write(picture, text, place, scale) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (40, 40, 40), 1, cv2.LINE_AA)
