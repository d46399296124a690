"""Affine maps: points, boxes and pixels against one-at-a-time oracles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.warps import slow_map_box, slow_warp
from yolox.data.affine import (
    box_corners,
    compose,
    draw_warped,
    magnification,
    map_boxes,
    map_points,
    quad_bounds,
    reduction_for,
    scaling,
)

numbers = st.floats(-3, 3)
matrices = st.lists(numbers, min_size=6, max_size=6).map(lambda v: np.reshape(v, (2, 3)))


@given(matrices, matrices)
@settings(max_examples=40, deadline=None)
def test_composing_maps_is_mapping_twice(outer, inner):
    points = np.array([[0.0, 0.0], [1.0, 2.0], [-3.0, 0.5]])
    twice = map_points(map_points(points, inner), outer)
    np.testing.assert_allclose(map_points(points, compose(outer, inner)), twice, atol=1e-9)


@given(matrices)
@settings(max_examples=40, deadline=None)
def test_boxes_agree_with_mapping_corners_one_at_a_time(matrix):
    boxes = np.array([[0.0, 0, 4, 2], [1, 1, 1, 5], [-3, 2, 7, 8]])
    slow = [slow_map_box(box, matrix) for box in boxes]
    np.testing.assert_allclose(map_boxes(boxes, matrix), slow, rtol=1e-5, atol=1e-5)


@given(matrices)
@settings(max_examples=60, deadline=None)
def test_magnification_is_the_largest_singular_value(matrix):
    assert magnification(matrix) == pytest.approx(np.linalg.norm(matrix[:, :2], ord=2), abs=1e-6)


@pytest.mark.parametrize(
    ("zoom", "want"), [(2, 1), (0.51, 1), (0.5, 2), (0.26, 2), (0.25, 4), (0.1, 8), (0.01, 8)]
)
def test_reduction_never_goes_below_the_drawn_size(zoom, want):
    assert reduction_for(scaling(zoom, zoom / 2)) == want


def test_mapping_no_boxes_gives_no_boxes():
    assert map_boxes(np.zeros((0, 4), np.float32), scaling(2, 2)).shape == (0, 4)


def test_bounds_of_a_quadrilateral_are_cut_to_the_canvas():
    assert quad_bounds(np.array([[-3.0, 1.2], [5.5, 1.2], [5.5, 4], [-3, 4]]), (10, 5)) == (0, 1, 5, 4)
    assert quad_bounds(np.array([[-3.0, 1], [-1, 1], [-1, 4], [-3, 4]]), (10, 5)) is None


@pytest.mark.parametrize("seed", range(4))
def test_drawn_pixels_agree_with_looking_each_up(seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (13, 17, 3)).astype(np.uint8)
    angle, zoom = rng.uniform(-0.3, 0.3), rng.uniform(0.7, 2)
    matrix = np.array(
        [
            [zoom * np.cos(angle), zoom * np.sin(angle), 6.0],
            [-zoom * np.sin(angle), zoom * np.cos(angle), 8.0],
        ]
    )
    canvas = np.full((36, 40, 3), 114, np.uint8)
    draw_warped(canvas, image, matrix, map_points(box_corners(np.array([[0, 0, 17, 13]]))[0], matrix))
    slow, source = slow_warp(image, matrix, (36, 40), 114)
    distance = (
        np.minimum.reduce([source[..., 0], source[..., 1], 17 - source[..., 0], 13 - source[..., 1]]) * zoom
    )
    inside, outside = distance > 0.6 * zoom + 0.1, distance < -1.1
    assert inside.sum() > 50
    # OpenCV looks up at 1/32 px: a step of 255 levels between neighbours may differ by 255/32 for each axis.
    assert np.abs(canvas[inside] - slow[inside]).max() <= 17
    assert np.abs(canvas[inside] - slow[inside]).mean() < 3
    assert (canvas[outside] == 114).all()


def test_a_quadrilateral_outside_the_canvas_draws_nothing():
    canvas = np.full((8, 8, 3), 7, np.uint8)
    quad = np.array([[20.0, 0], [30, 0], [30, 9], [20, 9]])
    draw_warped(canvas, np.zeros((4, 4, 3), np.uint8), scaling(1, 1, 20, 0), quad)
    assert (canvas == 7).all()
