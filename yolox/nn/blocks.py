"""The convolution blocks that backbones, necks and heads are made of.

Attribute names follow the published checkpoints, so that weights load by name.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from yolox.native import norm_operators, runs_natively
from yolox.nn.layers import Convolution, MaxPool5, NativeCell, SpaceToDepth, make_activation

BN_EPS = 1e-3
BN_MOMENTUM = 0.97  # share of the old running value; PyTorch writes the same as 0.03


class ConvBNAct(NativeCell):
    """Convolution without bias, batch normalisation and activation.

    Every layer of the detector but the last predictions is one of these. The padding keeps the size at
    stride 1 and halves it (rounding up) at stride 2.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the square kernel in pixels, odd.
        stride: step in pixels.
        groups: convolution groups; `in_channels` makes it depthwise.
        act: name of the activation, see `make_activation`.

    Raises:
        ValueError: `kernel` is even, or the activation is unknown; when called, the channels differ.

    Source: the released models, whose BN has eps 1e-3 and momentum 0.03 (0.97 as MindSpore counts).

    Example:
        >>> from mindspore import ops
        >>> ConvBNAct(3, 8, 3, 2)(ops.zeros((1, 3, 8, 12))).shape
        (1, 8, 4, 6)
    """

    def __init__(self, in_channels, out_channels, kernel, stride, *, groups=1, act="silu"):
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"ConvBNAct: kernel is {kernel}, want an odd number")
        self.in_channels = in_channels
        self.conv = Convolution(in_channels, out_channels, kernel, stride, groups=groups)
        self.bn = nn.BatchNorm2d(out_channels, eps=BN_EPS, momentum=BN_MOMENTUM)
        self.act = make_activation(act)
        operators = norm_operators(act)
        self.native = operators is not None
        if self.native:
            self.native_train, self.native_infer = operators
            self.native_settings = Tensor([BN_EPS, 1.0 - BN_MOMENTUM], ms.float32)

    def __setattr__(self, name, value):
        if name in ("bn", "act"):  # replaced by others, which the native operator does not compute
            self.native = False
        super().__setattr__(name, value)

    def construct(self, x):  # [B,in,H,W] -> [B,out,H/stride,W/stride]
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"ConvBNAct: x has shape {x.shape}, want [B,{self.in_channels},H,W]")
        x = self.conv(x)
        if self.native and runs_natively(x.shape, x.dtype):
            return self._norm_act_natively(x)
        return self.act(self.bn(x))

    def _norm_act_natively(self, x):  # [B,C,H,W] -> [B,C,H,W]
        norm = self.bn
        inputs = (x, norm.gamma, norm.beta)
        if norm.training if norm.use_batch_statistics is None else norm.use_batch_statistics:
            return self.native_train(*inputs, norm.moving_mean, norm.moving_variance, self.native_settings)[0]
        return self.native_infer(*inputs, norm.moving_mean, norm.moving_variance, self.native_settings)


class DepthwiseConv(nn.Cell):
    """Depthwise convolution, then a 1x1 convolution, each with batch normalisation and activation.

    Stands where a dense kernel would stand, at a fraction of the weights; the nano scale is built of it.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the depthwise kernel in pixels, odd.
        stride: step of the depthwise kernel in pixels.
        act: name of the activation of both layers.

    Example:
        >>> from mindspore import ops
        >>> DepthwiseConv(4, 8, 3, 2)(ops.zeros((1, 4, 8, 8))).shape
        (1, 8, 4, 4)
    """

    def __init__(self, in_channels, out_channels, kernel, stride, *, act="silu"):
        super().__init__()
        self.dconv = ConvBNAct(in_channels, in_channels, kernel, stride, groups=in_channels, act=act)
        self.pconv = ConvBNAct(in_channels, out_channels, 1, 1, act=act)

    def construct(self, x):  # [B,in,H,W] -> [B,out,H/stride,W/stride]
        return self.pconv(self.dconv(x))


def make_conv(in_channels, out_channels, kernel, stride, *, depthwise=False, act="silu") -> nn.Cell:
    """Returns a `DepthwiseConv` or a dense `ConvBNAct` of the same shape.

    Args:
        in_channels: of the input.
        out_channels: of the result.
        kernel: side of the kernel, px.
        stride: in both directions.
        depthwise: True for a depthwise convolution and a pointwise one.
        act: name of the activation.

    Returns:
        A Cell from [B,in,H,W] to [B,out,H/stride,W/stride].
    """
    block = DepthwiseConv if depthwise else ConvBNAct
    return block(in_channels, out_channels, kernel, stride, act=act)


class Bottleneck(nn.Cell):
    """1x1 then 3x3 convolution, added to the input when `shortcut` holds and the channels agree.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        shortcut: whether to add the input.
        expansion: channels between the two convolutions as a share of `out_channels`.
        depthwise: whether the 3x3 convolution is depthwise.
        act: name of the activation.

    Example:
        >>> from mindspore import ops
        >>> Bottleneck(4, 4)(ops.zeros((1, 4, 8, 8))).shape
        (1, 4, 8, 8)
    """

    def __init__(
        self, in_channels, out_channels, *, shortcut=True, expansion=0.5, depthwise=False, act="silu"
    ):
        super().__init__()
        hidden = int(out_channels * expansion)
        self.conv1 = ConvBNAct(in_channels, hidden, 1, 1, act=act)
        self.conv2 = make_conv(hidden, out_channels, 3, 1, depthwise=depthwise, act=act)
        self.add = shortcut and in_channels == out_channels

    def construct(self, x):  # [B,in,H,W] -> [B,out,H,W]
        y = self.conv2(self.conv1(x))
        return y + x if self.add else y


class ResLayer(nn.Cell):
    """Residual layer of Darknet-53: 1x1 to half the channels, 3x3 back, plus the input.

    Args:
        channels: channels of input and output, even.
        act: name of the activation.

    Source: YOLOv3, table 1.

    Example:
        >>> from mindspore import ops
        >>> ResLayer(4)(ops.zeros((1, 4, 8, 8))).shape
        (1, 4, 8, 8)
    """

    def __init__(self, channels, *, act="lrelu"):
        super().__init__()
        self.layer1 = ConvBNAct(channels, channels // 2, 1, 1, act=act)
        self.layer2 = ConvBNAct(channels // 2, channels, 3, 1, act=act)

    def construct(self, x):  # [B,C,H,W] -> [B,C,H,W]
        return x + self.layer2(self.layer1(x))


class CSPLayer(nn.Cell):
    """Cross-stage partial layer: one half of the channels passes bottlenecks, the other goes around them.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        repeats: number of bottlenecks.
        shortcut: whether the bottlenecks add their input.
        depthwise: whether their 3x3 convolutions are depthwise.
        act: name of the activation.

    Source: CSPNet; with three 1x1 convolutions, as in YOLOv5 and YOLOX.

    Example:
        >>> from mindspore import ops
        >>> CSPLayer(4, 8, 1)(ops.zeros((1, 4, 8, 8))).shape
        (1, 8, 8, 8)
    """

    def __init__(self, in_channels, out_channels, repeats, *, shortcut=True, depthwise=False, act="silu"):
        super().__init__()
        hidden = out_channels // 2
        self.conv1 = ConvBNAct(in_channels, hidden, 1, 1, act=act)
        self.conv2 = ConvBNAct(in_channels, hidden, 1, 1, act=act)
        self.conv3 = ConvBNAct(2 * hidden, out_channels, 1, 1, act=act)
        options = {"shortcut": shortcut, "expansion": 1.0, "depthwise": depthwise, "act": act}
        self.m = nn.SequentialCell([Bottleneck(hidden, hidden, **options) for _ in range(repeats)])

    def construct(self, x):  # [B,in,H,W] -> [B,out,H,W]
        return self.conv3(ops.cat((self.m(self.conv1(x)), self.conv2(x)), axis=1))


class SPPBottleneck(nn.Cell):
    """Spatial pyramid pooling between two 1x1 convolutions: the map beside its 5x5, 9x9 and 13x13 maxima.

    Args:
        in_channels: channels of the input, even.
        out_channels: channels of the output.
        act: name of the activation.

    Source: YOLOv3-SPP. A maximum over 9x9 is a maximum over 5x5 taken twice, over 13x13 taken three times.

    Example:
        >>> from mindspore import ops
        >>> SPPBottleneck(4, 8)(ops.zeros((1, 4, 8, 8))).shape
        (1, 8, 8, 8)
    """

    def __init__(self, in_channels, out_channels, *, act="silu"):
        super().__init__()
        hidden = in_channels // 2
        self.conv1 = ConvBNAct(in_channels, hidden, 1, 1, act=act)
        self.conv2 = ConvBNAct(4 * hidden, out_channels, 1, 1, act=act)
        self.pool = MaxPool5()

    def construct(self, x):  # [B,in,H,W] -> [B,out,H,W]
        x = self.conv1(x)
        # Chained: 2.7 times as fast, forward and backward, as pools of 5, 9 and 13 side by side (256x20x20).
        five = self.pool(x)
        nine = self.pool(five)
        return self.conv2(ops.cat((x, five, nine, self.pool(nine)), axis=1))


class Focus(nn.Cell):
    """Moves every second pixel into channels, then convolves: the stem of CSPDarknet.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the output.
        kernel: side of the convolution kernel in pixels, odd.
        act: name of the activation.

    Raises:
        ValueError: when called, height or width is odd.

    Source: YOLOv5. Order of the quarters in the channels: top left, bottom left, top right, bottom right.

    Example:
        >>> from mindspore import ops
        >>> Focus(3, 8, 3)(ops.zeros((1, 3, 8, 12))).shape
        (1, 8, 4, 6)
    """

    def __init__(self, in_channels, out_channels, kernel, *, act="silu"):
        super().__init__()
        self.conv = ConvBNAct(4 * in_channels, out_channels, kernel, 1, act=act)
        self.halve = SpaceToDepth()

    def construct(self, x):  # [B,in,H,W] -> [B,out,H/2,W/2]
        if x.shape[2] % 2 or x.shape[3] % 2:
            raise ValueError(f"Focus: x has shape {x.shape}, want even height and width")
        return self.conv(self.halve(x))


_TYPES = {"float32": ms.float32, "float16": ms.float16}


def set_precision(detector: nn.Cell, precision: str) -> None:
    """Sets the arithmetic of the convolutions that have batch normalisation behind them.

    Call it before the detector is compiled. Normalisation, activations, the last predictions and all
    parameters stay float32, so that maps, losses and gradients are float32 either way.

    Args:
        detector: cell that holds `ConvBNAct` layers; changed in place.
        precision: "float32" or "float16". bfloat16 convolutions do not exist on CPU.

    Raises:
        ValueError: `precision` is neither.

    Source: mixed precision training (arXiv:1710.03740); training also needs its loss scale.

    Example:
        >>> from mindspore import ops
        >>> layer = ConvBNAct(3, 8, 3, 2)
        >>> set_precision(layer, "float16")
        >>> layer(ops.zeros((1, 3, 8, 8))).dtype
        mindspore.float32
    """
    if precision not in _TYPES:
        raise ValueError(f"set_precision: got {precision!r}, want one of {', '.join(_TYPES)}")
    for _, cell in detector.cells_and_names():
        if isinstance(cell, ConvBNAct):
            cell.conv.to_float(_TYPES[precision])
            cell.bn.to_float(ms.float32)
