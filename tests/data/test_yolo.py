"""YOLO's YAML and names files: every layout finds its images and labels, and every fault is named."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
import yaml

from tests.data.folders import noise_dataset, write_as_yolo, write_image
from tests.data.test_image import with_orientation
from yolox.data.coco import read_coco
from yolox.data.layout import find_layout
from yolox.data.yolo import read_yolo_data
from yolox.data.yolo_labels import labels_of
from yolox.data.yolo_layout import read_class_map, read_class_names
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.yaml: has no names"),
        ("nc: 3", "a.yaml: has nc: 3, but no names; want names"),
        ("names: []", "has no names"),
        ("names: [a, b, a]", r"the name 'a' stands for several classes \(0, 2\)"),
        ("names: {1: a, 2: b}", "names counts from 1, want from 0"),
        ("names: {0: a, 2: b}", "names has no class 1, but '2'; want 0 to 1"),
        ("names: a b", "names is the text 'a b', want a list"),
        ("names: [a, '']", "names has '' for class 1, want a text"),
        ("names: [a]\ntrain: t\nnames: [b]\n", "has the key 'names' twice, again in line 3"),
        ("names: {0: a, 0: b}", "has the key '0' twice, again in line 1"),
    ],
)
def test_yaml_without_class_names_is_refused_by_what_it_has(tmp_path, text, message):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_class_names(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images/a.jpg\n/data/b.PNG\n", r"is a list of images \(images/a.jpg and 1 more\), want class names"),
        ("0 .5 .5 .1 .1\n1 .5 .5 .1 .1\n", r"is a file of labels \(0 .5 .5 .1 .1\)"),
        ('{"images": []}', "is a JSON file, want a YAML"),
        ("<!DOCTYPE html><p>404", "is an HTML page, want a YAML"),
        ("<annotation/>", "is an XML file"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a pointer of Git LFS"),
        ("", "is empty"),
        ("cat\n\ndog\n", "line 2 is empty, which would shift the classes after it"),
        ("cat\ndog\ncat\n", r"the name 'cat' stands for several classes \(0, 2\)"),
        ("classes = 2\ntrain = a.txt\n", "is Darknet's file of a dataset, but has no names = FILE"),
        ("classes = 3\nnames = obj.names\n", "classes is 3, but .*obj.names has 2 names"),
        ("# my classes\ncat\n", "a line begins with #, and a comment would shift the classes"),
        ("cat, dog\n", r"has one line with commas \(cat, dog\), want a class name on each line"),
        ("0: cat\n1: dog\n", r"its lines have numbers before the names \(0: cat, 1: dog\)"),
        ("names = obj.names\ntrain = a\ntrain = b\n", "given: has the key 'train' twice"),
        ("names = gone.names\n", "its file of names, 'gone.names', is not there"),
    ],
)
def test_what_is_no_file_of_names_is_refused_by_what_it_is(tmp_path, text, message):
    (tmp_path / "obj.names").write_text("cat\nbig dog\n")
    (tmp_path / "given").write_text(text)
    with pytest.raises(DataError, match=message):
        read_class_names(str(tmp_path / "given"))


def test_a_folder_is_no_file_of_names(tmp_path):
    (tmp_path / "data.yaml").write_text("names: [a]")
    with pytest.raises(DataError, match="is a folder; want its data.yaml .* such as data.yaml"):
        read_class_names(str(tmp_path))


def test_a_count_of_classes_must_be_that_of_the_names(tmp_path):
    for text in ("nc: 3\nnames: [a, b]", "names: {0: a, 1: b}\nnc: two", "names: [a, b]\nnc: [2]"):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(DataError, match="a.yaml: nc is .*, but names has 2; want one name a class"):
            read_class_names(str(tmp_path / "a.yaml"))
    (tmp_path / "a.yaml").write_text("nc:\nnames: [a, b]")
    assert read_class_names(str(tmp_path / "a.yaml")) == ["a", "b"]


def test_a_yaml_of_megabytes_is_not_parsed(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text("names: [a]\n#".ljust(1 << 19, "x"))
    assert read_class_names(str(path)) == ["a"]
    monkeypatch.setattr(yaml, "load", lambda *_, **__: pytest.fail("parsed"))
    path.write_text("names: [a]\n#".ljust((1 << 19) + 1, "x"))
    with pytest.raises(DataError, match=r"a.yaml: is not a YAML file of a dataset \(more than 524288 bytes\)"):
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
    with pytest.raises(DataError, match="images: has no folder 'gone'; it has train, val"):
        read_yolo_data(str(folder / "obj.names"), split="gone")
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
        ("names: [a, {b: c}]\ntrain: images", "names has .* for class 1, want a text"),
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


def test_the_layout_of_ultralytics_coco_yaml(folder):
    """`path` leads elsewhere, a part is a list of names relative to that folder, and labels lie under labels."""
    (folder / "datasets").mkdir()
    for part in ("images", "labels"):
        shutil.move(folder / part, folder / "datasets/coco" / part)
    (folder / "datasets/coco/train.txt").write_text("./images/train/train.png\n")
    (folder / "cfg").mkdir()
    for base in ("../datasets/coco", folder / "datasets/coco"):
        dataset = read(folder / "cfg", f"path: {base}\ntrain: train.txt\nval: images/val\nnames: {{0: cat, 1: dog}}\n")
        np.testing.assert_allclose(dataset.boxes, [TRAIN], atol=1e-5)
    absolute = folder / "datasets/coco/images/val/val.png"
    (folder / "cfg/list.txt").write_text(f"{absolute}\nimages\\train\\train.png\n{absolute}\n")
    dataset = read(folder / "cfg", "path: ../datasets/coco\ntrain: ../../cfg/list.txt\nnames: [cat, dog]\n")
    np.testing.assert_allclose(dataset.boxes, [VAL, TRAIN], atol=1e-5)
    assert dataset.notes == ("1 image is listed more than once and was taken once (val.png)",)


def test_a_path_that_is_not_there_is_said(folder):
    dataset = read(folder, "path: /content/data\ntrain: ../images/train\nnames: [cat, dog]")
    assert [note.partition(";")[0] for note in dataset.notes] == [
        "its path '/content/data' is not there",
        "'../images/train' is not there",
    ]


def test_a_list_holds_beside_a_folder_of_images(folder):
    shutil.move(folder / "images/val/val.png", folder / "images/train/val.png")
    shutil.move(folder / "labels/val/val.txt", folder / "labels/train/val.txt")
    for line in ("images/train/val.png", "data/set/val.png", "val.png"):
        (folder / "val.txt").write_text(f"{line}\n")
        dataset = read(folder, "train: val.txt\nnames: [cat, dog]", image_dir=str(folder / "images/train"))
        assert dataset.file_names == ("val.png",)
        np.testing.assert_allclose(dataset.boxes, [VAL], atol=1e-5)
    (folder / "val.txt").write_text("gone.png\n")
    with pytest.raises(DataError, match="'gone.png' is not in the image folder"):
        read(folder, "train: val.txt\nnames: [cat, dog]", image_dir=str(folder / "images/train"))


def test_darknets_description_is_read(tmp_path):
    """As CVAT exports it: names and lists under data/, which is the folder itself; labels beside the images."""
    write_image(tmp_path / "obj_train_data/f.png", np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "obj_train_data/f.txt").write_text("1 .5 .5 1 1")
    (tmp_path / "obj.names").write_text("cat\ndog\n")
    text = "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\nbackup = backup/\n"
    (tmp_path / "obj.data").write_text(text)
    path, images = str(tmp_path / "obj.data"), str(tmp_path / "obj_train_data")
    dataset = read_yolo_data(path, split="train", image_dir=images)
    assert dataset.class_names == ("cat", "dog") and dataset.classes.tolist() == [1]
    assert "its list data/train.txt is not there; all images of" in dataset.notes[0]
    with pytest.raises(DataError, match="'data/train.txt' is neither a folder nor a file"):
        read_yolo_data(path, split="train")
    (tmp_path / "train.txt").write_text("data/obj_train_data/f.png\n")
    dataset = read_yolo_data(path, split="train")
    assert dataset.file_names == ("f.png",) or dataset.file_names == ("obj_train_data/f.png",)
    np.testing.assert_allclose(dataset.boxes, [VAL], atol=1e-5)


def test_what_systems_leave_behind_is_no_data(folder):
    for name in ("images/train/._train.png", "images/train/.ipynb_checkpoints/train-checkpoint.png",
                 "images/train/@eaDir/train.png", "images/__MACOSX/train/train.png", "labels/train/._train.txt"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    dataset = read(folder, "train: images\nnames: [cat, dog]")
    assert dataset.file_names == ("train/train.png", "val/val.png") and dataset.notes == ()


def test_lines_with_a_confidence_are_read_when_asked_for(folder):
    (folder / "labels/train/train.txt").write_text("0 .5 .5 .2 .4 .93\n1 .5 .5 1 1\n")
    text = "train: images/train\nnames: [cat, dog]"
    with pytest.raises(DataError, match="1 line has 6 numbers.*`scored_labels` drop") as error:
        read(folder, text)
    assert len(str(error.value).splitlines()) == 2
    dataset = read(folder, text, scored_labels="drop")
    np.testing.assert_allclose(dataset.boxes, [TRAIN, VAL], atol=1e-5)
    assert dataset.notes == ("the sixth number (a confidence?) of 1 line was dropped",)


def test_files_of_an_image_folder_that_are_not_taken_are_counted(folder):
    for name in ("a.gif", "b.gif", "c.psd", "notes.txt"):
        (folder / "images/train" / name).touch()
    dataset = read(folder, "train: images/train\nnames: [cat, dog]")
    assert dataset.notes == ("3 files of the image folders were not taken: 2 .gif (a.gif), 1 .psd (c.psd)",)


def test_a_class_map_is_a_file_of_names(tmp_path):
    (tmp_path / "map.yaml").write_text("tvmonitor: tv\n'no': \"yes\"\n")
    assert read_class_map(str(tmp_path / "map.yaml")) == {"tvmonitor": "tv", "no": "yes"}
    (tmp_path / "map.json").write_text('{"a": "b"}')
    assert read_class_map(str(tmp_path / "map.json")) == {"a": "b"}
    (tmp_path / "map.yaml").write_text("'person ': person\n")  # as a COCO file may spell it
    assert read_class_map(str(tmp_path / "map.yaml")) == {"person ": "person"}
    (tmp_path / "map.json").write_text('{"a": "b", "a": "c"}')
    with pytest.raises(DataError, match="has the key 'a' twice"):
        read_class_map(str(tmp_path / "map.json"))
    for text in ("a: [b]", "", "- a"):
        (tmp_path / "map.yaml").write_text(text)
        with pytest.raises(DataError, match="want lines such as NAME IN THE DATASET: NAME WANTED"):
            read_class_map(str(tmp_path / "map.yaml"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"labels/train/train.TXT": "0 .5 .5 .1 .1"}, r"has .txt and .TXT for one image \(train\); want one of them"),
        ({"labels/train/train.txt": "0 0_5 .5 .1 .1"}, "line 1: '0 0_5 .5 .1 .1', want a class index"),
        ({"labels/train/train.txt": "0 .5 .5 .2 .2 .4 .4 2"}, r"has 8 numbers \(keypoints\?\)"),
        ({"labels/train/train.txt": "0 .1 .1 .2 .1 .2 .2"}, r"has 7 numbers \(segments\?\)"),
        ({"labels/train/train.txt": "0 .5 .5 .2 .2".encode("utf-16")}, r"is not a text .*\(it is UTF-16; save it as UTF-8\)"),
    ],
)
def test_labels_that_cannot_be_meant_so_are_refused(folder, files, message):
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        read(folder, "train: images/train\nnames: [cat, dog]")


def test_what_lies_beside_labels_and_images_is_told(folder):
    assert read(folder, "train: images/train\nnames: [cat, dog]").notes == ()
    (folder / "labels/train/a.xml").write_text("<annotation/>")
    (folder / "labels/train/b.json").write_text("{}")
    (folder / "labels/classes.txt").write_text("dog\ncat\n")
    (folder / "images/train/train.txt").write_text("1 .5 .5 .1 .1\n")
    write_image(folder / "images/train/train.jpg", np.zeros((20, 30, 3), np.uint8))
    notes = read(folder, "train: images/train\nnames: [cat, dog]").notes
    assert notes == (
        f"{folder}/labels/classes.txt states other classes (class 0 is cat or dog); those of data.yaml were taken",
        "2 images have their label file in common with others of their names (train.jpg, train.png)",
        "1 text file beside the images was not read, as labels are in a folder of their own (train.txt)",
        "2 files of the label folders were not taken: 1 .xml (a.xml), 1 .json (b.json)",
    )


def test_an_image_that_a_list_names_in_two_ways_is_taken_once(folder):
    (folder / "list.txt").write_text("images/train/train.png\n./images/train/../train/train.png\n")
    dataset = read(folder, "train: list.txt\nnames: [cat, dog]")
    assert dataset.file_names == ("images/train/train.png",) and len(dataset.boxes) == 1
    assert dataset.notes == ("1 image is listed more than once and was taken once (train.png)",)


def test_two_keys_of_one_part_that_differ_are_an_error(folder):
    (folder / "data.yaml").write_text("names: [cat, dog]\nval: images/val\nvalid: images/train\n")
    with pytest.raises(DataError, match="val and valid name different images for one part"):
        find_layout(folder)


def test_photos_that_are_turned_and_images_without_a_suffix_are_told(folder):
    picture = cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    (folder / "images/train/turned.jpg").write_bytes(with_orientation(picture, 6))
    (folder / "labels/train/turned.txt").write_text("0 .5 .25 .2 .1\n")
    (folder / "images/train/plain").write_bytes(picture)
    (folder / "images/train/notes.md").write_text("no image")
    dataset = read(folder, "train: images/train\nnames: [cat, dog]")
    assert dataset.sizes.tolist() == [[20, 30], [30, 20]]
    assert dataset.notes == (
        "1 file of the image folders was not taken: 1 without suffix (plain)",
        "photos that their EXIF data turn; their boxes are taken for the upright image, as labels state no size: 1 (turned.jpg)",
    )
