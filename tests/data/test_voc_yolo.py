"""VOC and YOLO folders: equal to COCO of the same images, and every fault named."""

from __future__ import annotations

import re

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.folders import noise_dataset, write_as_yolo, write_image
from yolox.config import LoaderConfig, Recipe
from yolox.data.coco import read_coco
from yolox.data.dataset import ground_truth, load_sample
from yolox.data.loader import train_batches
from yolox.data.voc import read_voc
from yolox.data.yolo import read_yolo
from yolox.data.yolo_layout import read_class_names
from yolox.errors import DataError

XML = (
    "<annotation><filename>{name}</filename><size><width>{w}</width><height>{h}</height></size>"
    "{objects}</annotation>"
)
OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
    "<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


DIFFICULT = "1 object is marked difficult and read like others; `difficult_as_crowd` ignores them"


def write_voc(folder, stem, objects, *, name=None, size=(20, 30)):
    rows = "".join(OBJECT.format(*row) for row in objects)
    (folder / "xml").mkdir(exist_ok=True)
    text = XML.format(name=name or f"{stem}.png", w=size[1], h=size[0], objects=rows)
    (folder / "xml" / f"{stem}.xml").write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """Two images of 20x30 (height, width), one with an upper-case suffix, with VOC and YOLO annotations."""
    for name in ("a.png", "b.PNG"):
        write_image(tmp_path / "img" / name, np.full((20, 30, 3), 9, np.uint8))
    write_voc(tmp_path, "a", [("dog", 0, 3, 4, 15, 10), ("cat", 1, 0, 0, 30, 20)])
    write_voc(tmp_path, "b", [], name="wrong/name.jpg")
    (tmp_path / "txt").mkdir()
    (tmp_path / "txt" / "a.txt").write_text("1 0.3 0.35 0.4 0.3\n\n0 0.5 0.5 1 1\n")
    return tmp_path


def test_ignored_and_turned_voc_objects_are_told(folder):
    path = folder / "xml/a.xml"
    turned = "<attributes><attribute><name>rotation</name><value>30.0</value></attribute></attributes>"
    text = path.read_text().replace("<name>dog</name>", f"<name>dog</name>{turned}")
    path.write_text(text.replace("<name>cat</name>", "<name>cat</name><ignore>1</ignore>"))
    assert voc(folder, difficult_as_crowd=True).notes == (
        "1 object has `ignore`, which is not followed: read like others",
        "1 object has a rotation, which is not applied: the box of the file was taken as it is",
    )
    path.write_text(text.replace("30.0", "0.0"))
    assert voc(folder, difficult_as_crowd=True).notes == ()


def voc(folder, **options):
    return read_voc(str(folder / "xml"), str(folder / "img"), **options)


def yolo(folder, names=("cat", "dog")):
    return read_yolo(str(folder / "txt"), str(folder / "img"), class_names=names)


def test_both_formats_give_the_same_dataset(folder):
    for dataset in (voc(folder), yolo(folder)):
        assert dataset.file_names == ("a.png", "b.PNG") and dataset.class_names == ("cat", "dog")
        np.testing.assert_allclose(dataset.boxes, [[3, 4, 15, 10], [0, 0, 30, 20]], atol=1e-5)
        assert dataset.classes.tolist() == [1, 0] and dataset.offsets.tolist() == [0, 2, 2]
        assert dataset.image_ids.tolist() == [1, 2] and dataset.category_ids == (1, 2)
        assert len(load_sample(dataset, 0).boxes) == 2 and len(load_sample(dataset, 1).boxes) == 0
        assert [a["area"] for a in ground_truth(dataset)["annotations"]] == pytest.approx([72, 600])


def test_voc_options(folder):
    (folder / "set.txt").write_text("b  1\n\na -1\n")
    dataset = voc(folder, image_set=str(folder / "set.txt"), first_pixel=1, class_names=("dog", "cat"))
    assert dataset.file_names == ("b.PNG", "a.png") and dataset.classes.tolist() == [0, 1]
    assert dataset.boxes.tolist() == [[2, 3, 15, 10], [-1, -1, 30, 20]]
    assert voc(folder, difficult_as_crowd=True).crowd.tolist() == [False, True]
    assert voc(folder).crowd.tolist() == [False, False]


