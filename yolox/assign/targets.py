"""Targets of the losses from matched ground truths: few gathered rows instead of passes over all points."""

import mindspore as ms
from mindspore import Tensor, ops

from yolox.errors import check_rank
from yolox.graph import constant_arange


def obj_targets(matched_gt: Tensor) -> Tensor:  # [B,P] -> [B,P]
    """Returns the targets of the objectness: 1 at points that are matched to a ground truth.

    Args:
        matched_gt: ``[B, P]`` int32 from `simota_assign`, -1 for none.

    Returns:
        ``[B, P]`` float32, 1 at matched points, else 0.

    Example:
        >>> obj_targets(Tensor([[-1, 0, 3]])).asnumpy().tolist()
        [[0.0, 1.0, 1.0]]
    """
    return (matched_gt >= 0).astype(ms.float32)


def positive_rows(matched_gt: Tensor, *, capacity: int) -> tuple[Tensor, Tensor]:  # [B,P] -> [N],[N]
    """Returns the indices of the positive points, in a shape that does not depend on how many there are.

    Losses of boxes and classes need these rows only: at most ten for each ground truth, out of thousands of points.

    Args:
        matched_gt: ``[B, P]`` int32 from `simota_assign`, -1 for none.
        capacity: N, at least the number of positives in the batch: ``B * min(top_k * G, P)`` is always enough.

    Returns:
        rows: ``[N]`` int32, indices into the flattened ``[B * P]`` points, rising.
        present: ``[N]`` bool, False for rows that only fill the shape.

    Raises:
        ValueError: if `matched_gt` is not ``[B, P]``.

    Example:
        >>> rows, present = positive_rows(Tensor([[-1, 0, 3], [1, -1, -1]], ms.int32), capacity=4)
        >>> rows[:3].asnumpy().tolist(), present.asnumpy().tolist()
        ([1, 2, 3], [True, True, True, False])
    """
    check_rank("positive_rows", "matched_gt", matched_gt.shape, "B,P")
    # The n-th positive is the first point at which n positives have been seen.
    seen = ops.cumsum(obj_targets(matched_gt).reshape(-1), 0)
    wanted = constant_arange(capacity, "float32") + 1.0
    rows = ops.clamp(ops.searchsorted(seen, wanted).astype(ms.int32), max=seen.shape[0] - 1)
    return rows, wanted <= seen[-1]


def gather_matched(matched_gt: Tensor, rows: Tensor, gt_boxes: Tensor, gt_classes: Tensor) -> tuple[Tensor, Tensor]:
    # [B,P],[N],[B,G,4],[B,G] -> [N,4],[N]
    """Gathers the matched ground truth of each listed point.

    Args:
        matched_gt: ``[B, P]`` int32 from `simota_assign`.
        rows: ``[N]`` int32 from `positive_rows`.
        gt_boxes: ``[B, G, 4]`` float32.
        gt_classes: ``[B, G]`` int32.

    Returns:
        boxes ``[N, 4]`` and classes ``[N]``; the image's first ground truth where a point has no match, zeros for G = 0.

    Raises:
        ValueError: if `matched_gt` is not ``[B, P]`` or `gt_classes` not ``[B, G]``.

    Example:
        >>> boxes, classes = gather_matched(Tensor([[-1, 1]], ms.int32), Tensor([1], ms.int32),
        ...                            Tensor([[[0.0, 0, 1, 1], [2.0, 2, 3, 3]]]), Tensor([[5, 7]]))
        >>> boxes.asnumpy().tolist(), classes.asnumpy().tolist()
        ([[2.0, 2.0, 3.0, 3.0]], [7])
    """
    check_rank("gather_matched", "matched_gt", matched_gt.shape, "B,P")
    check_rank("gather_matched", "gt_classes", gt_classes.shape, "B,G")
    if 0 in gt_classes.shape:
        return ops.zeros((rows.shape[0], 4), gt_boxes.dtype), ops.zeros((rows.shape[0],), gt_classes.dtype)
    image = ops.floor_divide(rows, matched_gt.shape[1])
    row = ops.clamp(ops.gather(matched_gt.reshape(-1), rows, 0), min=0) + image * gt_classes.shape[1]
    return ops.gather(gt_boxes.reshape(-1, 4), row, 0), ops.gather(gt_classes.reshape(-1), row, 0)


def cls_targets(classes: Tensor, matched_iou: Tensor, *, num_classes: int) -> Tensor:  # [N],[N] -> [N,C]
    """Computes soft labels: one-hot classes times the IoU of the box.

    Args:
        classes: ``[N]`` int32 in [0, C).
        matched_iou: ``[N]`` float32 in [0, 1], IoU of the predicted box and its ground truth.
        num_classes: C.

    Returns:
        ``[N, C]`` float32.

    Source: Megvii's code; the idea of a class score that carries the overlap is that of Varifocal Net (arXiv:2008.13367).

    Example:
        >>> cls_targets(Tensor([1]), Tensor([0.5]), num_classes=3).asnumpy().tolist()
        [[0.0, 0.5, 0.0]]
    """
    hit = constant_arange(num_classes) == ops.expand_dims(classes.astype(ms.int32), -1)
    return hit.astype(ms.float32) * ops.expand_dims(matched_iou, -1)
