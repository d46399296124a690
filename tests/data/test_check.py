"""The report on a dataset: counts against a recount, every kind of fault and doubt, headers without decoding."""

from __future__ import annotations

import pickle

import attrs
import numpy as np
import pytest

from tests.data.folders import coco_dict, noise_dataset, write_image, write_json
from tests.data.test_image import smooth, with_orientation
from yolox.data import check
from yolox.data.check import check_dataset, probe_header, probe_pixels, shared_images
from yolox.data.coco import read_coco
from yolox.data.content import named_in, note_names
from yolox.data.dataset import load_image
from yolox.data.duplicates import duplicate_images
from yolox.data.header import read_header
from yolox.data.voc import read_voc
from yolox.data.yolo import read_yolo
from yolox.errors import DataError

SETTINGS = {"input_size": (64, 64), "max_gt": 3}


def dataset_of(folder, annotations, *, names=("a.png", "b.png"), size=(20, 30), categories=((1, "cat"), (2, "dog"))):
    for name in names:
        if not (folder / name).exists():
            write_image(folder / name, smooth(*size))
    rows = coco_dict([(i, name, *size) for i, name in enumerate(names)], annotations, categories)
    return read_coco(write_json(folder / "a.json", rows), str(folder))


def warnings(dataset, **changes):
    report = check_dataset(dataset, **{**SETTINGS, **changes})
    assert report.errors == ()
    return report.warnings


def test_counts_are_those_of_a_recount(tmp_path):
    dataset = noise_dataset(tmp_path, count=5, boxes=3)
    report = check_dataset(dataset, **SETTINGS)
    names = [dataset.class_names[c] for c in dataset.classes]
    assert report.per_class == {name: names.count(name) for name in ("cat", "dog")}
    assert (report.images, report.boxes, report.empty, report.most) == (5, 15, 0, 3)
    small = [area for area in dataset.areas if area <= 32 * 32]
    assert report.per_size == {"small": len(small), "medium": 15 - len(small), "large": 0}
    assert report.errors == report.warnings == ()


@pytest.mark.parametrize(
    ("annotations", "want"),
    [
        ([(7, 0, 1, (1, 1, 0, 5))], "boxes without area; training leaves them out: 1 (annotation 7 of image a.png)"),
        ([(7, 0, 1, (1, 1, 1.5, 5))], "boxes with a side below 2 px: 1 (annotation 7 of image a.png)"),
        ([(7, 0, 1, (-3, 1, 9, 5))], "boxes over the edge of their image by more than 1 px; training clips them: 1 (ann"),
        ([(7, 0, 1, (25, 1, 9, 5))], "boxes over the edge of their image by more than 1 px"),
        ([(7, 0, 1, (1, 2, 5, 6)), (9, 0, 1, (1, 2, 5, 6))], "boxes that repeat another one of their image and class: 1 (ann"),
        ([(i, 1, 1, (i, i, 5, 6)) for i in range(1, 5)], "images with more boxes than `max_gt` (3); the smallest are left out"),
        ([], "images without a box, more than half; are labels missing?: 2 (image a.png, image b.png)"),
    ],
)  # fmt: skip
def test_every_doubt_is_a_warning_with_examples(tmp_path, annotations, want):
    filled = [(100, 0, 2, (2, 2, 9, 9)), (101, 1, 2, (2, 2, 9, 9)), (102, 1, 1, (2, 2, 9, 9))] if annotations else []
    lines = warnings(dataset_of(tmp_path, annotations + filled), max_gt=3 if len(annotations) == 4 else 120)
    assert any(line.startswith(want) for line in lines)
    assert len(lines) == (1 if annotations else 2)  # without boxes, classes have none either


def test_crowd_regions_are_counted(tmp_path):
    rows = [(1, 0, 1, (2, 2, 9, 9), {"iscrowd": 1}), (2, 0, 2, (2, 2, 9, 9)), (3, 1, 2, (2, 2, 9, 9), {"iscrowd": 1})]
    report = check_dataset(dataset_of(tmp_path, rows), **SETTINGS)
    assert (report.boxes, report.crowd) == (3, 2)


