"""Annotation files of any content: a dataset that training and evaluation can use, or a DataError that names the file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.folders import coco_dict, write_image
from yolox.data.check import check_dataset
from yolox.data.coco import read_coco
from yolox.data.dataset import ground_truth, image_labels
from yolox.data.voc import read_voc_data
from yolox.data.yolo import read_yolo_data
from yolox.errors import DataError

quiet = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = ["0", "-1", "1e400", "-1e400", "nan", "inf", "1e-400", "9" * 400, "9" * 5000, "0x10", "1_0", "", " ", "½", "٣", "\0",
           "1e6", "-1e6", "999999999999", "true", "null", "[1]", '"1"', "2.5"]  # fmt: skip
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp037", "utf-7"]
number = st.sampled_from(NUMBERS) | st.floats().map(repr) | st.integers().map(str)


@pytest.fixture
def folder(tmp_path):
    """Two images of 20x30 (height, width) in folders of all three formats."""
    for name in ("a", "b"):
        write_image(tmp_path / "images" / f"{name}.png", np.full((20, 30, 3), 9, np.uint8))
    (tmp_path / "labels").mkdir()
    (tmp_path / "xml").mkdir()
    return tmp_path


def usable_or_named(read, name: str) -> None:
    """Read; what comes is either fit for use, with finite boxes inside their images, or a DataError with the name."""
    try:
        dataset = read()
    except DataError as error:
        assert name in str(error) and len(str(error)) < 20_000
        return
    for index in range(len(dataset)):
        boxes, classes = image_labels(dataset, index)
        height, width = dataset.sizes[index]
        assert (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all() and (classes < len(dataset.class_names)).all()
    json.dumps(ground_truth(dataset), allow_nan=False)
    check_dataset(dataset, input_size=(64, 64), max_gt=4)


def damaged(text: str):
    """Strategies for bytes: the text cut, with bytes changed, or in any encoding."""
    whole = text.encode()

    def change(spots):
        content = bytearray(whole)
        for place, byte in spots:
            content[place % len(whole)] = byte
        return bytes(content)

    cut = st.integers(0, len(whole)).map(lambda n: whole[:n])
    flips = st.lists(st.tuples(st.integers(0, len(whole)), st.integers(0, 255)), max_size=4).map(change)
    return cut | flips | st.sampled_from(ENCODINGS).map(lambda e: text.encode(e, errors="replace")) | st.binary(max_size=50)


JSON = json.dumps(coco_dict([(1, "a.png", 20, 30), (2, "b.png", 20, 30)], [(1, 1, 1, (1, 2, 3, 4)), (2, 2, 2, (5, 5, 9, 9))]))
XML = ('<?xml version="1.0" encoding="utf-8"?><annotation><filename>a.png</filename><size><width>{0}</width>'
       "<height>{1}</height></size><object><name>cat</name><difficult>{2}</difficult><bndbox><xmin>{3}</xmin>"
       "<ymin>{4}</ymin><xmax>{5}</xmax><ymax>{6}</ymax></bndbox></object></annotation>")  # fmt: skip
PLAIN_XML = XML.format(30, 20, 0, 1, 2, 9, 8)


def read_json(folder, content: bytes):
    (folder / "any.json").write_bytes(content)
    return lambda: read_coco(str(folder / "any.json"), str(folder / "images"))


def read_xml(folder, content: bytes):
    (folder / "xml" / "a.xml").write_bytes(content)
    return lambda: read_voc_data(str(folder / "xml"), split="train", image_dir=str(folder / "images"))


def read_text(folder, content: bytes, names: bytes = b"names: [cat, dog]\ntrain: images"):
    (folder / "labels" / "a.txt").write_bytes(content)
    (folder / "data.yaml").write_bytes(names)
    return lambda: read_yolo_data(str(folder / "data.yaml"), split="train")


@given(damaged(JSON))
@quiet
def test_damaged_json(folder, content):
    usable_or_named(read_json(folder, content), "any.json")


@given(st.lists(number, min_size=4, max_size=4), number, number)
@quiet
def test_json_with_any_numbers(folder, box, size, ident):
    text = JSON.replace("[1, 2, 3, 4]", f"[{', '.join(box)}]").replace('"height": 20', f'"height": {size}', 1)
    text = text.replace('"image_id": 2', f'"image_id": {ident}')
    usable_or_named(read_json(folder, text.encode()), "any.json")


@pytest.mark.parametrize(
    "text",
    [
        '{"images": ' + "[" * 200_000,
        '{"a":' * 200_000,
        '{"images": [], "annotations": [], "categories": [], "images": null}',
        '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "\\ud800"}]}',
        JSON.replace("a.png", "\\ud800.png"),
        JSON.replace("a.png", "a" * 5000),
        JSON.replace("a.png", "../" * 3000 + "a.png"),
        JSON.replace("a.png", "a\\u0000.png"),
        JSON.replace('"id": 1', f'"id": {10**30}'),
        JSON.replace('"iscrowd"', '"x"').replace("[5, 5, 9, 9]", "[5, 5, 1e308, 1e308]"),
    ],
)
def test_json_of_bad_will(folder, text):
    usable_or_named(read_json(folder, text.encode()), "any.json")


@given(damaged(PLAIN_XML))
@quiet
def test_damaged_xml(folder, content):
    usable_or_named(read_xml(folder, content), "xml")


@given(st.lists(number.map(lambda text: text.replace("\0", "")), min_size=7, max_size=7))
@quiet
def test_xml_with_any_numbers(folder, numbers):
    usable_or_named(read_xml(folder, XML.format(*numbers).encode()), "xml")


@pytest.mark.parametrize(
    "content",
    [
        PLAIN_XML.replace("utf-8", "no-such-encoding").encode(),
        PLAIN_XML.replace("utf-8", "utf-7").encode(),
        PLAIN_XML.replace("utf-8", "gb2312").encode(),
        PLAIN_XML.replace("utf-8", "hex").encode(),
        b"<annotation>" + b"<a>" * 100_000,
        b"<annotation>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</annotation>",
        '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><annotation>&d;</annotation>'.encode("utf-16"),
        b'<!DOCTYPE a SYSTEM "file:///dev/zero"><annotation/>',
        PLAIN_XML.replace("<annotation>", '<annotation xmlns="x">').encode(),
        PLAIN_XML.replace("<name>cat</name>", "<name/>").encode(),
        PLAIN_XML.replace("a.png", "../" * 2000).encode(),
        b"",
    ],
)
def test_xml_of_bad_will(folder, content):
    usable_or_named(read_xml(folder, content), "xml")


@given(damaged("0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.1 0.1\n"))
@quiet
def test_damaged_text(folder, content):
    usable_or_named(read_text(folder, content), "a.")


@given(st.lists(number, min_size=3, max_size=7))
@quiet
def test_text_with_any_numbers(folder, tokens):
    usable_or_named(read_text(folder, " ".join(tokens).encode()), "a.")


@given(damaged("path: .\ntrain: images\nnames:\n  0: cat\n  1: dog\n"))
@quiet
def test_damaged_yaml(folder, content):
    usable_or_named(read_text(folder, b"0 .5 .5 .2 .2", content), "")


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x]\nb: &b [*a,*a]\n" + "".join(f"c{i}: &c{i} [*{'b' if i == 0 else f'c{i - 1}'},*b]\n" for i in range(40)),
        "names: " + "[" * 100_000,
        "names: " + "{a: " * 20_000,
        "names: !!python/object/apply:os.system [ls]\ntrain: images",
        "names: [cat, dog]\ntrain: [[[images]]]",
        "names: [cat, dog]\ntrain: images\npath: [1]",
        'names: [cat, dog]\ntrain: images\npath: "\\0"',
        "%YAML 9.9\n---\nnames: [a]",
        "names: {0: a, 00: b}\ntrain: images",
    ],
)
def test_yaml_of_bad_will(folder, text):
    usable_or_named(read_text(folder, b"0 .5 .5 .2 .2", text.encode()), "")
