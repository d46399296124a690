from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from tests.nn.cells import jitted, numbers, randomise
from tests.nn.scales import build_detector, fill_by_rule
from yolox.nn import ConvBNAct, set_precision


@pytest.mark.slow
def test_float16_maps_are_float32_near_those_of_float32():
    detector = build_detector("nano", 3).set_train(False)
    fill_by_rule(detector, seed=0)
    images = ms.Tensor(np.random.default_rng(0).integers(0, 256, (1, 3, 32, 64)).astype(np.float32))
    exact = [m.asnumpy() for m in detector(images)]
    set_precision(detector, "float16")
    half = jitted(detector)(images)
    set_precision(detector, "float32")
    again = detector(images)
    for level, want, back in zip(half, exact, again, strict=True):
        assert level.dtype == ms.float32
        error = np.abs(level.asnumpy() - want).max()
        assert 1e-6 < error < 1e-2 * np.abs(want).max(), error
        np.testing.assert_array_equal(back.asnumpy(), want)


def test_float16_gradients_are_float32_and_near():
    cell = ConvBNAct(3, 8, 3, 2)
    randomise(cell)
    cell.set_train(True)
    x, results = ms.Tensor(numbers((2, 3, 8, 8))), []

    def loss(x):
        return (cell(x) ** 2).mean()

    for precision in ("float32", "float16"):
        set_precision(cell, precision)
        results.append(jitted(ms.grad(loss, None, weights=cell.trainable_params()))(x))
    for exact, half in zip(*results, strict=True):
        assert half.dtype == ms.float32
        scale = np.abs(exact.asnumpy()).max()
        np.testing.assert_allclose(half.asnumpy(), exact.asnumpy(), rtol=0, atol=2e-2 * scale)


def test_unknown_precision():
    with pytest.raises(ValueError, match="got 'bfloat16', want one of float32, float16"):
        set_precision(ConvBNAct(3, 8, 3, 2), "bfloat16")
