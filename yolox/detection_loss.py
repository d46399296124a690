"""The training loss: assignment, targets and the sum of box, objectness, class and L1 losses."""

from collections.abc import Callable
from typing import NamedTuple

import mindspore as ms
from mindspore import Tensor, ops
from mindspore.ops import constexpr

from yolox.assign.gathered import simota_assign_gathered
from yolox.assign.targets import cls_targets, obj_targets, positive_rows, truths_of
from yolox.boxes import cxcywh_to_xyxy, elementwise_iou, xyxy_to_cxcywh
from yolox.checks import check_rank
from yolox.config import AssignConfig, LossConfig
from yolox.decode import decode_boxes, encode_boxes, flatten_levels, split_predictions
from yolox.graph import materialize
from yolox.losses import binary_cross_entropy_with_logits, iou_loss, l1_loss
from yolox.points import make_points

USUAL_POSITIVES = 128
"""Positive points of an image that the faster branch has room for, on average over the batch."""


class Losses(NamedTuple):
    """Names for what `detection_loss` returns, for use outside the graph: ``Losses(total, *parts)``."""

    total: Tensor
    iou: Tensor
    obj: Tensor
    cls: Tensor
    l1: Tensor
    num_pos: Tensor


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
    reduce_num_pos: Callable | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:  # ([B,5+C,H,W], ...),[B,G,4],[B,G],[B,G],[] -> [],([],[],[],[],[])
    """Measure how far raw head maps are from the truths.

    This is the whole loss of a training step; differentiate it on the parameters that made `maps`.

    Args:
        maps: one ``[B, 5 + C, H, W]`` tensor a level, finest first, any float dtype; computed on in float32.
        gt_boxes: ``[B, G, 4]`` float32 xyxy in pixels of the network input.
        gt_classes: ``[B, G]`` int32 in [0, C).
        valid: ``[B, G]`` bool, False for padding.
        l1_weight: float32 scalar; 0 leaves the L1 loss out without another compilation, 1 is the usual on.
        strides: pixels between points, a number for each map.
        assign: the rule of assignment.
        loss: the weights.
        assign_fn: what decides the owners: `simota_assign_gathered`, `simota_assign` (the same owners from whole
            tables, without a loop), or your own function of the same signature.
        reduce_num_pos: function of the number of positives to what the sums are divided by, such as a mean over
            devices (see `yolox.distributed.positives_reducer`); None takes max(num_pos, 1).

    Returns:
        total: float32 scalar.
        parts: ``(iou, obj, cls, l1, num_pos)`` float32 scalars, the first four weighted: they add up to the total.
        Images without truths contribute objectness only. Everything is divided by max(num_pos, 1) of the batch,
            or what `reduce_num_pos` makes of it.

    Raises:
        ValueError: if maps, strides and truths do not fit together.

    Source: Ge et al., YOLOX (arXiv:2107.08430), section 2.1, weights of Megvii's code.

    Example:
        >>> maps = tuple(ops.zeros((1, 6, size, size), ms.float32) for size in (4, 2, 1))
        >>> total, parts = detection_loss(maps, Tensor([[[4.0, 4.0, 20.0, 20.0]]]), Tensor([[0]]), Tensor([[True]]),
        ...                               Tensor(0.0))
        >>> Losses(total, *parts).num_pos.item()
        1.0
    """
    _check_levels(maps, strides)
    size = (maps[0].shape[2] * strides[0], maps[0].shape[3] * strides[0])
    points, point_strides = _constant_points(size, strides)
    raw = flatten_levels(maps).astype(ms.float32)
    fixed = ops.stop_gradient(raw)
    _, obj_logits, cls_logits = split_predictions(fixed)
    boxes = decode_boxes(fixed, points, point_strides)
    owner, matched_iou = assign_fn(
        boxes, obj_logits, cls_logits, points, point_strides, gt_boxes, gt_classes, valid, config=assign
    )
    obj = binary_cross_entropy_with_logits(raw[..., 4], obj_targets(owner)).sum()
    matched = (owner, matched_iou, gt_boxes, gt_classes, points, point_strides)
    iou, cls, l1 = _positive_sums(raw, matched, decode_boxes, most=assign.top_k * valid.shape[1])
    return _normalize((iou, obj, cls, l1 * l1_weight), owner, loss, reduce_num_pos)


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
    reduce_num_pos: Callable | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:  # [B,P,5+C],[P,2],[P],[B,G,4],[B,G],[B,G] -> [],([],[],[],[],[])
    """Measure how far decoded predictions are from the truths.

    The loss for detectors that decode boxes in another way than `decode_boxes`. It has no L1 part.

    Args:
        decoded: ``[B, P, 5 + C]`` float32: cxcywh in pixels, objectness and classes before the sigmoid.
        points: ``[P, 2]`` float32 x, y in pixels.
        point_strides: ``[P]`` float32 in pixels.
        gt_boxes: ``[B, G, 4]`` float32 xyxy in pixels.
        gt_classes: ``[B, G]`` int32 in [0, C).
        valid: ``[B, G]`` bool, False for padding.
        assign: the rule of assignment.
        loss: the weights.
        assign_fn: what decides the owners, as in `detection_loss`.
        reduce_num_pos: as in `detection_loss`.

    Returns:
        total and ``(iou, obj, cls, l1, num_pos)`` as `detection_loss` gives them; l1 is 0.

    Raises:
        ValueError: if predictions, points and truths do not fit together.

    Source: as `detection_loss`.

    Example:
        >>> decoded = Tensor([[[4.0, 4.0, 8.0, 8.0, 0.0, 0.0]]])
        >>> total, parts = decoded_loss(decoded, Tensor([[4.0, 4.0]]), Tensor([8.0]),
        ...                             Tensor([[[0.0, 0.0, 8.0, 8.0]]]), Tensor([[0]]), Tensor([[True]]))
        >>> [round(part.item(), 4) for part in parts]
        [0.0, 0.6931, 0.6931, 0.0, 1.0]
    """
    decoded = materialize(decoded)  # a view would be misread inside the branches of _positive_sums
    boxes, obj_logits, cls_logits = split_predictions(ops.stop_gradient(decoded))
    owner, matched_iou = assign_fn(
        boxes, obj_logits, cls_logits, points, point_strides, gt_boxes, gt_classes, valid, config=assign
    )
    obj = binary_cross_entropy_with_logits(decoded[..., 4], obj_targets(owner)).sum()
    matched = (owner, matched_iou, gt_boxes, gt_classes, points, point_strides)
    iou, cls, _ = _positive_sums(decoded, matched, _as_decoded, most=assign.top_k * valid.shape[1])
    return _normalize((iou, obj, cls, ops.zeros_like(obj)), owner, loss, reduce_num_pos)


