from pathlib import Path

import numpy as np
import pytest

from yolox import export
from yolox.eval.postprocess import Detections
from yolox.visualize.draw import COLORS, class_color, draw_detections, drawn_names

NAMES = ["cat", "a rather long name of a class"]


def _detections(boxes, classes=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    classes = np.zeros(len(boxes), np.int32) if classes is None else np.array(classes)
    return Detections(boxes, np.linspace(0.9, 0.5, len(boxes), dtype=np.float32), classes)


def test_eighteen_classes_have_colours_of_their_own():
    colors = [class_color(index) for index in range(18)]
    assert len(set(colors)) == 18
    assert all(0 <= value <= 255 for color in colors for value in color)
    apart = [np.abs(np.subtract(a, b)).max() for i, a in enumerate(colors) for b in colors[:i]]
    assert min(apart) >= 20


def test_the_web_page_has_the_same_colours():
    text = (Path(export.__file__).parent / "web_page/app.js").read_text()
    listed = ", ".join(f'"{color}"' for color in COLORS)
    assert f"const COLORS = [{listed}];" in text


def test_no_detections_leave_the_pixels_and_the_input_alone():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    drawn = draw_detections(image, Detections(), NAMES)
    assert drawn is not image and (drawn == image).all()
    before = image.copy()
    draw_detections(image, _detections([[5, 20, 50, 35]]), NAMES)
    assert (image == before).all()


def test_box_lies_where_it_belongs_in_the_color_of_its_class():
    drawn = draw_detections(np.zeros((200, 200, 3), np.uint8), _detections([[50, 80, 150, 160]]), NAMES)
    color = class_color(0)
    for y, x in [(160, 100), (120, 50), (120, 150)]:
        assert tuple(drawn[y, x]) == color
    assert (drawn[110:150, 60:140] == 0).all()  # nothing is drawn over the object


@pytest.mark.parametrize("size", [(8, 8), (32, 500), (600, 20), (96, 128), (1500, 2000)])
@pytest.mark.parametrize("label", [0, 1, 7])
def test_any_image_size_and_any_box(size, label):
    height, width = size
    boxes = [[0, 0, 5, 5], [-50, -50, 9000, 9000], [width - 2, height - 2, width, height], [0, -9, 4, np.nan]]
    drawn = draw_detections(np.zeros((*size, 3), np.uint8), _detections(boxes, [label] * 4), NAMES)
    assert drawn.shape == (*size, 3) and drawn.any()


def test_label_at_the_edge_is_moved_into_the_image():
    inner = draw_detections(np.zeros((300, 400, 3), np.uint8), _detections([[100, 100, 200, 200]]), NAMES)
    corner = draw_detections(np.zeros((300, 400, 3), np.uint8), _detections([[390, 0, 399, 9]]), NAMES)

    def ink(picture):  # pixels of the letters, which are dark on this bright color or white on it
        other = (picture != np.array(class_color(0))).any(2)
        return int(other.sum() - (picture.sum(2) == 0).sum())

    assert ink(corner) == pytest.approx(ink(inner), rel=0.15)


def test_labels_keep_off_each_other():
    boxes = [[100, 100, 200, 200], [100, 100, 200, 200]]
    two = draw_detections(np.zeros((300, 400, 3), np.uint8), _detections(boxes, [0, 1]), NAMES)
    filled = [int((two == class_color(i)).all(2).sum()) for i in (0, 1)]
    assert filled[1] > filled[0]  # the longer label of the second box is all there


def labelled(names, count, size=320):
    """A black picture with boxes of 8 px, and the share of it that labels fill; the boxes' lines are counted too."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, size - 20, (count, 2))
    found = _detections(np.hstack([corners, corners + 8]), rng.integers(0, len(names), count))
    picture = draw_detections(np.zeros((size, size, 3), np.uint8), found, names, show_scores=False)
    return picture, float((picture > 0).any(2).mean())


def test_long_names_take_little_more_room_than_short_ones():
    long = [f"vehicle of the municipal fleet, category {number:04d}" for number in range(80)]
    few, share = labelled(long, 3)
    assert (few == labelled([f"vehicle ..ory {number:04d}" for number in range(80)], 3)[0]).all() and 0.03 < share < 0.06
    assert labelled(long, 60)[1] == pytest.approx(labelled([f"veh..{number:03d}" for number in range(80)], 60)[1], abs=0.01)


def test_short_names_stay_in_a_crowd():
    names = ["person", "car"]
    (crowd, share), one = labelled(names, 200), drawn_names(names, most=8)
    assert one == names and share > 0.25 and (crowd == labelled(one, 200)[0]).all()


def test_accents_are_dropped_and_other_letters_show_the_number():
    def picture(name):
        return draw_detections(np.zeros((90, 190, 3), np.uint8), _detections([[9, 40, 90, 80]]), [name])

    assert (picture("caf\u00e9") == picture("cafe")).all() and (picture("\u732b") == picture("class 0")).all()
    assert (picture("\u732b") != picture("?")).any()


def test_scores_may_be_left_out():
    image = np.zeros((300, 400, 3), np.uint8)
    long = draw_detections(image, _detections([[100, 100, 200, 200]]), NAMES)
    short = draw_detections(image, _detections([[100, 100, 200, 200]]), NAMES, show_scores=False)
    assert (short > 0).sum() < (long > 0).sum()


def test_letters_outside_ascii_and_unnamed_classes_do_not_fail():
    draw_detections(np.zeros((90, 90, 3), np.uint8), _detections([[9, 9, 50, 50]] * 2, [0, 5]), ["\u732b"])


def test_colors_are_stable_and_differ():
    colors = [class_color(i) for i in range(80)]
    assert len(set(colors)) == 80 and colors == [class_color(i) for i in range(80)]
    assert all(0 <= v <= 255 for color in colors for v in color)


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)])
def test_wrong_image(image):
    with pytest.raises(ValueError, match="draw_detections: image is .*, want uint8"):
        draw_detections(image, Detections(), NAMES)


def test_lines_and_letters_of_a_large_image_may_be_those_of_a_small_one():
    image = np.zeros((900, 1200, 3), np.uint8)
    found = Detections(np.array([[400, 400, 460, 470.0]]), np.array([0.5]), np.array([0]))
    usual, small, larger = (draw_detections(image, found, ["cat"], side=side) for side in (None, 300, 5000))
    changed = [int((picture != image).any(2).sum()) for picture in (usual, small)]
    assert changed[1] < changed[0] / 2 and changed[1] > 2 * (60 + 70)
    np.testing.assert_array_equal(larger, usual)  # never larger than those that fit
