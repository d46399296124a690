"""The C functions against numpy in float64: values and gradients within 1e-5 of the largest value."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import calls
from tests.oracles import native as oracle

SIDES = st.integers(1, 40)
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), SIDES, SIDES)
CONVOLVED = st.tuples(st.integers(1, 3), st.integers(1, 40), SIDES, SIDES)
ACTS = ("none", "silu", "relu", "lrelu")
EXAMPLES = settings(max_examples=60, deadline=None)


def close(got, want, size=None):
    """`size`: of the terms that a sum adds up, where they may cancel."""
    scale = np.maximum(np.abs(want).max() if size is None else size, 1e-3)
    np.testing.assert_array_less(np.abs(got - want) / scale, 1e-5)


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@EXAMPLES
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_depthwise(library, kernel, stride, shape, seed):
    x, weight = draw(seed, *shape), draw(seed + 1, shape[1], 1, kernel, kernel)
    dy = draw(seed + 2, *shape[:2], *((side - 1) // stride + 1 for side in shape[2:]))
    results = calls.depthwise(library, x, weight, stride, dy)
    for got, want in zip(results, oracle.depthwise(x, weight, stride, dy), strict=True):
        close(got, want)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
@EXAMPLES
@given(shape=CONVOLVED, channels=st.integers(1, 40), seed=st.integers(0, 99))
def test_convolution(library, kernel, stride, shape, channels, seed):
    """With 16 channels and more on both sides, 3x3 at stride 1 takes Winograd's way."""
    x, weight = draw(seed, *shape), draw(seed + 1, channels, shape[1], kernel, kernel)
    dy = draw(seed + 2, shape[0], channels, *((side - 1) // stride + 1 for side in shape[2:]))
    results = calls.convolution(library, x, weight, stride, dy)
    for got, want in zip(results, oracle.convolution(x, weight, stride, dy), strict=True):
        close(got, want)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_convolution_of_many_channels_and_pixels(library, kernel, stride):
    """More than one block of channels, tile and chunk of columns in every computation, of numbers far from zero."""
    x, weight = draw(0, 2, 70, 45, 61) + 2, draw(1, 67, 70, kernel, kernel)
    dy = draw(2, 2, 67, (45 - 1) // stride + 1, (61 - 1) // stride + 1)
    results = calls.convolution(library, x, weight, stride, dy)
    for got, want in zip(results, oracle.convolution(x, weight, stride, dy), strict=True):
        close(got, want)


@pytest.mark.parametrize(("channels", "height", "width"), [(300, 12, 11), (520, 5, 9), (130, 3, 40)])
def test_a_convolution_whose_channels_leave_room_for_few_tiles(library, channels, height, width):
    x, weight, dy = draw(0, 2, channels, height, width), draw(1, 20, channels, 3, 3), draw(2, 2, 20, height, width)
    for turned in (False, True):
        given_x, given_dy, kernel = (dy, x, weight.transpose(1, 0, 2, 3).copy()) if turned else (x, dy, weight)
        results = calls.convolution(library, given_x, kernel, 1, given_dy)
        for got, want in zip(results, oracle.convolution(given_x, kernel, 1, given_dy), strict=True):
            close(got, want)


@pytest.mark.parametrize("act", ACTS)
@EXAMPLES
@given(shape=SHAPES, seed=st.integers(0, 99), offset=st.sampled_from([0.0, 3.0, -30.0]), spread=st.sampled_from([0.1, 1.0, 5.0]))
def test_norm_in_training(library, act, shape, seed, offset, spread):
    x = (draw(seed, *shape) * spread + offset).astype(np.float32)
    gamma, beta, dy = draw(seed + 1, shape[1]), draw(seed + 2, shape[1]), draw(seed + 3, *shape)
    moving = draw(seed + 4, shape[1]), np.abs(draw(seed + 5, shape[1]))
    got = calls.norm_train(library, x, gamma, beta, moving, act, dy)
    # Where an activation has a corner, values beside it fall on either side: the mean as the kernel rounds it decides.
    want = oracle.norm(x, gamma, beta, act, eps=1e-3, dy=dy)
    count = x.size // shape[1]
    assert np.abs(got["mean"] - want["mean"]).max() <= 1e-6 * (abs(offset) + spread)
    close(got["inv_std"], want["inv_std"])
    close(got["moving_mean"], 0.97 * moving[0] + 0.03 * want["mean"], np.abs([*moving[0], *want["mean"]]).max())
    close(got["moving_variance"], 0.97 * moving[1] + 0.03 * want["variance"] * count / max(count - 1, 1))
    exact = oracle.norm(x, gamma, beta, act, eps=1e-3, dy=dy, statistics=(got["mean"].astype(np.float64), want["variance"]))
    close(got["y"], exact["y"], exact["y_size"])
    close(got["dgamma"], exact["dgamma"], exact["dgamma_size"])
    close(got["dbeta"], exact["dbeta"], exact["dbeta_size"])
    if act in ("none", "silu"):
        close(got["dx"], want["dx"], np.abs(gamma * want["inv_std"]).max() * np.abs(dy).max() * (1 + abs(offset) / spread / 10))


@pytest.mark.parametrize("act", ACTS)
@EXAMPLES
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_norm_with_fixed_statistics(library, act, shape, seed):
    x, dy = draw(seed, *shape), draw(seed + 3, *shape)
    gamma, beta = draw(seed + 1, shape[1]), draw(seed + 2, shape[1])
    moving = draw(seed + 4, shape[1]), np.abs(draw(seed + 5, shape[1]))
    got = calls.norm_infer(library, x, gamma, beta, moving, act, dy)
    want = oracle.norm(x, gamma, beta, act, eps=1e-3, dy=dy, statistics=[m.astype(np.float64) for m in moving])
    close(got["y"], want["y"], want["y_size"])
    close(got["dgamma"], want["dgamma"], want["dgamma_size"])
    close(got["dbeta"], want["dbeta"], want["dbeta_size"])
    if act in ("none", "silu"):
        close(got["dx"], want["dx"])


@EXAMPLES
@given(shape=SHAPES, seed=st.integers(0, 99), levels=st.sampled_from([1, 3, 1000]))
def test_max_pool(library, shape, seed, levels):
    """With few levels most windows have several equal maxima."""
    x = (np.random.default_rng(seed).integers(-levels, 1, shape) / 7).astype(np.float32)
    dy = draw(seed + 1, *shape)
    (y, dx), (want_y, want_dx) = calls.max_pool(library, x, dy), oracle.max_pool(x, dy)
    np.testing.assert_array_equal(y, want_y.astype(np.float32))
    close(dx, want_dx)


@EXAMPLES
@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 5)), seed=st.integers(0, 99))
def test_images_become_planes(library, shape, seed):
    images = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    want = images.transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_array_equal(calls.move(library, "image_planes", images, want.shape), want)


