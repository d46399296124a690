"""SGD with Nesterov momentum as one masked update, and which parameters decay."""

import mindspore as ms
from mindspore import Parameter, Tensor, ops

from yolox.graph import tree_map

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