XML = "<annotation><size><width>30</width><height>20</height></size>{}</annotation>"
OBJECT = "<object><name>cat</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox></object>"


def read_flat(folder, form, flat):
    """Read one good box, and then so many of no width, from files of any format."""
    write_image(folder / "images/a.png", smooth(20, 30))
    if form == "coco":
        rows = [(i, 1, 1, (2, 2, 9 if i == 1 else 0, 7)) for i in range(1, flat + 2)]
        content = coco_dict([(1, "a.png", 20, 30)], rows, ((1, "cat"),))
        return read_coco(write_json(folder / "a.json", content), str(folder / "images"))
    if form == "voc":
        (folder / "a.xml").write_text(XML.format(OBJECT.format(11) + OBJECT.format(2) * flat))
        return read_voc(str(folder), str(folder / "images"))
    (folder / "labels").mkdir()
    (folder / "labels/a.txt").write_text("0 .2 .5 .3 .5\n" + "0 .2 .5 0 .5\n" * flat)
    return read_yolo(str(folder / "labels"), str(folder / "images"), class_names=["cat"])


@pytest.mark.parametrize("form", ["coco", "voc", "yolo"])
@pytest.mark.parametrize("flat", [1, 20, 21])
def test_boxes_without_area_are_named_in_every_format_up_to_twenty(tmp_path, form, flat):
    report = check_dataset(read_flat(tmp_path, form, flat), input_size=(64, 64), max_gt=99)
    (line,) = [line for line in report.warnings if line.startswith("boxes without area")]
    named = ", ".join(f"annotation {i} of image a.png" for i in range(2, min(flat, 20) + 2))
    more = f" and {flat - 20} more" if flat > 20 else ""
    assert line == f"boxes without area; training leaves them out: {flat} ({named}{more})"


def test_one_pixel_over_the_edge_and_other_classes_are_no_doubt(tmp_path):
    rows = [(1, 0, 1, (-0.9, 1, 20, 5)), (2, 0, 2, (-0.9, 1, 20, 5)), (3, 1, 1, (20, 15, 11, 6))]
    assert warnings(dataset_of(tmp_path, rows)) == ()


def test_boxes_too_small_for_the_network_are_told_with_what_helps(tmp_path):
    rows = [(1, 0, 1, (1, 1, 5, 5)), (2, 1, 2, (1, 1, 15, 15))]
    (line,) = warnings(dataset_of(tmp_path, rows, size=(200, 300)), input_size=(64, 96))
    what = "boxes with a side below 2 px at the network's 96x64; a larger `input_size` shows them"
    assert line == f"{what}: 1 (annotation 1 of image a.png)"


def test_classes_without_boxes_are_named(tmp_path):
    rows = [(1, 0, 1, (1, 1, 15, 15)), (2, 1, 1, (1, 1, 15, 15))]
    assert warnings(dataset_of(tmp_path, rows)) == ("classes without a box: 1 (dog)",)


FILLED = [(1, 0, 1, (2, 2, 9, 9)), (2, 1, 2, (2, 2, 9, 9))]


@pytest.mark.parametrize("probe", [probe_header, probe_pixels])
@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_unreadable_and_resized_images_are_errors(tmp_path, probe, suffix):
    names = [f"{i}.{suffix}" for i in range(3)]
    dataset = dataset_of(tmp_path, FILLED, names=names)
    assert check_dataset(dataset, **SETTINGS, probe=probe).errors == ()
    (tmp_path / names[0]).write_bytes(b"no image")
    write_image(tmp_path / names[1], smooth(21, 30))
    (tmp_path / names[2]).unlink()
    first, second, third = check_dataset(dataset, **SETTINGS, probe=probe).errors
    assert "cannot be decoded" in first and "is 30x21, its annotation says 30x20" in second and names[2] in third


@pytest.mark.parametrize("probe", [probe_header, probe_pixels])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_files_that_were_cut_off_are_errors_before_training_reads_them(tmp_path, suffix, probe):
    names = [f"a.{suffix}", f"b.{suffix}"]
    dataset = dataset_of(tmp_path, FILLED, names=names, size=(200, 300))
    content = (tmp_path / names[1]).read_bytes()
    (tmp_path / names[1]).write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=f"b.{suffix}: cannot be decoded as an image"):
        load_image(dataset, 1)
    report = check_dataset(dataset, input_size=(320, 320), max_gt=120, probe=probe)
    (line,) = report.errors
    assert f"b.{suffix}: cannot be decoded as an image" in line and not report.warnings


