"""Optimizers as masked updates of parameters in place: Nesterov SGD and AdamW; and tensors joined to one vector."""

import math
from collections.abc import Callable, Mapping, Sequence

import mindspore as ms
import numpy as np
from attrs import frozen
from mindspore import Parameter, Tensor, ops

from yolox.config import OptimConfig
from yolox.graph import join_arrays, split_array, tree_map
from yolox.native import sgd_operator, sums_operator

_nesterov = ops.SGD(dampening=0.0, weight_decay=0.0, nesterov=True)
_adamw = ops.AdamWeightDecay()


@frozen
class Optimizer:
    """An update rule and the names of what it keeps; another, such as LAMB or Lion, is one function and a row of `OPTIMIZERS`.

    `make_update` is a function of (params, slots, updates, optim). It returns a function of (gradients, lr, apply) for graph
    code that changes parameters and slots in place, or leaves every bit as it is where the bool scalar `apply` is False,
    even if gradients are not finite.
    """

    slots: tuple[str, ...]
    """Tensors that are kept for each parameter, of its shape, zero at the start; checkpoints name them ``<slot>.<parameter>``."""
    counts_updates: bool
    """The update depends on how many were applied before: `updates` is a Parameter, a float32 scalar, and not None."""
    make_update: Callable


def zero_slots(params: Sequence[Parameter], names: Sequence[str]) -> dict[str, tuple[Parameter, ...]]:
    """Returns the slots of a fresh run.

    Args:
        params: trainable Parameters.
        names: of the slots, as `Optimizer.slots`.

    Returns:
        For each name one float32 Parameter of zeros for each of `params`.
    """
    return {
        name: tuple(Parameter(ops.zeros(p.shape, ms.float32), name=f"{name}.{p.name}", requires_grad=False) for p in params)
        for name in names
    }


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


def make_gradient_sums(count: int) -> Callable:
    """Returns `gradient_sums` for a number of tensors, as one native kernel where the kernels of `yolox.native` run.

    Args:
        count: number of gradients.

    Returns:
        Function of a tuple of gradients, for graph code.
    """
    operator = sums_operator(count)
    if operator is None:
        return gradient_sums

    def sum_natively(gradients):
        return operator(*gradients)

    return sum_natively


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


def nesterov_sgd(params, slots: Mapping, updates: None, optim: OptimConfig) -> Callable:
    """Returns the update of SGD with Nesterov momentum.

    The update is ``v = momentum * v + g + weight_decay * p`` and ``p = p - lr * (g + weight_decay * p + momentum * v)``.
    Where it is not applied, MindSpore's kernel gets a gradient and a rate of 0 and a momentum of 1, so that every value is
    written back as it was read. The decay is added before it, as it would add it to the momenta of a step that is not
    applied. The kernel of `yolox.native` does nothing in such a step.

    Args:
        params: tuple of trainable Parameters, float32.
        slots: ``momentum``.
        updates: not used.
        optim: `momentum`, and `weight_decay` of the parameters for which `has_weight_decay` is True.

    Returns:
        Function of (gradients, lr, apply), as `Optimizer` describes it.

    Source:
        Sutskever et al. 2013 in the form of common frameworks (no dampening). One kernel for each parameter: the same
        in plain arithmetic takes three times as long to compile and twice as long to run (nano, MindSpore 2.10, CPU).
        The other fused kernel, ApplyMomentum, ignores its Nesterov flag on CPU (2.7 and 2.10). Where the kernels of
        `yolox.native` run, one of them updates all parameters.
    """
    momenta, momentum, decay = slots["momentum"], optim.momentum, optim.weight_decay
    operator = sgd_operator(len(params))
    if operator is not None:

        def update_natively(gradients, lr, apply):
            fixed = (Tensor(momentum, ms.float32), Tensor(decay, ms.float32))
            operator(ops.stack((lr, *fixed, apply.astype(ms.float32))), *params, *momenta, *gradients)

        return update_natively
    stats = unused_stats(params)

    def update(gradients, lr, apply):
        rate = ops.select(apply, lr, ops.zeros_like(lr))
        kept = ops.select(apply, Tensor(momentum, ms.float32), Tensor(1.0, ms.float32))
        tree_map(ops.partial(_sgd_one, rate, kept, apply, decay), params, momenta, stats, gradients)

    return update


