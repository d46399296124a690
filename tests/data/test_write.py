"""Datasets that are written as COCO, VOC and YOLO are recognised and read again; what is not kept is counted; nothing is lost
outside the output or written over."""

from __future__ import annotations

import json
import os
import re

import attrs
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

import yolox
from tests.data.folders import coco_dict, write_image, write_json
from tests.data.test_image import with_orientation
from yolox.data.coco import read_coco
from yolox.data.convert import convert_data
from yolox.data.dataset import DetectionDataset, image_path
from yolox.data.layout import find_layout, read_data
from yolox.data.write import WRITERS, write_coco, write_voc, write_yolo
from yolox.errors import DataError

SIZE = (48, 64)
PIXELS = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def image(path, value=0):
    write_image(path, PIXELS ^ np.uint8(value))


@pytest.fixture
def coco(tmp_path):
    """Two parts; sub-folders, equal stems, category ids with gaps and an order that is not that of the names."""
    root = tmp_path / "coco"
    names = {"train": ("a.png", "a.bmp", "sub/a.png"), "val": ("a.png", "b.png")}
    categories = ((7, "zebra"), (3, "yes"), (90, "ox: 1"))
    boxes = [(1.25, 2.5, 10.13, 20), (0, 0, 64, 48), (30, 10.1, 0.37, 3), (12.34, 5.67, 8.9, 10.11)]
    (root / "annotations").mkdir(parents=True)
    for part, files in names.items():
        for i, name in enumerate(files):
            image(root / "images" / part / name, i)
        rows = [(i + 1, i % len(files) + 10, categories[i % 3][0], box) for i, box in enumerate(boxes)]
        content = coco_dict([(i + 10, name, *SIZE) for i, name in enumerate(files)], rows, categories)
        write_json(root / f"annotations/instances_{part}.json", content)
    return root


def by_image(dataset) -> dict:
    """Returns pixels' digest to the sorted boxes with the names of their classes, for each image."""
    found = {}
    for i in range(len(dataset)):
        rows = slice(dataset.offsets[i], dataset.offsets[i + 1])
        names = [dataset.class_names[c] for c in dataset.classes[rows]]
        with open(image_path(dataset, i), "rb") as file:
            found[file.read()] = sorted(zip(names, dataset.boxes[rows].tolist(), strict=True))
    return found


@pytest.mark.parametrize("chain", [["coco"], ["voc"], ["yolo"], ["voc", "coco"], ["yolo", "coco"], ["yolo", "voc", "coco"]])
def test_round_trips_keep_parts_images_boxes_and_classes(coco, tmp_path, chain):
    place = coco
    for number, to in enumerate(chain):
        written = convert_data(place, tmp_path / str(number), to=to)
        place = tmp_path / str(number)
        assert written.images == {"train": 3, "val": 2} and written.boxes == {"train": 4, "val": 4}
    assert list(find_layout(place).parts) == ["train", "val"]
    exact = "yolo" not in chain
    for part in ("train", "val"):
        wanted, found = by_image(read_data(coco, part)), by_image(read_data(place, part))
        assert found.keys() == wanted.keys()
        for key, rows in wanted.items():
            assert [name for name, _ in found[key]] == [name for name, _ in rows]
            boxes, expected = (np.array([box for _, box in each[key]]).reshape(-1, 4) for each in (found, wanted))
            assert np.array_equal(boxes, expected) if exact else np.abs(boxes - expected).max(initial=0) < 1e-4


def test_coco_to_coco_keeps_every_key(coco, tmp_path):
    path = coco / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"][0] |= {"segmentation": [[1.5, 2, 3, 4, 5, 6]], "attributes": {"occluded": True}}
    content["categories"][0]["supercategory"] = "animal"
    content |= {"info": {"year": 2020}, "licenses": [{"id": 1, "name": "CC"}]}
    path.write_text(json.dumps(content))
    assert convert_data(coco, tmp_path / "out", to="coco").notes == ()
    assert json.loads((tmp_path / "out/annotations/instances_train.json").read_text()) == content
    notes = convert_data(coco, tmp_path / "yolo", to="yolo").notes
    found = set(notes[0].removeprefix("not read, and so not kept: ").split(", "))
    assert found == {"segmentation of 1 annotations", "attributes of 1 annotations", "supercategory of 1 categories",
                     "info of 1 files", "licenses of 1 files"}  # fmt: skip


def test_numbers_of_a_coco_file_come_back_as_they_were(coco, tmp_path):
    convert_data(coco, tmp_path / "voc", to="voc")
    convert_data(tmp_path / "voc", tmp_path / "back", to="coco")
    for part in ("train", "val"):
        old, new = (json.loads((root / f"annotations/instances_{part}.json").read_text()) for root in (coco, tmp_path / "back"))
        assert sorted(a["bbox"] for a in new["annotations"]) == sorted(a["bbox"] for a in old["annotations"])
        assert [c["id"] for c in new["categories"]] == [1, 2, 3]