def test_turned_images_fit_both_ways_of_annotating(tmp_path):
    dataset = dataset_of(tmp_path, FILLED, names=("a.jpg", "b.jpg"))
    (tmp_path / "a.jpg").write_bytes(with_orientation((tmp_path / "a.jpg").read_bytes(), 6))
    header = read_header(str(tmp_path / "a.jpg"))
    assert (header.size, header.shown, header.whole) == ((20, 30), (30, 20), True)
    assert check_dataset(dataset, **SETTINGS).errors == ()
    turned = attrs.evolve(dataset, sizes=np.array([(30, 20), (20, 30)], np.int32))
    assert check_dataset(turned, **SETTINGS).errors == ()
    unturned = attrs.evolve(dataset, sizes=np.array([(20, 30), (30, 20)], np.int32))
    assert len(check_dataset(unturned, **SETTINGS).errors) == 1


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_photos_are_told_whose_size_does_not_show_how_they_were_annotated(orientation, tmp_path):
    dataset = dataset_of(tmp_path, FILLED, names=("a.jpg", "b.jpg"))
    (tmp_path / "a.jpg").write_bytes(with_orientation((tmp_path / "a.jpg").read_bytes(), orientation))
    report = check_dataset(dataset, **SETTINGS)
    (line,) = report.warnings
    assert line.startswith("photos that their EXIF data mirror or turn without a change of size") and line.endswith(": 1 (a.jpg)")
    assert named_in(report.warnings) == {line: ("a.jpg",)}
    grey, five = (check_dataset(attrs.evolve(dataset, channels=channels), **SETTINGS, probe=probe_header) for channels in (1, 5))
    assert grey.warnings == report.warnings and five.warnings == ()  # of other numbers the stored pixels are read


def test_a_warning_keeps_all_names_that_it_stands_for(tmp_path):
    dataset = noise_dataset(tmp_path, count=5, seed=1)
    dataset = attrs.evolve(dataset, notes=(note_names("5 files were left out", "abcde"), "something else"))
    warnings = pickle.loads(pickle.dumps(check_dataset(dataset, **SETTINGS))).warnings
    assert warnings[:2] == ("5 files were left out (a, b, c and 2 more)", "something else")
    assert named_in(warnings[:2]) == {"5 files were left out (a, b, c and 2 more)": ("a", "b", "c", "d", "e")}


def test_pixels_that_are_decoded_are_handed_on(tmp_path):
    dataset, seen = dataset_of(tmp_path, FILLED, names=("a.jpg", "b.png")), []
    assert probe_pixels(dataset, 1, see=seen.append) is None and np.array_equal(seen[0], load_image(dataset, 1))


def test_headers_are_read_without_decoding(tmp_path, monkeypatch):
    dataset = dataset_of(tmp_path, FILLED, names=("a.jpg", "b.png"))
    monkeypatch.setattr(check, "load_image", lambda *a, **k: pytest.fail("decoded"))
    assert check_dataset(dataset, **SETTINGS).errors == ()


def test_shared_files_are_found_by_path_and_copies_by_content(tmp_path):
    one = noise_dataset(tmp_path / "one", count=3, seed=1)
    other = noise_dataset(tmp_path / "other", count=3, seed=2)
    assert shared_images(one, other) == [] and duplicate_images(one, other) == []
    (tmp_path / "other/1.png").unlink()
    (tmp_path / "other/1.png").symlink_to(tmp_path / "one/0.png")
    (tmp_path / "one/2.png").write_bytes((tmp_path / "other/0.png").read_bytes())
    assert shared_images(other, one) == ["1.png"]
    groups = {tuple(path[len(str(tmp_path)) + 1 :] for path in group) for group in duplicate_images(one, other)}
    assert groups == {("one/0.png", "other/1.png"), ("one/2.png", "other/0.png")}
