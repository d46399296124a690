"""SimOTA over whole images at once: the ground truth of each point."""

import mindspore as ms
from mindspore import Tensor, ops

from yolox.assign.cost import class_cost, class_terms, simota_cost
from yolox.assign.geometry import geometry_prior
from yolox.assign.matching import dynamic_k_matching
from yolox.boxes import cxcywh_to_xyxy, pairwise_iou
from yolox.config import AssignConfig
from yolox.errors import check_last_dim, check_rank
from yolox.graph import constant_arange, with_gt_row


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
    check_assign_shapes("simota_assign", pred_boxes, obj_logits, cls_logits, points, gt_boxes, gt_classes, valid)
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


def check_assign_shapes(function, pred_boxes, obj_logits, cls_logits, points, gt_boxes, gt_classes, valid) -> None:
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