@EXAMPLES
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_pixels_become_channels_and_pixels_again(library, shape, seed):
    batch, channels, height, width = shape
    x = draw(seed, batch, channels, 2 * height, 2 * width)
    want = np.concatenate([x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)], axis=1)
    deep = calls.move(library, "space_to_depth", x, want.shape)
    np.testing.assert_array_equal(deep, want)
    np.testing.assert_array_equal(calls.move(library, "depth_to_space", deep, x.shape), x)


@EXAMPLES
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_maps_of_twice_the_size(library, shape, seed):
    x = draw(seed, *shape)
    want = x.repeat(2, 2).repeat(2, 3)
    np.testing.assert_array_equal(calls.move(library, "upsample_forward_2", x, want.shape), want)
    dy = draw(seed + 1, *want.shape)
    dx = sum(dy[:, :, row::2, column::2].astype(np.float64) for row in (0, 1) for column in (0, 1))
    close(calls.move(library, "upsample_backward_2", dy, shape), dx, np.abs(dy).max() * 4)


@pytest.mark.parametrize(("name", "x", "y"), [
    ("space_to_depth", (1, 1, 3, 4), (1, 4, 1, 2)), ("depth_to_space", (1, 4, 1, 2), (1, 1, 3, 4)),
    ("upsample_forward_2", (1, 2, 3, 3), (1, 2, 6, 5)), ("upsample_backward_2", (1, 2, 6, 5), (1, 2, 3, 3)),
    ("max_pool_forward_5", (1, 2, 3, 3), (1, 2, 3, 2)), ("max_pool_forward_5", (3, 3), (3, 3)),
])  # fmt: skip
def test_moves_to_other_shapes_are_refused(library, name, x, y):
    out = np.zeros(y, np.float32)
    assert calls.call(library, name, draw(0, *x), out) == 3 and not out.any()


def test_planes_of_floats_are_refused(library):
    assert calls.call(library, "image_planes", draw(0, 1, 2, 2, 3), np.zeros((1, 3, 2, 2), np.float32)) == 2


@pytest.mark.parametrize(("kernel", "channels"), [(1, 20), (3, 4), (3, 20)])
def test_not_a_number_reaches_every_window_that_holds_it_and_no_other_image(library, kernel, channels):
    """By the plain way and by Winograd's, which may spread it to neighbours."""
    x, weight = draw(0, 2, channels, 9, 11), draw(1, 20, channels, kernel, kernel)
    x[1, 2, 4, 5] = np.nan
    y, dx, dweight = calls.convolution(library, x, weight, 1, draw(2, 2, 20, 9, 11))
    reach = kernel // 2
    assert np.isfinite(y[0]).all() and np.isnan(y[1, :, 4 - reach : 5 + reach, 5 - reach : 6 + reach]).all()
    assert np.isfinite(y[1, :, :2]).all() and np.isfinite(dx).all() and np.isnan(dweight[:, 2]).all()


