"""Letterbox against Megvii's numbers and a per-pixel oracle; boxes there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.folders import blocks_sample, found_box
from tests.oracles.warps import slow_letterbox
from yolox.config import InputSpec
from yolox.data.letterbox import (
    LetterboxTransform,
    boxes_from_letterbox,
    boxes_to_letterbox,
    fitted_size,
    letterbox,
    letterbox_sample,
    rectangular_size,
    resize_to_fit,
)

CENTRED = InputSpec(letterbox="center", shrink_interpolation="area")


def test_letterbox_agrees_with_megvii(golden_dir):
    cases = np.load(golden_dir / "letterbox.npz")
    names = sorted(n for n in cases if n.startswith("in"))
    assert names
    for name in names:
        want = cases[name.replace("in", "out")].transpose(1, 2, 0)
        canvas, transform = letterbox(cases[name], want.shape[:2], spec=InputSpec())
        assert np.abs(canvas - want).max() <= 1
        assert transform.ratio == pytest.approx(float(cases[name.replace("in", "ratio")]), rel=1e-9)


@pytest.mark.parametrize("spec", [InputSpec(), CENTRED], ids=["top_left", "center"])
@pytest.mark.parametrize("shape", [(11, 17), (30, 9), (16, 16)])
def test_letterbox_agrees_with_looking_up_each_pixel(spec, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    canvas, _ = letterbox(image, (32, 48), spec=spec)  # grows: linear in both conventions
    assert np.abs(canvas - slow_letterbox(image, (32, 48), 114, spec.letterbox == "center")).max() <= 2


def test_shrinking_by_area_averages_blocks_of_pixels():
    image = np.random.default_rng(1).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    canvas, _ = letterbox(image, (32, 48), spec=CENTRED)
    blocks = image.reshape(32, 2, 48, 2, 3).mean(axis=(1, 3))
    assert np.abs(canvas - blocks).max() <= 1


@pytest.mark.parametrize("shrink", ["linear", "area"])
def test_shrinking_to_a_third_takes_the_mean_or_the_middle_of_nine_pixels(shrink):
    image = np.random.default_rng(2).integers(0, 256, (96, 144, 3)).astype(np.uint8)
    canvas, _ = letterbox(image, (32, 48), spec=InputSpec(shrink_interpolation=shrink))
    want = image[1::3, 1::3] if shrink == "linear" else image.reshape(32, 3, 48, 3, 3).mean(axis=(1, 3))
    assert np.abs(canvas - want.astype(float)).max() <= 1


def test_padding_has_the_grey_level_of_the_convention():
    canvas, _ = letterbox(np.zeros((32, 64, 3), np.uint8), (64, 64), spec=InputSpec(pad_value=9))
    assert (canvas[:32] == 0).all() and (canvas[32:] == 9).all()


def test_a_hand_worked_letterbox():
    canvas, transform = letterbox(np.full((50, 100, 3), 7, np.uint8), (64, 64), spec=CENTRED)
    assert transform == LetterboxTransform(0.64, 0, 16)
    assert (canvas[:16] == 114).all() and (canvas[16:48] == 7).all() and (canvas[48:] == 114).all()


@pytest.mark.parametrize("spec", [InputSpec(), CENTRED], ids=["top_left", "center"])
@pytest.mark.parametrize("seed", range(5))
def test_boxes_follow_the_pixels(spec, seed):
    sample = letterbox_sample(blocks_sample((60, 90), seed=seed), (96, 128), spec=spec)
    found = found_box((sample.image > 150).all(axis=2))
    np.testing.assert_allclose(sample.boxes[0], found, atol=1.01)


@given(st.integers(1, 500), st.integers(1, 500), st.sampled_from([InputSpec(), CENTRED]))
@settings(max_examples=60, deadline=None)
def test_boxes_return_to_where_they_came_from(height, width, spec):
    boxes = np.array([[0, 0, width, height], [width / 3, height / 4, width / 2, height]], np.float32)
    canvas, transform = letterbox(np.zeros((height, width, 3), np.uint8), (96, 64), spec=spec)
    assert canvas.shape == (96, 64, 3)
    back = boxes_from_letterbox(boxes_to_letterbox(boxes, transform), transform, (height, width))
    np.testing.assert_allclose(back, boxes, atol=0.02)


def test_an_image_that_fits_already_is_not_copied():
    image = np.zeros((32, 20, 3), np.uint8)
    assert resize_to_fit(image, (32, 64)) is image


def test_the_thinnest_image_keeps_one_pixel():
    assert fitted_size((1, 5000), (64, 64)) == (1, 64)


@pytest.mark.parametrize("place", ["top_left", "center"])
@given(st.integers(1, 900), st.integers(1, 900), st.sampled_from([(64, 96), (416, 416), (640, 640)]))
def test_a_rectangular_input_has_the_image_at_the_same_scale_and_place_of_the_grid(place, height, width, size):
    """What is cut off is padding, 32 px of it are left on each side, and the grids of all strides stay where they are."""
    small, margin = rectangular_size((height, width), size, center=place == "center"), 64 if place == "center" else 32
    for side, whole, inner in zip(small, size, fitted_size((height, width), size), strict=True):
        assert side % 32 == (whole - side) % 64 == 0 and side <= whole and side >= min(inner + margin, whole)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    part, transform = letterbox(image, small, spec=InputSpec(letterbox=place))
    canvas, same = letterbox(image, size, spec=InputSpec(letterbox=place))
    assert transform.ratio == pytest.approx(same.ratio) and (small[0] == size[0] or small[1] == size[1])
    top, left = (same.pad_y - transform.pad_y, same.pad_x - transform.pad_x)
    assert top % 32 == left % 32 == 0
    np.testing.assert_array_equal(part, canvas[top : top + small[0], left : left + small[1]])


RECTANGLES = {  # shape of the image: inputs of 416 px and of 640 px, and the same with the image in the centre
    (480, 640): ((352, 416), (512, 640), (416, 416), (576, 640)),
    (640, 480): ((416, 352), (640, 512), (416, 416), (640, 576)),
    (512, 640): ((416, 416), (576, 640), (416, 416), (576, 640)),
    (360, 640): ((288, 416), (448, 640), (352, 416), (448, 640)),
    (300, 640): ((288, 416), (384, 640), (288, 416), (384, 640)),
    (60, 640): ((160, 416), (384, 640), (160, 416), (384, 640)),
    (640, 640): ((416, 416), (640, 640), (416, 416), (640, 640)),
}


@pytest.mark.parametrize("shape", RECTANGLES)
def test_rectangular_inputs_of_usual_images(shape):
    cases = [(416, False), (640, False), (416, True), (640, True)]
    assert tuple(rectangular_size(shape, (side, side), center=center) for side, center in cases) == RECTANGLES[shape]


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("size", [(416, 416), (640, 640), (1280, 640), (8192, 8192)])
def test_there_are_at_most_nine_rectangular_inputs(size, center):
    shapes = [(int(1000 * min(r, 1)), int(1000 * min(1 / r, 1))) for r in np.geomspace(0.1, 10, 2000)]
    found = {rectangular_size(shape, size, center=center) for shape in shapes}
    assert 3 <= len(found) <= 9 and size in found


def test_boxes_outside_the_image_are_clipped_on_the_way_back():
    moved = boxes_from_letterbox(np.array([[-5.0, -5, 50, 50]]), LetterboxTransform(0.5), (40, 60))
    assert moved.tolist() == [[0, 0, 60, 40]]
