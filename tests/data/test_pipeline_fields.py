"""Fields of the recipe seen in whole samples: images of one grey level show what was laid where, and at which share."""

from __future__ import annotations

import attrs
import cv2
import numpy as np
import pytest

from tests.data.folders import coco_dict, write_image, write_json
from yolox.config import AugmentConfig, InputSpec
from yolox.data.coco import read_coco
from yolox.data.dataset import load_image
from yolox.data.pipeline import no_aug_sample, train_sample

SPEC = InputSpec(input_size=(32, 32), pad_value=40)
RAW = AugmentConfig(affine_scale=(0.4, 0.6), hsv_prob=0.0, flip_prob=0.0)
TWO = attrs.evolve(RAW, mixup_partner="mosaic", affine_center=True)
ALONE = attrs.evolve(RAW, mixup_prob=0.0)


def flat_dataset(folder, *, labelled, level=200, size=(48, 40)):
    """Images of one grey level; those with a True in `labelled` have a box."""
    images, rows = [], []
    for i, has_box in enumerate(labelled):
        write_image(folder / f"{i}.png", np.full((*size, 3), level, np.uint8))
        images.append((i, f"{i}.png", *size))
        rows += [(i + 1, i, 1, (4, 4, 24, 40))] if has_box else []
    return read_coco(write_json(folder / "a.json", coco_dict(images, rows)), str(folder))


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    return flat_dataset(tmp_path_factory.mktemp("flat"), labelled=[True, True])


def make(dataset, seed, config, function=train_sample, spec=SPEC, **options):
    return function(dataset, 0, rng=np.random.default_rng(seed), config=config, spec=spec, **options)


def levels(dataset, config, function=train_sample):
    return set(np.unique([make(dataset, seed, config, function).image for seed in range(30)]).tolist())


