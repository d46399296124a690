"""The drawn dataset: exact boxes, the same files for the same seed, readable as COCO."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from yolox.data.coco import read_coco
from yolox.data.dataset import load_sample
from yolox.data.synthetic import SHAPE_NAMES, SyntheticConfig, draw_shapes, mask_box, shape_mask, write_synthetic

CLEAN = SyntheticConfig(noise=0.0, shapes=(1, 1), contrast=80.0)


@pytest.mark.parametrize("seed", range(8))
def test_the_box_of_a_lone_shape_touches_its_pixels_on_all_sides(seed):
    sample = draw_shapes(rng=np.random.default_rng(seed), config=CLEAN)
    differs = (sample.image != sample.image[0, 0]).any(axis=2)
    assert tuple(sample.boxes[0].astype(int)) == mask_box(differs)


def test_a_circle_fills_pi_quarters_of_its_box_and_a_triangle_less():
    areas = {}
    for name in SHAPE_NAMES:
        mask = shape_mask(name, centre=(50, 50), radius=40, angle=np.pi / 4, size=(100, 100))
        x1, y1, x2, y2 = mask_box(mask)
        areas[name] = mask.sum() / ((x2 - x1) * (y2 - y1))
    assert areas["circle"] == pytest.approx(np.pi / 4, abs=0.03)
    assert areas["square"] == pytest.approx(1.0)
    assert areas["triangle"] < 0.6


def test_same_seed_same_image_and_other_seed_another():
    first, again, other = (draw_shapes(rng=np.random.default_rng(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert (first.image != other.image).any()


def test_boxes_lie_inside_the_image_and_counts_and_sizes_in_their_ranges():
    config = SyntheticConfig(image_size=(96, 160), shapes=(2, 4), sides=(20.0, 30.0))
    for seed in range(10):
        sample = draw_shapes(rng=np.random.default_rng(seed), config=config)
        assert sample.image.shape == (96, 160, 3) and len(sample.boxes) <= 4
        assert (sample.boxes[:, :2] >= 0).all() and (sample.boxes[:, 2:] <= (160, 96)).all()
        sides = sample.boxes[:, 2:] - sample.boxes[:, :2]
        assert sides.max() <= 32 and sides.min() >= 12


def test_a_written_dataset_reads_back_as_drawn(tmp_path):
    path = write_synthetic(tmp_path / "val", images=5, seed=1)
    dataset = read_coco(path, path.parent / "images")
    assert dataset.class_names == SHAPE_NAMES and len(dataset) == 5
    rng = np.random.default_rng(1)
    for index in range(5):
        drawn, read = draw_shapes(rng=rng), load_sample(dataset, index)
        np.testing.assert_array_equal(read.image, drawn.image)
        np.testing.assert_array_equal(read.boxes, drawn.boxes)
        np.testing.assert_array_equal(read.classes, drawn.classes)


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name in "ab":
        write_synthetic(tmp_path / name, images=2, seed=0)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_images_are_written_without_loss(tmp_path):
    path = write_synthetic(tmp_path, images=1, seed=0)
    name = json.loads(path.read_text())["images"][0]["file_name"]
    image = cv2.imread(str(tmp_path / "images" / name))
    np.testing.assert_array_equal(image, draw_shapes(rng=np.random.default_rng(0)).image)
