"""Tell which published scale a set of weights is of, by its first layer."""

from __future__ import annotations

from collections.abc import Mapping

STEM = "backbone.stem.conv.conv.weight"
DARKNET_STEM = "backbone.stem.2.layer1.conv.weight"
STEM_WIDTHS = {24: "tiny", 32: "s", 48: "m", 64: "l", 80: "x"}
NANO_WIDTH = 16


def scale_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Name the scale whose first layer these weights have, to say which script fits a file.

    Args:
        shapes: this library's names to shapes.

    Returns:
        One of nano, tiny, s, m, l, x, darknet53; None where nothing tells. Layers of one's own may look the same.

    Example:
        >>> scale_of({"backbone.stem.conv.conv.weight": (32, 12, 3, 3)}), scale_of({})
        ('s', None)
    """
    if DARKNET_STEM in shapes:
        return "darknet53"
    width = next(iter(shapes.get(STEM, ())), None)
    if any(".dconv." in name for name in shapes):
        return "nano" if width == NANO_WIDTH else None
    return STEM_WIDTHS.get(width)
