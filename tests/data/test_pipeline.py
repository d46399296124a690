"""The training sample as a whole: order of augmentations, seeds, partners, empty datasets; and its batch."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from tests.data.folders import blocks_sample, coco_dict, found_box, noise_dataset, write_image, write_json
from yolox.config import AugmentConfig, InputSpec
from yolox.data.batches import collate, count_dropped, keep_largest
from yolox.data.coco import read_coco
from yolox.data.dataset import cache_bytes, cache_images, load_image
from yolox.data.pipeline import no_aug_sample, train_sample
from yolox.data.sample import Sample, empty_sample
from yolox.errors import DataError

SPEC = InputSpec(input_size=(64, 96))
MEGVII = AugmentConfig()
MINDYOLO = AugmentConfig(
    affine_center=True,
    box_filter="candidates",
    mixup_partner="mosaic",
    mosaic_partners="buffer",
    hsv_mode="multiplicative",
    hsv_gains=(0.015, 0.7, 0.4),
    affine_scale=(0.1, 1.9),
)
QUIET = AugmentConfig(mosaic_prob=0.0, hsv_prob=0.0, flip_prob=0.0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return noise_dataset(tmp_path_factory.mktemp("noise"), count=8)


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    """One image of 50x80 with one white rectangle, as a dataset."""
    folder, sample = tmp_path_factory.mktemp("block"), blocks_sample((50, 80), seed=4)
    write_image(folder / "a.png", sample.image)
    x1, y1, x2, y2 = sample.boxes[0].tolist()
    rows = [(1, 1, 1, (x1, y1, x2 - x1, y2 - y1))]
    return read_coco(write_json(folder / "a.json", coco_dict([(1, "a.png", 50, 80)], rows)), str(folder))


def make(dataset, seed=0, index=0, config=MEGVII, function=train_sample, **options):
    return function(dataset, index, rng=np.random.default_rng(seed), config=config, spec=SPEC, **options)


@pytest.mark.parametrize("config", [MEGVII, MINDYOLO], ids=["megvii", "mindyolo"])
@pytest.mark.parametrize("function", [train_sample, no_aug_sample])
def test_samples_have_the_size_asked_for_and_boxes_inside(dataset, config, function):
    for seed in range(20):
        sample = make(dataset, seed, seed % 8, config, function, size=(96, 64))
        assert sample.image.shape == (96, 64, 3) and sample.image.dtype == np.uint8
        assert sample.boxes.dtype == np.float32 and sample.classes.dtype == np.int32
        sides = sample.boxes[:, 2:] - sample.boxes[:, :2]
        assert (sides > (1 if config is MEGVII else 0)).all()
        assert (sample.boxes >= 0).all() and (sample.boxes <= (64, 96, 64, 96)).all()


@pytest.mark.parametrize("config", [MEGVII, MINDYOLO], ids=["megvii", "mindyolo"])
def test_same_seed_same_sample(dataset, config):
    one, two, other = (make(dataset, s, config=config) for s in (3, 3, 4))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.boxes, two.boxes)
    assert (one.image != other.image).any()


@pytest.mark.parametrize("placement", ["top_left", "center"])
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_no_aug_samples_follow_the_pixels_and_keep_their_place(block, placement, flip):
    spec = attrs.evolve(SPEC, letterbox=placement)
    config = attrs.evolve(QUIET, flip_prob=flip)
    sample = no_aug_sample(block, 0, rng=np.random.default_rng(0), config=config, spec=spec)
    np.testing.assert_allclose(sample.boxes[0], found_box((sample.image > 180).all(axis=2)), atol=1.01)
    padding = (sample.image == 114).all(axis=2)
    rows = np.flatnonzero(padding.all(axis=1)).tolist()
    assert rows == ([60, 61, 62, 63] if placement == "top_left" else [0, 1, 62, 63])


def test_the_colour_change_leaves_the_padding_alone(block):
    config = AugmentConfig(hsv_gains=(5.0, 100.0, 100.0), flip_prob=0.0)
    for seed in range(6):
        sample = make(block, seed, config=config, function=no_aug_sample)
        assert (sample.image[60:] == 114).all()


def test_without_mosaic_a_training_sample_is_a_no_aug_sample(dataset):
    rng = np.random.default_rng(0)
    rng.random()  # train_sample asks for the mosaic first
    expected = no_aug_sample(dataset, 2, rng=rng, config=QUIET, spec=SPEC)
    np.testing.assert_array_equal(make(dataset, 0, 2, QUIET).image, expected.image)


def test_mosaic_probability_is_kept(dataset):
    expected = no_aug_sample(dataset, 0, rng=np.random.default_rng(0), config=QUIET, spec=SPEC).image
    half = attrs.evolve(QUIET, mosaic_prob=0.5)
    share = np.mean(
        [
            (make(dataset, s, config=half).image.shape == expected.shape)
            and (make(dataset, s, config=half).image == expected).all()
            for s in range(200)
        ]
    )
    assert 0.4 < share < 0.6


def test_mosaic_partners_come_from_those_named(dataset):
    read = []

    def spy(index, reduce=1):
        read[-1].append(index)
        return load_image(dataset, index, reduce=reduce)

    config = attrs.evolve(MINDYOLO, mixup_prob=1.0)
    for seed in range(20):
        read.append([])
        make(dataset, seed, 5, config, partners=np.array([2, 3]), read=spy)
    assert set(sum(read, [])) == {2, 3, 5}
    assert max(indices.count(5) for indices in read) == 1  # the second mosaic is about another image


def test_mixup_adds_the_boxes_of_another_image(dataset):
    without = attrs.evolve(MEGVII, mixup_prob=0.0)
    extra = [len(make(dataset, s).boxes) - len(make(dataset, s, config=without).boxes) for s in range(30)]
    assert np.mean(extra) > 1


def test_a_dataset_without_any_object_ends_its_search_and_gives_empty_samples(tmp_path):
    empty = noise_dataset(tmp_path, count=3, boxes=0)
    for config in (MEGVII, MINDYOLO):
        for seed in range(5):
            assert make(empty, seed, config=config).boxes.shape == (0, 4)


def test_a_dataset_of_one_image_is_enough(block):
    assert make(block, 1).image.shape == (64, 96, 3)


def test_boxes_of_a_pixel_are_dropped(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((64, 96, 3), np.uint8))
    rows = [(1, 1, 1, (5, 5, 1, 30)), (2, 1, 1, (5, 5, 1.5, 30))]
    content = coco_dict([(1, "a.png", 64, 96)], rows)
    tiny = read_coco(write_json(tmp_path / "a.json", content), str(tmp_path))
    assert make(tiny, config=QUIET).boxes.tolist() == [[5, 5, 6.5, 35]]


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_cache_gives_the_same_samples(dataset, tmp_path, on_disk):
    assert cache_bytes(dataset) == 8 * 48 * 64 * 3
    cache = cache_images(dataset, max_bytes=10**6, path=str(tmp_path / "cache") if on_disk else None)
    np.testing.assert_array_equal(cache(3), load_image(dataset, 3))
    config = attrs.evolve(MEGVII, affine_scale=(0.7, 2.0), mixup_scale=(0.8, 1.5))  # nothing shrinks to half
    for seed in range(5):
        np.testing.assert_array_equal(
            make(dataset, seed, config=config, read=cache).image, make(dataset, seed, config=config).image
        )
    for seed in range(10):
        difference = np.abs(make(dataset, seed, read=cache).image.astype(int) - make(dataset, seed).image)
        assert difference.mean() < 2


def test_a_cache_that_is_too_large_is_refused_beforehand(dataset):
    with pytest.raises(DataError, match="a cache of 8 images takes 0.00 GB, more than the 0.00 GB allowed"):
        cache_images(dataset, max_bytes=100)


def sample_of(areas):
    boxes = np.array([[0, 0, a, 1] for a in areas], np.float32).reshape(-1, 4)
    return Sample(np.zeros((8, 8, 3), np.uint8), boxes, np.arange(len(areas), dtype=np.int32))


def test_batches_are_padded_and_keep_the_order_of_ground_truths():
    batch = collate([sample_of([3, 1, 2]), empty_sample(np.ones((8, 8, 3), np.uint8))], max_gt=4)
    assert batch.images.shape == (2, 8, 8, 3) and batch.images.dtype == np.uint8
    assert batch.gt_classes.tolist() == [[0, 1, 2, 0], [0, 0, 0, 0]]
    assert batch.valid.tolist() == [[True, True, True, False], [False] * 4]
    assert batch.gt_boxes[0, 3].tolist() == [0, 0, 0, 0] and batch.gt_boxes[0, 0].tolist() == [0, 0, 3, 1]
    assert [x.dtype for x in batch] == [np.uint8, np.float32, np.int32, bool]


def test_the_smallest_boxes_go_and_are_counted():
    samples = [sample_of([3, 1, 2, 1]), sample_of([5])]
    assert collate(samples, max_gt=2).gt_classes.tolist() == [[0, 2], [0, 0]]
    assert count_dropped(samples, max_gt=2) == 2
    assert keep_largest(samples[0], 3).classes.tolist() == [0, 1, 2]


def test_images_of_two_sizes_make_no_batch():
    with pytest.raises(ValueError, match="want one shape"):
        collate([sample_of([1]), empty_sample(np.zeros((9, 8, 3), np.uint8))], max_gt=2)
    with pytest.raises(ValueError, match="want one shape"):
        collate([], max_gt=2)
