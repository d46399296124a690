"""The layers below the blocks equal their oracles, with or without kernels; tests/native has the kernels beside MindSpore."""

from __future__ import annotations

import numpy as np
import pytest

from tests.nn.cells import both_modes, gradients, numbers, randomise
from tests.oracles.layers import activation, conv2d, focus, max_pool, upsample
from yolox.nn import make_activation
from yolox.nn.layers import Convolution, MaxPool5, SpaceToDepth, Upsample2x

NAMES = ("silu", "relu", "lrelu")


@pytest.mark.parametrize("name", NAMES)
def test_activation_equals_oracle(name):
    x = 4 * numbers((2, 3, 4, 5))
    got = both_modes(make_activation(name), x)
    np.testing.assert_allclose(got, activation(x, name), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_of_activation_equals_finite_differences(name):
    x, weight, step = numbers((3, 5), 1), numbers((3, 5), 2), 1e-6
    exact = x.astype(np.float64)
    want = weight * (activation(exact + step, name) - activation(exact - step, name)) / (2 * step)
    for got in gradients(make_activation(name), x, weight):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_unknown_name_of_an_activation_lists_the_known():
    with pytest.raises(ValueError, match="got 'gelu', want one of silu, relu, lrelu"):
        make_activation("gelu")


@pytest.mark.parametrize(
    ("make", "oracle"), [(MaxPool5, lambda x: max_pool(x, 5)), (Upsample2x, upsample), (SpaceToDepth, focus)]
)
def test_what_moves_pixels_equals_oracle(make, oracle):
    x = numbers((2, 3, 8, 6))
    np.testing.assert_array_equal(both_modes(make(), x), oracle(x))


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "groups"), [(1, 1, 1), (3, 1, 1), (3, 2, 1), (3, 1, 4), (5, 2, 4), (5, 1, 1), (3, 1, 2)]
)
def test_convolution_equals_oracle(kernel, stride, groups, has_bias):
    """Also with sides and groups that have no kernel, and of a map whose height is odd."""
    layer, x = Convolution(4, 4, kernel, stride, groups=groups, has_bias=has_bias), numbers((2, 4, 7, 6))
    values = randomise(layer)
    want = conv2d(x, values["weight"], values.get("bias"), stride=stride, groups=groups)
    np.testing.assert_allclose(both_modes(layer, x), want, rtol=1e-4, atol=1e-5)
