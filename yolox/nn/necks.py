"""Necks: the path aggregation network of the CSP scales, and the feature pyramid of YOLOv3."""

from __future__ import annotations

from mindspore import nn, ops

from yolox.nn.blocks import ConvBNAct, CSPLayer, make_conv
from yolox.nn.layers import Upsample2x


class PAFPN(nn.Cell):
    """Mixes three maps top-down, then bottom-up, so that every level sees fine and coarse features.

    Args:
        depth: factor on the three bottlenecks of each CSP layer.
        width: factor on the channels 256, 512, 1024 of the three levels.
        depthwise: whether 3x3 convolutions are depthwise (nano).
        act: name of the activation.

    Returns:
        (when called) three maps of the sizes and channels of the input maps.

    Source: PANet, as in YOLOv5 and YOLOX.

    Example:
        >>> from mindspore import ops
        >>> maps = (ops.zeros((1, 32, 4, 8)), ops.zeros((1, 64, 2, 4)), ops.zeros((1, 128, 1, 2)))
        >>> [m.shape for m in PAFPN(0.33, 0.125)(maps)]
        [(1, 32, 4, 8), (1, 64, 2, 4), (1, 128, 1, 2)]
    """

    def __init__(self, depth, width, *, depthwise=False, act="silu"):
        super().__init__()
        c3, c4, c5 = (int(width * c) for c in (256, 512, 1024))
        repeats = round(3 * depth)
        conv = {"depthwise": depthwise, "act": act}
        csp = {"shortcut": False, **conv}
        self.out_channels = (c3, c4, c5)
        self.double = Upsample2x()
        self.lateral_conv0 = ConvBNAct(c5, c4, 1, 1, act=act)
        self.C3_p4 = CSPLayer(2 * c4, c4, repeats, **csp)
        self.reduce_conv1 = ConvBNAct(c4, c3, 1, 1, act=act)
        self.C3_p3 = CSPLayer(2 * c3, c3, repeats, **csp)
        self.bu_conv2 = make_conv(c3, c3, 3, 2, **conv)
        self.C3_n3 = CSPLayer(2 * c3, c4, repeats, **csp)
        self.bu_conv1 = make_conv(c4, c4, 3, 2, **conv)
        self.C3_n4 = CSPLayer(2 * c4, c5, repeats, **csp)

    def construct(self, maps):  # ([B,C3,H/8,W/8], [B,C4,H/16,W/16], [B,C5,H/32,W/32]) -> the same shapes
        fine, middle, coarse = maps
        top5 = self.lateral_conv0(coarse)
        top4 = self.reduce_conv1(self.C3_p4(ops.cat((self.double(top5), middle), axis=1)))
        out3 = self.C3_p3(ops.cat((self.double(top4), fine), axis=1))
        out4 = self.C3_n3(ops.cat((self.bu_conv2(out3), top4), axis=1))
        out5 = self.C3_n4(ops.cat((self.bu_conv1(out4), top5), axis=1))
        return out3, out4, out5


class FPN(nn.Cell):
    """Mixes three maps top-down: the neck of YOLOv3, for `Darknet53`.

    Args:
        act: name of the activation; the released weights have "lrelu".

    Returns:
        (when called) three maps of 128, 256 and 512 channels; the coarsest passes unchanged.

    Source: YOLOv3, section 2.3.
    """

    def __init__(self, *, act="lrelu"):
        super().__init__()
        self.out_channels = (128, 256, 512)
        self.double = Upsample2x()
        self.out1_cbl = ConvBNAct(512, 256, 1, 1, act=act)
        self.out1 = _embedding(256 + 512, 256, 512, act)
        self.out2_cbl = ConvBNAct(256, 128, 1, 1, act=act)
        self.out2 = _embedding(128 + 256, 128, 256, act)

    def construct(self, maps):  # ([B,256,h,w], [B,512,h/2,w/2], [B,512,h/4,w/4]) -> 128, 256, 512 channels
        fine, middle, coarse = maps
        out4 = self.out1(ops.cat((self.double(self.out1_cbl(coarse)), middle), axis=1))
        out3 = self.out2(ops.cat((self.double(self.out2_cbl(out4)), fine), axis=1))
        return out3, out4, coarse


def _embedding(in_channels: int, narrow: int, wide: int, act: str) -> nn.SequentialCell:
    """Five convolutions that take turns between 1x1 to `narrow` and 3x3 to `wide` channels."""
    return nn.SequentialCell(
        ConvBNAct(in_channels, narrow, 1, 1, act=act),
        ConvBNAct(narrow, wide, 3, 1, act=act),
        ConvBNAct(wide, narrow, 1, 1, act=act),
        ConvBNAct(narrow, wide, 3, 1, act=act),
        ConvBNAct(wide, narrow, 1, 1, act=act),
    )