def test_padding_and_blends_by_hand(flat):
    """Images are 200 and padding is 40; the raw partner lies on black, and each of the two has one half."""
    assert levels(flat, RAW, no_aug_sample) == {40, 200}
    assert levels(flat, ALONE) == {40, 200}
    halves = {(a + b) // 2 for a in (40, 200) for b in (0, 40, 200)}
    assert halves == {20, 40, 100, 120, 200} == levels(flat, RAW)
    mixed = levels(flat, TWO)
    assert min(mixed) == 40 and max(mixed) == 200 and len(mixed) > 20  # no black, and any share


def test_two_mosaics_are_blended_by_beta_8_8(flat):
    """Where one mosaic is black padding and the other 200, the blend is 200 times a share."""
    still = attrs.evolve(TWO, affine_scale=(0.5, 0.5), degrees=0.0, shear=0.0, translate=0.0)
    shares, black = [], attrs.evolve(SPEC, pad_value=0)
    for seed in range(250):
        first = make(flat, seed, attrs.evolve(still, mixup_prob=0.0), spec=black).image
        mixed = make(flat, seed, still, spec=black).image
        low, high = mixed[first == 200].min(), mixed[first == 0].max()
        shares += [low / 200] if low < 200 else [1 - high / 200] if high else []  # else both are padded alike
    variance = 8 * 8 / ((8 + 8) ** 2 * (8 + 8 + 1))
    assert len(shares) > 240 and np.mean(shares) == pytest.approx(0.5, abs=0.02)
    assert np.std(shares) == pytest.approx(variance**0.5, abs=0.015)


@pytest.mark.parametrize("config", [RAW, TWO], ids=["image", "mosaic"])
def test_mixup_probability_is_kept(flat, config):
    half = attrs.evolve(config, mixup_prob=0.5)
    without = attrs.evolve(config, mixup_prob=0.0)
    same = [np.array_equal(make(flat, s, half).image, make(flat, s, without).image) for s in range(200)]
    assert 0.4 < np.mean(same) < 0.6


def test_the_zoom_of_the_raw_partner_is_the_recipe_s(flat):
    """Its letterbox of 32 px becomes one of 8 px in the corner; black outside leaves half of the mosaic."""
    for seed in range(10):
        alone, mixed = (make(flat, seed, attrs.evolve(c, mixup_scale=(0.25, 0.25))).image for c in (ALONE, RAW))
        outside = np.ones((32, 32), bool)
        outside[:8, :8] = False
        np.testing.assert_array_equal(mixed[outside], alone[outside] // 2)
        assert (mixed[:8, :8] > alone[:8, :8] // 2).all()


def test_a_mosaic_without_objects_gets_no_raw_partner(tmp_path):
    dataset = flat_dataset(tmp_path, labelled=[False, True])
    for seed in range(20):
        sample = make(dataset, seed, RAW, partners=np.array([0]))
        np.testing.assert_array_equal(sample.image, make(dataset, seed, ALONE, partners=np.array([0])).image)
        assert sample.boxes.shape == (0, 4)
        assert len(make(dataset, seed, TWO, partners=np.array([1])).boxes)  # the other recipe mixes in any case


def test_the_raw_partner_is_an_image_with_objects(tmp_path):
    dataset, read = flat_dataset(tmp_path, labelled=[True] + [False] * 3), []

    def spy(index, reduce=1):
        read.append(index)
        return load_image(dataset, index, reduce=reduce)

    for seed in range(30):
        make(dataset, seed, RAW, partners=np.array([0]), read=spy)
    assert set(read) == {0}


@pytest.mark.parametrize(("box_filter", "kept"), [("min_side", 1), ("candidates", 2)])
@pytest.mark.parametrize("function", [train_sample, no_aug_sample])
def test_a_no_aug_sample_keeps_boxes_of_a_pixel_under_the_filter_of_candidates(tmp_path, box_filter, kept, function):
    write_image(tmp_path / "a.png", np.zeros((32, 32, 3), np.uint8))
    rows = [(1, 1, 1, (5, 5, 1.5, 20)), (2, 1, 1, (5, 5, 1, 20))]
    dataset = read_coco(write_json(tmp_path / "a.json", coco_dict([(1, "a.png", 32, 32)], rows)), str(tmp_path))
    config = attrs.evolve(RAW, box_filter=box_filter, mosaic_prob=0.0)
    want = [[5, 5, 6.5, 25], [5, 5, 6, 25]][:kept]
    assert make(dataset, 0, config, function).boxes.tolist() == want


@pytest.mark.parametrize("shrink", ["linear", "area"])
def test_training_images_shrink_linearly_whatever_evaluation_does(tmp_path, shrink):
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    write_image(tmp_path / "a.png", image)
    content = coco_dict([(1, "a.png", 96, 96)], [])
    dataset = read_coco(write_json(tmp_path / "a.json", content), str(tmp_path))
    sample = make(dataset, 0, RAW, no_aug_sample, attrs.evolve(SPEC, shrink_interpolation=shrink))
    np.testing.assert_array_equal(sample.image, image[1::3, 1::3])  # centres of blocks of three


@pytest.mark.parametrize("config", [RAW, TWO], ids=["image", "mosaic"])
def test_colour_and_flip_come_after_mixup(flat, config):
    """Grey changes in value alone: the whole blend moves by one number, and is mirrored as a whole."""
    value, shifts = attrs.evolve(config, hsv_prob=1.0, hsv_gains=(0.0, 0.0, 20.0)), set()
    for seed in range(40):
        still, moved = make(flat, seed, config), make(flat, seed, value)
        (shift,) = set(np.unique(moved.image.astype(int) - still.image).tolist())
        shifts.add(shift)
        flipped = make(flat, seed, attrs.evolve(config, flip_prob=1.0))
        np.testing.assert_array_equal(flipped.image, still.image[:, ::-1])
        mirrored = (32, 0, 32, 0) + still.boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1)
        np.testing.assert_allclose(flipped.boxes, mirrored, atol=1e-4)
    assert -19 <= min(shifts) < -12 and 12 < max(shifts) <= 19


@pytest.mark.parametrize("function", [train_sample, no_aug_sample])
def test_flip_probability_is_kept(flat, function):
    config = attrs.evolve(ALONE, flip_prob=0.3)
    never = attrs.evolve(ALONE, flip_prob=0.0)
    same = [np.array_equal(make(flat, s, config, function).boxes, make(flat, s, never, function).boxes) for s in range(200)]
    assert 0.6 < np.mean(same) < 0.8


def test_a_no_aug_sample_changes_colour_by_the_recipe(flat):
    config = attrs.evolve(RAW, hsv_prob=1.0, hsv_mode="multiplicative", hsv_gains=(0.0, 0.0, 0.25))
    values = [int(make(flat, seed, config, no_aug_sample).image.max()) for seed in range(60)]
    assert 150 <= min(values) < 160 and 240 < max(values) <= 250


@pytest.mark.parametrize("function", [train_sample, no_aug_sample])
def test_a_canvas_of_another_size_is_drawn_first_and_then_resized(flat, function):
    """The same draws at the canvas's size, and one bilinear resize that boxes follow; the least side counts on the canvas."""
    config = attrs.evolve(RAW, mosaic_prob=1.0, canvas_size=(64, 96))
    for seed in range(10):
        drawn = make(flat, seed, attrs.evolve(config, canvas_size=None), function, size=(64, 96))
        small = make(flat, seed, config, function)  # at 32 x 32, the size of the input
        assert small.image.shape == (32, 32, 3) and drawn.image.shape == (64, 96, 3)
        np.testing.assert_array_equal(small.image, cv2.resize(drawn.image, (32, 32), interpolation=cv2.INTER_LINEAR))
        np.testing.assert_allclose(small.boxes, drawn.boxes / [3, 2, 3, 2], rtol=1e-6)
        np.testing.assert_array_equal(small.classes, drawn.classes)
        same = make(flat, seed, attrs.evolve(config, canvas_size=(32, 32)), function)
        np.testing.assert_array_equal(same.image, make(flat, seed, attrs.evolve(config, canvas_size=None), function).image)
