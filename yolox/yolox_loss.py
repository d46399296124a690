"""The training loss: assignment, targets and the sum of box, objectness, class and L1 losses."""

from collections.abc import Callable

import mindspore as ms
from mindspore import Tensor, ops
from mindspore.ops import constexpr

from yolox.assign.simota import simota_assign_gathered
from yolox.assign.targets import cls_targets, gather_matched, obj_targets, positive_rows
from yolox.boxes import cxcywh_to_xyxy, elementwise_iou, xyxy_to_cxcywh
from yolox.config import AssignConfig, LossConfig
from yolox.decode import decode_boxes, encode_boxes, flatten_levels, make_points, split_predictions
from yolox.errors import check_rank
from yolox.graph import materialize, with_gt_row
from yolox.losses import binary_cross_entropy_with_logits, iou_loss, l1_loss

USUAL_POSITIVES = 128
"""Positive points of an image that the faster branch can hold, on average over the batch."""


def iou_box_loss(boxes: Tensor, gt_boxes: Tensor) -> Tensor:  # xyxy [N,4],[N,4] -> [N]
    """Computes ``1 - IoU**2`` of boxes and their ground truth: the default `box_loss` of `detection_loss`.

    Args:
        boxes: ``[N, 4]`` float32 xyxy in pixels, predictions.
        gt_boxes: ``[N, 4]`` float32 xyxy in pixels.

    Returns:
        ``[N]`` float32 in [0, 1].

    Source: as `yolox.losses.iou_loss`.

    Example:
        >>> iou_box_loss(Tensor([[0.0, 0.0, 4.0, 4.0]]), Tensor([[0.0, 0.0, 4.0, 2.0]])).asnumpy().tolist()
        [0.75]
    """
    return iou_loss(elementwise_iou(boxes, gt_boxes))


def detection_loss(
    maps: tuple[Tensor, ...],
    gt_boxes: Tensor,
    gt_classes: Tensor,
    valid: Tensor,
    l1_weight: Tensor,
    *,
    strides: tuple[int, ...] = (8, 16, 32),
    assign: AssignConfig = AssignConfig(),
    loss: LossConfig = LossConfig(),
    assign_fn: Callable = simota_assign_gathered,
    box_loss: Callable = iou_box_loss,
    cls_loss: Callable = binary_cross_entropy_with_logits,
    reduce_num_pos: Callable | None = None,
) -> tuple[Tensor, dict[str, Tensor], Tensor]:  # ([B,5+C,H,W], ...),[B,G,4],[B,G],[B,G],[] -> [],{[]},[]
    """Computes the loss of raw head maps: assignment, targets, and the weighted sum of four losses.

    This is the whole loss of a training step; differentiate it with respect to the parameters that made `maps`.

    Args:
        maps: one ``[B, 5 + C, H, W]`` tensor a level, finest first, any float dtype; computed on in float32.
        gt_boxes: ``[B, G, 4]`` float32 xyxy in pixels of the network input; G may be 0.
        gt_classes: ``[B, G]`` int32 in [0, C).
        valid: ``[B, G]`` bool, False for padding.
        l1_weight: float32 scalar; 0 leaves the L1 loss out without another compilation, 1 is the usual on.
        strides: pixels between points, a number for each map.
        assign: numbers of the assignment.
        loss: weights of the losses, and of the classes in that of the classes.
        assign_fn: assigns ground truths to points: `simota_assign_gathered`, `simota_assign` (the same result from
            dense ``[B, G, P]`` tables, without a loop), or your own function of the same signature.
        box_loss: function of predicted and ground-truth boxes, both ``[N, 4]`` float32 xyxy in pixels, to ``[N]``
            losses, unreduced. N is a fixed capacity: rows beyond the positives hold filler whose loss is masked out,
            so that the function must be finite for any two boxes.
        cls_loss: function of logits ``[N, C]`` and targets ``[N, C]`` (one-hot times IoU) to ``[N, C]`` losses.
        reduce_num_pos: function of the number of positives to the divisor of the sums, such as a mean over
            devices (see `yolox.distributed.positives_reducer`); None takes max(num_pos, 1).

    Returns:
        total: float32 scalar, the sum of `losses`.
        losses: dict of float32 scalars ``{"iou", "obj", "cls", "l1"}``, weighted and divided by the divisor. "iou" is
            that of `box_loss`. Images without ground truth contribute objectness only.
        num_pos: float32 scalar, number of positive points of the batch.

    Raises:
        ValueError: if maps, strides and ground truths do not fit together.

    Source: Ge et al., YOLOX (arXiv:2107.08430), section 2.1, weights of Megvii's code.

    Example:
        >>> maps = tuple(ops.zeros((1, 6, size, size), ms.float32) for size in (4, 2, 1))
        >>> total, losses, num_pos = detection_loss(
        ...     maps, Tensor([[[4.0, 4.0, 20.0, 20.0]]]), Tensor([[0]]), Tensor([[True]]), Tensor(0.0))
        >>> list(losses), num_pos.item()
        (['iou', 'obj', 'cls', 'l1'], 1.0)
    """
    _check_levels(maps, strides)
    gt_boxes, gt_classes, valid = with_gt_row(gt_boxes, gt_classes, valid)
    size = (maps[0].shape[2] * strides[0], maps[0].shape[3] * strides[0])
    points, point_strides = _constant_points(size, strides)
    raw = flatten_levels(maps).astype(ms.float32)
    fixed = ops.stop_gradient(raw)
    _, obj_logits, cls_logits = split_predictions(fixed)
    boxes = decode_boxes(fixed, points, point_strides)
    matched_gt, matched_iou = assign_fn(
        boxes, obj_logits, cls_logits, points, point_strides, gt_boxes, gt_classes, valid, config=assign
    )
    obj = binary_cross_entropy_with_logits(raw[..., 4], obj_targets(matched_gt)).sum()
    matched = (matched_gt, matched_iou, gt_boxes, gt_classes, points, point_strides)
    settings = (decode_boxes, box_loss, cls_loss, loss.class_weights)
    iou, cls, l1 = _positive_sums(raw, matched, settings, capacity=assign.top_k * valid.shape[1])
    return _weighted((iou, obj, cls, l1 * l1_weight), matched_gt, loss, reduce_num_pos)


