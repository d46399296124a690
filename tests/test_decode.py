"""Decoding against an oracle that goes cell by cell, on images that are not square."""

import mindspore as ms
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mindspore import Tensor, ops

from tests.compare import assert_agrees, assert_gradients_agree, tensors
from tests.oracles.decode import slow_decode, slow_encode, slow_flatten, slow_points, slow_predictions
from yolox.decode import (
    MAX_LOG_SIZE,
    decode_boxes,
    decode_predictions,
    encode_boxes,
    flatten_levels,
    make_points,
    split_predictions,
)

SIZE, STRIDES = (32, 64), (8, 16, 32)
POINTS, POINT_STRIDES = (Tensor(array) for array in make_points(SIZE, STRIDES))
COUNT = 32 + 8 + 2


def raw_maps(channels=7, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((batch, channels, SIZE[0] // s, SIZE[1] // s)) for s in STRIDES]


def raw_rows(channels=4, batch=2, seed=0):
    return np.random.default_rng(seed).standard_normal((batch, COUNT, channels))


def real_boxes(batch=2, seed=0):  # cxcywh
    rng = np.random.default_rng(seed)
    center, size = rng.uniform(0, 64, (batch, COUNT, 2)), rng.uniform(2, 90, (batch, COUNT, 2))
    return np.concatenate((center, size), axis=-1)


def _flatten(*maps):
    return flatten_levels(maps)


def _decode(raw):
    return decode_boxes(raw, POINTS, POINT_STRIDES)


def _encode(boxes):
    return encode_boxes(boxes, POINTS, POINT_STRIDES)


def _predict(*maps):
    return decode_predictions(maps, POINTS, POINT_STRIDES)


def test_flatten_agrees_with_the_oracle():
    assert_agrees(_flatten, slow_flatten, raw_maps(), rtol=1e-6)
    assert_gradients_agree(_flatten, slow_flatten, raw_maps(channels=2, batch=1))


def test_flatten_follows_the_order_of_points():
    # channel 0 holds the x, channel 1 the y of each cell's centre
    maps = []
    for stride in STRIDES:
        y, x = np.mgrid[0 : SIZE[0] // stride, 0 : SIZE[1] // stride]
        maps.append((np.stack((x, y))[None] + 0.5) * stride)
    np.testing.assert_array_equal(flatten_levels(tensors(*maps)).asnumpy()[0], POINTS.asnumpy())


def test_decode_agrees_with_the_oracle():
    assert_agrees(_decode, lambda raw: slow_decode(raw, SIZE, STRIDES), [raw_rows()])
    assert_agrees(_decode, lambda raw: slow_decode(raw, SIZE, STRIDES), [raw_rows(channels=7)])
    gradient_rows = raw_rows(batch=1)
    assert_gradients_agree(_decode, lambda raw: slow_decode(raw, SIZE, STRIDES), [gradient_rows])


def test_encode_agrees_with_the_oracle():
    assert_agrees(_encode, lambda boxes: slow_encode(boxes, SIZE, STRIDES), [real_boxes()])
    assert_gradients_agree(_encode, lambda boxes: slow_encode(boxes, SIZE, STRIDES), [real_boxes(batch=1)])


def test_predictions_agree_with_the_oracle():
    assert_agrees(_predict, lambda *maps: slow_predictions(maps, SIZE, STRIDES), raw_maps())


def test_by_hand():
    raw = np.zeros((1, COUNT, 4))
    raw[0, 0] = [0.25, 0.75, np.log(2), np.log(3)]
    got = _decode(Tensor(raw.astype(np.float32))).asnumpy()[0]
    np.testing.assert_allclose(got[0], [2, 6, 16, 24], rtol=1e-6)
    np.testing.assert_array_equal(got[9], [8, 8, 8, 8])  # second row and column of stride 8
    np.testing.assert_array_equal(got[-1], [32, 0, 32, 32])  # second column of stride 32


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_boxes_come_back(seed):
    boxes = real_boxes(seed=seed).astype(np.float32)
    np.testing.assert_allclose(_decode(_encode(Tensor(boxes))).asnumpy(), boxes, rtol=1e-5, atol=1e-4)


def _decoded_sum(raw):
    return _decode(raw).sum()


@pytest.mark.parametrize("compiled", [False, True])
def test_exploding_and_empty_boxes_stay_finite(compiled):
    decode, encode = (ms.jit(_decode), ms.jit(_encode)) if compiled else (_decode, _encode)
    raw = Tensor(np.full((1, COUNT, 4), 500, np.float32))
    huge = decode(raw).asnumpy()
    np.testing.assert_allclose(huge[0, :, 2], np.exp(MAX_LOG_SIZE) * POINT_STRIDES.asnumpy(), rtol=1e-5)
    assert np.isfinite(encode(ops.zeros((1, COUNT, 4))).asnumpy()).all()
    gradient = ms.grad(_decoded_sum)(raw).asnumpy()
    assert (gradient[..., 2:] == 0).all() and (gradient[..., :2] > 0).all()


def test_parts_put_together_are_the_whole():
    rows = Tensor(raw_rows(channels=8).astype(np.float32))
    for run in (split_predictions, ms.jit(split_predictions)):
        boxes, objectness, classes = run(rows)
        assert (boxes.shape, objectness.shape, classes.shape) == ((2, COUNT, 4), (2, COUNT), (2, COUNT, 3))
        parts = (boxes.asnumpy(), objectness.asnumpy()[..., None], classes.asnumpy())
        np.testing.assert_array_equal(np.concatenate(parts, axis=-1), rows.asnumpy())


def test_scores_are_probabilities():
    maps = [40 * m for m in raw_maps()]
    scores = _predict(*tensors(*maps)).asnumpy()[..., 4:]
    assert ((scores >= 0) & (scores <= 1)).all()


def test_golden_decoded_boxes(golden_dir):
    """The reference's own decoding: raw boxes and decoded ones of the same pass."""
    files = sorted(golden_dir.glob("forward_*.npz"))
    assert files
    for path in files:
        case = np.load(path)
        points, point_strides = (Tensor(a) for a in make_points(case["image"].shape[-2:], STRIDES))
        decoded = decode_boxes(Tensor(case["batch_stats"]), points, point_strides).asnumpy()
        np.testing.assert_allclose(decoded, case["batch_stats_decoded"][..., :4], rtol=1e-3, atol=1e-3)


def test_errors_say_what_came_and_what_was_wanted():
    with pytest.raises(ValueError, match=r"flatten_levels: a map has shape \(2, 7, 4\), want \[B,K,H"):
        flatten_levels((ops.zeros((2, 7, 4)),))
    with pytest.raises(ValueError, match=r"flatten_levels: a map is \(2, 6, 2, 2\), want \(2, 7\) in front"):
        flatten_levels((ops.zeros((2, 7, 4, 4)), ops.zeros((2, 6, 2, 2))))
    with pytest.raises(ValueError, match=r"split_predictions: raw has 5 channels, want 5 \+ num_classes"):
        split_predictions(ops.zeros((1, COUNT, 5)))
    with pytest.raises(ValueError, match="decode_boxes: raw has 3 channels, want at least 4"):
        _decode(ops.zeros((1, COUNT, 3)))
    with pytest.raises(ValueError, match=r"decode_boxes: points are \(42, 2\) .*, want \[10, 2\]"):
        _decode(ops.zeros((1, 10, 4)))
    with pytest.raises(ValueError, match=r"encode_boxes: boxes has shape \(1, 42, 5\), want last"):
        _encode(ops.zeros((1, COUNT, 5)))


STRIDES = (8, 16, 32)


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (96, 64), (160, 32)])
@pytest.mark.parametrize("strides", [STRIDES, (32,), (16, 8)])
def test_agrees_with_the_oracle(size, strides):
    points, point_strides = make_points(size, strides)
    want_points, want_strides = slow_points(size, strides)
    assert points.dtype == point_strides.dtype == np.float32
    np.testing.assert_array_equal(points, want_points)
    np.testing.assert_array_equal(point_strides, want_strides)


def test_by_hand_x_comes_first_and_runs_fastest():
    points, point_strides = make_points((32, 64), (16, 32))
    assert points[:5].tolist() == [[8, 8], [24, 8], [40, 8], [56, 8], [8, 24]]
    assert points[8:].tolist() == [[16, 16], [48, 16]]
    assert point_strides.tolist() == [16.0] * 8 + [32.0] * 2


@pytest.mark.parametrize(("size", "count"), [((640, 640), 8400), ((416, 416), 3549)])
def test_published_numbers_of_points(size, count):
    points, point_strides = make_points(size, STRIDES)
    assert len(points) == len(point_strides) == count


def test_points_lie_inside_and_differ():
    points, point_strides = make_points((64, 160), STRIDES)
    half = point_strides[:, None] / 2
    assert (points >= half).all() and (points <= np.array([160, 64]) - half).all()
    assert len({(*p, s) for p, s in zip(points.tolist(), point_strides.tolist(), strict=True)}) == len(points)


@pytest.mark.parametrize(("size", "strides", "message"), [
    ((40, 64), STRIDES, r"size is \(40, 64\), want positive multiples of \(8, 16, 32\)"),
    ((0, 64), STRIDES, r"size is \(0, 64\), want positive multiples"),
    ((64, 64), (), r"strides are \(\), want at least one positive stride"),
    ((64, 64), (8, 0), r"strides are \(8, 0\), want at least one positive stride"),
])
def test_errors_of_points_say_what_came_and_what_was_wanted(size, strides, message):
    with pytest.raises(ValueError, match="make_points: " + message):
        make_points(size, strides)
