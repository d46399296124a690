"""The seven detectors of YOLOX, with fresh weights.

`examples/yolox_<scale>.py` shows the same assembly on a page each; a test holds the two together.
"""

from __future__ import annotations

from attrs import frozen

from yolox.nn import FPN, PAFPN, CSPDarknet, Darknet53, DecoupledHead, Detector, initialise
from yolox.recipes import RECIPES, SCALES, published_ap


@frozen(kw_only=True)
class Published:
    """Numbers that the authors published for one scale on COCO; those trainings were not repeated here."""

    ap_megvii: float
    """COCO val2017 AP in percent, table of Megvii's README."""
    ap_mindyolo: float
    """COCO val2017 AP in percent on Ascend 910, table of MindYOLO's README."""
    ap_rtmdet: float | None = None
    """COCO val2017 AP in percent, table of mmyolo's README for RTMDet's hyper-parameters; None where there is none."""
    ap_paddle: float | None = None
    """COCO val2017 AP in percent, table of PaddleDetection's README; None where there is none."""
    parameters_m: float
    """Parameters in millions, as Megvii's table rounds them."""
    flops_g: float
    """FLOPs in billions for one image of the scale's size, as Megvii's table states them."""


_PARAMETERS_M = (0.91, 5.06, 9.0, 25.3, 54.2, 99.1, 63.7)
_FLOPS_G = (1.08, 6.45, 26.8, 73.8, 155.6, 281.9, 185.3)
PUBLISHED = {
    scale: Published(
        parameters_m=parameters, flops_g=flops, **{f"ap_{name}": published_ap(name, scale) for name in RECIPES}
    )
    for scale, parameters, flops in zip(SCALES, _PARAMETERS_M, _FLOPS_G, strict=True)
}
"""Published numbers by scale."""


def build(scale: str, num_classes: int = 80, *, channels: int = 3, seed: int = 0) -> Detector:
    """Builds the detector of a scale.

    Args:
        scale: one of `SCALES`.
        num_classes: classes that it predicts.
        channels: of the images; `InputSpec.channels` says which.
        seed: of the fresh weights.

    Returns:
        Detector from float32 images [B,channels,H,W] to three raw maps [B,5+C,H/s,W/s], s = 8, 16, 32.

    Raises:
        ValueError: no such scale.

    Example:
        >>> build("nano", num_classes=3).num_classes
        3
    """
    if scale not in SCALES:
        raise ValueError(f"models.build: got scale {scale!r}, want one of {', '.join(SCALES)}")
    return _BUILDERS[scale](num_classes, channels=channels, seed=seed)


def yolox_nano(num_classes: int = 80, *, channels: int = 3, seed: int = 0) -> Detector:
    """Builds YOLOX-Nano: depth 0.33, width 0.25, depthwise convolutions; published size 416.

    Args:
        num_classes: classes that it predicts.
        channels: of the images.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    return _csp_detector(num_classes, channels, seed, depth=0.33, width=0.25, depthwise=True)


def yolox_tiny(num_classes: int = 80, *, channels: int = 3, seed: int = 0) -> Detector:
    """Builds YOLOX-Tiny: depth 0.33, width 0.375; published size 416.

    Args:
        num_classes: classes that it predicts.
        channels: of the images.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    return _csp_detector(num_classes, channels, seed, depth=0.33, width=0.375)


def yolox_s(num_classes: int = 80, *, channels: int = 3, seed: int = 0) -> Detector:
    """Builds YOLOX-S: depth 0.33, width 0.5; published size 640.

    Args:
        num_classes: classes that it predicts.
        channels: of the images.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    return _csp_detector(num_classes, channels, seed, depth=0.33, width=0.5)


def yolox_m(num_classes: int = 80, *, channels: int = 3, seed: int = 0) -> Detector:
    """Builds YOLOX-M: depth 0.67, width 0.75; published size 640.

    Args:
        num_classes: classes that it predicts.
        channels: of the images.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    return _csp_detector(num_classes, channels, seed, depth=0.67, width=0.75)


def yolox_l(num_classes: int = 80, *, channels: int = 3, seed: int = 0) -> Detector:
    """Builds YOLOX-L: depth 1.0, width 1.0; published size 640.

    Args:
        num_classes: classes that it predicts.
        channels: of the images.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    return _csp_detector(num_classes, channels, seed, depth=1.0, width=1.0)


def yolox_x(num_classes: int = 80, *, channels: int = 3, seed: int = 0) -> Detector:
    """Builds YOLOX-X: depth 1.33, width 1.25; published size 640.

    Args:
        num_classes: classes that it predicts.
        channels: of the images.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    return _csp_detector(num_classes, channels, seed, depth=1.33, width=1.25)


def yolox_darknet53(num_classes: int = 80, *, channels: int = 3, seed: int = 0) -> Detector:
    """Builds YOLOX-Darknet53: the backbone and pyramid of YOLOv3, leaky ReLU; published size 640.

    Args:
        num_classes: classes that it predicts.
        channels: of the images.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    head = DecoupledHead(num_classes, in_channels=(128, 256, 512), act="lrelu")
    return _initialised(Detector(Darknet53(act="lrelu", in_channels=channels), FPN(act="lrelu"), head), seed)


def _csp_detector(num_classes: int, channels: int, seed: int, *, depth: float, width: float, depthwise: bool = False) -> Detector:
    backbone = CSPDarknet(depth=depth, width=width, depthwise=depthwise, in_channels=channels)
    neck = PAFPN(depth=depth, width=width, depthwise=depthwise)
    head = DecoupledHead(num_classes, width=width, depthwise=depthwise)
    return _initialised(Detector(backbone, neck, head), seed)


def _initialised(detector: Detector, seed: int) -> Detector:
    initialise(detector, seed=seed)
    return detector


_BUILDERS = {
    "nano": yolox_nano, "tiny": yolox_tiny, "s": yolox_s, "m": yolox_m, "l": yolox_l, "x": yolox_x,
    "darknet53": yolox_darknet53,
}  # fmt: skip
