"""Run a tensor function eagerly and compiled, with its gradients, beside a slow oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor


def tensors(*arrays: np.ndarray) -> tuple[Tensor, ...]:
    return tuple(Tensor(np.asarray(array, np.float32)) for array in arrays)


def assert_agrees(
    function: Callable, oracle: Callable, arrays: Sequence, *, rtol: float = 1e-5, atol: float = 1e-5
) -> None:
    """Compare `function` of float32 tensors, eager and compiled, with `oracle` of float64 arrays."""
    want = oracle(*[np.asarray(array, np.float64) for array in arrays])
    for run in (function, ms.jit(function)):
        got = run(*tensors(*arrays))
        assert got.dtype == ms.float32
        np.testing.assert_allclose(got.asnumpy(), want, rtol=rtol, atol=atol)


def assert_gradients_agree(
    function: Callable, oracle: Callable, arrays: Sequence, *, rtol: float = 1e-3, atol: float = 1e-4
) -> None:
    """Compare gradients of a weighted sum, eager and compiled, with central differences of `oracle`."""
    arrays = [np.asarray(array, np.float64) for array in arrays]
    weights = np.random.default_rng(0).uniform(0.5, 1.5, np.shape(oracle(*arrays)))
    weight_tensor = Tensor(weights.astype(np.float32))

    def total(*args):
        return (function(*args) * weight_tensor).sum()

    want = [_central(oracle, arrays, weights, i) for i in range(len(arrays))]
    gradient = ms.grad(total, tuple(range(len(arrays))))
    for run in (gradient, ms.jit(gradient)):
        got = run(*tensors(*arrays))
        for one, expected in zip(got if isinstance(got, tuple) else (got,), want, strict=True):
            assert np.abs(one.asnumpy()).max() > 0
            np.testing.assert_allclose(one.asnumpy(), expected, rtol=rtol, atol=atol)


def _central(oracle: Callable, arrays: list[np.ndarray], weights: np.ndarray, which: int) -> np.ndarray:
    result, step = np.zeros_like(arrays[which]), 1e-5
    for index in np.ndindex(result.shape):
        moved = []
        for sign in (1, -1):
            shifted = [array.copy() for array in arrays]
            shifted[which][index] += sign * step
            moved.append((oracle(*shifted) * weights).sum())
        result[index] = (moved[0] - moved[1]) / (2 * step)
    return result
