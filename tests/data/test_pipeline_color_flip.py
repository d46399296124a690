"""Colour and flip: against per-pixel oracles, hand-worked values, gates and seeds."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from tests.data.folders import blocks_sample, found_box
from tests.oracles.warps import slow_hsv
from yolox.config import AugmentConfig
from yolox.data import pipeline
from yolox.data.affine import flip_boxes, flip_horizontal, random_flip
from yolox.data.pipeline import random_hsv, scale_hsv, shift_hsv

MEGVII = AugmentConfig()
MINDYOLO = AugmentConfig(hsv_mode="multiplicative", hsv_gains=(0.015, 0.7, 0.4))
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8)


def close(fast, slow):
    """Rounding hue to 180 steps and saturation to 255 moves a channel by a few levels."""
    difference = np.abs(fast - slow)
    assert np.median(difference) <= 2 and np.percentile(difference, 99) <= 8


@pytest.mark.parametrize("shifts", [(5, 30, 30), (-5, -30, -30), (0, 0, 20), (3, 0, 0), (0, -25, 0)])
def test_shifts_agree_with_the_standard_library(shifts):
    def change(h, s, v):
        return (h + shifts[0]) % 180, min(max(s + shifts[1], 0), 255), min(max(v + shifts[2], 0), 255)

    close(shift_hsv(IMAGE, shifts), slow_hsv(IMAGE, change))


@pytest.mark.parametrize("gains", [(1.01, 1.5, 1.3), (0.99, 0.4, 0.7), (1, 1, 0.5)])
def test_gains_agree_with_the_standard_library(gains):
    def change(h, s, v):
        return h * gains[0] % 180, min(s * gains[1], 255), min(v * gains[2], 255)

    close(scale_hsv(IMAGE, gains), slow_hsv(IMAGE, change))


def test_hand_worked_colours():
    red = np.array([[[0, 0, 255]]], np.uint8)  # BGR: hue 0
    assert shift_hsv(red, (60, 0, 0)).tolist() == [[[0, 255, 0]]]  # 120 degrees on: green
    assert shift_hsv(red, (-60, 0, 0)).tolist() == [[[255, 0, 0]]]  # the circle closes: blue
    assert shift_hsv(red, (0, -255, 0)).tolist() == [[[255, 255, 255]]]
    assert scale_hsv(red, (1, 1, 0.5)).tolist() == [[[0, 0, 127]]]


def test_no_shift_gives_the_image_itself():
    assert shift_hsv(IMAGE, (0, 0, 0)) is IMAGE


@pytest.mark.parametrize("config", [MEGVII, MINDYOLO], ids=["additive", "multiplicative"])
def test_colour_depends_on_the_seed_alone_and_leaves_its_input(config):
    before = IMAGE.copy()
    first, again = (random_hsv(IMAGE, rng=np.random.default_rng(3), config=config) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    others = [random_hsv(IMAGE, rng=np.random.default_rng(s), config=config) for s in range(4, 12)]
    assert any((other != first).any() for other in others)
    np.testing.assert_array_equal(IMAGE, before)


def test_each_channel_is_gated_with_one_half():
    rng = np.random.default_rng(0)
    same = np.mean([(random_hsv(IMAGE, rng=rng, config=MEGVII) is IMAGE) for _ in range(800)])
    # All three closed: 1/8, and a little more for shifts that round to nothing.
    assert 0.1 < same < 0.25


@pytest.mark.parametrize("gains", [(5.0, 30.0, 30.0), (9.0, 50.0, 20.0)])
def test_shifts_are_whole_fill_the_gains_and_are_gated_one_by_one(monkeypatch, gains):
    """Cut to whole numbers, a gain of 5 gives -4 to 4; half of the time a channel is left alone."""
    drawn, rng = [], np.random.default_rng(0)
    monkeypatch.setattr(pipeline, "shift_hsv", lambda image, shifts: drawn.append(shifts) or image)
    for _ in range(2000):
        random_hsv(IMAGE, rng=rng, config=attrs.evolve(MEGVII, hsv_gains=gains))
    drawn = np.array(drawn)
    assert drawn.dtype == np.int64
    assert drawn.min(axis=0).tolist() == [1 - g for g in gains] and drawn.max(axis=0).tolist() == [g - 1 for g in gains]
    still = 0.5 + 0.5 / np.array(gains)  # closed, or open and drawn between -1 and 1
    np.testing.assert_allclose((drawn == 0).mean(axis=0), still, atol=0.03)
    assert (drawn == 0).all(axis=1).mean() == pytest.approx(still.prod(), abs=0.03)


@pytest.mark.parametrize("gains", [(0.015, 0.7, 0.4), (0.1, 0.2, 0.9)])
def test_factors_fill_the_gains_about_one(monkeypatch, gains):
    drawn, rng = [], np.random.default_rng(0)
    monkeypatch.setattr(pipeline, "scale_hsv", lambda image, factors: drawn.append(factors) or image)
    for _ in range(1000):
        random_hsv(IMAGE, rng=rng, config=attrs.evolve(MINDYOLO, hsv_gains=gains))
    shares = (np.array(drawn) - 1) / gains
    assert (np.abs(shares) <= 1).all() and (shares.min(axis=0) < -0.98).all() and (shares.max(axis=0) > 0.98).all()
    np.testing.assert_allclose(shares.std(axis=0), 1 / np.sqrt(3), atol=0.03)  # uniform


def test_colour_probability_is_kept():
    config, rng = attrs.evolve(MINDYOLO, hsv_prob=0.3), np.random.default_rng(0)
    assert 0.6 < np.mean([random_hsv(IMAGE, rng=rng, config=config) is IMAGE for _ in range(400)]) < 0.8


def test_probability_zero_changes_nothing():
    config = attrs.evolve(MEGVII, hsv_prob=0.0)
    assert random_hsv(IMAGE, rng=np.random.default_rng(1), config=config) is IMAGE


@pytest.mark.parametrize("seed", range(4))
def test_flipped_boxes_follow_the_pixels_exactly(seed):
    flipped = flip_horizontal(blocks_sample((40, 57), seed=seed))
    np.testing.assert_array_equal(flipped.boxes[0], found_box((flipped.image > 0).all(axis=2)))


def test_flipping_twice_changes_nothing():
    sample = blocks_sample((40, 57), seed=9)
    twice = flip_horizontal(flip_horizontal(sample))
    np.testing.assert_array_equal(twice.image, sample.image)
    np.testing.assert_array_equal(twice.boxes, sample.boxes)


def test_flipping_no_boxes():
    assert flip_boxes(np.zeros((0, 4), np.float32), width=10).shape == (0, 4)


def test_flip_probability_and_random_state():
    sample = blocks_sample((20, 20), seed=0)
    rng = np.random.default_rng(0)
    share = np.mean([random_flip(sample, rng=rng, prob=0.5) is not sample for _ in range(600)])
    assert 0.44 < share < 0.56
    states = []
    for prob in (0.0, 1.0):
        rng = np.random.default_rng(5)
        random_flip(sample, rng=rng, prob=prob)
        states.append(rng.random())
    assert states[0] == states[1]
