"""SimOTA: the ground truth of each point, over whole tables or over candidate points and valid rows only."""

import mindspore as ms
from mindspore import Tensor, ops

from yolox.assign.cost import class_cost, class_terms, simota_cost
from yolox.assign.geometry import geometry_prior
from yolox.assign.matching import NEVER, dynamic_k, dynamic_k_matching, select_k_lowest
from yolox.boxes import cxcywh_to_xyxy, elementwise_iou, pairwise_iou
from yolox.config import AssignConfig
from yolox.errors import check_last_dim, check_rank
from yolox.graph import constant_arange, materialize, with_gt_row

CHUNK = 8
"""Ground truths of an image in one turn of the loop; a loop ends after the last chunk that holds a valid one."""
FEW_POINTS = 512
"""Where no image has more candidate points than this, only so many are looked at, else all."""


def simota_assign(
    pred_boxes: Tensor,
    obj_logits: Tensor,
    cls_logits: Tensor,
    points: Tensor,
    point_strides: Tensor,
    gt_boxes: Tensor,
    gt_classes: Tensor,
    valid: Tensor,
    *,
    config: AssignConfig = AssignConfig(),
) -> tuple[Tensor, Tensor]:  # [B,P,4],[B,P],[B,P,C],[P,2],[P],[B,G,4],[B,G],[B,G] -> [B,P],[B,P]
    """Computes the ground truth of each point.

    Call it with the current predictions of any one-stage detector that predicts one box a point. It computes on
    ``[B, G, P]`` tables without loops over images; `simota_assign_gathered` returns the same result with less work.

    Args:
        pred_boxes: ``[B, P, 4]`` float32 cxcywh in pixels.
        obj_logits: ``[B, P]`` float32 before the sigmoid.
        cls_logits: ``[B, P, C]`` float32 before the sigmoid.
        points: ``[P, 2]`` float32 x, y in pixels.
        point_strides: ``[P]`` float32 in pixels.
        gt_boxes: ``[B, G, 4]`` float32 xyxy in pixels, any values in padding; G may be 0.
        gt_classes: ``[B, G]`` int32 in [0, C).
        valid: ``[B, G]`` bool, False for padding.
        config: numbers of the assignment.

    Returns:
        matched_gt: ``[B, P]`` int32, index of the ground truth, -1 where there is none. Never a row of padding.
        matched_iou: ``[B, P]`` float32, IoU of the predicted box and its ground truth, 0 where there is none.
        No gradient flows through either.

    Raises:
        ValueError: if the shapes do not fit.

    Source: Ge et al., YOLOX (arXiv:2107.08430), section 2.1; details as in Megvii's code of 2022.

    Example:
        >>> matched_gt, iou = simota_assign(
        ...     Tensor([[[4.0, 4.0, 8.0, 8.0], [60.0, 4.0, 8.0, 8.0]]]), Tensor([[0.0, 0.0]]), Tensor([[[0.0], [0.0]]]),
        ...     Tensor([[4.0, 4.0], [60.0, 4.0]]), Tensor([8.0, 8.0]),
        ...     Tensor([[[0.0, 0.0, 8.0, 8.0]]]), Tensor([[0]]), Tensor([[True]]))
        >>> matched_gt.asnumpy().tolist(), iou.asnumpy().tolist()
        ([[0, -1]], [[1.0, 0.0]])
    """
    _check_shapes("simota_assign", pred_boxes, obj_logits, cls_logits, points, gt_boxes, gt_classes, valid)
    gt_boxes, gt_classes, valid = with_gt_row(gt_boxes, gt_classes, valid)
    boxes = cxcywh_to_xyxy(ops.stop_gradient(pred_boxes).astype(ms.float32))
    background, swap = class_terms(
        ops.stop_gradient(obj_logits).astype(ms.float32), ops.stop_gradient(cls_logits).astype(ms.float32)
    )
    prior, candidate = geometry_prior(points, point_strides, gt_boxes, valid, config=config)
    iou = pairwise_iou(gt_boxes, boxes)
    cost = simota_cost(class_cost(background, swap, gt_classes), iou, prior, config=config)
    match = dynamic_k_matching(cost, iou, valid=valid, candidate=candidate, top_k=config.top_k)
    return ops.stop_gradient(_matched_rows(match)), ops.stop_gradient((iou * match.astype(iou.dtype)).sum(1))


