"""The layers below the blocks: activations, convolutions, pooling and moves of pixels, on CPU by native kernels.

Each computes the same as MindSpore's own layer, which it takes where `yolox.native` has no kernel for the shape, the type or the
device.
"""

from __future__ import annotations

from mindspore import nn, ops

from yolox.native import (
    convolution_operator,
    depthwise_operator,
    max_pool_operator,
    runs_natively,
    space_to_depth_operator,
    upsample_operator,
)
from yolox.nn.functional import space_to_depth, upsample2x

# x * sigmoid(x) in place of nn.SiLU changes the time of a training step by less than noise.
_ACTIVATIONS = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "lrelu": lambda: nn.LeakyReLU(alpha=0.1),
}


def make_activation(name: str) -> nn.Cell:
    """Returns the activation layer named `name`.

    Args:
        name: "silu", "relu" or "lrelu" (slope 0.1).

    Returns:
        A cell without parameters.

    Raises:
        ValueError: `name` is none of the three.

    Example:
        >>> import mindspore as ms
        >>> make_activation("lrelu")(ms.Tensor([-1.0, 2.0]))
        Tensor(shape=[2], dtype=Float32, value= [-1.00000001e-01,  2.00000000e+00])
    """
    if name not in _ACTIVATIONS:
        raise ValueError(f"make_activation: got {name!r}, want one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]()


class NativeCell(nn.Cell):
    """A cell whose native operators take float32 only: another `to_float` of it, or of a cell around it, turns them off."""

    def add_flags(self, **flags):
        super().add_flags(**flags)
        if "fp32" in flags and not flags["fp32"]:
            self.native = False


class NativeLayer(NativeCell):
    """A layer without parameters that computes on CPU by an operator of `yolox.native`, elsewhere by `compute`.

    Args:
        operator: from one map to another; None where there is none.
    """

    def __init__(self, operator):
        super().__init__()
        self.native = operator is not None
        if self.native:
            self.native_operator = operator

    def construct(self, x):  # [B,C,H,W] -> what `compute` returns
        if self.native and runs_natively(x.shape, x.dtype):
            return self.native_operator(x)
        return self.compute(x)


class MaxPool5(NativeLayer):
    """The maximum over 5x5 windows at stride 1."""

    def __init__(self):
        super().__init__(max_pool_operator())
        self.pool = nn.MaxPool2d(5, 1, "same")

    def compute(self, x):  # [B,C,H,W] -> [B,C,H,W]
        return self.pool(x)


class Upsample2x(NativeLayer):
    """`upsample2x` as a layer."""

    def __init__(self):
        super().__init__(upsample_operator())

    def compute(self, x):  # [B,C,H,W] -> [B,C,2H,2W]
        return upsample2x(x)


class SpaceToDepth(NativeLayer):
    """`space_to_depth` as a layer."""

    def __init__(self):
        super().__init__(space_to_depth_operator())

    def compute(self, x):  # [B,C,H,W] -> [B,4C,H/2,W/2]
        return space_to_depth(x)


class Convolution(nn.Conv2d):
    """An `nn.Conv2d` that pads by (kernel - 1) / 2, on CPU a native kernel where `yolox.native` has one.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the square kernel in pixels, odd.
        stride: step in pixels.
        groups: convolution groups; `in_channels` makes it depthwise.
        has_bias: whether a number is added to each channel.
    """

    def __init__(self, in_channels, out_channels, kernel, stride, *, groups=1, has_bias=False):
        super().__init__(
            in_channels, out_channels, kernel, stride, "pad", (kernel - 1) // 2, group=groups, has_bias=has_bias
        )
        operator = None
        if groups == 1 and kernel in (1, 3) and stride in (1, 2):
            operator = convolution_operator(stride)
        elif groups == in_channels == out_channels and kernel in (3, 5) and stride in (1, 2):
            operator = depthwise_operator(stride)
        self.native = operator is not None
        if self.native:
            self.native_operator = operator

    def add_flags(self, **flags):  # `to_float` of this Cell or one around it: the kernels take float32 only
        super().add_flags(**flags)
        if "fp32" in flags:
            self.native = flags["fp32"] and getattr(self, "native_operator", None) is not None

    def construct(self, x):  # [B,in,H,W] -> [B,out,H/stride,W/stride]
        if self.native and runs_natively(x.shape, x.dtype):
            y = self.native_operator(x, self.weight)
            return ops.bias_add(y, self.bias) if self.has_bias else y
        return super().construct(x)
