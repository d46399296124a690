"""Annotations that lead out of the image folder, and XML that expands."""

import os

import attrs
import numpy as np
import pytest

from tests.data.folders import coco_dict, write_image, write_json
from yolox.data.coco import read_coco
from yolox.data.dataset import load_image
from yolox.data.voc import read_voc
from yolox.data.yolo import read_yolo
from yolox.errors import DataError
from yolox.eval.sources import find_files

PIXELS = np.zeros((20, 30, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """An image inside of the folder `images`, and one outside of it."""
    write_image(tmp_path / "images/sub/in.png", PIXELS)
    write_image(tmp_path / "secret/out.png", PIXELS)
    write_image(tmp_path / "images2/near.png", PIXELS)
    return tmp_path


def read(folder, *names):
    content = coco_dict([(i, name, 20, 30) for i, name in enumerate(names)], [])
    return read_coco(write_json(folder / "a.json", content), str(folder / "images"))


@pytest.mark.parametrize(
    "name",
    ["../secret/out.png", "sub/../../secret/out.png", "../images2/near.png", "ABSOLUTE", "/etc/passwd"],
)
def test_names_that_leave_the_folder_are_refused(folder, name):
    absolute = {"ABSOLUTE": folder / "secret/out.png"}
    with pytest.raises(DataError, match="lies outside of the image folder .*images; refused"):
        read(folder, "sub/in.png", str(absolute.get(name, name)))


def test_absolute_names_within_the_folder_are_inside_it(folder):
    assert read(folder, str(folder / "images/sub/in.png")).file_names == ("sub/in.png",)
    (folder / "alias").symlink_to(folder / "images")
    content = coco_dict([(1, str(folder / "images/sub/in.png"), 20, 30)], [])
    assert read_coco(write_json(folder / "a.json", content), str(folder / "alias")).file_names == ("sub/in.png",)


def test_links_that_leave_the_folder_are_refused_or_followed(folder):
    (folder / "images/link.png").symlink_to(folder / "secret/out.png")
    (folder / "images/dir").symlink_to(folder / "secret")
    (folder / "images/chain.png").symlink_to("link.png")
    for name in ("link.png", "dir/out.png", "chain.png"):
        with pytest.raises(DataError, match=f"{name}: lies outside of the image folder"):
            read(folder, name)
    content = coco_dict([(i, name, 20, 30) for i, name in enumerate(("link.png", "dir/out.png"))], [])
    path = write_json(folder / "a.json", content)
    with pytest.raises(DataError, match=r"by a link \(2 such\); refused, `follow_links` allows it"):
        read_coco(path, str(folder / "images"))
    assert len(read_coco(path, str(folder / "images"), follow_links=True)) == 2


def test_links_within_the_folder_and_to_the_folder_are_followed(folder):
    (folder / "images/link.png").symlink_to("sub/in.png")
    assert len(read(folder, "link.png", "sub/in.png")) == 2


def test_a_folder_that_is_a_link_itself(folder):
    (folder / "alias").symlink_to(folder / "images")
    content = coco_dict([(1, "sub/in.png", 20, 30)], [])
    assert len(read_coco(write_json(folder / "a.json", content), str(folder / "alias"))) == 1


def test_sub_folders_that_are_links_are_refused_or_read_but_not_missed(folder):
    """Also where one leads up or to itself, which is no end of folders."""
    (folder / "images/dir").symlink_to(folder / "secret")
    (folder / "images/up").symlink_to(folder)
    (folder / "images/sub/again").symlink_to(folder / "images/sub")
    (folder / "labels/sub").mkdir(parents=True)
    (folder / "labels/sub/in.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match=r"dir/out.png: lies outside .* by a link \(1 such\); refused, `follow_links`"):
        read_yolo(str(folder / "labels"), str(folder / "images"), class_names=["a"])
    dataset = read_yolo(str(folder / "labels"), str(folder / "images"), class_names=["a"], follow_links=True)
    assert dataset.file_names == ("dir/out.png", "sub/in.png")
    found = find_files([folder / "images"], recursive=True)
    assert [path.name for path in found.files] == ["out.png", "in.png"]


def test_the_other_readers_refuse_links_too(folder):
    (folder / "images/link.png").symlink_to(folder / "secret/out.png")
    for name in ("link", "sub/in"):
        (folder / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"labels/{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match="link.png: lies outside"):
        read_yolo(str(folder / "labels"), str(folder / "images"), class_names=["a"])
    os.makedirs(folder / "xml")
    (folder / "xml/link.xml").write_text(
        "<annotation><filename>link.png</filename><size><width>30</width><height>20</height></size></annotation>"
    )
    with pytest.raises(DataError, match="link.png: lies outside"):
        read_voc(str(folder / "xml"), str(folder / "images"), class_names=["a"])


def test_a_link_to_nothing_is_told(folder):
    (folder / "images/gone.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match="gone.png: is a link to nowhere.png, which is not there"):
        read(folder, "gone.png", "sub/in.png")


def test_label_folders_that_are_links_are_read(tmp_path):
    for part in "abc":
        write_image(tmp_path / f"set/images/{part}/{part}.png", np.zeros((20, 20, 3), np.uint8))
    (tmp_path / "far").mkdir()
    (tmp_path / "set/labels/a").mkdir(parents=True)
    for name in ("far/b.txt", "set/labels/a/a.txt", "set/labels/a/c.txt"):
        (tmp_path / name).write_text("0 .5 .5 .2 .2\n")
    os.symlink(tmp_path / "far", tmp_path / "set/labels/b")
    os.symlink("a", tmp_path / "set/labels/c")
    os.symlink("..", tmp_path / "set/labels/a/loop")
    dataset = read_yolo(str(tmp_path / "set/labels"), str(tmp_path / "set/images"), class_names=["x"])
    assert dataset.file_names == ("a/a.png", "b/b.png", "c/c.png") and dataset.offsets.tolist() == [0, 1, 2, 3]
    assert dataset.notes == ("1 label file without an image was left out (c.txt)",)


def test_folders_of_xml_files_that_are_links_are_refused_or_read(tmp_path):
    for name in ("a", "far/b"):
        write_image(tmp_path / f"images/{name}.png", PIXELS)
        (tmp_path / f"xml/{name}.xml").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"xml/{name}.xml").write_text("<annotation/>")
    (tmp_path / "xml/far").rename(tmp_path / "elsewhere")
    (tmp_path / "xml/far").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "xml/again").symlink_to(".")
    with pytest.raises(DataError, match=r"1 sub-folder of XML files .* \(far\); refused, `follow_links` allows it"):
        read_voc(str(tmp_path / "xml"), str(tmp_path / "images"))
    dataset = read_voc(str(tmp_path / "xml"), str(tmp_path / "images"), follow_links=True)
    assert dataset.file_names == ("a.png", "far/b.png")


def test_xml_cannot_expand_or_read_files(folder):
    laughs = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    document = "<!DOCTYPE x [{}]><annotation><filename>{}</filename></annotation>"
    os.makedirs(folder / "xml")
    for entities, name in (
        (f'<!ENTITY a0 "ha">{laughs}', "&a11;"),
        ('<!ENTITY e SYSTEM "file:///etc/passwd">', "&e;"),
    ):
        (folder / "xml/a.xml").write_text(document.format(entities, name))
        with pytest.raises(DataError, match="a.xml") as error:
            read_voc(str(folder / "xml"), str(folder / "images"), class_names=["a"])
        assert "root:" not in str(error.value)


def test_the_dataset_carries_the_limit_of_pixels(folder):
    dataset = read(folder, "sub/in.png")
    assert load_image(dataset, 0).shape == (20, 30, 3)
    with pytest.raises(DataError, match="states 30x20 pixels, more than `max_pixels` 599"):
        load_image(attrs.evolve(dataset, max_pixels=599), 0)
