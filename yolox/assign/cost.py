"""Cost of matching a ground truth with a point: classes, IoU and place, without a ``[B, G, P, C]`` tensor."""

from mindspore import Tensor, ops

from yolox.config import AssignConfig
from yolox.errors import check_rank
from yolox.graph import constant_arange

LEAST_LOG = -100.0
"""Logarithms of probabilities stop here, as in torch's binary cross-entropy."""


def class_terms(obj_logits: Tensor, cls_logits: Tensor) -> tuple[Tensor, Tensor]:
    # [B,P],[B,P,C] -> [B,P],[B,C,P]
    """Splits the class cost into a part that is equal for all ground truths and a part of each class.

    The cross-entropy of a one-hot vector of class k, summed over classes, is ``background + swap[k]``. So the cost of
    all ground truths needs one ``[B, G, P]`` gather instead of ``[B, G, P, C]`` logarithms: C times less memory, same numbers.

    Args:
        obj_logits: ``[B, P]`` float32 before the sigmoid.
        cls_logits: ``[B, P, C]`` float32 before the sigmoid.

    Returns:
        background: ``[B, P]`` float32, the cost of predicting no class at all.
        swap: ``[B, C, P]`` float32, what to add when class c is the true one.

    Raises:
        ValueError: if the arguments are not ``[B, P]`` and ``[B, P, C]``.

    Source: the probability is sqrt(class * objectness) as in Megvii's code, the split follows by arithmetic.

    Example:
        >>> background, swap = class_terms(Tensor([[0.0]]), Tensor([[[0.0, 0.0]]]))
        >>> background.shape, swap.shape, round(float((background + swap[:, 0]).item()), 3)
        ((1, 1), (1, 2, 1), 1.386)
    """
    check_rank("class_terms", "obj_logits", obj_logits.shape, "B,P")
    check_rank("class_terms", "cls_logits", cls_logits.shape, "B,P,C")
    probs = ops.sqrt(ops.sigmoid(cls_logits) * ops.expand_dims(ops.sigmoid(obj_logits), -1))
    log_no = ops.clamp(ops.log(1.0 - probs), min=LEAST_LOG)
    log_yes = ops.clamp(ops.log(probs), min=LEAST_LOG)
    return -log_no.sum(-1), (log_no - log_yes).transpose(0, 2, 1)


def class_cost(background: Tensor, swap: Tensor, gt_classes: Tensor) -> Tensor:
    # [B,P],[B,C,P],[B,G] -> [B,G,P]
    """Computes the class cost of each ground truth from `class_terms`.

    Args:
        background: ``[B, P]`` float32 from `class_terms`.
        swap: ``[B, C, P]`` float32 from `class_terms`.
        gt_classes: ``[B, G]`` int32 in [0, C).

    Returns:
        ``[B, G, P]`` float32, the cross-entropy of each point against the class of each ground truth, summed over classes.

    Raises:
        ValueError: if `gt_classes` is not ``[B, G]``.

    Example:
        >>> class_cost(Tensor([[1.0, 2.0]]), Tensor([[[0.5, 0.5], [0.0, 3.0]]]), Tensor([[1]])).asnumpy().tolist()
        [[[1.0, 5.0]]]
    """
    check_rank("class_cost", "gt_classes", gt_classes.shape, "B,G")
    batch, classes, count = swap.shape
    rows = gt_classes.astype("int32") + ops.expand_dims(constant_arange(batch), -1) * classes
    swapped = ops.gather(swap.reshape(batch * classes, count), rows, 0)
    return swapped + ops.expand_dims(background, 1)


def simota_cost(class_costs: Tensor, iou: Tensor, prior: Tensor, *, config: AssignConfig) -> Tensor:
    # [B,G,P],[B,G,P],[B,G,P] -> [B,G,P]
    """Computes the cost by which a ground truth ranks its candidate points.

    Args:
        class_costs: ``[B, G, P]`` float32 from `class_cost`.
        iou: ``[B, G, P]`` float32 IoU of ground truths and predicted boxes.
        prior: ``[B, G, P]`` bool, points without penalty, from `geometry_prior`.
        config: its `cost_iou_weight` and `outside_penalty` are used.

    Returns:
        ``[B, G, P]`` float32, lower is better. Points outside `prior` cost the penalty more, which leaves costs there
        with a resolution of 1/16: ties are usual among them.

    Source: Ge et al., YOLOX (arXiv:2107.08430), equation 1, with the numbers of Megvii's code.

    Example:
        >>> costs = simota_cost(Tensor([[[1.0, 1.0]]]), Tensor([[[1.0, 1.0]]]), Tensor([[[True, False]]]), config=AssignConfig())
        >>> costs.asnumpy().tolist()
        [[[1.0, 1000001.0]]]
    """
    penalty = (1.0 - prior.astype(iou.dtype)) * config.outside_penalty
    return class_costs - config.cost_iou_weight * ops.log(iou + 1e-8) + penalty
