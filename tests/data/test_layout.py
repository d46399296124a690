"""Every layout that programs export is recognised by its content, with its parts and the images of each."""

import os

import numpy as np
import pytest

from tests.data.folders import coco_dict, write_image, write_json
from yolox.data.dataset import load_image
from yolox.data.layout import find_layout, read_data
from yolox.errors import DataError

XML = (
    "<annotation><filename>{0}.png</filename><size><width>20</width><height>10</height></size><object><name>cat</name>"
    "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>12</xmax><ymax>9</ymax></bndbox></object></annotation>"
)


def add_image(path):
    write_image(path, np.zeros((10, 20, 3), np.uint8))


def add_coco(path, image_folder, name):
    """Writes a file of COCO annotations with one image of its own, which the folder holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    add_image(image_folder / f"{name}.png")
    write_json(path, coco_dict([(1, f"{name}.png", 10, 20)], [(1, 1, 1, (2, 3, 10, 6))]))


def add_xml(folder, name, images):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.xml").write_text(XML.format(name))
    add_image(images / f"{name}.png")


def coco_2017(root):
    for part in ("train", "val"):
        add_coco(root / f"annotations/instances_{part}2017.json", root / f"{part}2017", f"{part}")
        write_json(root / f"annotations/captions_{part}2017.json", {"images": [{"file_name": "x"}], "annotations": []})


def coco_images_below(root):
    for part in ("train", "val", "test"):
        add_coco(root / f"annotations/instances_{part}.json", root / "images" / part, part)


def coco_cvat(root):
    add_coco(root / "annotations/instances_default.json", root / "images", "train")


def coco_one_folder(root):
    for part in ("train", "val"):
        add_coco(root / f"{part}.json", root / "images", part)


def coco_roboflow(root):
    for part, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        add_coco(root / folder / "_annotations.coco.json", root / folder, part)
    (root / "README.roboflow.txt").write_text("exported")


def coco_fiftyone(root):
    for part, folder in (("train", "train"), ("val", "validation")):
        add_coco(root / folder / "labels.json", root / folder / "data", part)


def coco_label_studio(root):
    add_coco(root / "result.json", root / "images", "train")


def voc_lists(root):
    for name in ("train", "val", "test"):
        add_xml(root / "Annotations", name, root / "JPEGImages")
        (root / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
        (root / f"ImageSets/Main/{name}.txt").write_text(f"{name}\n")
        (root / f"ImageSets/Main/cat_{name}.txt").write_text(f"{name} 1\n")


def voc_devkit(root):
    voc_lists(root / "VOCdevkit/VOC2012")


def voc_trainval(root):
    for name in ("train", "test"):
        add_xml(root / "Annotations", name, root / "JPEGImages")
    (root / "ImageSets/Main").mkdir(parents=True)
    for name, of in (("trainval", "train"), ("val", "train"), ("test", "test")):
        (root / f"ImageSets/Main/{name}.txt").write_text(f"{of}\n")


def voc_without_lists(root):
    add_xml(root / "Annotations", "train", root / "JPEGImages")


def voc_roboflow(root):
    for part, folder in (("train", "train"), ("val", "valid")):
        add_xml(root / folder, part, root / folder)


def voc_beside_images(root):
    add_xml(root, "train", root)


def yolo_yaml(root):
    for part, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        add_image(root / folder / "images" / f"{part}.png")
        (root / folder / "labels").mkdir()
        (root / folder / f"labels/{part}.txt").write_text("0 0.35 0.6 0.5 0.6\n")
    (root / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: ['cat']\n")


def yolo_classes(root):
    for part in ("train", "val"):
        add_image(root / "images" / part / f"{part}.png")
        (root / "labels" / part).mkdir(parents=True)
        (root / f"labels/{part}/{part}.txt").write_text("0 0.35 0.6 0.5 0.6\n")
    (root / "classes.txt").write_text("cat\n")


def yolo_darknet(root):
    (root / "data").mkdir()
    for part in ("train", "valid"):
        name = {"valid": "val"}.get(part, part)
        add_image(root / "data" / f"{name}.png")
        (root / f"data/{name}.txt").write_text("0 0.35 0.6 0.5 0.6\n")
        (root / f"{part}.txt").write_text(f"data/{name}.png\n")
    (root / "obj.names").write_text("cat\n")
    (root / "obj.data").write_text("classes = 1\ntrain = train.txt\nvalid = valid.txt\nnames = obj.names\n")


def voc_kaggle(root):
    add_xml(root / "annotations", "train", root / "images")


def voc_xmls(root):
    add_xml(root / "annotations/xmls", "train", root / "images")
    (root / "annotations/trimaps").mkdir()


def voc_images(root):
    add_xml(root / "Annotations", "train", root / "images")


def voc_parts(root):
    for part in ("train", "test"):
        add_xml(root / part / "annotations", part, root / part / "images")


def voc_parts_inside(root):
    for part in ("train", "val"):
        add_xml(root / "annotations" / part, part, root / "images" / part)


def yolo_labelimg(root):
    add_label(root, "train")
    (root / "classes.txt").write_text("cat\n")


def yolo_labelimg_below_images(root):
    yolo_labelimg(root / "images/flat")


def yolo_labelimg_parts(root):
    for part in ("train", "val"):
        add_label(root / part, part)
    (root / "classes.txt").write_text("cat\n")


def yolo_labelimg_in_labels(root):
    add_label(root, "train", "images", "labels")
    (root / "labels/classes.txt").write_text("cat\n")


def yolo_labelimg_parts_in_labels(root):
    for part in ("train", "val"):
        add_label(root, part, f"images/{part}", f"labels/{part}")
    (root / "labels/classes.txt").write_text("cat\n")


def yolo_roboflow_darknet(root):
    for part, folder in (("train", "train"), ("val", "valid")):
        add_label(root / folder, part)
        (root / folder / "_darknet.labels").write_text("cat\n")


def yolo_folders_of_parts(root):
    for part in ("train", "val"):
        add_label(root / part, part, "images", "labels")
    (root / "classes.txt").write_text("cat\n")


def add_label(root, name, images=".", labels="."):
    (root / labels).mkdir(parents=True, exist_ok=True)
    add_image(root / images / f"{name}.png")
    (root / labels / f"{name}.txt").write_text("0 0.35 0.6 0.5 0.6\n")


LAYOUTS = {
    coco_2017: "train val", coco_images_below: "train val test", coco_cvat: "train", coco_one_folder: "train val",
    coco_roboflow: "train val test", coco_fiftyone: "train val", coco_label_studio: "train",
    voc_lists: "train val test", voc_devkit: "train val test", voc_trainval: "train test", voc_without_lists: "train",
    voc_roboflow: "train val", voc_beside_images: "train",
    voc_kaggle: "train", voc_xmls: "train", voc_images: "train", voc_parts: "train test", voc_parts_inside: "train val",
    yolo_yaml: "train val test", yolo_classes: "train val", yolo_darknet: "train val",
    yolo_labelimg: "train", yolo_labelimg_parts: "train val", yolo_labelimg_in_labels: "train",
    yolo_labelimg_parts_in_labels: "train val", yolo_roboflow_darknet: "train val", yolo_folders_of_parts: "train val",
}  # fmt: skip


@pytest.mark.parametrize("make", LAYOUTS, ids=lambda make: make.__name__)
def test_the_parts_are_found_and_read(make, tmp_path):
    make(tmp_path)
    layout = find_layout(tmp_path)
    assert list(layout.parts) == LAYOUTS[make].split() and layout.name.lower().startswith(make.__name__.partition("_")[0])
    for part in layout.parts:
        dataset = read_data(tmp_path, part)
        assert [os.path.basename(name) for name in dataset.file_names] == [f"{part}.png"]
        assert dataset.class_names[int(dataset.classes[0])] == "cat"
        np.testing.assert_allclose(dataset.boxes, [[2, 3, 12, 9]], atol=1e-4)


def test_labels_beside_images_are_read_below_a_folder_called_images(tmp_path):
    yolo_labelimg_below_images(tmp_path)
    np.testing.assert_allclose(read_data(tmp_path / "images/flat").boxes, [[2, 3, 12, 9]], atol=1e-4)


def test_images_beside_the_class_names_are_told_where_there_is_a_folder_of_images(tmp_path):
    yolo_classes(tmp_path)
    add_label(tmp_path, "other")
    want = "1 image beside the file of class names was not taken, as there is images/train (other.png)"
    assert read_data(tmp_path).notes == (want,)


def test_two_kinds_of_labels_beside_the_images_are_an_error(tmp_path):
    yolo_labelimg(tmp_path)
    voc_beside_images(tmp_path)
    with pytest.raises(DataError, match=r"holds 2 datasets \(YOLO, classes.txt; VOC, XML files\); name one of them"):
        find_layout(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "0 .5 .5 .2 .2", "has text files beside its images, as YOLO labels lie, but no class names; want"),
        ("a.json", '{"version": "5", "shapes": []}', "a.json is labelme's file of one image, which is not read: convert it"),
        ("a.json", '[{"image": "a.png", "annotations": [{"coordinates": {}}]}]', "a.json is CreateML's list, which is not"),
        ("via.json", '{"a.png1": {"regions": []}}', "via.json is a file of the VGG annotator, which is not read"),
        ("labels.csv", "a.png,1,2,3,4,cat", "labels.csv is a table, which is not read: convert it to COCO"),
    ],
)
def test_labels_of_other_tools_are_told(name, text, message, tmp_path):
    add_image(tmp_path / "a.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        find_layout(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.json", '[{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]', "is a list of results; want COCO annotations"),
        ("lvis.json", '{"images": [{"id": 1, "coco_url": "http://x/a.jpg"}]}', "is LVIS's file, whose images have no file_name"),
        ("labels.csv", "filename,width,xmin,class\na.png,1,2,cat", "is a table .*; CSV files are not read"),
        ("classes.csv", "cat,0\ndog,1", "is a table .*want a class name on each line"),
        ("map.pbtxt", "item {\n  id: 1\n  name: 'cat'\n}", "such as a label map of TensorFlow, want a class name on each line"),
        ("classes.txt", "1 cat\n2 dog\n3 cow", "its lines have numbers before the names"),
        ("classes.txt", "cat\t0\ndog\t1", "its lines have numbers behind the names"),
        ("classes.txt", "'cat'\n'dog'", "its names are in quotes"),
        ("a.json", "// COCO\n{}", "a.json: is not a JSON file"),
        ("a.tfrecord", "\x01\x02", "has bytes that no text has, want a file with a class name on each line"),
    ],
)
def test_a_file_of_another_tool_is_told(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        find_layout(tmp_path / name)


def test_a_file_is_a_dataset_too(tmp_path):
    coco_images_below(tmp_path)
    layout = find_layout(tmp_path / "annotations/instances_val.json")
    assert list(layout.parts) == ["val"] and str(layout) == "COCO, instances_val.json: val only"
    assert read_data(layout, "val").image_dir == str(tmp_path / "images/val")
    (tmp_path / "data.yaml").write_text("names: [cat]\ntrain: images/train\n")
    assert find_layout(tmp_path / "data.yaml").parts["train"].split == "train"


@pytest.mark.parametrize("make", [coco_cvat, voc_without_lists, yolo_yaml])
def test_conventions_reach_the_readers_and_the_dataset(make, tmp_path):
    make(tmp_path)
    dataset = read_data(tmp_path, max_pixels=200, class_map={"cat": "lion"})
    assert dataset.max_pixels == 200 and "lion" in dataset.class_names
    with pytest.raises(DataError, match="states 20x10 pixels, more than `max_pixels` 199"):
        load_image(read_data(tmp_path, max_pixels=199), 0)


def test_conventions_of_voc_reach_its_reader(tmp_path):
    voc_without_lists(tmp_path)
    assert read_data(tmp_path, first_pixel=1).boxes.tolist() == [[1, 2, 12, 9]]


def test_the_line_about_a_dataset(tmp_path):
    coco_roboflow(tmp_path)
    assert str(find_layout(tmp_path)) == "COCO, train/_annotations.coco.json: train, val and test"


def both_formats(root):
    coco_one_folder(root)
    yolo_yaml(root)


def two_years(root):
    voc_lists(root / "VOCdevkit/VOC2007")
    voc_lists(root / "VOCdevkit/VOC2012")


def two_files_of_a_part(root):
    add_coco(root / "a_train.json", root, "a")
    add_coco(root / "b_train.json", root, "b")


def files_without_parts(root):
    add_coco(root / "north.json", root, "a")
    add_coco(root / "south.json", root, "b")


def images_elsewhere(root):
    add_coco(root / "annotations/instances_train.json", root / "elsewhere/deep", "train")


def images_alone(root):
    add_image(root / "a.png")


def yaml_of_nothing(root):
    (root / "data.yaml").write_text("names: [cat]\n")


def names_beside_other_names(root):
    yolo_classes(root)
    (root / "obj.names").write_text("dog\ncat\n")


def yaml_beside_other_names(root):
    yolo_yaml(root)
    (root / "classes.txt").write_text("cat\ndog\nowl\n")


def yaml_with_a_key_twice(root):
    yolo_classes(root)
    (root / "data.yaml").write_text("names: [cat]\nnames: [dog]\ntrain: images/train\n")


def two_darknets(root):
    yolo_darknet(root)
    (root / "dataset.data").write_text((root / "obj.data").read_text())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (both_formats, r"holds 2 datasets \(YOLO, data.yaml; COCO, train.json\); name one of them"),
        (two_years, r"holds 2 datasets \(VOC, VOC2007; VOC, VOC2012\)"),
        (two_files_of_a_part, r"more than one file for a part \(a_train.json, b_train.json\)"),
        (files_without_parts, r"no name of a part \(north.json, south.json\)"),
        (images_elsewhere, r"its first image, train.png, is in none of the folders beside it .*; name the folder"),
        (images_alone, r"no dataset was recognised; want .*; it holds a.png"),
        (names_beside_other_names, r"classes.txt and obj.names state different classes \(class 0 is cat or dog\); name one"),
        (yaml_beside_other_names, r"data.yaml and classes.txt state different classes \(class \d is .* or .*\); name one of"),
        (yaml_with_a_key_twice, "data.yaml: .*has the key 'names' twice"),
        (two_darknets, "holds 2 datasets"),
        (yaml_of_nothing, r"names no images for train, val or test"),
    ],
)
def test_what_is_not_certain_is_an_error_that_says_what_was_found(make, message, tmp_path):
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        find_layout(tmp_path)


def test_equal_names_in_two_files_are_one_dataset(tmp_path):
    yolo_classes(tmp_path)
    (tmp_path / "obj.names").write_text("cat\n\n")
    (tmp_path / "notes.yaml").write_text("title: cats\n")
    assert find_layout(tmp_path).name == "YOLO, classes.txt"


def test_files_of_annotations_that_belong_to_no_part_are_named(tmp_path):
    coco_roboflow(tmp_path)
    (tmp_path / "holdout").mkdir()
    add_coco(tmp_path / "holdout/_annotations.coco.json", tmp_path / "holdout", "holdout")
    layout = find_layout(tmp_path)
    assert layout.others == ("holdout/_annotations.coco.json",) and list(layout.parts) == ["train", "val", "test"]
    assert str(layout).endswith(": train, val and test (not taken: holdout/_annotations.coco.json)")
    coco_2017(tmp_path / "b")
    add_coco(tmp_path / "b/annotations/mine_val.json", tmp_path / "b/val2017", "val")
    add_coco(tmp_path / "b/annotations/captions_val2017.json", tmp_path / "b/val2017", "val")
    assert find_layout(tmp_path / "b").others == ("annotations/mine_val.json",)


def test_a_file_of_annotations_that_cannot_be_read_is_told(tmp_path):
    coco_roboflow(tmp_path)
    path = tmp_path / "train/_annotations.coco.json"
    path.write_bytes(path.read_text().encode("utf-16"))
    with pytest.raises(DataError, match=r"train/_annotations.coco.json: is not a text file in UTF-8 \(it is UTF-16; save"):
        find_layout(tmp_path)


def test_missing_places_and_parts(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        find_layout(tmp_path / "gone")
    coco_cvat(tmp_path)
    with pytest.raises(DataError, match="has no part 'val'; it has train"):
        read_data(tmp_path, "val")
