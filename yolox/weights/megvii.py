"""Megvii's parameter names and this library's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from yolox.config import InputSpec
from yolox.errors import WeightsError

MEGVII_INPUT = InputSpec(channel_order="bgr", pixel_scale=1.0, letterbox="top_left")
"""What Megvii's weights were trained on (since version 0.1.1); the size is the scale's."""

MEGVII_LEGACY_INPUT = InputSpec(
    channel_order="rgb",
    pixel_scale=1 / 255,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    letterbox="top_left",
)
"""What Megvii's weights before version 0.1.1 were trained on. Their names are those of the later ones."""

BN_EPSILON = 1e-3
_BN_LEAVES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_ROOTS = {"backbone.backbone.": "backbone.", "backbone.": "neck.", "head.": "head."}


def megvii_name(name: str) -> str | None:
    """Returns this library's name for one of Megvii's parameter names.

    Args:
        name: a key of Megvii's state dict.

    Returns:
        The name in this library's detector; None for torch's step counter of a BN layer, which nothing needs.

    Raises:
        WeightsError: the name belongs to no part of a YOLOX detector.

    Example:
        >>> megvii_name("backbone.backbone.dark2.0.bn.running_mean")
        'backbone.dark2.0.bn.moving_mean'
        >>> megvii_name("backbone.C3_p4.conv1.conv.weight")
        'neck.C3_p4.conv1.conv.weight'
    """
    root = next((root for root in _ROOTS if name.startswith(root)), None)
    if root is None:
        raise WeightsError(f"{name[:100]!r} is no parameter of Megvii's detectors")
    module, _, leaf = (_ROOTS[root] + name.removeprefix(root)).rpartition(".")
    if module.endswith(".bn"):
        return None if leaf == "num_batches_tracked" else f"{module}.{_BN_LEAVES.get(leaf, leaf)}"
    return f"{module}.{leaf}"


def megvii_to_yolox(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames the tensors of a Megvii state dict, and undoes the folding of BN into convolutions where it was folded.

    A folded convolution carries a bias and has no BN. It becomes convolution and BN with gamma 1, beta the
    bias, mean 0 and variance 1 - epsilon, which compute the same.

    Args:
        state: Megvii's names to arrays; with BN or folded.

    Returns:
        This library's names to arrays. Arrays are not copied.

    Raises:
        WeightsError: a name belongs to no part of a YOLOX detector.

    Example:
        >>> state = {"head.stems.0.conv.weight": np.ones((2, 2, 1, 1)), "head.stems.0.conv.bias": np.zeros(2)}
        >>> sorted(megvii_to_yolox(state))[:3]
        ['head.stems.0.bn.beta', 'head.stems.0.bn.gamma', 'head.stems.0.bn.moving_mean']
    """
    result: dict[str, np.ndarray] = {}
    for name, value in state.items():
        renamed = megvii_name(name)
        if name.endswith(".conv.bias"):
            result.update(_unfolded(renamed.removesuffix("conv.bias") + "bn.", value))
        elif renamed is not None:
            result[renamed] = value
    return result


def _unfolded(bn: str, bias: np.ndarray) -> dict[str, np.ndarray]:
    one = np.ones_like(bias)
    return {
        f"{bn}gamma": one,
        f"{bn}beta": bias,
        f"{bn}moving_mean": np.zeros_like(bias),
        f"{bn}moving_variance": one * (1 - BN_EPSILON),
    }
