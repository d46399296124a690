"""SimOTA on one image as a picture: which points learn which object, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from mindspore import Tensor

from yolox.assign.cost import class_cost, class_terms, simota_cost
from yolox.assign.geometry import own_region
from yolox.assign.simota import simota_assign
from yolox.boxes import cxcywh_to_xyxy, pairwise_iou
from yolox.config import AssignConfig
from yolox.eval.draw import class_color, draw_labels
from yolox.points import make_points

SIDE = 960  # longest side of the picture, px
COSTS = 3  # written for each object, the lowest
LONGEST_NAME = 18  # letters of a class name; labels of neighbours would hide each other


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
    """Draw which points SimOTA gives to which object of an image.

    Call it to understand a dataset: an object with a single point is hardly learned, and two objects that
    share a centre take points from each other. Points are squares of the size of their stride, the predicted
    box of each lies thin around the object, and the lowest costs are written beside it.

    Args:
        image: [H,W,3] uint8 BGR, the input of the network (after the letterbox).
        decoded: [P,5+C] float32 predictions for it: cxcywh px and probabilities, as `make_eval_step` gives.
        gt_boxes: [N,4] xyxy px of the input.
        gt_classes: [N] int.
        class_names: names of the classes.
        strides: of the levels.
        config: the rule.

    Returns:
        [h,w,3] uint8 BGR.

    Raises:
        ValueError: predictions and image do not fit together.

    Example:
        >>> rows = np.tile(np.float32([16, 16, 16, 16, 0.5, 0.5]), (21, 1))
        >>> box, kind = np.float32([[8, 8, 24, 24]]), np.array([0])
        >>> visualize_assign(np.zeros((32, 32, 3), np.uint8), rows, box, kind, ["cat"]).shape
        (986, 960, 3)
    """
    points, point_strides = make_points(image.shape[:2], tuple(strides))
    if len(points) != len(decoded):
        raise ValueError(f"visualize_assign: decoded has {len(decoded)} rows, the image {len(points)} points")
    ratio = SIDE / max(image.shape[:2])
    picture = cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_LINEAR)
    picture = (picture * 0.6).astype(np.uint8)  # so that the colours of the points stand out
    if not len(gt_boxes):
        return _titled(picture, "no objects")
    owner, cost = assign_costs(decoded, points, point_strides, gt_boxes, gt_classes, config)
    for index in range(len(gt_boxes)):
        mine = np.flatnonzero(owner == index)
        color = class_color(index)  # neighbours in the list differ, whatever their classes
        for row in mine:
            _draw_point(picture, points[row] * ratio, point_strides[row] * ratio, color)
            _draw_box(picture, _corners(decoded[row, :4]) * ratio, color, 1)
        _draw_box(picture, gt_boxes[index] * ratio, color, 3)
    last = np.array([picture.shape[1] - 1, picture.shape[0] - 1] * 2)
    boxes = np.clip(gt_boxes * ratio, 0, last).astype(int).tolist()
    colors = [class_color(index) for index in range(len(gt_boxes))]
    draw_labels(picture, boxes, object_labels(owner, cost, gt_classes, class_names), colors, scale=0.5)
    count = int((owner >= 0).sum())
    return _titled(picture, f"{len(gt_boxes)} objects, {count} of {len(points)} points")


def assign_costs(decoded, points, point_strides, gt_boxes, gt_classes, config: AssignConfig):
    """Run SimOTA on one image.

    Args:
        decoded: [P,5+C] float32 boxes cxcywh px, objectness and class probabilities.
        points: [P,2] px.
        point_strides: [P] px.
        gt_boxes: [N,4] xyxy px.
        gt_classes: [N].
        config: of SimOTA.

    Returns:
        owner [P] int, -1 for none, and cost [N,P] float, as numpy.
    """
    boxes, obj, cls = decoded[None, :, :4], _logit(decoded[None, :, 4]), _logit(decoded[None, :, 5:])
    predicted = [Tensor(np.ascontiguousarray(part, np.float32)) for part in (boxes, obj, cls)]
    places = [Tensor(points), Tensor(point_strides)]
    truth = Tensor(gt_boxes[None].astype(np.float32)), Tensor(gt_classes[None].astype(np.int32))
    valid = Tensor(np.ones((1, len(gt_boxes)), bool))
    owner, _ = simota_assign(*predicted, *places, *truth, valid, config=config)
    own, _ = own_region(*places, truth[0], valid, config=config)
    iou = pairwise_iou(truth[0], cxcywh_to_xyxy(predicted[0]))
    cost = simota_cost(class_cost(*class_terms(*predicted[1:]), truth[1]), iou, own, config=config)
    return owner.asnumpy()[0], cost.asnumpy()[0]


def _logit(probability):
    clipped = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))


def object_labels(owner, cost, gt_classes, class_names) -> list[str]:
    """Say of each object how many points it has and their lowest costs; of a long name, its beginning.

    Args:
        owner: int [P], the object of each point, -1 for none.
        cost: float [G,P].
        gt_classes: [G].
        class_names: by class.

    Returns:
        A line of ASCII for each object, which OpenCV can draw.

    Example:
        >>> cost = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
        >>> object_labels(np.array([0, 0, -1]), cost, [0, 1], ["cat", "red blood cell of a horse"])
        ['cat: 2 points, cost 1.0 2.0', 'red blood cell o..: 0 points']
    """
    labels = []
    for index, kind in enumerate(gt_classes):
        mine, name = np.flatnonzero(owner == index), class_names[kind]
        name = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 2] + ".."
        lowest = " ".join(f"{value:.1f}" for value in np.sort(cost[index, mine])[:COSTS])
        text = f"{name}: {len(mine)} point{'' if len(mine) == 1 else 's'}" + (f", cost {lowest}" if lowest else "")
        labels.append(text.encode("ascii", "replace").decode())
    return labels


def _corners(box):
    return np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2])


def _whole(values) -> tuple[int, int]:
    return tuple(int(round(float(np.clip(value, -20000, 20000)))) for value in values)


def _draw_point(picture, center, side, color) -> None:
    cv2.rectangle(picture, _whole(center - 0.3 * side), _whole(center + 0.3 * side), color, cv2.FILLED)
    cv2.rectangle(picture, _whole(center - 0.3 * side), _whole(center + 0.3 * side), (255, 255, 255), 1)


def _draw_box(picture, box, color, line) -> None:
    cv2.rectangle(picture, _whole(box[:2]), _whole(box[2:]), color, line)


def _titled(picture, text):
    bar = np.full((26, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    return np.vstack([bar, picture])
