"""Random parameters for a cell, and running it in eager and in graph mode."""

from __future__ import annotations

import mindspore as ms
import numpy as np


def randomise(cell, seed=0):
    """Fill all parameters and BN statistics with moderate random values; return them by name."""
    rng, values = np.random.default_rng(seed), {}
    for name, parameter in cell.parameters_dict().items():
        value = rng.normal(0, 0.3, parameter.shape).astype(np.float32)
        if name.endswith("gamma"):
            value += 1
        if name.endswith("moving_variance"):
            value = 1 + np.abs(value)
        parameter.set_data(ms.Tensor(value))
        values[name] = value
    return values


def numbers(shape, seed=1):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def jitted(function):
    """Compile a function or cell of one tensor."""

    @ms.jit
    def run(x):
        return function(x)

    return run


def both_modes(function, x):
    """Run eagerly and compiled, ask for equality, and give the result as numpy."""
    x = ms.Tensor(x)
    eager, graph = function(x).asnumpy(), jitted(function)(x).asnumpy()
    np.testing.assert_allclose(graph, eager, rtol=1e-5, atol=1e-5)
    return eager


def gradients(function, x, weight):
    """Returns the gradient of sum(function(x) * weight) on x, eager and compiled."""

    def loss(x):
        return (function(x) * weight).sum()

    x, weight = ms.Tensor(x), ms.Tensor(weight)
    gradient = ms.grad(loss)
    return gradient(x).asnumpy(), jitted(gradient)(x).asnumpy()
