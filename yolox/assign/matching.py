"""Dynamic-k matching: each ground truth gets its k points of lowest cost, each point at most one ground truth."""

import mindspore as ms
from mindspore import Tensor, ops

from yolox.errors import check_rank
from yolox.graph import constant_arange

NEVER = 3e38
"""Cost of what must not be selected; finite, so that no arithmetic on it gives NaN."""


def dynamic_k(iou: Tensor, *, candidate: Tensor, top_k: int = 10) -> Tensor:  # [B,G,P],[B,P] -> [B,G]
    """Computes the number of positive points of each ground truth.

    A ground truth that many predictions cover well gets many points, a hard one gets one.

    Args:
        iou: ``[B, G, P]`` float32 IoU of ground truths and predicted boxes.
        candidate: ``[B, P]`` bool, candidate points; the IoU of others does not count.
        top_k: number of highest IoUs that are summed.

    Returns:
        ``[B, G]`` int32 in [1, top_k], the sum of the highest IoUs rounded down.

    Raises:
        ValueError: if the arguments are not ``[B, G, P]`` and ``[B, P]``.

    Source: Ge et al., YOLOX (arXiv:2107.08430), SimOTA; "dynamic k estimation" of OTA (arXiv:2103.14259).

    Example:
        >>> dynamic_k(Tensor([[[0.9, 0.8, 0.7]]]), candidate=Tensor([[True, True, True]])).asnumpy().tolist()
        [[2]]
    """
    check_rank("dynamic_k", "iou", iou.shape, "B,G,P")
    check_rank("dynamic_k", "candidate", candidate.shape, "B,P")
    counted = iou * ops.expand_dims(candidate.astype(iou.dtype), 1)
    best = ops.topk(counted, min(top_k, iou.shape[-1]))[0]
    return ops.clamp(best.sum(-1).astype(ms.int32), min=1)


def select_k_lowest(cost: Tensor, k: Tensor, *, top_k: int = 10) -> Tensor:  # [B,G,P],[B,G] -> [B,G,P]
    """Selects the k points of lowest cost of each ground truth.

    Args:
        cost: ``[B, G, P]`` float32, `NEVER` where a match is not allowed.
        k: ``[B, G]`` int32 in [1, top_k].
        top_k: the largest possible k.

    Returns:
        ``[B, G, P]`` bool with k points a ground truth, fewer where fewer are allowed. Of equal costs the lower index
        wins, on every device: sorting only finds the k-th cost, counting settles the ties.

    Example:
        >>> select_k_lowest(Tensor([[[3.0, 1.0, 2.0, 2.0]]]), Tensor([[2]], ms.int32)).asnumpy().tolist()
        [[[False, True, True, False]]]
    """
    lowest = -ops.topk(-cost, min(top_k, cost.shape[-1]))[0]
    rank = ops.clamp(k - 1, max=lowest.shape[-1] - 1)
    border = ops.gather_elements(lowest, 2, ops.expand_dims(rank, -1))
    below, equal = cost < border, cost == border
    remaining = ops.expand_dims(k.astype(ms.float32), -1) - below.astype(ms.float32).sum(-1, keepdims=True)
    first = ops.cumsum(equal.astype(ms.float32), -1) <= remaining
    selected = ops.logical_or(below, ops.logical_and(equal, first))
    return ops.logical_and(selected, cost < NEVER)


def dynamic_k_matching(cost: Tensor, iou: Tensor, *, valid: Tensor, candidate: Tensor, top_k: int = 10) -> Tensor:
    # [B,G,P],[B,G,P],[B,G],[B,P] -> [B,G,P]
    """Matches ground truths and points.

    Args:
        cost: ``[B, G, P]`` float32 from `simota_cost`, or any other cost where lower is better.
        iou: ``[B, G, P]`` float32 IoU of ground truths and predicted boxes.
        valid: ``[B, G]`` bool, False for padding, which has no match.
        candidate: ``[B, P]`` bool, candidate points.
        top_k: most points of a ground truth.

    Returns:
        ``[B, G, P]`` bool with at most one ground truth a point. A point selected by several goes to the ground truth of lowest
        cost there, whether or not that one selected it, the first where equal.

    Raises:
        ValueError: if the shapes do not fit.

    Source: Ge et al., YOLOX (arXiv:2107.08430), SimOTA; the conflict rule is that of Megvii's code.

    Example:
        >>> cost, iou = Tensor([[[1.0, 9.0], [2.0, 3.0]]]), Tensor([[[0.9, 0.1], [0.8, 0.1]]])
        >>> dynamic_k_matching(cost, iou, valid=Tensor([[True, True]]), candidate=Tensor([[True, True]])).asnumpy().tolist()
        [[[True, False], [False, False]]]
    """
    check_rank("dynamic_k_matching", "cost", cost.shape, "B,G,P")
    if 0 in cost.shape:
        return ops.zeros(cost.shape, ms.bool_)
    allowed = ops.logical_and(ops.expand_dims(valid, -1), ops.expand_dims(candidate, 1))
    cost = ops.where(allowed, cost, NEVER)
    selected = select_k_lowest(cost, dynamic_k(iou, candidate=candidate, top_k=top_k), top_k=top_k)
    contested = selected.astype(ms.float32).sum(1, keepdims=True) > 1
    rows = constant_arange(cost.shape[1]).reshape(1, -1, 1)
    cheapest = rows == ops.expand_dims(ops.argmin(cost, axis=1).astype(ms.int32), 1)
    return ops.where(contested, cheapest, selected)