SIZES = [(), (1,), (7,), (33,), (2, 3, 3, 3), (5, 1, 1, 1), (40000,), (70, 64, 3, 3)]
TENSORS = st.lists(st.sampled_from(SIZES), min_size=1, max_size=6)


def draw_all(seed, shapes):
    return [draw(seed + i, *shape) for i, shape in enumerate(shapes)]


@EXAMPLES
@given(shapes=TENSORS, seed=st.integers(0, 99))
def test_sums(library, shapes, seed):
    tensors = draw_all(seed, shapes)
    sizes = np.array([np.abs(x).astype(np.float64).sum() for x in tensors])
    close(calls.tensor_sums(library, tensors), [x.astype(np.float64).sum() for x in tensors], sizes)


@EXAMPLES
@given(shapes=TENSORS, seed=st.integers(0, 99), decay=st.sampled_from([0.0, 0.3]))
def test_sgd(library, shapes, seed, decay):
    params, momenta, gradients = (draw_all(seed + 50 * i, shapes) for i in range(3))
    found = calls.sgd_update(library, params, momenta, gradients, rate=0.2, momentum=0.8, decay=decay)
    for got_param, got_momentum, *before in zip(*found, params, momenta, gradients, strict=True):
        want_param, want_momentum = oracle.sgd(*before, 0.2, 0.8, decay)
        close(got_param, want_param)
        close(got_momentum, want_momentum)


@EXAMPLES
@given(shapes=TENSORS, others=TENSORS, seed=st.integers(0, 99))
def test_average(library, shapes, others, seed):
    tensors, last = draw_all(seed, shapes), draw_all(seed + 9, others)
    values = np.concatenate([x.ravel() for x in tensors + last])
    average = draw(seed + 20, len(values))
    kept = np.full(sum(x.size for x in last), np.nan, np.float32)
    got, copied = calls.average_update(library, average, kept, tensors + last, decay=0.75)
    close(got, 0.75 * average.astype(np.float64) + 0.25 * values)
    np.testing.assert_array_equal(copied, values[-len(kept) :])
    ends = (calls.average_update(library, average * 1e6, kept, tensors + last, decay=decay)[0] for decay in (0.0, 1.0))
    for end, want in zip(ends, (values, average * np.float32(1e6)), strict=True):
        np.testing.assert_array_equal(end, want)


def test_an_update_that_is_not_applied_changes_no_bit(library):
    shapes = [(3,), (2, 3, 3, 3)]
    params, momenta, bad = draw_all(0, shapes), draw_all(5, shapes), [np.full(shapes[0], np.nan), np.full(shapes[1], np.inf)]
    bad = [value.astype(np.float32) for value in bad]
    for before, after in zip((params, momenta), calls.sgd_update(library, params, momenta, bad, apply=0.0), strict=True):
        assert all((one == other).all() for one, other in zip(before, after, strict=True))
    average, kept = draw(9, 57), draw(10, 54)
    same = calls.average_update(library, average, kept, bad, decay=np.nan, apply=0.0)
    assert (same[0] == average).all() and (same[1] == kept).all()
    assert (calls.average_update(library, average, kept, params, decay=1.0)[0] == average).all()


def test_a_sum_shows_what_is_not_finite(library):
    for bad in (np.nan, np.inf, -np.inf):
        tensors = draw_all(0, [(5000,), (5000,), (3,)])
        tensors[1][4321] = bad
        assert np.isfinite(calls.tensor_sums(library, tensors)).tolist() == [True, False, True]
    assert np.isinf(calls.tensor_sums(library, [np.full(9, 3e38, np.float32)])).all()


def test_updates_of_other_sizes_are_refused(library):
    three, four, one = draw(0, 3), draw(1, 4), np.zeros(1, np.float32)
    settings = np.array([0.1, 0.9, 0.0, 1.0], np.float32)
    assert calls.call(library, "sgd_update", settings, three, four, three, one) == 3
    assert calls.call(library, "sgd_update", settings, three, three, one) == 1
    assert calls.call(library, "tensor_sums", three, three) == 3
    decay = np.array([0.5, 1.0], np.float32)
    assert calls.call(library, "average_update", decay, draw(2, 7), four, three, four, one) == 0
    assert calls.call(library, "average_update", decay, draw(2, 7), draw(3, 5), three, four, one) == 3  # between two tensors
    assert calls.call(library, "average_update", decay, draw(2, 6), four, three, four, one) == 3


