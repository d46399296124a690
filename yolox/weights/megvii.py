"""Parameter names of Megvii's YOLOX and of MindYOLO, and this library's.

MindYOLO numbers the layers of its model files: `model.model.<number>.<rest>`. Which layer a number means
follows from the order in which the network is built; the number of the head differs between the architectures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
    bias, mean 0 and variance c**2 - epsilon, its filters multiplied by c, which compute the same. See `filter_scales`.

    Args:
        state: Megvii's names to arrays; with BN or folded.

    Returns:
        This library's names to arrays. Arrays are not copied, except those of convolutions that are unfolded.

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
            result.update(_unfolded(renamed.removesuffix("conv.bias"), state.get(name.removesuffix("bias") + "weight"), value))
        elif renamed is not None:
            result.setdefault(renamed, value)
    return result


def _unfolded(layer: str, weight: np.ndarray | None, bias: np.ndarray) -> dict[str, np.ndarray]:
    fits = weight is not None and weight.ndim == 4 and len(weight) == len(bias)  # else loading names what does not fit
    scales = filter_scales(weight) if fits else np.ones_like(bias)
    scaled = {f"{layer}conv.weight": weight.astype(np.float32) * scales[:, None, None, None]} if fits else {}
    return {
        **scaled,
        f"{layer}bn.gamma": np.ones_like(bias),
        f"{layer}bn.beta": bias,
        f"{layer}bn.moving_mean": np.zeros_like(bias),
        f"{layer}bn.moving_variance": (scales.astype(np.float64) ** 2 - BN_EPSILON).astype(np.float32),
    }


FRESH_NORM = 3**-0.5
"""Norm of a filter of fresh weights: uniform in plus and minus 1 / sqrt(inputs), whatever their number is."""
PIXEL_NORM = 2.6
"""Norm of a trained filter over pixels of 0 to 255, with BN beside it: the stem of a genuine tiny has 12.7 for 24 filters."""
_NO_FILTER = 1e-6  # norm of a filter whose outputs are its bias; its square fits into float32
PIXEL_CHANNELS = (3, 12)  # inputs of a first convolution: pixels, or pixels in blocks of four


def filter_scales(weight: np.ndarray) -> np.ndarray:
    """Returns the factors that bring the filters of a folded convolution to the norm at which they can be trained.

    Under BN the output does not depend on the norm of a filter, but a step of training changes its direction by an angle
    that grows with the inverse square of the norm. Folding divides filters by the deviation of their outputs, which is a
    hundred and more over pixels of 0 to 255: one step at the usual rate would then destroy them.

    Args:
        weight: [outputs, inputs, height, width] float.

    Returns:
        [outputs] float32, 1 or more: `FRESH_NORM`, or `PIXEL_NORM` over pixels, divided by the norm of the filter, and 1 for
        filters that have this norm. A filter of zeros, or one so small that it gives nothing, has 1.

    Example:
        >>> filter_scales(np.full((1, 12, 1, 1), 0.01, np.float32)).round().tolist()
        [75.0]
    """
    wanted = PIXEL_NORM if weight.shape[1] in PIXEL_CHANNELS else FRESH_NORM
    norms = np.sqrt((weight.astype(np.float64) ** 2).sum(axis=(1, 2, 3)))
    return np.where((norms > _NO_FILTER) & (norms < wanted), wanted / np.maximum(norms, _NO_FILTER), 1.0).astype(np.float32)


MINDYOLO_INPUT = InputSpec(
    channel_order="rgb", pixel_scale=1 / 255, letterbox="center", shrink_interpolation="area"
)
"""What MindYOLO's weights were trained on; the size is the scale's."""

_PREFIX = "model.model."


def _csp_layers() -> dict[int, str]:
    """CSPDarknet and PAFPN: one number a layer; upsampling and concatenation take the numbers left out."""
    stages = [f"dark{stage}.{part}" for stage in (2, 3, 4, 5) for part in (0, 1)]
    layers = {number: f"backbone.{name}" for number, name in enumerate(["stem", *stages, "dark5.2"])}
    neck = {10: "lateral_conv0", 13: "C3_p4", 14: "reduce_conv1", 17: "C3_p3"}
    neck |= {18: "bu_conv2", 20: "C3_n3", 21: "bu_conv1", 23: "C3_n4"}
    return layers | {number: f"neck.{name}" for number, name in neck.items()} | {24: "head"}


def _darknet53_layers() -> dict[int, str]:
    """Darknet53 and FPN: a downsampling convolution, then a list of residual blocks, five times."""
    layers = {number: f"backbone.stem.{number}" for number in range(3)}
    for number, stage in zip(range(3, 11, 2), ("dark2", "dark3", "dark4", "dark5"), strict=True):
        layers |= {number: f"backbone.{stage}.0", number + 1: f"backbone.{stage}"}
    layers |= {number: f"backbone.dark5.{number - 6}" for number in range(11, 16)}
    layers |= {16: "neck.out1_cbl", 24: "neck.out2_cbl", 32: "head"}
    layers |= {19 + i: f"neck.out1.{i}" for i in range(5)}
    return layers | {27 + i: f"neck.out2.{i}" for i in range(5)}


_CSP, _DARKNET53 = _csp_layers(), _darknet53_layers()
_RESIDUAL_LISTS = (4, 6, 8, 10)
_RESIDUAL_LEAVES = {"conv1": "layer1", "conv2": "layer2"}


def mindyolo_name(name: str, *, darknet53: bool) -> str:
    """Returns this library's name for one of MindYOLO's parameter names.

    Args:
        name: a key of MindYOLO's checkpoint.
        darknet53: True for YOLOX-Darknet53, False for the six scales on CSPDarknet.

    Returns:
        The name in this library's detector.

    Raises:
        WeightsError: the name belongs to no layer of that architecture.

    Example:
        >>> mindyolo_name("model.model.13.conv1.bn.gamma", darknet53=False)
        'neck.C3_p4.conv1.bn.gamma'
        >>> mindyolo_name("model.model.4.1.conv2.conv.weight", darknet53=True)
        'backbone.dark2.2.layer2.conv.weight'
    """
    number, rest = _split(name)
    layer = (_DARKNET53 if darknet53 else _CSP).get(number)
    if layer is None or not rest:
        raise WeightsError(f"{name[:100]!r} is no parameter of MindYOLO's detectors")
    if darknet53 and number in _RESIDUAL_LISTS:
        position, _, rest = rest.partition(".")
        layer = f"{layer}.{_number(name, position) + 1}"
    if darknet53 and (number in _RESIDUAL_LISTS or number == 2):
        branch, _, leaf = rest.partition(".")
        rest = f"{_RESIDUAL_LEAVES.get(branch, branch)}.{leaf}"
    return f"{layer}.{rest}"


def mindyolo_to_yolox(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames the tensors of a MindYOLO checkpoint of any of the seven scales.

    Args:
        state: MindYOLO's names to arrays.

    Returns:
        This library's names to arrays. Arrays are not copied.

    Raises:
        WeightsError: a name belongs to no layer of the architecture.
    """
    darknet53 = is_darknet53(state)
    return {mindyolo_name(name, darknet53=darknet53): value for name, value in state.items()}


def is_darknet53(names: Iterable[str]) -> bool:
    """Returns whether the names are of YOLOX-Darknet53: only its model has layers after number 24.

    Args:
        names: of parameters, as MindYOLO numbers them.

    Returns:
        True for Darknet53.
    """
    return max((_split(name)[0] for name in names), default=0) > max(_CSP)


def _split(name: str) -> tuple[int, str]:
    number, _, rest = name.removeprefix(_PREFIX).partition(".")
    if not name.startswith(_PREFIX):
        raise WeightsError(f"{name[:100]!r} is no parameter of MindYOLO's detectors")
    return _number(name, number), rest


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise WeightsError(f"{name[:100]!r} is no parameter of MindYOLO's detectors")
    return int(text)