@constexpr
def _constant_points(size, strides):  # -> [P,2],[P]
    """Make the points while the graph is compiled, where the size of the maps is known; eagerly at each call."""
    points, point_strides = make_points(size, strides)
    return Tensor(points), Tensor(point_strides)


def _as_decoded(predictions, points, point_strides):  # [N,5+C],[N,2],[N] -> [N,4]
    return predictions[:, :4]


def _positive_sums(predictions, matched, decode, *, most):  # [B,P,5+C] -> [],[],[]
    """Sum the losses of boxes and classes over positive points, in few rows where these are enough.

    `most` truths' points an image can be positive, yet a hundred are usual: the branch for these takes a quarter of
    the time. Both give the same sums and gradients.
    """
    owner, matched_iou, gt_boxes, gt_classes, points, point_strides = matched
    matched = (owner, matched_iou, materialize(gt_boxes), materialize(gt_classes), points, point_strides)
    batch, count = owner.shape
    few, most = USUAL_POSITIVES * batch, min(most, count) * batch
    if most <= few:
        return _sums(predictions, matched, decode, most)
    if obj_targets(owner).sum() <= few:
        iou, cls, l1 = _sums(predictions, matched, decode, few)
    else:
        iou, cls, l1 = _sums(predictions, matched, decode, most)
    return iou, cls, l1


def _sums(predictions, matched, decode, capacity):  # [B,P,5+C] -> [],[],[]
    owner, matched_iou, gt_boxes, gt_classes, points, point_strides = matched
    index, present = positive_rows(owner, capacity=capacity)
    chosen = ops.gather(predictions.reshape(-1, predictions.shape[-1]), index, 0)
    # Zeros and unit boxes where a row only fills the shape: 0 times an overflow would be NaN.
    chosen = ops.where(ops.expand_dims(present, -1), chosen, 0.0)
    truths, classes = truths_of(owner, index, gt_boxes, gt_classes)
    truths = ops.where(ops.expand_dims(present, -1), truths, Tensor([0.0, 0.0, 1.0, 1.0], ms.float32))
    column = index % owner.shape[1]
    places = (ops.gather(points, column, 0), ops.gather(point_strides, column, 0))
    boxes = cxcywh_to_xyxy(decode(chosen, *places))
    soft = cls_targets(classes, ops.gather(matched_iou.reshape(-1), index, 0), num_classes=chosen.shape[-1] - 5)
    iou = iou_loss(elementwise_iou(boxes, truths))
    cls = binary_cross_entropy_with_logits(chosen[:, 5:], soft).sum(-1)
    l1 = l1_loss(chosen[:, :4], encode_boxes(xyxy_to_cxcywh(truths), *places)).sum(-1)
    weight = present.astype(ms.float32)
    return (iou * weight).sum(), (cls * weight).sum(), (l1 * weight).sum()


def _normalize(sums, owner, loss, reduce_num_pos):
    """Weigh the sums and divide them by the number of positives."""
    num_pos = obj_targets(owner).sum()
    divisor = ops.clamp(num_pos, min=1.0) if reduce_num_pos is None else reduce_num_pos(num_pos)
    iou, obj, cls, l1 = (part / divisor for part in sums)
    iou, obj, cls = iou * loss.loss_iou_weight, obj * loss.loss_obj_weight, cls * loss.loss_cls_weight
    return iou + obj + cls + l1, (iou, obj, cls, l1, num_pos)


def _check_levels(maps, strides) -> None:
    """Raise ValueError unless every map is [B,5+C,H,W] with sizes in the ratio of the strides."""
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
