"""Points against a walk over the cells."""

import numpy as np
import pytest

from tests.oracles.decode import slow_points
from yolox.points import make_points

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
def test_errors_say_what_came_and_what_was_wanted(size, strides, message):
    with pytest.raises(ValueError, match="make_points: " + message):
        make_points(size, strides)