def test_boxes_without_area_are_left_out_and_logged(folder, caplog):
    write_voc(folder, "b", [("dog", 0, 5, 5, 5, 5)])
    assert len(voc(folder).boxes) == 2
    assert "left out 1 box without area" in caplog.text


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([("dog", 0, 5, 5, 4, 9)], "box .* has a negative size"),
        ([("dog", 0, 31, 5, 40, 9)], "is outside its image of 30x20"),
        ([("dog", 0, "nan", 5, 4, 9)], r"b.xml: object 1 \(dog\): want a name and four finite numbers"),
        ([("dog", 0, "x", 5, 4, 9)], r"b.xml: object 1 \(dog\): want a name and four finite numbers"),
        ([("", 0, 1, 5, 4, 9)], r"b.xml: object 1 \(without a name\)"),
    ],
)
def test_wrong_voc_objects_are_named(folder, objects, message):
    write_voc(folder, "b", objects)
    with pytest.raises(DataError, match=message):
        voc(folder)


def test_wrong_voc_files_are_named(folder):
    with pytest.raises(DataError, match="class 'dog' is none of the 1 classes wanted"):
        voc(folder, class_names=("cat",))
    write_voc(folder, "c", [])
    with pytest.raises(DataError, match="c.png: no such image file"):
        voc(folder)
    write_voc(folder, "c", [], name="a.png", size=(-1, 30))
    with pytest.raises(DataError, match="c.xml: its size states no positive whole height and width"):
        voc(folder)
    (folder / "xml" / "c.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>')
    with pytest.raises(DataError, match="c.xml: declares entities"):
        voc(folder)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        read_voc(str(folder / "nowhere"), str(folder / "img"))
    (folder / "set.txt").write_text("gone")
    with pytest.raises(DataError, match="gone.xml: cannot be read"):
        voc(folder, image_set=str(folder / "set.txt"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1", "b.txt: line 2: '0 0.5 0.5 0.1', want a class index and four finite shares"),
        ("0 0.5 0.5 0.1 nan", "want a class index and four finite shares"),
        ("0 0.5 0.5 0.1 1e400", "want a class index and four finite shares"),
        ("0.5 0.5 0.5 0.1 0.1", "want a class index and four finite shares"),
        ("cat 0.5 0.5 0.1 0.1", "want a class index and four finite shares"),
        ("0 .5 .5 .1 .1 .9", r"1 line has 6 numbers \(with a confidence\?\), want a class index .*; `scored_labels` drop"),
        ("0" + " .1 .2" * 4, r"1 line has 9 numbers \(corners of a rotated box, OBB, or a segment of four points\?\), want"),
        ("0" + " .1 .2" * 3, r"has 7 numbers \(segments\?\), want a class index"),
        ("0" + " .1 .2" * 50, r"has 101 numbers \(segments or keypoints\?\), want a class index"),
        ("2 0.5 0.5 0.1 0.1", "b.txt: line 2: class 2 is none of the 2 classes"),
        ("0 0.5 0.5 -0.1 0.1", "annotation 4 of image b.PNG: box .* has a negative size"),
        ("0 1.9 1.9 .2 .2", "box .* is outside its image"),
        ("0 300 200 20 20", r"1 line has a number above 2 \(pixels\?\), want a class index"),
        ("0,.5,.5,.1,.1", "1 line has commas between the numbers, want a class index"),
        ("cat .5 .5 .1 .1\ndog .5 .5 .1 .1", "2 lines have a class name in place of its index, want a class index"),
        ("1 1 9 1 9 9 1 9 plane 0", r"1 line has corners of a rotated box and a class name \(DOTA\?\), want a class index"),
        ("0" + " .1 .2" * 3 + "\n0" + " .1 .2" * 4, r"2 lines have 7 to 9 numbers \(segments\?\), want a class index"),
        ("0 .5 .5 .1 .1 .2 .3 2 .4 .5 1", r"1 line has 11 numbers \(segments or keypoints\?\), want a class index"),
    ],
)
def test_wrong_yolo_lines_are_named(folder, line, message):
    (folder / "txt" / "b.txt").write_text(f"0 .5 .5 .1 .1\n{line}")
    with pytest.raises(DataError, match=message):
        yolo(folder)


@pytest.mark.parametrize(
    ("head", "encoding", "message"),
    [
        ('<?xml version="1.0" encoding="GBK"?>', "gbk", r"cannot be read \(multi-byte encodings .*\); save it as UTF-8"),
        ('<?xml version="1.0" encoding="other"?>', "utf-8", r"cannot be read \(unknown encoding.*\); save it as UTF-8"),
        ("", "gbk", r"is not an XML file \(not well-formed .*\); its bytes are not UTF-8: save it as UTF-8"),
    ],
)
def test_xml_in_other_encodings_is_refused_with_what_helps(folder, head, encoding, message):
    write_voc(folder, "b", [("狗狗", 0, 3, 4, 15, 10)])
    text = (folder / "xml/b.xml").read_text(encoding="utf-8")
    (folder / "xml/b.xml").write_bytes((head + text).encode(encoding))
    with pytest.raises(DataError, match=message):
        voc(folder)
    (folder / "xml/b.xml").write_bytes(text.encode()[:-9])
    with pytest.raises(DataError, match=r"is not an XML file \([^)]*\)$"):
        voc(folder)


def test_an_xml_has_the_image_of_its_own_name(folder):
    """Files were renamed and <filename> was not: one name that is there and another is an error that names both."""
    for own, stated in (("a", "b.PNG"), ("b", "a.png")):
        write_voc(folder, own, [("dog", 0, 3, 4, 15, 10)], name=stated)
    with pytest.raises(DataError, match="2 problems\n.*a.xml: states the image b.PNG, and a.png has its own name"):
        voc(folder)
    write_voc(folder, "b", [], name="b.PNG")
    dataset = voc(folder)  # two name b.PNG: what they state is worth nothing
    assert dataset.file_names == ("a.png", "b.PNG") and dataset.offsets.tolist() == [0, 1, 1]
    note = "1 XML file states the <filename> of another one; the image of the file's own name was taken (a.png)"
    assert dataset.notes == (note,)
    write_voc(folder, "a", [], name="C:\\data\\a.png")
    write_voc(folder, "b", [], name="gone.jpg")
    assert voc(folder).file_names == ("a.png", "b.PNG") and voc(folder).notes == ()


def test_images_without_xml_are_counted(folder):
    write_image(folder / "img/c.png", np.zeros((20, 30, 3), np.uint8))
    assert voc(folder).notes == (DIFFICULT, "1 image without an XML file was left out (c.png)")
    assert voc(folder, difficult_as_crowd=True).notes == ("1 image without an XML file was left out (c.png)",)
    (folder / "set.txt").write_text("a\n")
    assert voc(folder, image_set=str(folder / "set.txt")).notes == (DIFFICULT,)


@pytest.mark.parametrize("size", ["<size><width>0</width><height>0</height></size>", "<size/>", ""])
def test_sizes_that_are_absent_or_0_are_those_of_the_image(folder, size):
    path = folder / "xml/a.xml"
    path.write_text(re.sub("<size>.*</size>", size, path.read_text()))
    dataset = voc(folder)
    assert dataset.sizes.tolist() == [[20, 30]] * 2
    assert dataset.notes == (DIFFICULT, "1 XML file states no size, or 0; it was taken from the image (a.xml)")


def test_a_folder_without_xml_is_told(folder):
    with pytest.raises(DataError, match="img: no .xml files in it"):
        read_voc(str(folder / "img"), str(folder / "img"))
    (folder / "none.txt").write_text("")
    assert len(read_voc(str(folder / "xml"), str(folder / "img"), image_set=str(folder / "none.txt"))) == 0


def test_yolo_labels_without_image_and_unreadable_files_are_named(folder):
    (folder / "txt" / "classes.txt").write_text("cat\ndog\n")  # many tools leave it there
    yolo(folder)
    (folder / "txt" / "c.txt").write_text("")
    assert "1 label file without an image was left out (c.txt)" in yolo(folder).notes
    (folder / "txt" / "a.txt").unlink()
    with pytest.raises(DataError, match=r"none of its label files .1. has an image in .*img \(c\)"):
        yolo(folder)
    (folder / "txt" / "c.txt").unlink()
    (folder / "img" / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match="bad.jpg: cannot be decoded"):
        yolo(folder)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        read_yolo(str(folder / "nowhere"), str(folder / "img"), class_names=("a",))


def test_yolo_sub_folders(folder):
    write_image(folder / "img" / "deep" / "er" / "a.png", np.zeros((10, 10, 3), np.uint8))
    (folder / "txt" / "deep" / "er").mkdir(parents=True)
    (folder / "txt" / "deep" / "er" / "a.txt").write_text("0 .5 .5 .2 .4")
    dataset = yolo(folder)
    assert dataset.file_names[-1] == "deep/er/a.png"
    np.testing.assert_allclose(dataset.boxes[-1], [4, 3, 6, 7], atol=1e-6)


quiet = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(st.binary(max_size=60) | st.integers(0, 400))
@quiet
def test_any_xml_gives_a_dataset_or_a_clear_error(folder, junk):
    path = folder / "xml" / "b.xml"
    write_voc(folder, "b", [("dog", 0, 3, 4, 15, 10)])
    path.write_bytes(path.read_bytes()[:junk] if isinstance(junk, int) else junk)
    try:
        voc(folder)
    except DataError as error:
        assert "xml" in str(error)


@given(st.binary(max_size=40) | st.text("0123456789.-e nai\n", max_size=40))
@quiet
def test_any_text_gives_a_dataset_or_a_clear_error(folder, junk):
    (folder / "txt" / "b.txt").write_bytes(junk if isinstance(junk, bytes) else junk.encode())
    (folder / "names.yaml").write_bytes(b"names: " + (junk if isinstance(junk, bytes) else junk.encode()))
    for read in (lambda: yolo(folder), lambda: read_class_names(str(folder / "names.yaml"))):
        try:
            read()
        except DataError as error:
            assert re.search("b.txt|b.PNG|names.yaml", str(error))


def test_yolo_text_written_from_a_dataset_reads_back(tmp_path):
    dataset = noise_dataset(tmp_path, count=4)
    (tmp_path / "txt").mkdir()
    write_as_yolo(dataset, tmp_path / "txt")
    back = read_yolo(str(tmp_path / "txt"), str(tmp_path), class_names=dataset.class_names)
    np.testing.assert_allclose(back.boxes, dataset.boxes, atol=1e-4)
    np.testing.assert_array_equal(back.classes, dataset.classes)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_voc_and_json_of_real_images_agree_box_for_box(data_dir, tmp_path, part):
    bccd = data_dir / "bccd"
    dataset = read_coco(str(bccd / f"instances_{part}.json"), str(bccd / "images"))
    (tmp_path / "set.txt").write_text("\n".join(name[:-4] for name in dataset.file_names))
    other = read_voc(
        str(bccd / "voc_annotations"), str(bccd / "images"),
        image_set=str(tmp_path / "set.txt"), class_names=dataset.class_names,
    )  # fmt: skip
    assert other.file_names == dataset.file_names
    for field in ("boxes", "classes", "offsets", "sizes", "areas"):
        np.testing.assert_array_equal(getattr(other, field), getattr(dataset, field))
    recipe = Recipe(loader=LoaderConfig(batch_size=2, workers=0))
    recipe = attrs.evolve(recipe, input=attrs.evolve(recipe.input, input_size=(96, 96)))
    first, second = (next(train_batches(d, recipe=recipe, epoch=0, augment=True)) for d in (dataset, other))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


BOX = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>12</xmax><ymax>9</ymax></bndbox>"
SIZE = "<size><width>30</width><height>20</height></size>"
CAT = f"<object><name>cat</name>{BOX}</object>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"<annotation>{SIZE}{SIZE.replace('20', '40')}{CAT}</annotation>", r"size height 2 times \(20, 40\)"),
        (f"<annotation>{SIZE}{CAT.replace(BOX, BOX + BOX.replace('12', '15'))}</annotation>", "bndbox xmax 2 times"),
        (f"<annotation>{SIZE}<object><name>cat</name><name>dog</name>{BOX}</object></annotation>", r"name 2 times \(cat, dog\)"),
        (f"<annotation><filename>a.png</filename><filename>b.PNG</filename>{SIZE}</annotation>", "has filename 2 times"),
        (f"<annotation>{SIZE}{CAT.replace('12', '1_2')}</annotation>", "object 1 .cat.: want a name"),
        (f"<annotation>{SIZE}<object><name>cat</name><polygon/></object></annotation>", "in bndbox; it has a polygon"),
        (f"<annotation>{SIZE}<object><name>cat</name><robndbox/></object></annotation>", "in bndbox; it has a robndbox"),
        (f"<annotation>{SIZE}<Object><name>cat</name>{BOX}</Object></annotation>", "has <Object> and no <object>, want VOC's"),
        ("<annotations><image name='a.png'><box label='cat' xtl='1'/></image></annotations>", "has <box> and no <object>"),
        ("<annotation xmlns='http://x.org'><filename>a.png</filename></annotation>", "the outer element .* and no <object>"),
        ("<rss/>", "the outer element <rss> and no <object>"),
    ],
)
def test_xml_of_another_kind_and_things_twice_are_errors(folder, text, message):
    (folder / "xml/a.xml").write_text(text)
    with pytest.raises(DataError, match=f"a.xml: .*{message}"):
        voc(folder)


