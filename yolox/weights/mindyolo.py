"""MindYOLO's parameter names and this library's.

MindYOLO numbers the layers of its model files: `model.model.<number>.<rest>`. Which layer a number means
follows from the order in which the network is built; the number of the head differs between the architectures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from yolox.config import InputSpec
from yolox.errors import WeightsError

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
