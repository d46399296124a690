from __future__ import annotations

import numpy as np
import pytest

from tests.nn.cells import both_modes, gradients, numbers
from tests.oracles.layers import activation
from yolox.nn import make_activation

NAMES = ("silu", "relu", "lrelu")


@pytest.mark.parametrize("name", NAMES)
def test_equals_oracle(name):
    x = 4 * numbers((2, 3, 4, 5))
    got = both_modes(make_activation(name), x)
    np.testing.assert_allclose(got, activation(x, name), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_equals_finite_differences(name):
    x, weight, step = numbers((3, 5), 1), numbers((3, 5), 2), 1e-6
    exact = x.astype(np.float64)
    want = weight * (activation(exact + step, name) - activation(exact - step, name)) / (2 * step)
    for got in gradients(make_activation(name), x, weight):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="got 'gelu', want one of silu, relu, lrelu"):
        make_activation("gelu")
