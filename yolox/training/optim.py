"""The update of parameters: SGD with Nesterov momentum as one masked update, and tensors joined to one vector."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from attrs import frozen
from mindspore import Parameter, Tensor, ops

from yolox.graph import join_arrays, split_array, tree_map

_nesterov = ops.SGD(dampening=0.0, weight_decay=0.0, nesterov=True)


def has_weight_decay(parameter) -> bool:
    """Returns whether weight decay applies: to convolution weights, not to BN or biases.

    Args:
        parameter: anything with a `shape`.

    Returns:
        True for four-dimensional parameters.

    Source:
        Megvii's parameter groups: BN weights and all biases are left out.

    Example:
        >>> import numpy as np
        >>> has_weight_decay(np.zeros((8, 3, 3, 3))), has_weight_decay(np.zeros(8))
        (True, False)
    """
    return len(parameter.shape) == 4


def gradient_sums(gradients) -> Tensor:
    """Computes the sum of each gradient: one vector shows which of them are not finite.

    A sum is not finite if any element is not; gradients so large that their sum overflows count as not finite too.

    Args:
        gradients: tuple of float32 tensors of any shapes.

    Returns:
        Float32 tensor [number of gradients].
    """
    return ops.stack(tree_map(_sum, gradients))


def _sum(gradient):
    return gradient.sum().astype(ms.float32)


def unused_stats(params) -> tuple[Parameter, ...]:
    """Returns the statistics that the SGD kernel requires and does not use without dampening: zeros, one tensor a shape.

    Args:
        params: Parameters.

    Returns:
        One float32 Parameter of the same shape for each of `params`; equal shapes share one.
    """
    shapes = dict.fromkeys(p.shape for p in params)
    by_shape = {
        shape: Parameter(ops.zeros(shape, ms.float32), name=f"sgd_stat.{i}", requires_grad=False)
        for i, shape in enumerate(shapes)
    }
    return tuple(by_shape[p.shape] for p in params)


def masked_sgd(params, momenta, stats, gradients, lr, apply, *, momentum: float, weight_decay: float) -> None:
    """Updates parameters and momenta in place by Nesterov SGD, or leaves every bit as it is.

    The update is ``v = momentum * v + g + weight_decay * p`` and ``p = p - lr * (g + weight_decay * p + momentum * v)``.
    Without `apply`, gradient and rate become 0 and the momentum 1, so that every value is written back as it was read.
    The decay is added here and not by the kernel, which would add it to the momenta of a step that is not applied.

    Args:
        params: tuple of Parameters, float32.
        momenta: tuple of Parameters of the same shapes.
        stats: made by `unused_stats` for `params`.
        gradients: tuple of tensors of the same shapes; may hold NaN where `apply` is False.
        lr: float32 scalar tensor.
        apply: bool scalar tensor.
        momentum: Nesterov momentum.
        weight_decay: decay of the parameters for which `has_weight_decay` is True.

    Source:
        Sutskever et al. 2013 in the form of common frameworks (no dampening). One kernel for each parameter: the same
        in plain arithmetic takes three times as long to compile and twice as long to run (nano, MindSpore 2.10, CPU).
        The other fused kernel, ApplyMomentum, ignores its Nesterov flag on CPU (2.7 and 2.10).
    """
    rate = ops.select(apply, lr, ops.zeros_like(lr))
    kept = ops.select(apply, Tensor(momentum, ms.float32), Tensor(1.0, ms.float32))
    tree_map(ops.partial(_sgd_one, rate, kept, apply, weight_decay), params, momenta, stats, gradients)


def _sgd_one(rate, kept, apply, weight_decay, param, velocity, stat, gradient):
    decayed = gradient + weight_decay * param if has_weight_decay(param) else gradient
    return _nesterov(param, ops.select(apply, decayed, ops.zeros_like(decayed)), rate, velocity, kept, stat)


@frozen(eq=False)
class FlatTensors:
    """Float32 tensors end to end in one Parameter, for a state that changes as a whole.

    `value` is the Parameter [N], `shapes` are those of the tensors in it. A moving average of all weights is then one
    kernel and not one for each of hundreds of tensors, each of which has to be compiled and started. There is no way back
    in graph code, from one tensor to many Parameters: MindSpore 2.7 has no kernel for it on CPU.

    Example:
        >>> pair = flat_tensors([np.zeros((2, 1), np.float32), np.ones(3, np.float32)], name="pair")
        >>> pair.value.asnumpy().tolist(), [part.shape for part in pair.arrays()]
        ([0.0, 0.0, 1.0, 1.0, 1.0], [(2, 1), (3,)])
    """

    value: Parameter
    shapes: tuple[tuple[int, ...], ...]

    def arrays(self) -> list[np.ndarray]:
        """Copies the tensors to numpy, each in its shape."""
        return [part.copy() for part in split_array(self.value.asnumpy(), self.shapes)]

    def write(self, arrays: Sequence[np.ndarray]) -> None:
        """Replaces all tensors in place: a compiled step holds the memory of the Parameter.

        Args:
            arrays: float32, of the shapes of the tensors in their order.

        Raises:
            ValueError: if number or shapes differ.
        """
        came = tuple(tuple(array.shape) for array in arrays)
        if came != self.shapes:
            first, want = came[:3], self.shapes[:3]
            raise ValueError(f"FlatTensors: got {len(came)} arrays of shapes {first}..., want {len(self.shapes)}: {want}...")
        ops.assign(self.value, Tensor(join_arrays(arrays)))


def flat_tensors(arrays: Sequence[np.ndarray], *, name: str) -> FlatTensors:
    """Concatenates arrays into one Parameter that no optimizer trains.

    Args:
        arrays: float32, any shapes; may be none.
        name: of the Parameter.

    Returns:
        FlatTensors with the arrays in their order.

    Raises:
        TypeError: for another dtype, which one long tensor could not keep.
    """
    odd = [str(array.dtype) for array in arrays if array.dtype != np.float32]
    if odd:
        raise TypeError(f"flat_tensors: {name} has a tensor of {odd[0]}, want float32")
    value = Parameter(Tensor(join_arrays(arrays)), name=name, requires_grad=False)
    return FlatTensors(value, tuple(tuple(array.shape) for array in arrays))


def _as_row(tensor):
    return tensor.reshape((-1,))


def flatten(tensors):  # ([...], [...], ...) -> [N]
    """Concatenates a tuple of tensors, in graph code.

    Args:
        tensors: tuple of at least one tensor or Parameter, all of one dtype.

    Returns:
        Tensor [N] of their elements in order.
    """
    return ops.concat(tree_map(_as_row, tensors))
