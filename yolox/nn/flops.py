"""The size of a network: parameters and arithmetic."""

from __future__ import annotations

import math

from mindspore import nn, ops


def count_parameters(detector: nn.Cell) -> int:
    """Counts trainable numbers; the running statistics of batch normalisation are not among them.

    Args:
        detector: any Cell.

    Returns:
        The number.

    Example:
        >>> from yolox.nn import ConvBNAct
        >>> count_parameters(ConvBNAct(3, 8, 3, 1))
        232
    """
    return sum(math.prod(parameter.shape) for parameter in detector.trainable_params())


def count_flops(detector: nn.Cell, size: tuple[int, int]) -> int:
    """Counts the operations of all convolutions for one image, two for each multiplication and addition.

    Args:
        detector: cell that takes [B,3,H,W] images.
        size: height and width of the image in pixels, multiples of 32.

    Returns:
        Operations of a forward pass. Published tables also count normalisation and activation, about 1 % more
        (3 % for nano).

    Raises:
        ValueError: `size` is not of positive multiples of 32.

    Example:
        >>> from yolox.nn import ConvBNAct
        >>> count_flops(ConvBNAct(3, 8, 3, 1), (32, 64))
        884736
    """
    height, width = size
    if height < 32 or width < 32 or height % 32 or width % 32:
        raise ValueError(f"count_flops: size is {size}, want height and width as positive multiples of 32")
    # Every layer's cost grows with the area, so that one small forward pass tells the cost of any size.
    return _count_on_zeros(detector, 32, 32) * (height // 32) * (width // 32)


def _count_on_zeros(detector: nn.Cell, height: int, width: int) -> int:
    """Runs a forward pass on a black image and adds up its convolutions."""
    total = 0

    def add(cell, _inputs, output):
        nonlocal total
        total += 2 * math.prod(cell.weight.shape[1:]) * math.prod(output.shape[1:])

    convolutions = [cell for _, cell in detector.cells_and_names() if isinstance(cell, nn.Conv2d)]
    hooks = [cell.register_forward_hook(add) for cell in convolutions]
    try:
        detector(ops.zeros((1, 3, height, width)))
    finally:
        for hook in hooks:
            hook.remove()
    return total