def _matched_rows(match: Tensor) -> Tensor:  # [B,G,P] -> [B,P]
    rows = (constant_arange(match.shape[1]) + 1).reshape(1, -1, 1)
    return (match.astype(ms.int32) * rows).sum(1).astype(ms.int32) - 1


def simota_assign_gathered(
    pred_boxes: Tensor,
    obj_logits: Tensor,
    cls_logits: Tensor,
    points: Tensor,
    point_strides: Tensor,
    gt_boxes: Tensor,
    gt_classes: Tensor,
    valid: Tensor,
    *,
    config: AssignConfig = AssignConfig(),
) -> tuple[Tensor, Tensor]:  # [B,P,4],[B,P],[B,P,C],[P,2],[P],[B,G,4],[B,G],[B,G] -> [B,P],[B,P]
    """Computes the ground truth of each point, in time that follows the number of ground truths.

    Use it in place of `simota_assign` where the loop costs less than the tables: on CPUs always. Both the points
    that are no candidates and the rows that are padding are left out; shapes stay static, how often the
    loops turn depends on the ground truths.

    Args:
        pred_boxes: ``[B, P, 4]`` float32 cxcywh in pixels.
        obj_logits: ``[B, P]`` float32 before the sigmoid.
        cls_logits: ``[B, P, C]`` float32 before the sigmoid.
        points: ``[P, 2]`` float32 x, y in pixels.
        point_strides: ``[P]`` float32 in pixels.
        gt_boxes: ``[B, G, 4]`` float32 xyxy in pixels, any values in padding; G may be 0.
        gt_classes: ``[B, G]`` int32 in [0, C).
        valid: ``[B, G]`` bool, False for padding; fastest with the valid rows first.
        config: numbers of the assignment.

    Returns:
        matched_gt ``[B, P]`` int32 and matched_iou ``[B, P]`` float32, as `simota_assign` returns them.

    Raises:
        ValueError: if the shapes do not fit.

    Source: as `simota_assign`. That few points can become positive follows from the centre prior.

    Example:
        >>> matched_gt, iou = simota_assign_gathered(
        ...     Tensor([[[4.0, 4.0, 8.0, 8.0], [60.0, 4.0, 8.0, 8.0]]]), Tensor([[0.0, 0.0]]), Tensor([[[0.0], [0.0]]]),
        ...     Tensor([[4.0, 4.0], [60.0, 4.0]]), Tensor([8.0, 8.0]),
        ...     Tensor([[[0.0, 0.0, 8.0, 8.0]]]), Tensor([[0]]), Tensor([[True]]))
        >>> matched_gt.asnumpy().tolist(), iou.asnumpy().tolist()
        ([[0, -1]], [[1.0, 0.0]])
    """
    _check_shapes("simota_assign_gathered", pred_boxes, obj_logits, cls_logits, points, gt_boxes, gt_classes, valid)
    gt_boxes, gt_classes, valid = with_gt_row(gt_boxes, gt_classes, valid)
    boxes = cxcywh_to_xyxy(ops.stop_gradient(pred_boxes).astype(ms.float32))
    obj_logits = materialize(ops.stop_gradient(obj_logits).astype(ms.float32))
    cls_logits = materialize(ops.stop_gradient(cls_logits).astype(ms.float32))
    points, point_strides = materialize(points), materialize(point_strides)
    gts = _in_chunks(materialize(gt_boxes), materialize(gt_classes), valid)
    candidate = _candidates(points, point_strides, gts, config)
    predictions = (boxes, obj_logits, cls_logits, points, point_strides)
    matched_gt, matched_iou = _match_points(predictions, candidate, gts, config)
    return ops.stop_gradient(matched_gt), ops.stop_gradient(matched_iou)


