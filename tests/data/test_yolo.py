"""YOLO's YAML and names files: every layout finds its images and labels, and every fault is named."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml

from tests.data.folders import noise_dataset, write_as_yolo, write_image
from yolox.data.coco import read_coco
from yolox.data.yolo import labels_of, read_class_names, read_yolo_data
from yolox.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """One image of 20x30 (height, width) with one box in each of train and val."""
    for part, line in (("train", "0 .5 .5 .2 .4"), ("val", "1 .5 .5 1 1")):
        write_image(tmp_path / "images" / part / f"{part}.png", np.zeros((20, 30, 3), np.uint8))
        (tmp_path / "labels" / part).mkdir(parents=True)
        (tmp_path / "labels" / part / f"{part}.txt").write_text(line)
    return tmp_path


TRAIN, VAL = [12, 6, 18, 14], [0, 0, 30, 20]


def read(folder, text, split="train", **options):
    (folder / "data.yaml").write_text(text)
    return read_yolo_data(str(folder / "data.yaml"), split=split, **options)


@pytest.mark.parametrize(
    "text",
    [
        "path: x\nnames: [cat, 'big dog']\nnc: 2\n",
        "names:\n  - cat # small\n  - big dog\ntrain: y\n",
        "names:\n- cat\n- big dog\n",
        "# names\nnames:\n  1: big dog\n  0: cat\n",
        'names: {0: cat, 1: "big dog"}',
        "names: [cat,\n  big dog]",
    ],
)
def test_class_names_in_all_spellings(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    assert read_class_names(str(tmp_path / "a.yaml")) == ["cat", "big dog"]


@pytest.mark.parametrize("text", ["", "nc: 3", "names: []", "names: [a, a]", "names: {0: a, 2: b}"])
def test_files_without_class_names_are_refused(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(DataError, match="a.yaml: states no list of different class names"):
        read_class_names(str(tmp_path / "a.yaml"))


def test_a_count_of_classes_must_be_that_of_the_names(tmp_path):
    for text in ("nc: 3\nnames: [a, b]", "names: {0: a, 1: b}\nnc: two", "names: [a, b]\nnc: [2]"):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(DataError, match="a.yaml: nc is .*, but names has 2; want one name a class"):
            read_class_names(str(tmp_path / "a.yaml"))
    (tmp_path / "a.yaml").write_text("nc:\nnames: [a, b]")
    assert read_class_names(str(tmp_path / "a.yaml")) == ["a", "b"]


def test_a_yaml_of_megabytes_is_not_parsed(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text("names: [a]\n#".ljust(1 << 20, "x"))
    assert read_class_names(str(path)) == ["a"]
    monkeypatch.setattr(yaml, "load", lambda *_, **__: pytest.fail("parsed"))
    path.write_text("names: [a]\n#".ljust((1 << 20) + 1, "x"))
    with pytest.raises(DataError, match=r"a.yaml: is not a YAML file of a dataset \(more than 1048576 bytes\)"):
        read_class_names(str(path))


def test_class_names_in_a_text_file(tmp_path):
    (tmp_path / "a.names").write_text("cat\nbig dog\n\n")
    assert read_class_names(str(tmp_path / "a.names")) == ["cat", "big dog"]
    (tmp_path / "a.names").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="a.names: is not a text file"):
        read_class_names(str(tmp_path / "a.names"))
    with pytest.raises(DataError, match="gone: cannot be read"):
        read_class_names(str(tmp_path / "gone"))


@pytest.mark.parametrize(
    "lines",
    [
        "train: images/train\nval: images/val",
        "path: .\ntrain: images/train/ # a folder\nval: 'images/val'\ndownload: |\n  import os\n  names: no",
        "path: ../datasets/elsewhere\ntrain: ../images/train\nval: ../images/val",
        "train: [images/train]\nval:\n  - images/val",
        "path: {folder}\ntrain: images/train\nval: {folder}/images/val",
        "train: train.txt\nval: val.txt",
    ],
)
def test_every_layout_finds_images_and_labels(folder, lines):
    (folder / "train.txt").write_text("./images/train/train.png\n\n")
    (folder / "val.txt").write_text(f"{folder}/images/val/val.png\n")
    text = "names: [cat, dog]\n" + lines.format(folder=folder)
    for split, box in (("train", TRAIN), ("val", VAL)):
        dataset = read(folder, text, split)
        assert len(dataset) == 1 and dataset.class_names == ("cat", "dog")
        np.testing.assert_allclose(dataset.boxes, [box], atol=1e-5)


def test_a_list_of_folders_is_one_dataset(folder):
    dataset = read(folder, "names: [cat, dog]\ntrain: [images/val, images/train]")
    assert dataset.file_names == ("val/val.png", "train/train.png")
    np.testing.assert_allclose(dataset.boxes, [VAL, TRAIN], atol=1e-5)


def test_a_list_of_folders_far_apart_is_one_dataset(tmp_path):
    for part in ("one/images", "two/images"):
        write_image(tmp_path / part / "a.png", np.zeros((20, 30, 3), np.uint8))
        (tmp_path / part).with_name("labels").mkdir()
    (tmp_path / "yaml").mkdir()
    dataset = read(tmp_path / "yaml", "names: [cat]\ntrain: [../one/images, ../two/images]")
    assert dataset.file_names == ("one/images/a.png", "two/images/a.png") and len(dataset.boxes) == 0


def test_a_names_file_stands_beside_images_and_labels(folder):
    (folder / "obj.names").write_text("cat\ndog\n")
    dataset = read_yolo_data(str(folder / "obj.names"), split="val")
    assert dataset.file_names == ("val.png",) and dataset.classes.tolist() == [1]
    assert read_yolo_data(str(folder / "obj.names"), split="gone").file_names == ("train/train.png", "val/val.png")
    one = read_yolo_data(str(folder / "obj.names"), split="train", image_dir=str(folder / "images/val"))
    assert one.file_names == ("val.png",)


def test_labels_lie_beside_images_where_no_folder_is_called_images(tmp_path):
    write_image(tmp_path / "photos" / "a.png", np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "photos" / "a.txt").write_text("0 .5 .5 .2 .4")
    np.testing.assert_allclose(read(tmp_path, "names: [cat]\ntrain: photos").boxes, [TRAIN], atol=1e-5)
    assert labels_of("/images/a/images/b.jpg") == "/images/a/labels/b.jpg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a]", "names no folder of images for 'train'; it has none of train, val, test"),
        ("names: [a]\nval: x\ntrain:", "names no folder of images for 'train'; it has val"),
        ("names: [a]\ntrain: 3", "'3' is neither a folder nor a file"),
        ("names: [a]\ntrain: data.yaml", "data.yaml: 'data.yaml' is a file; want a folder of images, or a .txt file"),
        ("names: [a]\ntrain: [images, wrong.doc]", "'wrong.doc' is a file; want a folder of images, or a .txt file"),
        ("names: [a]\ntrain: {a: b}", "names no folder of images for 'train'"),
        ('names: [a]\ntrain: "x\\0y"', "is neither a folder nor a file"),
        ("names: [a]\ntrain: images", "class 1 is none of the 1 classes"),
        ("names: [a]\ntrain: wrong.txt", "no such image file|a.doc.* has no suffix of an image"),
        ("names: [a, {b: c}]\ntrain: images", "states no list of different class names"),
        ("names: &a [*a]\ntrain: images", "is not a YAML file"),
        ("names: [a", "is not a YAML file"),
        ("- a", "holds a list, want names, train and val"),
        ("[" * 5000, "is not a YAML file"),
        ("names: [a]\n? [x]\n: y", "is not a YAML file"),
    ],
)
def test_wrong_descriptions_are_named(folder, text, message):
    (folder / "wrong.doc").touch()
    (folder / "wrong.txt").write_text("images/gone.png\na.doc\n")
    with pytest.raises(DataError, match=message):
        read(folder, text)


def test_text_written_from_real_boxes_reads_back_box_for_box(data_dir, tmp_path):
    bccd = data_dir / "bccd"
    dataset = read_coco(str(bccd / "instances_val.json"), str(bccd / "images"))
    (tmp_path / "labels").mkdir()
    (tmp_path / "images").mkdir()
    for name in dataset.file_names:
        shutil.copy(bccd / "images" / name, tmp_path / "images" / name)
    write_as_yolo(dataset, tmp_path / "labels")
    back = read(tmp_path, f"names: {list(dataset.class_names)}\nval: images", "val")
    assert back.file_names == tuple(sorted(dataset.file_names)) == dataset.file_names
    np.testing.assert_allclose(back.boxes, dataset.boxes, atol=1e-4)
    for field in ("classes", "offsets", "sizes"):
        np.testing.assert_array_equal(getattr(back, field), getattr(dataset, field))


def test_any_format_in_the_noise_agrees(tmp_path):
    dataset = noise_dataset(tmp_path / "images", count=3)
    (tmp_path / "labels").mkdir()
    write_as_yolo(dataset, tmp_path / "labels")
    (tmp_path / "classes.txt").write_text("\n".join(dataset.class_names))
    back = read_yolo_data(str(tmp_path / "classes.txt"), split="train")
    np.testing.assert_allclose(back.boxes, dataset.boxes, atol=1e-4)