def test_a_convolution_worked_by_hand(library):
    x = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    weight = np.zeros((1, 1, 3, 3), np.float32)
    weight[0, 0, 0, 1], weight[0, 0, 1, 1] = 10, 1  # ten times the pixel above and the pixel itself
    y, dx, dweight = calls.depthwise(library, x, weight, 1, np.ones_like(x))
    assert y[0, 0].tolist() == [[1, 2, 3], [14, 25, 36], [47, 58, 69]]
    assert dx[0, 0].tolist() == [[11, 11, 11], [11, 11, 11], [1, 1, 1]]
    assert dweight[0, 0].tolist() == [[12, 21, 16], [27, 45, 33], [24, 39, 28]]


def test_not_a_number_stays(library):
    """The training step sees by the loss and the gradients that something is not finite."""
    x = draw(0, 2, 3, 5, 7)
    x[1, 1, 2, 3] = np.nan
    ones = np.ones(3, np.float32)
    got = calls.norm_train(library, x, ones, ones, (ones, ones), "silu", np.ones_like(x))
    assert np.isnan(got["y"][:, 1]).all() and np.isfinite(got["y"][:, [0, 2]]).all()
    assert np.isnan(got["dgamma"][1]) and np.isnan(got["moving_mean"][1])
    pooled = calls.max_pool(library, x, np.ones_like(x))[0]
    assert np.isnan(pooled[1, 1, :5, 1:6]).all() and np.isnan(pooled).sum() == 25
    y, _, dweight = calls.depthwise(library, x, draw(1, 3, 1, 3, 3), 1, np.ones_like(x))
    assert np.isnan(y[1, 1, 2, 3]) and np.isfinite(y[0]).all() and np.isnan(dweight[1]).all()


def test_great_numbers_stay_exact(library):
    x = np.array([-1e4, -200, -90, -20, 0, 20, 90, 1e4], np.float32).reshape(1, 1, 1, 8)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    got = calls.norm_infer(library, x, one, zero, (zero, np.float32([1 - 1e-3])), "silu", np.ones_like(x))
    want = x.astype(np.float64) / (1 + np.exp(-x.astype(np.float64).clip(-700)))
    np.testing.assert_allclose(got["y"], want, rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(got["dx"].ravel()[[0, -1]], [0, 1], atol=1e-6)


@pytest.mark.parametrize(("shape", "kernel", "y_shape"), [
    ((1, 2, 4, 4), 7, (1, 2, 4, 4)),  # a kernel that there is none for
    ((1, 2, 4, 4), 3, (1, 2, 3, 4)),  # no stride gives this
    ((1, 3, 4, 4), 3, (1, 2, 4, 4)),
])  # fmt: skip
def test_other_shapes_are_refused(library, shape, kernel, y_shape):
    x, weight, y = draw(0, *shape), draw(1, 2, 1, kernel, kernel), np.zeros(y_shape, np.float32)
    assert calls.call(library, "depthwise_forward_1", x, weight, y) == 3
    assert calls.call(library, "depthwise_forward_1", x, weight) == 1
    assert calls.call(library, "depthwise_forward_1", x.astype(np.float64), weight, y) == 2
    assert not y.any()


def test_any_number_of_threads_gives_the_same_bits(library):
    x, weight, dy = draw(0, 2, 8, 64, 61), draw(1, 8, 1, 3, 3), draw(2, 2, 8, 64, 61)
    gamma, beta = draw(3, 8), draw(4, 8)

    def results():
        first = calls.depthwise(library, x, weight, 1, dy)
        second = calls.norm_train(library, x, gamma, beta, (gamma, beta), "silu", dy)
        pooled, sums = calls.max_pool(library, x, dy), calls.tensor_sums(library, [x, dy, gamma])
        wide, kernel = draw(5, 2, 20, 45, 33), draw(6, 24, 20, 3, 3)
        convolved = calls.convolution(library, wide, kernel, 1, draw(7, 2, 24, 45, 33))
        params, momenta = calls.sgd_update(library, [x, gamma], [dy, beta], [dy, gamma])
        average, kept = calls.average_update(library, np.concatenate([dy.ravel(), beta]), beta, [x, gamma])
        doubled = calls.move(library, "upsample_forward_2", x, (2, 8, 128, 122))
        pointwise = calls.convolution(library, x, draw(9, 8, 8, 1, 1), 1, dy)
        every = (*first, doubled, *pointwise, *second.values(), *pooled, *convolved, sums, *params, *momenta, average, kept)
        return b"".join(value.tobytes() for value in every)

    try:
        library.yolox_set_threads(1)
        one = results()
        for count in (2, 3, 8) * 5:
            library.yolox_set_threads(count)
            assert results() == one
    finally:
        library.yolox_set_threads(2)