def decoded_loss(
    decoded: Tensor,
    points: Tensor,
    point_strides: Tensor,
    gt_boxes: Tensor,
    gt_classes: Tensor,
    valid: Tensor,
    *,
    assign: AssignConfig = AssignConfig(),
    loss: LossConfig = LossConfig(),
    assign_fn: Callable = simota_assign_gathered,
    box_loss: Callable = iou_box_loss,
    cls_loss: Callable = binary_cross_entropy_with_logits,
    reduce_num_pos: Callable | None = None,
) -> tuple[Tensor, dict[str, Tensor], Tensor]:  # [B,P,5+C],[P,2],[P],[B,G,4],[B,G],[B,G] -> [],{[]},[]
    """Computes the loss of decoded predictions, for detectors that decode boxes in another way than `decode_boxes`.

    Args:
        decoded: ``[B, P, 5 + C]`` float32: cxcywh in pixels, objectness and classes before the sigmoid.
        points: ``[P, 2]`` float32 x, y in pixels.
        point_strides: ``[P]`` float32 in pixels.
        gt_boxes: ``[B, G, 4]`` float32 xyxy in pixels; G may be 0.
        gt_classes: ``[B, G]`` int32 in [0, C).
        valid: ``[B, G]`` bool, False for padding.
        assign: numbers of the assignment.
        loss: weights of the losses, and of the classes in that of the classes.
        assign_fn: as in `detection_loss`.
        box_loss: as in `detection_loss`.
        cls_loss: as in `detection_loss`.
        reduce_num_pos: as in `detection_loss`.

    Returns:
        total, losses and num_pos as `detection_loss` returns them; "l1" is 0, as there is no raw box output.

    Raises:
        ValueError: if predictions, points and ground truths do not fit together.

    Source: as `detection_loss`.

    Example:
        >>> decoded = Tensor([[[4.0, 4.0, 8.0, 8.0, 0.0, 0.0]]])
        >>> total, losses, num_pos = decoded_loss(decoded, Tensor([[4.0, 4.0]]), Tensor([8.0]),
        ...                                       Tensor([[[0.0, 0.0, 8.0, 8.0]]]), Tensor([[0]]), Tensor([[True]]))
        >>> {name: round(value.item(), 4) for name, value in losses.items()}
        {'iou': 0.0, 'obj': 0.6931, 'cls': 0.6931, 'l1': 0.0}
    """
    gt_boxes, gt_classes, valid = with_gt_row(gt_boxes, gt_classes, valid)
    decoded = materialize(decoded)  # a view would be misread inside the branches of _positive_sums
    boxes, obj_logits, cls_logits = split_predictions(ops.stop_gradient(decoded))
    matched_gt, matched_iou = assign_fn(
        boxes, obj_logits, cls_logits, points, point_strides, gt_boxes, gt_classes, valid, config=assign
    )
    obj = binary_cross_entropy_with_logits(decoded[..., 4], obj_targets(matched_gt)).sum()
    matched = (matched_gt, matched_iou, gt_boxes, gt_classes, points, point_strides)
    settings = (_decoded_boxes, box_loss, cls_loss, loss.class_weights)
    iou, cls, _ = _positive_sums(decoded, matched, settings, capacity=assign.top_k * valid.shape[1])
    return _weighted((iou, obj, cls, ops.zeros_like(obj)), matched_gt, loss, reduce_num_pos)


