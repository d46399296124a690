from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from tests.nn.cells import both_modes, gradients, numbers
from tests.oracles.layers import focus, upsample
from yolox.nn import space_to_depth, upsample2x

CASES = [(space_to_depth, focus), (upsample2x, upsample)]


@pytest.mark.parametrize(("function", "oracle"), CASES)
def test_equals_oracle(function, oracle):
    x = numbers((2, 3, 4, 6))
    np.testing.assert_array_equal(both_modes(function, x), oracle(x))


@pytest.mark.parametrize(("function", "oracle"), CASES)
def test_gradient_is_the_transpose(function, oracle):
    x = numbers((2, 3, 4, 6))
    weight = numbers(oracle(x).shape, 2)
    units = np.eye(x.size, dtype=np.float32).reshape(-1, *x.shape[1:])  # every pixel of both images alone
    want = np.zeros(x.size)
    for i, unit in enumerate(units.reshape(x.size, *x.shape)):
        want[i] = (oracle(unit) * weight).sum()
    for got in gradients(function, x, weight):
        np.testing.assert_allclose(got, want.reshape(x.shape), rtol=1e-5, atol=1e-6)


def test_quarters_come_top_left_bottom_left_top_right_bottom_right():
    image = np.array([[[[1, 3], [2, 4]], [[10, 30], [20, 40]]]], np.float32)  # two channels
    got = space_to_depth(ms.Tensor(image)).asnumpy().ravel().tolist()
    assert got == [1, 10, 2, 20, 3, 30, 4, 40]


def test_upsample_literal():
    got = upsample2x(ms.Tensor([[[[1.0], [2.0]]]])).asnumpy()[0, 0].tolist()
    assert got == [[1, 1], [1, 1], [2, 2], [2, 2]]


@pytest.mark.parametrize("shape", [(1, 3, 5, 4), (1, 3, 4, 5)])
def test_odd_size_is_refused(shape):
    with pytest.raises(ValueError, match=r"space_to_depth: x has shape .*, want even height and width"):
        space_to_depth(ms.Tensor(np.zeros(shape, np.float32)))
