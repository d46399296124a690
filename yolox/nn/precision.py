"""Arithmetic of the layers: float32, or float16 where convolutions do most of the work."""

from __future__ import annotations

import mindspore as ms
from mindspore import nn

from yolox.nn.blocks import ConvBNAct

_TYPES = {"float32": ms.float32, "float16": ms.float16}


def set_precision(detector: nn.Cell, precision: str) -> None:
    """Choose the arithmetic of the convolutions that have batch normalisation behind them.

    Call it before the detector is compiled. Normalisation, activations, the last predictions and all
    parameters stay float32, so that maps, losses and gradients are float32 either way.

    Args:
        detector: cell that holds `ConvBNAct` layers; changed in place.
        precision: "float32" or "float16". bfloat16 convolutions do not exist on CPU.

    Raises:
        ValueError: `precision` is neither.

    Source: mixed precision training (arXiv:1710.03740); training also needs its loss scale.

    Example:
        >>> from mindspore import ops
        >>> layer = ConvBNAct(3, 8, 3, 2)
        >>> set_precision(layer, "float16")
        >>> layer(ops.zeros((1, 3, 8, 8))).dtype
        mindspore.float32
    """
    if precision not in _TYPES:
        raise ValueError(f"set_precision: got {precision!r}, want one of {', '.join(_TYPES)}")
    for _, cell in detector.cells_and_names():
        if isinstance(cell, ConvBNAct):
            cell.conv.to_float(_TYPES[precision])
            cell.bn.to_float(ms.float32)
