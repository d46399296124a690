"""The seven detectors, and the rule that fills them with reproducible weights."""

from __future__ import annotations

import zlib

import mindspore as ms
import numpy as np
from mindspore import Tensor

from yolox.nn import FPN, PAFPN, CSPDarknet, Darknet53, DecoupledHead, Detector

SCALES = ("nano", "tiny", "s", "m", "l", "x", "darknet53")
PARAMETERS = {  # 80 classes, derived by hand from the published architecture
    "nano": 912_159,
    "tiny": 5_055_855,
    "s": 8_968_255,
    "m": 25_326_495,
    "l": 54_208_895,
    "x": 99_071_455,
    "darknet53": 63_724_767,
}
FACTORS = {  # depth, width
    "nano": (0.33, 0.25),
    "tiny": (0.33, 0.375),
    "s": (0.33, 0.50),
    "m": (0.67, 0.75),
    "l": (1.0, 1.0),
    "x": (1.33, 1.25),
}
LEAVES = {  # PyTorch's names of a BN layer's tensors -> MindSpore's
    ".bn.weight": ".bn.gamma",
    ".bn.bias": ".bn.beta",
    ".bn.running_mean": ".bn.moving_mean",
    ".bn.running_var": ".bn.moving_variance",
}


def build_detector(scale: str, num_classes: int = 80) -> Detector:
    """Assemble a detector with the library's own fresh weights."""
    if scale == "darknet53":
        head = DecoupledHead(num_classes, in_channels=(128, 256, 512), act="lrelu")
        return Detector(Darknet53(), FPN(), head)
    depth, width = FACTORS[scale]
    depthwise = scale == "nano"
    return Detector(
        CSPDarknet(depth, width, depthwise=depthwise),
        PAFPN(depth, width, depthwise=depthwise),
        DecoupledHead(num_classes, width, depthwise=depthwise),
    )


def yolox_name(megvii_name: str) -> str:
    """Translate a released weight's name: `backbone.backbone.X`, `backbone.Y`, `head.Z` and the BN leaves."""
    for theirs, ours in LEAVES.items():
        megvii_name = megvii_name.replace(theirs, ours)
    if megvii_name.startswith("backbone.backbone."):
        return megvii_name.removeprefix("backbone.")
    if megvii_name.startswith("backbone."):
        return "neck." + megvii_name.removeprefix("backbone.")
    return megvii_name


def golden_value(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Returns the reference weight called `name` by the rule of the golden folder's README."""
    rng = np.random.default_rng(zlib.crc32(name.encode()) + seed)
    noise = rng.standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        return 1 + np.float32(0.1) * np.abs(noise)
    if len(shape) == 4:
        gain = 1e-4 if ".stem." in name and shape[1] in (3, 12) else 1.4
        return noise * np.float32(np.sqrt(gain / np.prod(shape[1:])))
    offset = 1 if name.endswith("bn.weight") else 0
    return offset + np.float32(0.1) * noise


def fill_golden(detector: Detector, weights: dict[str, np.ndarray]) -> None:
    """Overwrite every parameter and BN statistic by `weights`, which have the released names."""
    parameters = detector.parameters_dict()
    for name, value in weights.items():
        if not name.endswith("num_batches_tracked"):
            parameters[yolox_name(name)].set_data(Tensor(value, ms.float32))


def megvii_name(name: str) -> str:
    """Undo `yolox_name`."""
    for theirs, ours in LEAVES.items():
        name = name.replace(ours, theirs)
    if name.startswith("backbone."):
        return "backbone." + name
    return "backbone." + name.removeprefix("neck.") if name.startswith("neck.") else name


def fill_by_rule(detector: Detector, seed: int) -> dict[str, np.ndarray]:
    """Fill a detector as `golden_value` says, without any file; return the weights by released name."""
    weights = {}
    for name, parameter in detector.parameters_dict().items():
        released = megvii_name(name)
        weights[released] = golden_value(released, tuple(parameter.shape), seed)
        parameter.set_data(Tensor(weights[released]))
    return weights
