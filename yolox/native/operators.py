"""The native kernels as MindSpore operators, with their gradients, for compiled and eager mode."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, wraps

import mindspore as ms
from mindspore import ops
from mindspore.ops import constexpr
from mindspore.ops import signature as sig

from yolox.native.build import load_library

_C_NAMES = {"none": "none", "silu": "silu", "relu": "relu", "lrelu": "leaky_relu"}


@constexpr
def runs_natively(shape, dtype) -> bool:
    """Returns, while a graph is compiled, whether the kernels take a tensor: float32 [B,C,H,W], not empty, on CPU.

    It also hands the library the number of threads that MindSpore has at this time, at most as many as this process may
    run on.

    Args:
        shape: of the tensor.
        dtype: of the tensor.

    Returns:
        True for a tensor that the kernels take.
    """
    if len(shape) != 4 or min(shape) < 1 or dtype != ms.float32 or ms.get_context("device_target") != "CPU":
        return False
    _set_threads()
    return True


def _set_threads() -> None:
    threads = min(ms.get_context("runtime_num_threads"), len(os.sched_getaffinity(0)))
    load_library()[1].yolox_set_threads(threads)


def _kernels_run() -> bool:
    """Returns whether Cells that are built now can use the kernels; does not build them for another device."""
    if ms.get_context("device_target") != "CPU" or not load_library()[0].active:
        return False
    _set_threads()
    return True


def _where_kernels_run(make: Callable) -> Callable:
    """Makes a function that builds an operator return None where the kernels do not run, and build one for equal arguments."""
    made = cache(make)

    @wraps(make)
    def operator(*arguments):
        return made(*arguments) if _kernels_run() else None

    operator.cache_clear = made.cache_clear
    return operator


@_where_kernels_run
def depthwise_operator(stride: int) -> ops.Custom | None:
    """Returns the depthwise convolution of x [B,C,H,W] and weight [C,1,K,K], K of 3 or 5, padding (K - 1) / 2.

    Args:
        stride: 1 or 2.

    Returns:
        An operator (x, weight) -> [B,C,ceil(H / stride),ceil(W / stride)] with gradients; None without kernels, and on
        Ascend.
    """
    backward = _custom(f"depthwise_backward_{stride}", lambda x, weight, dy: (x, weight))

    def output(x, weight):
        return (x[0], x[1], (x[2] - 1) // stride + 1, (x[3] - 1) // stride + 1)

    def bprop(x, weight, out, dout):
        return backward(x, weight, dout)

    return _custom(f"depthwise_forward_{stride}", output, bprop)


@_where_kernels_run
def convolution_operator(stride: int) -> ops.Custom | None:
    """Returns the convolution of x [B,C,H,W] and weight [O,C,K,K], K of 1 or 3, padding (K - 1) / 2.

    Args:
        stride: 1 or 2.

    Returns:
        An operator (x, weight) -> [B,O,ceil(H / stride),ceil(W / stride)] with gradients, of which one that nobody reads is
        not computed; None without kernels, and on Ascend.
    """
    input_gradient = _custom(f"convolution_input_gradient_{stride}", lambda x, weight, dy: x)
    weight_gradient = _custom(f"convolution_weight_gradient_{stride}", lambda x, weight, dy: weight)

    def output(x, weight):
        return (x[0], weight[0], (x[2] - 1) // stride + 1, (x[3] - 1) // stride + 1)

    def bprop(x, weight, out, dout):
        return input_gradient(x, weight, dout), weight_gradient(x, weight, dout)

    return _custom(f"convolution_forward_{stride}", output, bprop)


@_where_kernels_run
def norm_operators(act: str) -> tuple[ops.Custom, ops.Custom] | None:
    """Returns batch normalisation followed by an activation, with the batch's statistics and with given ones.

    Args:
        act: "none", "silu", "relu" or "lrelu" (slope 0.1).

    Returns:
        Two operators of (x [B,C,H,W], gamma, beta, moving mean, moving variance [C], settings [2]: epsilon and the share of
        the new value in the moving averages); None without kernels, and on Ascend. The first returns (y, mean [C],
        1 / deviation [C]) and updates the moving averages, which must be Parameters, in place as `nn.BatchNorm2d` does. The
        second returns y and changes nothing.
    """
    name = _C_NAMES[act]
    train_backward = _custom(f"norm_train_backward_{name}", _norm_gradients)
    infer_backward = _custom(f"norm_infer_backward_{name}", _norm_gradients)

    def train_bprop(x, gamma, beta, mean, variance, settings, out, dout):
        dx, dgamma, dbeta = train_backward(x, dout[0], gamma, beta, out[1], out[2])
        return dx, dgamma, dbeta, ops.zeros_like(mean), ops.zeros_like(variance), ops.zeros_like(settings)

    def infer_bprop(x, gamma, beta, mean, variance, settings, out, dout):
        dx, dgamma, dbeta = infer_backward(x, dout, gamma, beta, mean, ops.rsqrt(variance + settings[0]))
        return dx, dgamma, dbeta, ops.zeros_like(mean), ops.zeros_like(variance), ops.zeros_like(settings)

    def train_shapes(x, gamma, beta, mean, variance, settings):
        return x, gamma, gamma

    train = _custom(f"norm_train_{name}", train_shapes, train_bprop, kind=_writes((False, False, False, True, True, False)))
    infer = _custom(f"norm_infer_{name}", lambda x, gamma, beta, mean, variance, settings: x, infer_bprop)
    return train, infer


def _norm_gradients(x, dy, gamma, beta, mean, inv_std):
    return x, gamma, beta


@_where_kernels_run
def max_pool_operator() -> ops.Custom | None:
    """Returns the maximum over 5x5 windows of x [B,C,H,W] at stride 1, as `nn.MaxPool2d(5, 1, "same")` computes it.

    Returns:
        An operator (x) -> [B,C,H,W] with its gradient; None without kernels, and on Ascend.
    """
    backward = _custom("max_pool_backward_5", lambda x, dy: x)

    def bprop(x, out, dout):
        return (backward(x, dout),)

    return _custom("max_pool_forward_5", lambda x: x, bprop)


@_where_kernels_run
def upsample_operator() -> ops.Custom | None:
    """Returns the repetition of each pixel of x [B,C,H,W] in two rows and two columns, as `yolox.nn.upsample2x` computes it.

    Returns:
        An operator (x) -> [B,C,2H,2W] with its gradient; None without kernels, and on Ascend.
    """
    backward = _custom("upsample_backward_2", lambda dy: (dy[0], dy[1], dy[2] // 2, dy[3] // 2))

    def bprop(x, out, dout):
        return (backward(dout),)

    return _custom("upsample_forward_2", lambda x: (x[0], x[1], 2 * x[2], 2 * x[3]), bprop)


@_where_kernels_run
def space_to_depth_operator() -> ops.Custom | None:
    """Returns the move of 2x2 pixels of x [B,C,H,W] to channels, as `yolox.nn.space_to_depth` computes it.

    Returns:
        An operator (x) -> [B,4C,H/2,W/2], of even H and W, with its gradient; None without kernels, and on Ascend.
    """
    backward = _custom("depth_to_space", lambda dy: (dy[0], dy[1] // 4, 2 * dy[2], 2 * dy[3]))

    def bprop(x, out, dout):
        return (backward(dout),)

    return _custom("space_to_depth", lambda x: (x[0], 4 * x[1], x[2] // 2, x[3] // 2), bprop)


@_where_kernels_run
def planes_operator() -> ops.Custom | None:
    """Returns the conversion of images, uint8 [B,H,W,C], to planes, float32 [B,C,H,W].

    Returns:
        An operator (images) -> planes without gradient; None without kernels, and on Ascend.
    """
    return _custom("image_planes", lambda x: (x[0], x[3], x[1], x[2]))


@_where_kernels_run
def sums_operator(count: int) -> ops.Custom | None:
    """Returns the sums of the elements of some tensors.

    Args:
        count: number of tensors.

    Returns:
        An operator (tensors...) -> [count]; None without kernels, and on Ascend.
    """
    return _custom("tensor_sums", lambda *tensors: (count,))


@_where_kernels_run
def sgd_operator(count: int) -> ops.Custom | None:
    """Returns the update of `yolox.training.optim.nesterov_sgd` for all parameters in one kernel.

    Args:
        count: number of parameters.

    Returns:
        An operator (settings [4], parameters..., momenta..., gradients...) -> [1], with settings rate, momentum, decay, and
        whether it is applied: 1, or 0 to leave every bit. It changes parameters and momenta, which must be Parameters, in
        place, and returns the last setting. None without kernels, and on Ascend.
    """
    return _custom("sgd_update", lambda *inputs: (1,), kind=_writes((False,) + (True,) * 2 * count + (False,) * count))


@_where_kernels_run
def average_operator(count: int) -> ops.Custom | None:
    """Returns the update of the moving average of some Parameters, and of a copy of the last ones, in one kernel.

    Args:
        count: number of Parameters that are averaged.

    Returns:
        An operator (settings [2], average [N], copies [M], Parameters of N elements...) -> [1], with settings decay, and
        whether it is applied: 1, or 0 to leave every bit. ``average`` becomes ``decay * average + (1 - decay) * parameters``
        and ``copies`` the last Parameters, as many as have M elements; both must be Parameters. It returns the last
        setting. None without kernels, and on Ascend.
    """
    # The averaged ones are marked as written, too, so that the operator comes after those that change them.
    return _custom("average_update", lambda *inputs: (1,), kind=_writes((False,) + (True,) * (2 + count)))


class _Operator(ops.Custom):
    """A function of the native library. Copies of a Cell share it: MindSpore cannot copy a Custom."""

    def __deepcopy__(self, memo):
        return self


def _writes(written: tuple[bool, ...]) -> type[_Operator]:
    """Returns the class of operators that write some of their inputs, as MindSpore's own BatchNorm does.

    Both lines are needed: the signature passes the Parameter itself instead of its value, and the attribute makes MindSpore
    order the operator against everything that reads the Parameter.
    """

    class Writes(_Operator):
        # Names only: with types, PyNative casts the inputs of other operators of class Custom by this list, too (2.10).
        __mindspore_signature__ = tuple(
            sig.make_sig(f"input{i}", *([sig.sig_rw.RW_WRITE] if writes else [])) for i, writes in enumerate(written)
        )

        def __init__(self, *args):
            super().__init__(*args)
            self.add_prim_attr("side_effect_mem", True)

    return Writes


def _custom(name: str, shapes: Callable, bprop: Callable | None = None, kind: type = _Operator) -> ops.Custom:
    """Returns the operator of a C function.

    Args:
        name: of the function; operators with other output shapes or dtypes need other names (see library.cpp).
        shapes: from shapes of the inputs to the shape of the output, or a tuple of shapes for several.
        bprop: its gradient.
        kind: the class.
    """

    def dtypes(*inputs):
        outputs = shapes(*([(1, 1, 1, 1)] * len(inputs)))
        return (ms.float32,) * len(outputs) if isinstance(outputs[0], tuple) else ms.float32

    return kind(f"{load_library()[0].library}:{name}", shapes, dtypes, "aot", bprop)
