"""Network input pixel by pixel."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from yolox.config import InputSpec
from yolox.normalize import normalize_images

SPECS = [
    InputSpec(),
    InputSpec(channel_order="rgb", pixel_scale=1 / 255),
    InputSpec(channel_order="rgb"),
    InputSpec(pixel_scale=0.5),
]


def slow_normalize(images, spec):  # [B,H,W,3] uint8 -> [B,3,H,W]
    result = np.zeros((len(images), 3, *images.shape[1:3]))
    for b, y, x, c in np.ndindex(images.shape):
        channel = 2 - c if spec.channel_order == "rgb" else c
        result[b, channel, y, x] = float(images[b, y, x, c]) * spec.pixel_scale
    return result


@pytest.mark.parametrize("spec", SPECS)
def test_agrees_with_the_oracle(spec):
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3)).astype(np.uint8)

    def normalize(x):
        return normalize_images(x, spec=spec)

    for run in (normalize, ms.jit(normalize)):
        got = run(Tensor(images))
        assert got.dtype == ms.float32
        np.testing.assert_allclose(got.asnumpy(), slow_normalize(images, spec), rtol=1e-6)


def test_by_hand():
    blue = Tensor(np.array([[[[255, 0, 51]]]], np.uint8))
    assert normalize_images(blue, spec=SPECS[0]).asnumpy().ravel().tolist() == [255.0, 0.0, 51.0]
    assert normalize_images(blue, spec=SPECS[1]).asnumpy().ravel() == pytest.approx([0.2, 0.0, 1.0])


def test_errors_say_what_came_and_what_was_wanted():
    for shape, dtype in (((1, 4, 4, 3), ms.float32), ((1, 3, 4, 4), ms.uint8), ((4, 4, 3), ms.uint8)):
        with pytest.raises(ValueError, match=r"normalize_images: got .*, want UInt8 \[B, H, W, 3\]"):
            normalize_images(ops.zeros(shape, dtype), spec=InputSpec())