@constexpr
def _constant_points(size, strides):  # -> [P,2],[P]
    """Makes the points while the graph is compiled, where the size of the maps is known; eagerly at each call."""
    points, point_strides = make_points(size, strides)
    return Tensor(points), Tensor(point_strides)


def _decoded_boxes(predictions, points, point_strides):  # [N,5+C],[N,2],[N] -> [N,4]
    return predictions[:, :4]


def _positive_sums(predictions, matched, settings, *, capacity):  # [B,P,5+C] -> [],[],[]
    """Sums the losses of boxes and classes over positive points, in few rows where these are enough.

    Up to `capacity` points of an image can be positive, yet a hundred are usual: the branch for these takes a quarter
    of the time. Both branches compute the same sums and gradients.
    """
    matched_gt, matched_iou, gt_boxes, gt_classes, points, point_strides = matched
    matched = (matched_gt, matched_iou, materialize(gt_boxes), materialize(gt_classes), points, point_strides)
    batch, count = matched_gt.shape
    few, most = USUAL_POSITIVES * batch, min(capacity, count) * batch
    if most <= few:
        return _sums(predictions, matched, settings, most)
    if obj_targets(matched_gt).sum() <= few:
        iou, cls, l1 = _sums(predictions, matched, settings, few)
    else:
        iou, cls, l1 = _sums(predictions, matched, settings, most)
    return iou, cls, l1


def _sums(predictions, matched, settings, capacity):  # [B,P,5+C] -> [],[],[]
    matched_gt, matched_iou, gt_boxes, gt_classes, points, point_strides = matched
    decode, box_loss, cls_loss, class_weights = settings
    index, present = positive_rows(matched_gt, capacity=capacity)
    rows = ops.gather(predictions.reshape(-1, predictions.shape[-1]), index, 0)
    # Zeros and unit boxes in rows without a positive point: 0 times an overflow would be NaN.
    rows = ops.where(ops.expand_dims(present, -1), rows, 0.0)
    row_boxes, row_classes = gather_matched(matched_gt, index, gt_boxes, gt_classes)
    row_boxes = ops.where(ops.expand_dims(present, -1), row_boxes, Tensor([0.0, 0.0, 1.0, 1.0], ms.float32))
    column = index % matched_gt.shape[1]
    row_points, row_strides = ops.gather(points, column, 0), ops.gather(point_strides, column, 0)
    boxes = cxcywh_to_xyxy(decode(rows, row_points, row_strides))
    row_iou = ops.gather(matched_iou.reshape(-1), index, 0)
    targets = cls_targets(row_classes, row_iou, num_classes=rows.shape[-1] - 5)
    raw_targets = encode_boxes(xyxy_to_cxcywh(row_boxes), row_points, row_strides)
    weight = present.astype(ms.float32)
    iou = (box_loss(boxes, row_boxes) * weight).sum()
    cls_weight = weight if len(class_weights) == 0 else weight * ops.gather(Tensor(class_weights, ms.float32), row_classes, 0)
    cls = (cls_loss(rows[:, 5:], targets).sum(-1) * cls_weight).sum()
    l1 = (l1_loss(rows[:, :4], raw_targets).sum(-1) * weight).sum()
    return iou, cls, l1


def _weighted(sums, matched_gt, loss, reduce_num_pos):
    """Divides the sums by the number of positives and weights them."""
    num_pos = obj_targets(matched_gt).sum()
    divisor = ops.clamp(num_pos, min=1.0) if reduce_num_pos is None else reduce_num_pos(num_pos)
    iou, obj, cls, l1 = (part / divisor for part in sums)
    iou, obj, cls = iou * loss.loss_iou_weight, obj * loss.loss_obj_weight, cls * loss.loss_cls_weight
    return iou + obj + cls + l1, {"iou": iou, "obj": obj, "cls": cls, "l1": l1}, num_pos


def _check_levels(maps, strides) -> None:
    """Raises ValueError unless every map is [B,5+C,H,W] with sizes in the ratio of the strides."""
    if len(maps) != len(strides):
        raise ValueError(f"detection_loss: got {len(maps)} maps and {len(strides)} strides, want as many")
    height, width = maps[0].shape[2] * strides[0], maps[0].shape[3] * strides[0]
    for level, stride in zip(maps, strides):  # noqa: B905 (graph code has no strict)
        check_rank("detection_loss", "map", level.shape, "B,5+C,H,W")
        if (level.shape[2] * stride, level.shape[3] * stride) != (height, width):
            raise ValueError(
                f"detection_loss: a map of stride {stride} has shape {level.shape}, want "
                f"{height // stride} x {width // stride} cells"
            )
