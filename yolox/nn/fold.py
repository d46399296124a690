"""Folds batch normalisation into the convolutions before it, for inference and export."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
from mindspore import Tensor, nn

from yolox.nn.blocks import BN_EPS, ConvBNAct, Focus
from yolox.nn.layers import Convolution, NativeLayer


def fold_batch_norm(tensors: Mapping[str, np.ndarray], *, eps: float = BN_EPS) -> dict[str, np.ndarray]:
    """Converts the tensors of a detector to those of the same detector without batch normalisation.

    Args:
        tensors: arrays by parameter name; every `X.bn.gamma` stands beside `X.conv.weight` [O,I,k,k] and the
            [O] arrays `X.bn.beta`, `X.bn.moving_mean` and `X.bn.moving_variance`.
        eps: number added to the variance in the layers.

    Returns:
        New dictionary: `X.conv.weight` scaled, `X.conv.bias` added, `X.bn.*` gone, all else as it was.
        Already folded tensors pass unchanged.

    Raises:
        ValueError: a normalisation's partner is missing.

    Example:
        >>> one = np.ones(1, np.float32)
        >>> bn = {"x.bn.gamma": 2 * one, "x.bn.beta": one}
        >>> statistics = {"x.bn.moving_mean": 3 * one, "x.bn.moving_variance": one}
        >>> weight = {"x.conv.weight": np.ones((1, 1, 1, 1), np.float32)}
        >>> folded = fold_batch_norm({**weight, **bn, **statistics}, eps=0.0)
        >>> folded["x.conv.weight"].item(), folded["x.conv.bias"].item()
        (2.0, -5.0)
    """
    folded = {name: value for name, value in tensors.items() if ".bn." not in name}
    for name in tensors:
        if name.endswith(".bn.gamma"):
            layer = name.removesuffix(".bn.gamma")
            weight, bias = _fold_layer(tensors, layer, eps)
            folded[f"{layer}.conv.weight"], folded[f"{layer}.conv.bias"] = weight, bias
    return folded


def fold_detector(detector: nn.Cell) -> nn.Cell:
    """Returns a copy of a detector without batch normalisation with the same maps in inference mode.

    Call it before inference or export: fewer operations, the same numbers within rounding. The copy cannot be
    trained further to the same effect.

    Args:
        detector: cell that holds `ConvBNAct` layers; it stays as it is.

    Returns:
        A new cell in inference mode, with the names and shapes of `fold_batch_norm`.

    Example:
        >>> from mindspore import ops
        >>> from yolox.nn import CSPLayer
        >>> folded = fold_detector(CSPLayer(4, 8, 1))
        >>> [name for name in folded.parameters_dict()][:2], folded(ops.zeros((1, 4, 8, 8))).shape
        (['conv1.conv.weight', 'conv1.conv.bias'], (1, 8, 8, 8))
    """
    tensors = {name: value.asnumpy() for name, value in detector.parameters_dict().items()}
    bare = copy.deepcopy(detector)
    for path, cell in list(bare.cells_and_names()):
        if isinstance(cell, ConvBNAct):
            _remove_batch_norm(cell, path)
        elif isinstance(cell, (Convolution, NativeLayer)):  # a file with the operators of this library would run nowhere else
            cell.native, cell.native_operator = False, None
    parameters = bare.parameters_dict()
    for name, value in fold_batch_norm(tensors).items():
        parameters[name].set_data(Tensor(value))
    return bare.set_train(False)


def merge_focus(weight: np.ndarray) -> np.ndarray:  # [O,4C,k,k] -> [O,C,2k,2k]
    """Computes the kernel of one convolution of stride 2 that equals `space_to_depth` and a convolution of stride 1.

    Converters of other runtimes misread the halving (Reshape, Transpose, Reshape, or ONNX's SpaceToDepth): pnnx makes a
    crop of one channel of it. A convolution they all know.

    Args:
        weight: ``[O, 4C, k, k]`` of the convolution behind `space_to_depth`, of odd k and padding (k - 1) / 2.

    Returns:
        ``[O, C, 2k, 2k]``, for stride 2 and padding k - 1.

    Example:
        >>> merge_focus(np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1))[0, 0].tolist()
        [[0.0, 2.0], [1.0, 3.0]]
    """
    out_channels, channels, size, _ = weight.shape
    # the quarters lie column by column: top left, bottom left, top right, bottom right
    quarters = weight.reshape(out_channels, 2, 2, channels // 4, size, size)  # o, column, row, c, y, x
    return quarters.transpose(0, 3, 4, 2, 5, 1).reshape(out_channels, channels // 4, 2 * size, 2 * size)


class _MergedFocus(nn.Cell):
    """A Focus as one convolution of stride 2 and the activation."""

    def __init__(self, focus: Focus):
        super().__init__()
        old = focus.conv.conv
        size = old.kernel_size[0]
        self.conv = nn.Conv2d(old.in_channels // 4, old.out_channels, 2 * size, 2, "pad", size - 1, has_bias=True)
        self.act = focus.conv.act
        self.conv.weight.set_data(Tensor(merge_focus(old.weight.asnumpy())))
        self.conv.bias.set_data(old.bias)

    def construct(self, x):  # [B,in,H,W] -> [B,out,H/2,W/2]
        return self.act(self.conv(x))


def merge_focus_layers(folded: nn.Cell) -> nn.Cell:
    """Replaces every `Focus` of a folded detector by one convolution of stride 2.

    Args:
        folded: from `fold_detector`; changed in place.

    Returns:
        The same cell, with equal maps within rounding.
    """
    for path, cell in list(folded.cells_and_names()):
        for name, child in list(cell.name_cells().items()):
            if type(child) is not Focus:
                continue
            merged = _MergedFocus(child)
            if isinstance(cell, nn.SequentialCell):  # which keeps a list of its own beside the attributes
                cell[int(name)] = merged
            else:
                setattr(cell, name, merged)
            for leaf in ("weight", "bias"):  # after the cell has its place, which renames parameters
                getattr(merged.conv, leaf).name = f"{path}.{name}.conv.{leaf}".removeprefix(".")
    return folded.set_train(False)


def _fold_layer(tensors: Mapping[str, np.ndarray], layer: str, eps: float) -> tuple[np.ndarray, np.ndarray]:
    wanted = [f"{layer}.conv.weight"]
    wanted += [f"{layer}.bn.{leaf}" for leaf in ("gamma", "beta", "moving_mean", "moving_variance")]
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise ValueError(f"fold_batch_norm: missing {', '.join(missing)}, want all five tensors of {layer}")
    weight, gamma, beta, mean, variance = (tensors[name].astype(np.float64) for name in wanted)
    scale = gamma / np.sqrt(variance + eps)
    bias = beta - mean * scale
    return (weight * scale[:, None, None, None]).astype(np.float32), bias.astype(np.float32)


def _remove_batch_norm(cell: ConvBNAct, path: str) -> None:
    """Adds a bias to the convolution and removes its normalisation; parameters keep their full names."""
    old = cell.conv
    shape = (old.in_channels, old.out_channels, old.kernel_size, old.stride)
    conv = nn.Conv2d(*shape, "pad", old.padding, group=old.group, has_bias=True)
    cell.conv, cell.bn = conv, nn.Identity()
    prefix = f"{path}." if path else ""
    for leaf in ("weight", "bias"):
        getattr(conv, leaf).name = f"{prefix}conv.{leaf}"
