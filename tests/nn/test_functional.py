"""Network input pixel by pixel."""

import mindspore as ms
import numpy as np
import pytest
from attrs import evolve
from mindspore import Tensor, ops

from tests.nn.cells import both_modes, gradients, numbers
from tests.oracles.layers import focus, upsample
from yolox.config import InputSpec
from yolox.export.runner import to_planes
from yolox.nn import space_to_depth, upsample2x
from yolox.nn.functional import normalize_images, planes_function
from yolox.weights.megvii import MEGVII_LEGACY_INPUT

SPECS = [
    InputSpec(),
    InputSpec(channel_order="rgb", pixel_scale=1 / 255),
    InputSpec(channel_order="rgb"),
    InputSpec(pixel_scale=0.5),
    MEGVII_LEGACY_INPUT,
]


def slow_normalize(images, spec):  # [B,H,W,3] uint8 -> [B,3,H,W]
    result = np.zeros((len(images), 3, *images.shape[1:3]))
    for b, y, x, c in np.ndindex(images.shape):
        channel = 2 - c if spec.channel_order == "rgb" else c
        result[b, channel, y, x] = float(images[b, y, x, c]) * spec.pixel_scale
        result[b, channel, y, x] = (result[b, channel, y, x] - spec.mean[channel]) / spec.std[channel]
    return result


@pytest.mark.parametrize("spec", SPECS)
def test_agrees_with_the_oracle(spec):
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3)).astype(np.uint8)

    planes_of = planes_function(spec)

    def normalize(x):
        return normalize_images(x, spec=spec)

    def normalize_natively(x):
        return normalize_images(x, spec=spec, planes_of=planes_of)

    for run in (normalize, ms.jit(normalize), normalize_natively, ms.jit(normalize_natively)):
        got = run(Tensor(images))
        assert got.dtype == ms.float32
        np.testing.assert_allclose(got.asnumpy(), slow_normalize(images, spec), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spec", SPECS)
def test_the_host_computes_the_same(spec):
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    got = to_planes(images, spec=evolve(spec, input_size=(32, 32)))
    np.testing.assert_allclose(got, normalize_images(Tensor(images), spec=spec).asnumpy(), rtol=1e-5, atol=1e-6)


def test_by_hand():
    blue = Tensor(np.array([[[[255, 0, 51]]]], np.uint8))
    assert normalize_images(blue, spec=SPECS[0]).asnumpy().ravel().tolist() == [255.0, 0.0, 51.0]
    assert normalize_images(blue, spec=SPECS[1]).asnumpy().ravel() == pytest.approx([0.2, 0.0, 1.0])


def test_errors_say_what_came_and_what_was_wanted():
    for shape, dtype in (((1, 4, 4, 3), ms.float32), ((1, 3, 4, 4), ms.uint8), ((4, 4, 3), ms.uint8)):
        with pytest.raises(ValueError, match=r"normalize_images: got .*, want UInt8 \[B, H, W, 3\]"):
            normalize_images(ops.zeros(shape, dtype), spec=InputSpec())


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