def dataset_of(folder, names, boxes, *, sizes=None, classes=("cat",), crowd=None, **more) -> DetectionDataset:
    """Returns a dataset whose first image has all the boxes."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    return DetectionDataset(
        image_dir=str(folder), file_names=tuple(names), image_ids=np.arange(len(names)), boxes=boxes,
        sizes=np.array(sizes or [SIZE] * len(names), np.int32), offsets=np.array([0] + [len(boxes)] * len(names)),
        classes=np.arange(len(boxes)).astype(np.int32) % len(classes), areas=sides.prod(axis=1).astype(float),
        crowd=np.zeros(len(boxes), bool) if crowd is None else np.array(crowd), annotation_ids=np.arange(len(boxes)),
        class_names=tuple(classes), category_ids=tuple(range(1, len(classes) + 1)), **more,
    )  # fmt: skip


CORNER = st.integers(-2000, 9000).map(lambda v: v / 100)
BOX = st.tuples(CORNER, CORNER, CORNER, CORNER)
BOX = BOX.map(lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])))
BOX = BOX.filter(lambda b: b[0] < min(63, b[2]) and b[1] < min(47, b[3]) and b[2] > 1 and b[3] > 1)  # some partly outside
NAME = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Co", "Cn"]), min_size=1, max_size=8).filter(
    lambda name: name.strip()
)


@settings(max_examples=40, deadline=None)
@given(boxes=st.lists(BOX, max_size=5), classes=st.lists(NAME.map(str.strip), min_size=1, max_size=4, unique=True))
def test_any_boxes_and_class_names_come_back(tmp_path_factory, boxes, classes):
    root = tmp_path_factory.mktemp("any")
    image(root / "a.png")
    data = dataset_of(root, ["a.png"], boxes, classes=classes)
    names = [classes[c] for c in data.classes]
    for form, write in WRITERS.items():
        written = write({"train": data}, root / form)
        found = read_data(root / form)
        got = [found.class_names[c] for c in found.classes]
        if form != "yolo":
            assert got == names and np.array_equal(found.boxes, data.boxes)
            continue
        clipped = np.clip(data.boxes, 0, np.tile(SIZE[::-1], 2))
        keep = (clipped[:, 2:] > clipped[:, :2]).all(axis=1)
        assert got == [name for name, kept in zip(names, keep, strict=True) if kept] and found.class_names == tuple(classes)
        assert np.abs(found.boxes - clipped[keep]).max(initial=0) < 1e-4
        outside = int((keep & (clipped != data.boxes).any(axis=1)).sum())
        assert [note for note in written.notes if "clipped" in note] == (
            [f"boxes partly outside of their image were clipped to it: {outside} (a.png)"] if outside else []
        )


HOSTILE = (
    "../up.png", "/etc/abs.png", "a/../../b.png", ".hidden.png", "@eaDir/x.png", "sp ace.png", " lead.png", "new\nline.png",
    "back\\slash.png", "images/c.png", "A.PNG", "a.png", "a.jpg", "no_suffix", "caf\u00e9.png", "cafe\u0301.png",
    "\udcff.png", "..",
)  # fmt: skip


@pytest.mark.parametrize("form", WRITERS)
def test_names_stay_inside_and_apart(tmp_path, form, monkeypatch):
    """Every image is found again under one name of its own, wherever its name in the dataset leads."""
    source = tmp_path / "source"
    paths = [source / f"{i}.png" for i in range(len(HOSTILE))]
    for i, path in enumerate(paths):
        image(path, i)
    data = dataset_of(source, HOSTILE, [(1, 2, 30, 40)])
    at = {"image_path": lambda dataset, index: str(paths[index])}
    monkeypatch.setattr("yolox.data.written_folder.image_path", at["image_path"])
    before = {path for path in tmp_path.rglob("*")}
    (tmp_path / "deep").mkdir()
    written = WRITERS[form]({"train": data, "val": data}, tmp_path / "deep/out")
    created = {path for path in tmp_path.rglob("*") if path not in before and path.is_file()}
    assert all(path.is_relative_to(tmp_path / "deep/out") for path in created)
    for part in ("train", "val"):
        assert by_image(read_data(tmp_path / "deep/out", part)).keys() == {path.read_bytes() for path in paths}
    assert any(re.match(r"images got another name: \d+ \(../up.png: up.png, ", note) for note in written.notes)


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_nothing_is_written_over(coco, tmp_path, form, kind):
    out, other = tmp_path / "out", tmp_path / "other"
    for folder in (out, other):
        folder.mkdir()
    (other / "mine").write_text("mine")
    if kind == "file":
        out.rmdir()
        out.write_text("mine")
    elif kind == "link":
        out.rmdir()
        out.symlink_to(other)
    else:
        (out / "mine").write_text("mine")
    with pytest.raises(DataError, match="is there already"):
        convert_data(coco, out, to=form)
    assert (other / "mine").read_text() == "mine" and sorted(os.listdir(tmp_path)) == ["coco", "other", "out"]
    assert [path.name for path in other.iterdir()] == ["mine"]


@pytest.mark.parametrize("form", WRITERS)
def test_nothing_is_left_after_an_error(coco, tmp_path, form):
    data = read_data(coco, "val")
    (tmp_path / "coco/images/val/b.png").unlink()
    with pytest.raises(DataError, match="b.png"):
        WRITERS[form]({"val": data}, tmp_path / "new/out")
    assert [path for path in tmp_path.rglob("*") if path.name.startswith(".")] == [] and not (tmp_path / "new/out").exists()


def test_an_empty_folder_is_taken_and_links_are_made(coco, tmp_path):
    (tmp_path / "out").mkdir()
    convert_data(coco, tmp_path / "out", to="coco", images="hardlink")
    assert (tmp_path / "out/images/val/b.png").samefile(coco / "images/val/b.png")
    convert_data(coco, tmp_path / "linked", to="yolo", images="symlink")
    assert (tmp_path / "linked/images/val/b.png").readlink() == coco / "images/val/b.png"
    with pytest.raises(DataError, match="follow_links"):
        read_data(tmp_path / "linked", "val")
    assert len(read_data(tmp_path / "linked", "val", follow_links=True)) == 2


def lossy(folder) -> DetectionDataset:
    image(folder / "a.png")
    boxes = [(-5, 0, 10, 10), (1, 1, 20, 20), (4, 4, 4, 9), (60, 40, 70, 47)]
    data = dataset_of(folder, ["a.png"], boxes, classes=("zebra", "ox", "unused"), crowd=[False, True, False, False])
    areas = data.areas.copy()
    areas[3] = 7.5
    return attrs.evolve(data, areas=areas, category_ids=(1, 5, 9), classes=np.array([0, 1, 0, 1], np.int32))


def test_what_yolo_does_not_keep_is_counted_and_named(tmp_path):
    assert write_yolo({"train": lossy(tmp_path)}, tmp_path / "out").notes == (
        "areas that are not the box's (of segments?) are not kept, as YOLO has none: 1 (a.png)",
        "category ids are read as 1, 2, 3 and so on: 3 (1, 5, 9)",
        "crowd regions were left out, as YOLO cannot mark them: 1 (a.png)",
        "boxes without area inside their image were left out: 1 (a.png)",
        "boxes partly outside of their image were clipped to it: 2 (a.png)",
    )
    assert (tmp_path / "out/labels/train/a.txt").read_text() == (
        "0 0.078125 0.1041666667 0.15625 0.2083333333\n1 0.96875 0.90625 0.0625 0.1458333333\n"
    )


def test_what_voc_does_not_keep_is_counted_and_named(tmp_path):
    assert write_voc({"train": lossy(tmp_path)}, tmp_path / "out").notes == (
        "areas that are not the box's (of segments?) are not kept, as VOC has none: 1 (a.png)",
        "classes without a box are not kept, as VOC has no list of classes: 1 (unused)",
        "classes are read in the order of their names: 2 (zebra, ox)",
        "category ids are read as 1, 2, 3 and so on: 3 (1, 5, 9)",
        "crowd regions became objects marked difficult (read with `difficult_as_crowd`): 1 (a.png)",
        "boxes without area will not be read: 1 (a.png)",
    )
    found = read_data(tmp_path / "out", difficult_as_crowd=True)
    assert found.crowd.tolist() == [False, True, False] and found.boxes[0].tolist() == [-5, 0, 10, 10]


def test_what_coco_is_given_it_keeps(tmp_path):
    data = lossy(tmp_path)
    assert write_coco({"train": data}, tmp_path / "out").notes == ()
    found = read_data(tmp_path / "out")
    for name in ("image_ids", "sizes", "offsets", "boxes", "classes", "crowd", "areas", "annotation_ids"):
        assert np.array_equal(getattr(found, name), getattr(data, name)), name
    assert (found.class_names, found.category_ids) == (data.class_names, data.category_ids)


def test_pycocotools_reads_what_is_written(tmp_path):
    write_coco({"train": lossy(tmp_path)}, tmp_path / "out")
    coco = COCO(str(tmp_path / "out/annotations/instances_train.json"))
    rows = [{"image_id": 0, "category_id": 1, "bbox": [-5, 0, 15, 10], "score": 0.5}]
    assert len(coco.loadRes(rows).anns) == 1 and coco.anns[1]["iscrowd"] == 1 and coco.cats[5]["name"] == "ox"


def test_attributes_of_voc_that_are_not_read_are_counted(tmp_path):
    extras = ("<truncated>1</truncated><difficult>1</difficult>", "<pose>Left</pose>", "<pose>Unspecified</pose>")
    for i, extra in enumerate(extras):
        image(tmp_path / f"voc/JPEGImages/{i}.png", i)
        (tmp_path / "voc/Annotations").mkdir(exist_ok=True)
        (tmp_path / f"voc/Annotations/{i}.xml").write_text(
            f"<annotation><size><width>64</width><height>48</height></size><segmented>{i}</segmented><object><name>x</name>"
            f"{extra}<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"
        )
    (note,) = convert_data(tmp_path / "voc", tmp_path / "a", to="coco").notes
    wanted = {"truncated of 1 objects", "difficult of 1 objects", "pose of 1 objects", "segmented of 2 images"}
    assert set(note.removeprefix("not read, and so not kept: ").split(", ")) == wanted
    (note,) = convert_data(tmp_path / "voc", tmp_path / "b", to="coco", difficult_as_crowd=True).notes
    assert "difficult" not in note and read_data(tmp_path / "b").crowd.tolist() == [True, False, False]
    (tmp_path / "voc/ImageSets/Main").mkdir(parents=True)
    (tmp_path / "voc/ImageSets/Main/train.txt").write_text("1\n2\n")  # only the files of the parts count
    (note,) = convert_data(tmp_path / "voc", tmp_path / "c", to="coco").notes
    assert set(note.removeprefix("not read, and so not kept: ").split(", ")) == {"pose of 1 objects", "segmented of 2 images"}


def test_boxes_on_stored_pixels_of_a_turned_photo_are_refused_where_no_size_is_written(tmp_path):
    (tmp_path / "a.jpg").write_bytes(with_orientation(cv2.imencode(".jpg", PIXELS)[1].tobytes(), 6))
    rows = coco_dict([(1, "a.jpg", *SIZE)], [(1, 1, 1, (1, 2, 3, 4))])
    data = read_coco(write_json(tmp_path / "a.json", rows), str(tmp_path))
    with pytest.raises(DataError, match="annotated 64x48, the file has 48x64; boxes lie on the stored pixels"):
        write_yolo({"train": data}, tmp_path / "out")
    write_voc({"train": data}, tmp_path / "voc")
    assert read_data(tmp_path / "voc").sizes.tolist() == [list(SIZE)]


@pytest.mark.parametrize("names", [("a", " a"), ("",), ("a\nb",)])
def test_class_names_that_a_format_does_not_hold_are_refused(tmp_path, names):
    image(tmp_path / "a.png")
    data = dataset_of(tmp_path, ["a.png"], [], classes=names)
    for write in (write_voc, write_yolo):
        with pytest.raises(DataError, match="rename them by `class_map`"):
            write({"train": data}, tmp_path / "out")
    write_coco({"train": data}, tmp_path / "out")
    assert read_data(tmp_path / "out").class_names == names


def test_parts_get_one_list_of_classes(coco, tmp_path):
    path = coco / "annotations/instances_val.json"
    content = json.loads(path.read_text())
    content["categories"].insert(0, {"id": 1, "name": "new"})
    path.write_text(json.dumps(content))
    convert_data(coco, tmp_path / "out", to="yolo")
    names = [read_data(tmp_path / "out", part).class_names for part in ("train", "val")]
    assert names == [("yes", "zebra", "ox: 1", "new")] * 2


def test_what_cannot_be_written_is_refused(coco, tmp_path):
    data = read_data(coco)
    with pytest.raises(DataError, match="part 'extra': want train, val, test"):
        write_coco({"extra": data}, tmp_path / "out")
    with pytest.raises(DataError, match="`to` 'xml': want one of coco, voc, yolo"):
        convert_data(coco, tmp_path / "out", to="xml")
    with pytest.raises(DataError, match="has no images"):
        write_coco({}, tmp_path / "out")
    empty = dataset_of(tmp_path, [], [])
    assert write_coco({"train": data, "test": empty}, tmp_path / "out").notes == ("parts without images were left out: 1 (test)",)


def test_public_names():
    assert (yolox.convert_data, yolox.write_coco, yolox.write_voc, yolox.write_yolo) == (
        convert_data, write_coco, write_voc, write_yolo)  # fmt: skip
