"""The fused mosaic against the published composition, and boxes against the pixels they follow."""

from __future__ import annotations

import attrs
import cv2
import numpy as np
import pytest

from tests.data.folders import blocks_sample, found_box
from tests.oracles.warps import slow_map_box, slow_mosaic_canvas, slow_warp
from yolox.config import AugmentConfig
from yolox.data.affine import scaling
from yolox.data.mosaic import MosaicPlan, Tile, draw_plan, mosaic4, render_mosaic, tile_boxes, tile_reduction
from yolox.data.sample import Sample, empty_sample

SIZE = (32, 48)
MEGVII = AugmentConfig(affine_scale=(0.6, 1.4))
MINDYOLO = AugmentConfig(affine_scale=(0.6, 1.4), affine_center=True, box_filter="candidates")
STILL = AugmentConfig(degrees=0.0, translate=0.0, shear=0.0, affine_scale=(0.5, 0.5))


def smooth_samples(seed, shapes=((32, 48), (30, 24), (20, 48), (64, 50))):
    rng = np.random.default_rng(seed)
    samples = []
    for height, width in shapes:
        image = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3)).astype(np.uint8), (0, 0), 4)
        corner = rng.uniform(0, 0.5, (3, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(0.1, 0.5, (3, 2))], axis=1)
        boxes = (boxes * (width, height, width, height)).astype(np.float32)
        samples.append(Sample(image, boxes, rng.integers(0, 5, 3).astype(np.int32)))
    return samples


def centre_of(plan):
    return int(plan.tiles[3].placement[0, 2]), int(plan.tiles[3].placement[1, 2])


@pytest.mark.parametrize("config", [MEGVII, MINDYOLO], ids=["megvii", "mindyolo"])
@pytest.mark.parametrize("seed", range(3))
def test_fused_pixels_equal_resize_paste_and_warp(config, seed):
    samples = smooth_samples(seed)
    fused = mosaic4(samples, size=SIZE, rng=np.random.default_rng(seed), config=config)
    sizes = [s.image.shape[:2] for s in samples]
    plan = draw_plan(sizes, size=SIZE, rng=np.random.default_rng(seed), config=config)
    canvas, _ = slow_mosaic_canvas([s.image for s in samples], [[]] * 4, centre_of(plan), SIZE, 114)
    slow, source = slow_warp(canvas, plan.matrix, SIZE, 114)
    away = away_from_edges(source, [t.region for t in plan.tiles], 2.0)
    difference = np.abs(fused.image - slow)[away]
    assert away.mean() > 0.5
    # Tiles that shrink are interpolated once here and twice there; on smooth images that is a few levels.
    assert difference.max() <= 12 and difference.mean() < 1.0


def away_from_edges(source, regions, margin):
    """Pixels whose place on the mosaic canvas is not within a margin of a tile's outline."""
    away = np.ones(source.shape[:2], bool)
    for x1, y1, x2, y2 in regions:
        x, y = source[..., 0], source[..., 1]
        near = (x > x1 - margin) & (x < x2 + margin) & (y > y1 - margin) & (y < y2 + margin)
        inner = (x > x1 + margin) & (x < x2 - margin) & (y > y1 + margin) & (y < y2 - margin)
        away &= ~near | inner
    return away


@pytest.mark.parametrize("seed", range(6))
def test_boxes_equal_the_published_order_of_clipping(seed):
    samples = smooth_samples(seed)
    result = mosaic4(samples, size=SIZE, rng=np.random.default_rng(seed), config=MEGVII)
    plan = draw_plan(
        [s.image.shape[:2] for s in samples], size=SIZE, rng=np.random.default_rng(seed), config=MEGVII
    )
    _, placed = slow_mosaic_canvas(
        [s.image for s in samples], [s.boxes for s in samples], centre_of(plan), SIZE, 0
    )
    want, classes = [], []
    for box, name in zip(placed, np.concatenate([s.classes for s in samples]), strict=True):
        if box[2] <= box[0] or box[3] <= box[1]:
            continue
        x1, y1, x2, y2 = slow_map_box(box, plan.matrix)
        x1, x2 = (min(max(v, 0), SIZE[1]) for v in (x1, x2))
        y1, y2 = (min(max(v, 0), SIZE[0]) for v in (y1, y2))
        if min(x2 - x1, y2 - y1) > 1:
            want.append([x1, y1, x2, y2])
            classes.append(name)
    np.testing.assert_allclose(result.boxes, np.reshape(want, (-1, 4)), atol=1e-3)
    assert result.classes.tolist() == classes
    assert result.boxes.dtype == np.float32 and result.classes.dtype == np.int32


@pytest.mark.parametrize("config", [MEGVII, MINDYOLO], ids=["megvii", "mindyolo"])
@pytest.mark.parametrize("seed", range(6))
def test_boxes_follow_the_pixels(config, seed):
    colors = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 250)]
    samples = [
        Sample(s.image, s.boxes, np.array([i], np.int32))
        for i, s in enumerate(
            blocks_sample((50 + 9 * i, 70), seed=seed + i, color=c) for i, c in enumerate(colors)
        )
    ]
    result = mosaic4(samples, size=(96, 128), rng=np.random.default_rng(seed), config=config, pad_value=0)
    for box, name in zip(result.boxes, result.classes, strict=True):
        wanted = np.array(colors[name]) > 125
        found = found_box(((result.image > 110) == wanted).all(axis=2))
        # Where a turned rectangle is cut at an edge, the corner that set its box may be cut off.
        cut = (box <= 0.01).any() or (box >= (127.99, 95.99, 127.99, 95.99)).any()
        assert np.abs(box - found).max() <= (12 if cut else 2)
        assert (box[:2] <= found[:2] + 1).all() and (box[2:] >= found[2:] - 1).all()


