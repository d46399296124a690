"""The seven detectors of YOLOX, with fresh weights.

`examples/yolox_<scale>.py` shows the same assembly on a page each; a test holds the two together.
"""

from __future__ import annotations

from attrs import frozen

from yolox.nn import FPN, PAFPN, CSPDarknet, Darknet53, DecoupledHead, Detector, initialise

SCALES = ("nano", "tiny", "s", "m", "l", "x", "darknet53")
"""Names of the scales, from the smallest; darknet53 is the backbone of YOLOv3 under YOLOX's head."""


@frozen(kw_only=True)
class Published:
    """Numbers that the authors published for one scale on COCO; those trainings were not repeated here."""

    ap_megvii: float
    """COCO val2017 AP in percent, table of Megvii's README."""
    ap_mindyolo: float
    """COCO val2017 AP in percent on Ascend 910, table of MindYOLO's README."""
    parameters_m: float
    """Parameters in millions, as Megvii's table rounds them."""
    flops_g: float
    """FLOPs in billions for one image of the scale's size, as Megvii's table states them."""


PUBLISHED = {
    "nano": Published(ap_megvii=25.8, ap_mindyolo=24.1, parameters_m=0.91, flops_g=1.08),
    "tiny": Published(ap_megvii=32.8, ap_mindyolo=33.3, parameters_m=5.06, flops_g=6.45),
    "s": Published(ap_megvii=40.5, ap_mindyolo=40.7, parameters_m=9.0, flops_g=26.8),
    "m": Published(ap_megvii=46.9, ap_mindyolo=46.7, parameters_m=25.3, flops_g=73.8),
    "l": Published(ap_megvii=49.7, ap_mindyolo=49.2, parameters_m=54.2, flops_g=155.6),
    "x": Published(ap_megvii=51.1, ap_mindyolo=51.6, parameters_m=99.1, flops_g=281.9),
    "darknet53": Published(ap_megvii=47.7, ap_mindyolo=47.7, parameters_m=63.7, flops_g=185.3),
}
"""Published numbers by scale."""


def build(scale: str, num_classes: int = 80, *, seed: int = 0) -> Detector:
    """Builds the detector of a scale.

    Args:
        scale: one of `SCALES`.
        num_classes: classes that it predicts.
        seed: of the fresh weights.

    Returns:
        Detector from float32 images [B,3,H,W] to three raw maps [B,5+C,H/s,W/s], s = 8, 16, 32.

    Raises:
        ValueError: no such scale.

    Example:
        >>> build("nano", num_classes=3).num_classes
        3
    """
    if scale not in SCALES:
        raise ValueError(f"models.build: got scale {scale!r}, want one of {', '.join(SCALES)}")
    return _BUILDERS[scale](num_classes, seed=seed)


def yolox_nano(num_classes: int = 80, *, seed: int = 0) -> Detector:
    """Builds YOLOX-Nano: depth 0.33, width 0.25, depthwise convolutions; published size 416.

    Args:
        num_classes: classes that it predicts.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    return _csp_detector(num_classes, seed, depth=0.33, width=0.25, depthwise=True)


def yolox_tiny(num_classes: int = 80, *, seed: int = 0) -> Detector:
    """Builds YOLOX-Tiny: depth 0.33, width 0.375; published size 416.

    Args:
        num_classes: classes that it predicts.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    return _csp_detector(num_classes, seed, depth=0.33, width=0.375)


def yolox_s(num_classes: int = 80, *, seed: int = 0) -> Detector:
    """Builds YOLOX-S: depth 0.33, width 0.5; published size 640.

    Args:
        num_classes: classes that it predicts.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    return _csp_detector(num_classes, seed, depth=0.33, width=0.5)


def yolox_m(num_classes: int = 80, *, seed: int = 0) -> Detector:
    """Builds YOLOX-M: depth 0.67, width 0.75; published size 640.

    Args:
        num_classes: classes that it predicts.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    return _csp_detector(num_classes, seed, depth=0.67, width=0.75)


def yolox_l(num_classes: int = 80, *, seed: int = 0) -> Detector:
    """Builds YOLOX-L: depth 1.0, width 1.0; published size 640.

    Args:
        num_classes: classes that it predicts.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    return _csp_detector(num_classes, seed, depth=1.0, width=1.0)


def yolox_x(num_classes: int = 80, *, seed: int = 0) -> Detector:
    """Builds YOLOX-X: depth 1.33, width 1.25; published size 640.

    Args:
        num_classes: classes that it predicts.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    return _csp_detector(num_classes, seed, depth=1.33, width=1.25)


def yolox_darknet53(num_classes: int = 80, *, seed: int = 0) -> Detector:
    """Builds YOLOX-Darknet53: the backbone and pyramid of YOLOv3, leaky ReLU; published size 640.

    Args:
        num_classes: classes that it predicts.
        seed: of the fresh weights.

    Returns:
        Detector, as `build` returns it.
    """
    head = DecoupledHead(num_classes, in_channels=(128, 256, 512), act="lrelu")
    return _initialised(Detector(Darknet53(act="lrelu"), FPN(act="lrelu"), head), seed)


def _csp_detector(num_classes: int, seed: int, *, depth: float, width: float, depthwise: bool = False) -> Detector:
    backbone = CSPDarknet(depth=depth, width=width, depthwise=depthwise)
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
