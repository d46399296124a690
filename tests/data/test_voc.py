"""VOC folders with and without lists; from one, training gets the batches that it gets from JSON."""

from __future__ import annotations

from itertools import islice

import attrs
import numpy as np
import pytest

from tests.data.folders import write_image
from yolox.config import LoaderConfig, Recipe
from yolox.data.classes import with_classes
from yolox.data.coco import read_coco
from yolox.data.dataset import ground_truth
from yolox.data.loader import train_batches
from yolox.data.voc import read_voc_data
from yolox.errors import DataError

XML = (
    "<annotation><size><width>30</width><height>20</height></size><object><name>dog</name><bndbox><xmin>1</xmin>"
    "<ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>"
)


@pytest.fixture
def folder(tmp_path):
    """Three images of 20x30 (height, width), one of them in a sub-folder."""
    (tmp_path / "Annotations" / "deep").mkdir(parents=True)
    for stem in ("a", "b", "deep/c"):
        write_image(tmp_path / "JPEGImages" / f"{stem}.png", np.zeros((20, 30, 3), np.uint8))
        (tmp_path / "Annotations" / f"{stem}.{'XML' if stem == 'b' else 'xml'}").write_text(XML)
    return tmp_path


def write_lists(folder, **lists):
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for name, text in lists.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text(text)


def names(folder, split="train", **options):
    return read_voc_data(str(folder), split=split, **options).file_names


def test_without_lists_every_annotation_is_read(folder):
    assert names(folder) == ("a.png", "b.png", "deep/c.png")


def test_lists_name_the_parts(folder):
    write_lists(folder, train="b\ndeep/c", val="a.jpg\n", dog_train="a 1")
    assert names(folder) == ("b.png", "deep/c.png") and names(folder, "val") == ("a.png",)
    assert names(folder, "dog_train") == ("a.png",)
    with pytest.raises(DataError, match="test.txt: no such list; there are train, val"):
        names(folder, "test")


def test_a_list_that_was_asked_for_must_be_there(folder):
    with pytest.raises(DataError, match="so no list 'train'; leave the split out, or give a .txt file"):
        names(folder, all_without_lists=False)
    (folder / "mine.txt").write_text("b\n")
    assert names(folder, str(folder / "mine.txt"), all_without_lists=False) == ("b.png",)


def test_annotations_beside_images_and_in_folders_of_other_names(folder):
    assert names(folder / "Annotations", image_dir=str(folder / "JPEGImages"))[0] == "a.png"
    write_image(folder / "flat" / "x.png", np.zeros((20, 30, 3), np.uint8))
    (folder / "flat" / "x.xml").write_text(XML)
    assert names(folder / "flat") == ("x.png",)


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="gone: no such folder"):
        names(tmp_path / "gone")


def test_training_on_real_images_gets_the_batches_of_the_json(data_dir, tmp_path):
    bccd = data_dir / "bccd"
    (tmp_path / "Annotations").symlink_to(bccd / "voc_annotations")
    (tmp_path / "JPEGImages").symlink_to(bccd / "images")
    from_json = read_coco(str(bccd / "instances_train.json"), str(bccd / "images"))
    write_lists(tmp_path, train="\n".join(name[:-4] for name in from_json.file_names))
    by_name = read_voc_data(str(tmp_path), split="train")
    assert by_name.class_names == tuple(sorted(from_json.class_names))
    from_voc = with_classes(by_name, from_json.class_names)
    recipe = Recipe(loader=LoaderConfig(batch_size=2, workers=0))
    recipe = attrs.evolve(recipe, input=attrs.evolve(recipe.input, input_size=(96, 96)))
    for augment in (True, False):
        one, other = (train_batches(d, recipe=recipe, epoch=3, augment=augment) for d in (from_json, from_voc))
        for first, second in islice(zip(one, other, strict=True), 3):
            assert first.valid.any()
            for a, b in zip(first, second, strict=True):
                np.testing.assert_array_equal(a, b)
    boxes = [[a["bbox"] for a in ground_truth(d)["annotations"] if a["area"]] for d in (from_json, from_voc)]
    assert boxes[0] == boxes[1]


OUTSIDE = ["../secret/a", "deep/../../secret/a", "ABSOLUTE", "link/a", "../Annotations2/a", "/etc/passwd", "../../../gone"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_of_a_list_that_leave_the_annotations_are_refused(folder, name):
    for place in ("Annotations2", "secret"):
        (folder / place).mkdir()
        (folder / place / "a.xml").write_text(XML)
    (folder / "Annotations" / "link").symlink_to(folder / "secret")
    write_lists(folder, train=f"b\n{folder / 'secret' / 'a' if name == 'ABSOLUTE' else name}\n")
    with pytest.raises(DataError, match=r"train.txt: 1 problem\n  '.*' lies outside of .*Annotations; refused"):
        read_voc_data(str(folder), split="train")


@pytest.mark.parametrize("name", ["nobody", "deep/../nobody"])
def test_names_of_a_list_that_are_missing_are_not_taken_for_hostile(folder, name):
    write_lists(folder, train=f"{name}\n")
    with pytest.raises(DataError, match="nobody.xml: cannot be read .No such file"):
        read_voc_data(str(folder), split="train")
