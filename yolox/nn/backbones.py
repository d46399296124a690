"""Backbones: CSPDarknet of the six YOLOX scales, and Darknet-53 of YOLOv3."""

from __future__ import annotations

from mindspore import nn

from yolox.nn.blocks import ConvBNAct, CSPLayer, Focus, ResLayer, SPPBottleneck, make_conv


class CSPDarknet(nn.Cell):
    """Backbone of nano, tiny, s, m, l and x.

    Args:
        depth: factor on the repeats 3, 9, 9, 3 of the four stages.
        width: factor on the channels 64, 128, 256, 512, 1024.
        depthwise: whether 3x3 convolutions after the stem are depthwise (nano).
        act: name of the activation.
        in_channels: of the images.

    Returns:
        (when called) maps at strides 8, 16 and 32 of `out_channels` channels.

    Source: YOLOX, section 2.1 (CSPNet backbone and SPP of YOLOv5 v5); the last stage has no shortcuts.

    Example:
        >>> from mindspore import ops
        >>> maps = CSPDarknet(0.33, 0.125, depthwise=True)(ops.zeros((1, 3, 32, 64)))
        >>> [m.shape for m in maps]
        [(1, 32, 4, 8), (1, 64, 2, 4), (1, 128, 1, 2)]
    """

    def __init__(self, depth, width, *, depthwise=False, act="silu", in_channels=3):
        super().__init__()
        self.in_channels = in_channels
        c1, c2, c3, c4, c5 = (int(width * c) for c in (64, 128, 256, 512, 1024))
        repeats = max(round(3 * depth), 1)
        conv = {"depthwise": depthwise, "act": act}
        self.out_channels = (c3, c4, c5)
        self.stem = Focus(in_channels, c1, 3, act=act)
        self.dark2 = nn.SequentialCell(make_conv(c1, c2, 3, 2, **conv), CSPLayer(c2, c2, repeats, **conv))
        self.dark3 = nn.SequentialCell(make_conv(c2, c3, 3, 2, **conv), CSPLayer(c3, c3, 3 * repeats, **conv))
        self.dark4 = nn.SequentialCell(make_conv(c3, c4, 3, 2, **conv), CSPLayer(c4, c4, 3 * repeats, **conv))
        self.dark5 = nn.SequentialCell(
            make_conv(c4, c5, 3, 2, **conv),
            SPPBottleneck(c5, c5, act=act),
            CSPLayer(c5, c5, repeats, shortcut=False, **conv),
        )

    def construct(self, images):  # [B,in,H,W] -> [B,C3,H/8,W/8], [B,C4,H/16,W/16], [B,C5,H/32,W/32]
        dark3 = self.dark3(self.dark2(self.stem(images)))
        dark4 = self.dark4(dark3)
        return dark3, dark4, self.dark5(dark4)


class Darknet53(nn.Cell):
    """Backbone of YOLOv3, with spatial pyramid pooling at its end.

    Args:
        act: name of the activation; the released weights have "lrelu".
        in_channels: of the images.

    Returns:
        (when called) maps at strides 8, 16 and 32 of 256, 512 and 512 channels.

    Source: YOLOv3, table 1, and YOLOv3-SPP.
    """

    def __init__(self, *, act="lrelu", in_channels=3):
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = (256, 512, 512)
        self.stem = nn.SequentialCell(ConvBNAct(in_channels, 32, 3, 1, act=act), *_residual_stage(32, 1, act))
        self.dark2 = nn.SequentialCell(_residual_stage(64, 2, act))
        self.dark3 = nn.SequentialCell(_residual_stage(128, 8, act))
        self.dark4 = nn.SequentialCell(_residual_stage(256, 8, act))
        self.dark5 = nn.SequentialCell(_residual_stage(512, 4, act) + _pyramid(1024, 512, act))

    def construct(self, images):  # [B,in,H,W] -> [B,256,H/8,W/8], [B,512,H/16,W/16], [B,512,H/32,W/32]
        dark3 = self.dark3(self.dark2(self.stem(images)))
        dark4 = self.dark4(dark3)
        return dark3, dark4, self.dark5(dark4)


def _residual_stage(channels: int, repeats: int, act: str) -> list[nn.Cell]:
    """Halves the size, doubles the channels, then refines with residual layers."""
    down = ConvBNAct(channels, 2 * channels, 3, 2, act=act)
    return [down, *(ResLayer(2 * channels, act=act) for _ in range(repeats))]


def _pyramid(wide: int, narrow: int, act: str) -> list[nn.Cell]:
    """Squeezes, widens, pools at four scales, widens, squeezes."""
    return [
        ConvBNAct(wide, narrow, 1, 1, act=act),
        ConvBNAct(narrow, wide, 3, 1, act=act),
        SPPBottleneck(wide, narrow, act=act),
        ConvBNAct(narrow, wide, 3, 1, act=act),
        ConvBNAct(wide, narrow, 1, 1, act=act),
    ]
