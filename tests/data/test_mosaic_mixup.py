"""Mixup: the partner where it should lie, the blend, the boxes of both."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.folders import blocks_sample, found_box
from tests.oracles.warps import slow_resize
from yolox.config import AugmentConfig
from yolox.data.mosaic import blend, draw_partner_plan, mixup, render_partner
from yolox.data.sample import Sample, empty_sample

SIZE = (48, 64)
CONFIG = AugmentConfig()


def plan_of(seed, image_size=(40, 30), config=CONFIG):
    return draw_partner_plan(image_size, size=SIZE, rng=np.random.default_rng(seed), config=config)


def slow_partner(image, plan, fill):
    """Letterbox on a grey canvas of the zoomed size, mirror it, lay it on black, cut."""
    left, top, right, bottom = plan.letterbox
    grey = np.full((bottom - top, right - left, 3), float(fill))
    resized = slow_resize(image, plan.resized)
    grey[: plan.resized[0], : plan.resized[1]] = resized[: bottom - top, : right - left]
    if plan.flip:
        grey = grey[:, ::-1]
    black = np.zeros((max(bottom - top, SIZE[0]), max(right - left, SIZE[1]), 3))
    black[: bottom - top, : right - left] = grey
    return black[-top : -top + SIZE[0], -left : -left + SIZE[1]]


@pytest.mark.parametrize("seed", range(8))
def test_partner_pixels_equal_the_written_out_composition(seed):
    image = np.random.default_rng(seed).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    plan = plan_of(seed)
    none, canvas = (np.zeros((0, 4), np.float32), np.zeros(0, np.int32)), np.full((*plan.size, 3), 114, np.uint8)
    drawn = render_partner(plan, lambda reduce: image, *none, canvas)
    assert np.abs(drawn.image - slow_partner(image, plan, 114)).max() <= 2


@pytest.mark.parametrize("seed", range(10))
def test_partner_boxes_follow_the_pixels(seed):
    partner = blocks_sample((40, 60), seed=seed)
    plan = plan_of(seed, (40, 60))
    canvas = np.zeros((*plan.size, 3), np.uint8)
    drawn = render_partner(plan, lambda reduce: partner.image, partner.boxes, partner.classes, canvas)
    found = found_box((drawn.image > 127).all(axis=2))
    if found is None:  # cropped away
        assert (drawn.boxes[0, 2:] - drawn.boxes[0, :2]).min() <= 1
    else:
        np.testing.assert_allclose(drawn.boxes[0], found, atol=1.01)


def test_zoom_flip_and_crop_fill_their_ranges():
    plans = [plan_of(seed, (48, 64)) for seed in range(400)]
    heights = np.array([p.letterbox[3] - p.letterbox[1] for p in plans])
    assert heights.min() in (24, 25) and heights.max() in (70, 71)
    assert 0.4 < np.mean([p.flip for p in plans]) < 0.6
    for left, top, right, bottom in (p.letterbox for p in plans):
        assert left <= 0 and top <= 0 and (left == 0 or right >= 64) and (top == 0 or bottom >= 48)


def test_a_partner_at_a_quarter_by_hand():
    """40x30 fits into 48x64 as 48x36; at a quarter the letterbox is 12x16 and the image in it 12x9."""
    plan = plan_of(0, config=AugmentConfig(mixup_scale=(0.25, 0.25)))
    assert plan.resized == (12, 9) and plan.letterbox == (0, 0, 16, 12)


def test_the_crop_of_a_partner_at_twice_the_size_is_uniform():
    """A letterbox of 96x128 moves left by up to 63 and up by up to 47 px under the result of 48x64."""
    plans = [plan_of(seed, config=AugmentConfig(mixup_scale=(2.0, 2.0))) for seed in range(400)]
    corners = -np.array([p.letterbox[:2] for p in plans])
    assert {(p.letterbox[2] - p.letterbox[0], p.letterbox[3] - p.letterbox[1]) for p in plans} == {(128, 96)}
    assert corners.min(axis=0).tolist() == [0, 0] and corners.max(axis=0).tolist() == [63, 47]
    np.testing.assert_allclose(corners.mean(axis=0), [31.5, 23.5], atol=3)
    assert abs(np.corrcoef(corners.T)[0, 1]) < 0.15


def test_blend_by_hand_and_order_of_boxes():
    first = Sample(
        np.full((4, 4, 3), 100, np.uint8), np.array([[0, 0, 2, 2]], np.float32), np.array([1], np.int32)
    )
    second = Sample(
        np.full((4, 4, 3), 50, np.uint8), np.array([[1, 1, 3, 3]], np.float32), np.array([2], np.int32)
    )
    half, most = blend(first, second), blend(first, second, weight=0.8)
    assert int(half.image[0, 0, 0]) == 75 and int(most.image[0, 0, 0]) == 90
    assert half.classes.tolist() == [1, 2] and half.boxes[1].tolist() == [1, 1, 3, 3]


def test_blend_refuses_two_sizes():
    one, two = (empty_sample(np.zeros((n, 4, 3), np.uint8)) for n in (4, 5))
    with pytest.raises(ValueError, match=r"blend: images are \(4, 4, 3\) and \(5, 4, 3\), want one size"):
        blend(one, two)


def test_mixup_depends_on_the_seed_alone():
    sample, partner = blocks_sample(SIZE, seed=0), blocks_sample((90, 70), seed=1)
    one, two, other = (mixup(sample, partner, rng=np.random.default_rng(s), config=CONFIG) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.image, two.image)
    assert len(one.boxes) == 2 and (one.image != other.image).any()
    assert one.boxes.dtype == np.float32


def test_an_empty_partner_adds_no_boxes():
    sample = blocks_sample(SIZE, seed=0)
    mixed = mixup(
        sample, empty_sample(np.zeros((9, 9, 3), np.uint8)), rng=np.random.default_rng(0), config=CONFIG
    )
    np.testing.assert_array_equal(mixed.boxes, sample.boxes)