def _sgd_one(rate, kept, apply, weight_decay, param, velocity, stat, gradient):
    decayed = gradient + weight_decay * param if has_weight_decay(param) else gradient
    return _nesterov(param, ops.select(apply, decayed, ops.zeros_like(decayed)), rate, velocity, kept, stat)


def adamw(params, slots: Mapping, updates: Parameter, optim: OptimConfig) -> Callable:
    """Returns the update of AdamW: Adam with bias correction and a weight decay that is apart from the gradient.

    The update number t is ``m = b1 * m + (1 - b1) * g``, ``v = b2 * v + (1 - b2) * g**2`` and
    ``p = (1 - lr * weight_decay) * p - lr * (m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + eps)``. Where it is not applied,
    gradient and rate become 0 and both betas 1, and t does not grow.

    Args:
        params: tuple of trainable Parameters, float32.
        slots: ``exp_avg``, the first moments, and ``exp_avg_sq``, the second.
        updates: number of updates that were applied, float32 scalar.
        optim: `betas`, `eps`, and `weight_decay` of the parameters for which `has_weight_decay` is True.

    Returns:
        Function of (gradients, lr, apply), as `Optimizer` describes it.

    Source:
        Loshchilov and Hutter (arXiv:1711.05101), algorithm 2, as torch.optim.AdamW computes it. MindSpore's kernel has no
        bias correction (as `mindspore.nn.AdamWeightDecay`): it gets rate, eps and decay such that the result has.
    """
    first, second, betas, eps, decay = slots["exp_avg"], slots["exp_avg_sq"], optim.betas, optim.eps, optim.weight_decay
    # The kernel computes 1 - beta from float32 numbers, 1.3e-5 off at 0.999; the correction has to have the same beta.
    logs = tuple(math.log(float(np.float32(beta))) if beta else -math.inf for beta in betas)

    def update(gradients, lr, apply):
        one = Tensor(1.0, ms.float32)
        count = ops.assign(updates, updates + ops.select(apply, one, ops.zeros_like(one)))
        count = ops.maximum(count, one)  # until an update is applied it is 0, which would divide by 0
        first_bias = -ops.expm1(count * logs[0])
        second_bias = ops.sqrt(-ops.expm1(count * logs[1]))
        corrected = second_bias / first_bias  # factor on the rate
        rate = ops.select(apply, lr * corrected, ops.zeros_like(lr))
        beta1 = ops.select(apply, Tensor(betas[0], ms.float32), one)
        beta2 = ops.select(apply, Tensor(betas[1], ms.float32), one)
        change = ops.partial(_adamw_one, rate, beta1, beta2, eps * second_bias, decay / corrected, apply)
        tree_map(change, params, first, second, gradients)

    return update


def _adamw_one(rate, beta1, beta2, eps, decay, apply, param, first, second, gradient):
    own_decay = decay if has_weight_decay(param) else ops.zeros_like(decay)
    masked = ops.select(apply, gradient, ops.zeros_like(gradient))
    return _adamw(param, first, second, rate, beta1, beta2, eps, own_decay, masked)


OPTIMIZERS = {
    "sgd": Optimizer(slots=("momentum",), counts_updates=False, make_update=nesterov_sgd),
    "adamw": Optimizer(slots=("exp_avg", "exp_avg_sq"), counts_updates=True, make_update=adamw),
}
"""By the name that `OptimConfig.optimizer` has."""


def clip_by_global_norm(gradients, max_norm: float):  # ([...], ...) -> ([...], ...), []
    """Scales gradients so that the norm of all of them together is at most a number.

    Args:
        gradients: tuple of float32 tensors.
        max_norm: largest norm.

    Returns:
        The tuple, each multiplied by ``min(1, max_norm / norm)``, and the norm before, a float32 scalar.

    Source: Pascanu et al. 2013 (arXiv:1211.5063), algorithm 1, over all parameters at once.

    Example:
        >>> clipped, norm = clip_by_global_norm((Tensor([3.0]), Tensor([0.0, 4.0])), 1.0)
        >>> float(norm.asnumpy()), [[round(value, 4) for value in part.asnumpy().tolist()] for part in clipped]
        (5.0, [[0.6], [0.0, 0.8]])
    """
    norm = ops.sqrt(ops.stack(tree_map(_square_sum, gradients)).sum())
    factor = ops.minimum(max_norm / ops.maximum(norm, Tensor(1e-12, ms.float32)), Tensor(1.0, ms.float32))
    return tree_map(ops.partial(ops.mul, factor), gradients), norm


def _square_sum(gradient):
    return (gradient * gradient).sum()


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