def test_same_seed_same_mosaic_and_inputs_untouched():
    samples = smooth_samples(0)
    before = [s.image.copy() for s in samples]
    one, two, other = (
        mosaic4(samples, size=SIZE, rng=np.random.default_rng(s), config=MEGVII) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.boxes, two.boxes)
    assert (one.image != other.image).any()
    for image, sample in zip(before, samples, strict=True):
        np.testing.assert_array_equal(image, sample.image)


def test_centre_lies_between_half_and_one_and_a_half_sizes():
    centres = np.array(
        [
            centre_of(draw_plan([(32, 48)] * 4, size=SIZE, rng=np.random.default_rng(s), config=MEGVII))
            for s in range(300)
        ]
    )
    assert (centres >= (24, 16)).all() and (centres < (72, 48)).all()
    assert (np.ptp(centres, axis=0) > (44, 28)).all()


def test_a_hand_worked_mosaic():
    # Four tiles that fill their quarters of the canvas 16x16 around (8, 8), at half size.
    tiles = draw_plan([(8, 8)] * 4, size=(8, 8), rng=np.random.default_rng(0), config=STILL).tiles
    corners = [(0, 0), (8, 0), (0, 8), (8, 8)]
    moved = tuple(
        attrs.evolve(t, placement=scaling(1, 1, x, y), region=np.array([x, y, x + 8.0, y + 8.0]))
        for t, (x, y) in zip(tiles, corners, strict=True)
    )
    plan = MosaicPlan((8, 8), moved, scaling(0.5, 0.5), 0.5)
    images = [np.full((4, 4, 3), 10 * (i + 1), np.uint8) for i in range(4)]  # as decoded at half size
    labels = (np.array([[2, 2, 8, 8]], np.float32), np.zeros(1, np.int32))
    result = render_mosaic(plan, lambda i, reduce: images[i], [labels] * 4, np.full((8, 8, 3), 114, np.uint8), config=STILL)
    assert [int(result.image[y, x, 0]) for y, x in ((1, 1), (1, 6), (6, 1), (6, 6))] == [10, 20, 30, 40]
    assert result.boxes.tolist() == [[1, 1, 4, 4], [5, 1, 8, 4], [1, 5, 4, 8], [5, 5, 8, 8]]


def test_tiles_that_are_not_seen_are_not_loaded():
    near = AugmentConfig(degrees=0.0, translate=0.0, shear=0.0, affine_scale=(2.0, 2.0))
    loaded = []
    plan = draw_plan([(64, 64)] * 4, size=(64, 64), rng=np.random.default_rng(0), config=near)
    labels = (np.zeros((0, 4), np.float32), np.zeros(0, np.int32))
    image = np.zeros((64, 64, 3), np.uint8)
    render_mosaic(plan, lambda i, reduce: loaded.append(i) or image, [labels] * 4, image.copy(), config=near)
    assert loaded == [i for i in range(4) if tile_reduction(plan, i)]
    assert 3 not in loaded  # the lower right tile begins beyond 32 px, which zoom 2 pushes out


def test_images_that_shrink_are_asked_for_at_reduced_size():
    small = AugmentConfig(degrees=0.0, translate=0.0, shear=0.0, affine_scale=(0.5, 0.5))
    plan = draw_plan([(128, 128)] * 4, size=(64, 64), rng=np.random.default_rng(0), config=small)
    assert {tile_reduction(plan, i) for i in range(4)} == {4}


def test_boxes_cut_off_by_the_canvas_do_not_come_back_by_turning():
    turned = AugmentConfig(degrees=45.0, translate=0.0, shear=0.0, affine_scale=(0.4, 0.4))
    plan = draw_plan([(64, 64)] * 4, size=(64, 64), rng=np.random.default_rng(3), config=turned)
    cut = attrs.evolve(plan.tiles[0], placement=scaling(1, 1, -40, 0), region=np.array([0, 0, 24, 64.0]))
    plan = attrs.evolve(plan, tiles=(cut, *plan.tiles[1:]))
    boxes, keep = tile_boxes(np.array([[0.0, 0, 30, 64]]), plan, 0, config=turned)
    assert len(boxes) == 0 and not keep.any()


@pytest.mark.parametrize(("box_filter", "kept"), [("min_side", [0, 1]), ("candidates", [0])])
def test_the_recipe_names_the_filter_and_the_map_its_zoom(box_filter, kept):
    """At a fifth 100x100 px become 20x20, all that the zoom leaves; 7x90 become 1.4x18, more than 1 px and less than 2."""
    tile = Tile(scaling(1, 1), np.array([0.0, 0.0, 128.0, 128.0]))
    plan = MosaicPlan((64, 64), (tile,) * 4, scaling(0.2, 0.2), 0.2)
    boxes = np.array([[0.0, 0, 100, 100], [20.0, 10, 27, 100], [10.0, 0, 14, 100]])
    left, keep = tile_boxes(boxes, plan, 0, config=AugmentConfig(box_filter=box_filter))
    assert np.flatnonzero(keep).tolist() == kept
    np.testing.assert_allclose(left, np.array([[0, 0, 20, 20], [4, 2, 5.4, 20]])[kept], atol=1e-5)


def test_four_empty_images_give_an_empty_sample():
    grey = [empty_sample(np.full((20, 30, 3), 90, np.uint8))] * 4
    result = mosaic4(grey, size=SIZE, rng=np.random.default_rng(0), config=MEGVII)
    assert result.boxes.shape == (0, 4) and result.classes.shape == (0,)


def test_three_samples_are_refused():
    with pytest.raises(ValueError, match="mosaic4: got 3 samples, want 4"):
        mosaic4(smooth_samples(0)[:3], size=SIZE, rng=np.random.default_rng(0), config=MEGVII)
