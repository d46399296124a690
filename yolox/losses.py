"""Losses of single predictions, unreduced: the caller masks, sums and divides.

All take and return float32; cast half-precision outputs before.
"""

from mindspore import Tensor, ops


def binary_cross_entropy_with_logits(logits: Tensor, targets: Tensor) -> Tensor:  # [...],[...] -> [...]
    """Computes the binary cross-entropy of logits and soft labels.

    Use it for objectness (targets 0 or 1) and classes (targets one-hot times IoU).

    Args:
        logits: ``[...]`` float, before the sigmoid.
        targets: ``[...]`` float in [0, 1], of the same shape.

    Returns:
        ``[...]`` non-negative up to rounding, in nats. Finite for all finite logits; the gradient on the
        logits is ``sigmoid(logits) - targets`` everywhere, also at 0.

    Raises:
        ValueError: if shapes differ.

    Source: ``softplus(x) - x * t``, the stable form of ``-t log p - (1 - t) log(1 - p)``, p the sigmoid of x.

    Example:
        >>> from mindspore import Tensor
        >>> loss = binary_cross_entropy_with_logits(Tensor([0.0, 200.0]), Tensor([1.0, 0.0]))
        >>> [round(value, 4) for value in loss.asnumpy().tolist()]
        [0.6931, 200.0]
    """
    _check_same("binary_cross_entropy_with_logits: logits", logits, targets)
    # One kernel, half the time of relu, abs, exp and log, whose gradient at 0 is wrong. Its gradient is
    # exact; the value is off by up to 1e-6, and by 1e-7 below -8, where the CPU takes log(1 + exp(x)).
    return ops.softplus(logits) - logits * targets


def iou_loss(iou: Tensor) -> Tensor:  # [...] -> [...]
    """Computes ``1 - iou**2``, which is 0 for a perfect box.

    Use it on the `elementwise_iou` of predictions and their ground truths.

    Args:
        iou: ``[...]`` float in [0, 1].

    Returns:
        ``[...]`` in [0, 1], ``1 - iou**2``: the gradient fades for boxes that do not overlap.

    Source: the IoU loss of Yu et al., UnitBox (arXiv:1608.01471), in the squared form of Megvii's YOLOX.

    Example:
        >>> from mindspore import Tensor
        >>> iou_loss(Tensor([0.0, 0.5, 1.0])).asnumpy().tolist()
        [1.0, 0.75, 0.0]
    """
    return 1.0 - iou * iou


def l1_loss(predictions: Tensor, targets: Tensor) -> Tensor:  # [...],[...] -> [...]
    """Computes the absolute difference.

    Use it on raw box outputs and `encode_boxes` of the ground truths in the last epochs.

    Args:
        predictions: ``[...]`` float.
        targets: ``[...]`` float of the same shape.

    Returns:
        ``[...]`` absolute difference.

    Raises:
        ValueError: if shapes differ.

    Source: Ge et al., YOLOX (arXiv:2107.08430): L1 on the box branch once strong augmentation is off.

    Example:
        >>> from mindspore import Tensor
        >>> l1_loss(Tensor([1.0, -2.0]), Tensor([0.5, 1.0])).asnumpy().tolist()
        [0.5, 3.0]
    """
    _check_same("l1_loss: predictions", predictions, targets)
    return ops.abs(predictions - targets)


def _check_same(what: str, value: Tensor, targets: Tensor) -> None:
    if value.shape != targets.shape:
        raise ValueError(f"{what} have shape {value.shape} and targets {targets.shape}, want equal shapes")
