"""Functions of the assignment on ground truths without rows, compiled: MindSpore's slices of nothing end the process."""

import mindspore as ms
import numpy as np
from mindspore import Tensor

from yolox.assign import (
    class_cost,
    class_terms,
    dynamic_k,
    dynamic_k_matching,
    gather_matched,
    geometry_prior,
    in_box,
    simota_cost,
)
from yolox.boxes import cxcywh_to_xyxy, pairwise_iou, xywh_to_xyxy, xyxy_to_cxcywh
from yolox.config import AssignConfig
from yolox.decode import decode_boxes, encode_boxes, make_points

ANY_BOX = AssignConfig(prior="box_and_center")


@ms.jit
def _parts(boxes, obj, cls, points, strides, gt_boxes, gt_classes, valid):
    prior, candidate = geometry_prior(points, strides, gt_boxes, valid, config=AssignConfig())
    inside, in_any = geometry_prior(points, strides, gt_boxes, valid, config=ANY_BOX)
    iou = pairwise_iou(gt_boxes, boxes)
    cost = simota_cost(class_cost(*class_terms(obj, cls), gt_classes), iou, prior, config=AssignConfig())
    match = dynamic_k_matching(cost, iou, valid=valid, candidate=candidate)
    k = dynamic_k(iou, candidate=candidate)
    tables = (prior, inside, in_box(points, gt_boxes), iou, cost, match)
    return tables, (candidate, in_any), (pairwise_iou(boxes, gt_boxes), k)


@ms.jit
def _rows(gt_boxes, rows, points, strides, matched_gt, index, gt_classes):
    converted = (cxcywh_to_xyxy(gt_boxes), xyxy_to_cxcywh(gt_boxes), xywh_to_xyxy(gt_boxes))
    coded = (encode_boxes(rows, points, strides), decode_boxes(rows, points, strides))
    return converted, coded, gather_matched(matched_gt, index, gt_boxes, gt_classes)


def _empty(*shape, dtype=np.float32) -> Tensor:
    return Tensor(np.zeros(shape, dtype))


def test_parts_of_the_assignment_take_zero_rows():
    points, strides = (Tensor(part) for part in make_points((32, 32), (8, 16, 32)))
    count = points.shape[0]
    gts = (_empty(2, 0, 4), _empty(2, 0, dtype=np.int32), _empty(2, 0, dtype=bool))
    predictions = (_empty(2, count, 4), _empty(2, count), _empty(2, count, 3))
    for run in (_parts, _parts.__wrapped__):
        tables, masks, rest = run(*predictions, points, strides, *gts)
        assert [table.shape for table in tables] == [(2, 0, count)] * 6
        assert not any(mask.asnumpy().any() for mask in masks)  # uninitialised memory otherwise
        assert [part.shape for part in rest] == [(2, count, 0), (2, 0)]


def test_conversions_and_gathered_rows_take_zero_rows():
    matched_gt, index = Tensor(np.full((2, 5), -1, np.int32)), Tensor(np.arange(3, dtype=np.int32))
    arguments = (_empty(2, 0, 4), _empty(0, 4), _empty(0, 2), _empty(0), matched_gt, index, _empty(2, 0, dtype=np.int32))
    for run in (_rows, _rows.__wrapped__):
        converted, coded, (boxes, classes) = run(*arguments)
        assert [part.shape for part in (*converted, *coded)] == [(2, 0, 4)] * 3 + [(0, 4)] * 2
        assert boxes.asnumpy().tolist() == [[0.0] * 4] * 3 and classes.asnumpy().tolist() == [0] * 3
