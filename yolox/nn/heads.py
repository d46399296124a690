"""The decoupled head: a tower for classes and a tower for boxes, at every level. It predicts raw maps."""

from __future__ import annotations

from mindspore import nn, ops

from yolox.nn.blocks import ConvBNAct, make_conv
from yolox.nn.layers import Convolution


class DecoupledHead(nn.Cell):
    """Predicts boxes, objectness and classes at every cell of three maps.

    Args:
        num_classes: number of classes, C.
        width: factor on all channels.
        in_channels: channels of the three maps before the factor.
        depthwise: whether the 3x3 convolutions are depthwise (nano).
        act: name of the activation.

    Returns:
        (when called) three float32 maps [B,5+C,H,W]: box 4 (undecoded), objectness logit 1, class logits C.

    Raises:
        ValueError: `num_classes` is not positive; when called, there are not as many maps as `in_channels`.

    Source: YOLOX, section 2.1 and figure 2; objectness comes from the box tower.

    Example:
        >>> from mindspore import ops
        >>> maps = (ops.zeros((1, 32, 4, 8)), ops.zeros((1, 64, 2, 4)), ops.zeros((1, 128, 1, 2)))
        >>> [m.shape for m in DecoupledHead(80, 0.125)(maps)]
        [(1, 85, 4, 8), (1, 85, 2, 4), (1, 85, 1, 2)]
    """

    def __init__(self, num_classes, width=1.0, *, in_channels=(256, 512, 1024), depthwise=False, act="silu"):
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"DecoupledHead: num_classes is {num_classes}, want 1 or more")
        hidden = int(256 * width)
        levels = range(len(in_channels))
        self.num_classes = num_classes
        self.stems = nn.CellList([ConvBNAct(int(c * width), hidden, 1, 1, act=act) for c in in_channels])
        self.cls_convs = nn.CellList([_tower(hidden, depthwise, act) for _ in levels])
        self.reg_convs = nn.CellList([_tower(hidden, depthwise, act) for _ in levels])
        self.cls_preds = nn.CellList([Convolution(hidden, num_classes, 1, 1, has_bias=True) for _ in levels])
        self.reg_preds = nn.CellList([Convolution(hidden, 4, 1, 1, has_bias=True) for _ in levels])
        self.obj_preds = nn.CellList([Convolution(hidden, 1, 1, 1, has_bias=True) for _ in levels])

    def construct(self, maps):  # ([B,c,H,W], ...) -> ([B,5+C,H,W], ...)
        if len(maps) != len(self.stems):
            raise ValueError(f"DecoupledHead: got {len(maps)} maps, want {len(self.stems)}")
        return tuple(self._level(level, maps[level]) for level in range(len(self.stems)))

    def _level(self, level, x):  # [B,c,H,W] -> [B,5+C,H,W]
        x = self.stems[level](x)
        boxes = self.reg_convs[level](x)
        classes = self.cls_convs[level](x)
        parts = (self.reg_preds[level](boxes), self.obj_preds[level](boxes), self.cls_preds[level](classes))
        return ops.cat(parts, axis=1)


def _tower(channels: int, depthwise: bool, act: str) -> nn.SequentialCell:
    """Two 3x3 convolutions."""
    return nn.SequentialCell(
        make_conv(channels, channels, 3, 1, depthwise=depthwise, act=act),
        make_conv(channels, channels, 3, 1, depthwise=depthwise, act=act),
    )