def _in_chunks(gt_boxes: Tensor, gt_classes: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pads rows to whole chunks, and counts the rows up to the last valid one of any image."""
    extra = -valid.shape[1] % CHUNK
    rows = constant_arange(valid.shape[1]) + 1
    count = (valid.astype(ms.int32) * rows).max()
    if extra > 0:
        batch = valid.shape[0]
        gt_boxes = ops.cat((gt_boxes, ops.zeros((batch, extra, 4), gt_boxes.dtype)), axis=1)
        gt_classes = ops.cat((gt_classes, ops.zeros((batch, extra), gt_classes.dtype)), axis=1)
        valid = ops.cat((valid, ops.zeros((batch, extra), ms.bool_)), axis=1)
    return gt_boxes, gt_classes, valid.astype(ms.int32), count


def _chunk(gts, start):  # -> [B,CHUNK,4],[B,CHUNK],[B,CHUNK]
    index = constant_arange(CHUNK) + start
    gt_boxes, gt_classes, valid, _ = gts
    return ops.gather(gt_boxes, index, 1), ops.gather(gt_classes, index, 1), ops.gather(valid, index, 1) > 0


def _candidates(points, point_strides, gts, config):  # -> [B,P]
    """Returns the candidate points of all ground truths, chunk by chunk."""
    start = ops.zeros((), ms.int32)
    found = ops.zeros((gts[0].shape[0], points.shape[0]), ms.bool_)
    while start < gts[3]:
        gt_boxes, _, valid = _chunk(gts, start)
        _, candidate = geometry_prior(points, point_strides, gt_boxes, valid, config=config)
        found = ops.logical_or(found, candidate)
        start = start + CHUNK
    return found


def _match_points(predictions, candidate, gts, config):  # -> [B,P],[B,P]
    """Matches among few points where that is enough."""
    if candidate.shape[1] <= FEW_POINTS:
        return _assign_all(predictions, candidate, gts, config)
    seen = ops.cumsum(candidate.astype(ms.float32), -1)
    if seen[:, -1].max() <= FEW_POINTS:
        matched_gt, matched_iou = _assign_few(predictions, candidate, seen, gts, config)
    else:
        matched_gt, matched_iou = _assign_all(predictions, candidate, gts, config)
    return matched_gt, matched_iou


def _assign_few(predictions, candidate, seen, gts, config):  # -> [B,P],[B,P]
    """Matches among the first `FEW_POINTS` candidates of each image and scatters the result to all points."""
    boxes, obj_logits, cls_logits, points, point_strides = predictions
    batch, count = candidate.shape
    few = min(FEW_POINTS, count)
    column, present = _first(seen, few)
    index = (column + ops.expand_dims(constant_arange(batch) * count, -1)).reshape(-1)
    terms = class_terms(
        ops.gather(obj_logits.reshape(-1), index, 0).reshape(batch, few),
        ops.gather(cls_logits.reshape(batch * count, -1), index, 0).reshape(batch, few, -1),
    )
    boxes = ops.gather(boxes.reshape(-1, 4), index, 0).reshape(batch, few, 4)
    places = (ops.gather(points, column, 0), ops.gather(point_strides, column, 0))
    matched_gt, matched_iou = _assign(boxes, terms, places, present, gts, config)
    slot = ops.clamp(seen.astype(ms.int32) - 1, min=0, max=few - 1)
    matched_gt = ops.where(candidate, ops.gather_elements(matched_gt, 1, slot), -1)
    return matched_gt, ops.where(candidate, ops.gather_elements(matched_iou, 1, slot), 0.0)


def _first(seen, few):  # [B,P] -> [B,few],[B,few]
    """Returns the columns of the first candidates, from the number of candidates seen up to each point."""
    wanted = constant_arange(few, "float32") + 1.0
    wanted = ops.broadcast_to(ops.expand_dims(wanted, 0), (seen.shape[0], few))
    column = ops.clamp(ops.searchsorted(seen, wanted).astype(ms.int32), max=seen.shape[1] - 1)
    return column, wanted <= seen[:, -1:]


def _assign_all(predictions, candidate, gts, config):  # -> [B,P],[B,P]
    """Matches among all points."""
    boxes, obj_logits, cls_logits, points, point_strides = predictions
    return _assign(boxes, class_terms(obj_logits, cls_logits), (points, point_strides), candidate, gts, config)


def _assign(boxes, terms, places, candidate, gts, config):  # -> [B,P],[B,P]
    """Matches chunk by chunk, keeps the number of matches and the lowest cost at each point, then resolves conflicts."""
    shape = candidate.shape
    start = ops.zeros((), ms.int32)
    num_matches, matched_row = ops.zeros(shape, ms.float32), ops.zeros(shape, ms.int32)
    lowest, cheapest = ops.full(shape, NEVER, dtype=ms.float32), ops.zeros(shape, ms.int32)
    while start < gts[3]:
        cost, selected = _chunk_costs(boxes, terms, places, candidate, _chunk(gts, start), config)
        here = (constant_arange(CHUNK) + start).reshape(1, -1, 1)
        num_matches = num_matches + selected.astype(ms.float32).sum(1)
        matched_row = matched_row + (selected.astype(ms.int32) * here).sum(1).astype(ms.int32)
        best = cost.min(axis=1)
        index = ops.argmin(cost, axis=1).astype(ms.int32) + start
        cheapest = ops.where(best < lowest, index, cheapest)
        lowest = ops.minimum(best, lowest)
        start = start + CHUNK
    matched_gt = ops.where(num_matches > 1, cheapest, ops.where(num_matches > 0, matched_row, -1))
    return matched_gt, _matched_iou(boxes, gts[0], matched_gt)


def _chunk_costs(boxes, terms, places, candidate, chunk, config):  # -> [B,CHUNK,P],[B,CHUNK,P]
    gt_boxes, gt_classes, valid = chunk
    prior, _ = geometry_prior(*places, gt_boxes, valid, config=config)
    iou = pairwise_iou(gt_boxes, boxes)
    cost = simota_cost(class_cost(*terms, gt_classes), iou, prior, config=config)
    cost = ops.where(ops.logical_and(ops.expand_dims(valid, -1), ops.expand_dims(candidate, 1)), cost, NEVER)
    k = dynamic_k(iou, candidate=candidate, top_k=config.top_k)
    return cost, select_k_lowest(cost, k, top_k=config.top_k)


def _matched_iou(boxes, gt_boxes, matched_gt):  # [B,P,4],[B,G,4],[B,P] -> [B,P]
    first = ops.expand_dims(constant_arange(matched_gt.shape[0]) * gt_boxes.shape[1], -1)
    gts = ops.gather(gt_boxes.reshape(-1, 4), ops.clamp(matched_gt, min=0) + first, 0)
    return elementwise_iou(gts, boxes) * (matched_gt >= 0).astype(ms.float32)


def _check_shapes(function, pred_boxes, obj_logits, cls_logits, points, gt_boxes, gt_classes, valid) -> None:
    """Raises ValueError with what came and what was wanted unless predictions and ground truths fit together.

    Args:
        function: name of the function that checks, for the message.
        pred_boxes: want [B,P,4].
        obj_logits: want [B,P].
        cls_logits: want [B,P,C].
        points: want [P,2].
        gt_boxes: want [B,G,4].
        gt_classes: want [B,G].
        valid: want [B,G].

    Raises:
        ValueError: the first of these that does not fit, with its shape.
    """
    check_rank(function, "pred_boxes", pred_boxes.shape, "B,P,4")
    check_last_dim(function, "pred_boxes", pred_boxes.shape, 4)
    check_rank(function, "cls_logits", cls_logits.shape, "B,P,C")
    check_rank(function, "gt_boxes", gt_boxes.shape, "B,G,4")
    batch, count = pred_boxes.shape[0], pred_boxes.shape[1]
    if obj_logits.shape != (batch, count) or cls_logits.shape[:2] != (batch, count) or points.shape != (count, 2):
        raise ValueError(
            f"{function}: pred_boxes {pred_boxes.shape}, obj_logits {obj_logits.shape}, cls_logits {cls_logits.shape}, "
            f"points {points.shape}, want the same B and P"
        )
    if gt_classes.shape != gt_boxes.shape[:2] or valid.shape != gt_boxes.shape[:2] or gt_boxes.shape[0] != batch:
        raise ValueError(
            f"{function}: gt_boxes {gt_boxes.shape}, gt_classes {gt_classes.shape}, valid {valid.shape}, "
            f"want [{batch},G,4], [{batch},G], [{batch},G]"
        )
