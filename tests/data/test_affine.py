"""The random map and the box filters, against sums written out and hand-worked values."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from tests.data.folders import blocks_sample, found_box
from tests.oracles.warps import slow_affine_matrix, slow_warp
from yolox.config import AugmentConfig
from yolox.data.affine import (
    are_candidates,
    map_points,
    min_side_above,
    random_affine_matrix,
    rotation_shear,
    surviving_boxes,
    warp_sample,
)

STILL = AugmentConfig(degrees=0.0, translate=0.0, shear=0.0, affine_scale=(1.0, 1.0))
CENTRED = attrs.evolve(STILL, affine_center=True)


@pytest.mark.parametrize("values", [(10, 1.5, 2, -1), (-7, 0.3, 0, 2), (0, 1, 0, 0)])
def test_matrix_agrees_with_sums_written_out(values):
    degrees, zoom, shear_x, shear_y = values
    matrix = rotation_shear(degrees=degrees, zoom=zoom, shear_x=shear_x, shear_y=shear_y)
    np.testing.assert_allclose(matrix, slow_affine_matrix(*values, (0, 0)), atol=1e-12)


def test_a_quarter_turn_counter_clockwise():
    matrix = rotation_shear(degrees=90, zoom=2, shear_x=0, shear_y=0)
    np.testing.assert_allclose(map_points(np.array([3.0, 1.0]), matrix), [2, -6], atol=1e-12)


def draw(config, seed=0, canvas=(64, 96), size=(32, 48)):
    return random_affine_matrix(canvas_size=canvas, size=size, rng=np.random.default_rng(seed), config=config)


def test_without_ranges_megvii_keeps_the_origin_and_mindyolo_the_centre():
    np.testing.assert_allclose(draw(STILL)[0], [[1, 0, 0], [0, 1, 0]])
    matrix, zoom = draw(attrs.evolve(CENTRED, affine_scale=(0.5, 0.5), degrees=20.0))
    assert zoom == 0.5
    np.testing.assert_allclose(map_points(np.array([48.0, 32.0]), matrix), [24, 16], atol=1e-9)


def test_drawn_values_stay_in_their_ranges_and_fill_them():
    config = AugmentConfig()
    draws = [draw(config, seed) for seed in range(400)]
    zooms = np.array([zoom for _, zoom in draws])
    shifts = np.array([matrix[:, 2] for matrix, _ in draws])
    assert 0.1 <= zooms.min() < 0.15 and 1.9 < zooms.max() <= 2.0
    assert (np.abs(shifts) <= (4.8, 3.2)).all() and (np.abs(shifts).max(axis=0) > (4.6, 3.0)).all()
    angles = np.degrees([np.arctan2(m[0, 1] - m[1, 0], m[0, 0] + m[1, 1]) for m, _ in draws])
    assert np.abs(angles).max() < 12.1 and np.abs(angles).max() > 8


@pytest.mark.parametrize(("field", "most"), [("degrees", 10.0), ("degrees", 25.0), ("shear", 2.0), ("shear", 7.0)])
def test_rotation_and_shear_fill_their_ranges_one_at_a_time(field, most):
    config = attrs.evolve(STILL, **{field: most})
    (a, b), (c, d) = np.array([draw(config, seed)[0][:, :2] for seed in range(400)]).transpose(1, 2, 0)
    if field == "degrees":  # a turn: the second row is the first, a quarter further
        np.testing.assert_allclose([a, b], [d, -c], atol=1e-12)
        angles = [np.degrees(np.arctan2(b, a))]
    else:  # ones on the diagonal, tangents beside it
        np.testing.assert_allclose([a, d], 1.0, atol=1e-12)
        angles = [np.degrees(np.arctan(b)), np.degrees(np.arctan(c))]
        assert abs(np.corrcoef(angles)[0, 1]) < 0.15
    for angle in angles:
        assert -most <= angle.min() < -0.98 * most and 0.98 * most < angle.max() <= most
        assert abs(angle.mean()) < 0.1 * most


def test_centred_shift_is_about_the_middle():
    shifts = np.array(
        [
            map_points(np.array([48.0, 32.0]), draw(attrs.evolve(CENTRED, translate=0.1), s)[0])
            for s in range(200)
        ]
    )
    assert (np.abs(shifts - (24, 16)) <= (4.8, 3.2)).all()
    assert (np.abs(shifts - (24, 16)).max(axis=0) > (4.4, 2.9)).all()


def test_same_seed_same_matrix():
    for config in (AugmentConfig(), AugmentConfig(affine_center=True)):
        np.testing.assert_array_equal(draw(config, 7)[0], draw(config, 7)[0])
        assert (draw(config, 7)[0] != draw(config, 8)[0]).any()


@pytest.mark.parametrize("seed", range(6))
def test_warped_boxes_follow_the_pixels(seed):
    matrix, _ = draw(AugmentConfig(affine_scale=(0.8, 1.6), affine_center=True), seed, (60, 90), (80, 100))
    sample = warp_sample(blocks_sample((60, 90), seed=seed), matrix, (80, 100), pad_value=0)
    found = found_box((sample.image > 100).all(axis=2))
    np.testing.assert_allclose(sample.boxes[0], found, atol=1.6)


def test_warped_pixels_agree_with_looking_each_up():
    sample = blocks_sample((20, 30), seed=1, background=30)
    matrix, _ = draw(AugmentConfig(affine_scale=(1.2, 1.2)), 2, (20, 30), (24, 32))
    fast = warp_sample(sample, matrix, (24, 32)).image
    slow, source = slow_warp(sample.image, matrix, (24, 32), 114)
    inside = (source > 1).all(axis=2) & (source < (29, 19)).all(axis=2)
    assert np.abs(fast[inside] - slow[inside]).max() <= 17


def test_min_side_by_hand():
    boxes = np.array([[0, 0, 1, 9], [0, 0, 1.01, 9], [0, 0, 9, 0.5], [0, 0, 9, 9]], float)
    assert min_side_above(boxes).tolist() == [False, True, False, True]
    assert min_side_above(np.zeros((0, 4))).shape == (0,)


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), True),
        ((0, 0, 10, 10), (0, 0, 2, 10), False),  # a side of 2 is not above 2
        ((0, 0, 100, 10), (0, 0, 9.9, 10), False),  # 9.9 % of the area is left
        ((0, 0, 100, 10), (0, 0, 10.1, 10), True),
        ((0, 0, 100, 5), (0, 0, 100, 5), False),  # 20 times as long as wide
        ((0, 0, 99, 5), (0, 0, 99, 5), True),
    ],
)
def test_candidates_by_hand(before, after, kept):
    assert are_candidates(np.array([before], float), np.array([after], float), zoom=1.0).tolist() == [kept]


def test_candidates_compare_areas_at_the_zoom_of_the_map():
    before, after = np.array([[0.0, 0, 100, 100]]), np.array([[0.0, 0, 20, 20]])
    assert are_candidates(before, after, zoom=0.2).all()
    assert not are_candidates(before, after, zoom=1.0).any()


def test_the_recipe_names_its_filter():
    before, after = np.array([[0.0, 0, 50, 1.5]]), np.array([[0.0, 0, 50, 1.5]])
    assert surviving_boxes(before, after, zoom=1.0, config=AugmentConfig()).all()
    assert not surviving_boxes(before, after, zoom=1.0, config=AugmentConfig(box_filter="candidates")).any()