def test_what_marks_objects_is_told(folder):
    part = CAT.replace("</object>", f"<part><name>head</name>{BOX}</part></object>")
    marked = [CAT.replace("<bndbox>", f"{mark}<bndbox>") for mark in ("<deleted>1</deleted>", "<difficult>yes</difficult>")]
    (folder / "xml/a.xml").write_text(f"<annotation>{SIZE}{part}{''.join(marked)}</annotation>")
    notes = ("1 object has parts (head, hand, foot), which are not read", "1 object is marked deleted, and left out")
    dataset = voc(folder)
    assert dataset.notes == notes and len(dataset.boxes) == 2
    unclear = "1 object has a `difficult` that is neither 0 nor 1, and read as not difficult"
    assert voc(folder, difficult_as_crowd=True).notes == (unclear, *notes)


def test_a_first_pixel_that_does_not_fit_is_told(folder):
    assert voc(folder, first_pixel=1, difficult_as_crowd=True).notes == (
        "1 box begins at 0, but `first_pixel` is 1: do the coordinates count from 0?",
    )


def test_two_images_or_two_xml_files_of_one_name_are_errors(folder):
    (folder / "xml/a.xml").write_text(f"<annotation>{SIZE}{CAT}</annotation>")
    write_image(folder / "img/a.jpg", np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(DataError, match="a.xml: a.jpg and a.png have its name; want one of them, or its <filename>"):
        voc(folder)
    (folder / "xml/a.xml").write_text(f"<annotation><filename>a.jpg</filename>{SIZE}{CAT}</annotation>")
    assert voc(folder).file_names == ("a.jpg", "b.PNG")
    (folder / "xml/a.XML").write_text(f"<annotation>{SIZE}</annotation>")
    with pytest.raises(DataError, match=r"has .xml and .XML for one image \(a\); want one of them"):
        voc(folder)
