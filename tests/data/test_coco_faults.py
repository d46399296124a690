"""Every fault of a COCO file is named."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.folders import coco_dict, write_image, write_json
from tests.data.three_images import images, read, write_images
from yolox.data.build import read_text
from yolox.data.coco import read_coco
from yolox.data.dataset import ground_truth
from yolox.errors import DataError, raise_problems


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path)


FAULTS = [
    ((8, 56, 7, (1, 1, 2, 2)), "annotation 8: image_id 56 is none of the images"),
    ((8, 55, 8, (1, 1, 2, 2)), "annotation 8: category_id 8 is none of the categories"),
    ((8, 55, "7", (1, 1, 2, 2)), r"ids that are texts: 1 \(annotation 8: category_id '7'\); want integers"),
    ((8, 55, 7, (float("nan"), 1, 2, 2)), "annotation 8: bbox .* want four finite numbers"),
    ((8, 55, 7, (1, float("inf"), 2, 2)), "annotation 8: bbox .* want four finite numbers"),
    ((8, 55, 7, (1, 1, 2)), "annotation 8: bbox .* want four finite numbers"),
    ((8, 55, 7, (1, 1, "2", 2)), "annotation 8: bbox .* want four finite numbers"),
    (
        (8, 55, 7, (1, 1, 1e300, 2)),
        "annotation 8 of image .*dé.PNG: box .* has a number that is not finite or beyond 1e9",
    ),
    ((8, 55, 7, (1, 1, -2, 2)), "annotation 8 of image .*dé.PNG: box .* has a negative size"),
    ((8, 55, 7, (30, 1, 2, 2)), "annotation 8 of image .*dé.PNG: box .* is outside its image of 30x20"),
    ((8, 55, 7, (-9, 1, 2, 2)), "annotation 8 of image .*dé.PNG: box .* is outside its image of 30x20"),
    (("x", 55, 7, (1, 1, 2, 2)), r"ids that are texts: 1 \(annotation 'x': id 'x'\); want integers"),
    ((True, 55, 7, (1, 1, 2, 2)), "annotation True: id True, want an integer"),
    ((8, True, 7, (1, 1, 2, 2)), "annotation 8: image_id True is none of the images"),
    ((8, 55, 7.5, (1, 1, 2, 2)), "annotation 8: category_id 7.5 is none of the categories"),
    *(
        ((8, 55, 7, (1, 1, 2, 2), {"iscrowd": value}), f"annotation 8: iscrowd {value!r}, want 0 or 1")
        for value in ("0", "1", "no", "", float("nan"), float("inf"), 2, -1, 0.5, None)
    ),
    ((8, 55, 7, (1, 1, 2, 2), {"iscrowd": []}), r"annotation 8: iscrowd \[\], want 0 or 1"),
]


@pytest.mark.parametrize(("row", "message"), FAULTS)
def test_a_wrong_annotation_is_named(folder, row, message):
    with pytest.raises(DataError, match=message):
        read(folder, [(1, 55, 7, (1, 1, 2, 2)), row])


def test_a_missing_image_file_is_named(folder):
    with pytest.raises(DataError, match="gone.png: no such image file"):
        read(folder, image_rows=[*images(), (3, "gone.png", 20, 30)])
    with pytest.raises(DataError, match="no such image folder"):
        read_coco(str(folder / "a.json"), str(folder / "nowhere"))


def test_a_wrong_image_folder_is_told_once_with_the_option(folder):
    (folder / "elsewhere").mkdir()
    content = write_json(folder / "a.json", coco_dict(images(), []))
    with pytest.raises(DataError, match=r"(?s)1 problem\n.*elsewhere: has none of the 3 image files, .*`train_images`"):
        read_coco(content, str(folder / "elsewhere"))


def test_repeated_ids_and_files_are_named(folder):
    with pytest.raises(DataError, match="image id 1 occurs more than once"):
        read(folder, image_rows=images(1, 1, 2))
    with pytest.raises(DataError, match="annotation id 4 occurs more than once"):
        read(folder, [(4, 55, 7, (1, 1, 2, 2)), (4, 55, 7, (1, 1, 2, 2))])
    with pytest.raises(DataError, match="12.png is listed more than once"):
        read(folder, image_rows=[(0, "12.png", 20, 30), (1, "sub/../12.png", 20, 30)])
    with pytest.raises(DataError, match="category 2 .* occurs twice"):
        read(folder, categories=((2, "a"), (2, "b")))


def test_all_offenders_are_listed_up_to_twenty(folder):
    with pytest.raises(DataError) as caught:
        read(folder, [(i, 55, 7, (1, 1, -1, 2)) for i in range(25)])
    assert "25 problems" in str(caught.value) and "... and 5 more" in str(caught.value)
    assert len(re.findall(r"annotation \d+ of image", str(caught.value))) == 20
    raise_problems("nothing wrong", [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a JSON file"),
        ('{"images": [', "is not a JSON file"),
        ("[" * 100_000, "is not a JSON file"),
        ("[]", "holds a list"),
        ("{}", "has no list 'images'"),
        ('{"images": [1], "annotations": [], "categories": []}', r"images\[0\] is a int"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', r"images\[0\]: file_name None"),
    ],
)
def test_malformed_files_are_refused(folder, text, message):
    (folder / "bad.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_coco(str(folder / "bad.json"), str(folder))


def test_unreadable_and_wrongly_encoded_files_are_refused(folder):
    (folder / "bad.json").write_bytes('{"images": "é"}'.encode("latin-1"))
    with pytest.raises(DataError, match="bad.json: is not a text file in UTF-8"):
        read_coco(str(folder / "bad.json"), str(folder))
    with pytest.raises(DataError, match="gone.json: cannot be read"):
        read_coco(str(folder / "gone.json"), str(folder))


leaves = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=4)
junk = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


@given(st.sampled_from(["images", "annotations", "categories"]), st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_anywhere_gives_a_dataset_or_a_clear_error(folder, part, data):
    content = coco_dict(
        images(), [(1, 0, 7, (1, 1, 2, 2)), (2, 1, 900, (1, 1, 2, 2))], ((900, "dog"), (7, "cat"))
    )
    row = content[part][0]
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(junk)
    path = write_json(folder / "any.json", content)
    try:
        dataset = read_coco(path, str(folder))
    except DataError as error:
        assert "any.json" in str(error)
    else:
        json.dumps(ground_truth(dataset))


@pytest.mark.parametrize("start, what", [(b"\xff\xd8\xff\xe0", "it is an image"), (b"PK\x03\x04\xff", "it is a ZIP archive")])
def test_a_file_that_is_no_text_is_told_by_what_it_is(folder, start, what):
    (folder / "bad.json").write_bytes(start + bytes(range(256)))
    with pytest.raises(DataError, match=rf"bad.json: is not a text file in UTF-8 \({what}\)"):
        read_coco(str(folder / "bad.json"), str(folder))
    with pytest.raises(DataError, match=rf"bad.json: is not a text file in UTF-8 \({what}\)"):
        read_text(str(folder / "bad.json"))


ROW = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [10, 5, 20, 15]}


def read_row(tmp_path, name="a.png", **changes):
    write_image(tmp_path / "a.png", np.zeros((20, 30, 3), np.uint8))
    content = coco_dict([(0, name, 20, 30)], [], ((1, "cat"),))
    content["annotations"] = [{**ROW, **changes}]
    return read_coco(write_json(tmp_path / "row.json", content), str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbox": None, "segmentation": [[1, 1, 9, 1, 9, 9]]}, r"with a segmentation and no bbox: 1 \(annotation 1\)"),
        ({"bbox": [], "segmentation": {"counts": "x", "size": [20, 30]}}, "and no bbox: 1 .*; want bbox x, y, width"),
        ({"bbox": [0.1, 0.2, 0.5, 0.4]}, r"all boxes \(1\) lie within 1 px of a corner, as shares of the image would"),
        ({"name": "A.PNG"}, "A.PNG: no such image file; a.png is there"),
        ({"name": "a.jpg"}, "a.jpg: no such image file; a.png is there"),
        ({"name": "%61.png"}, "%61.png: no such image file; a.png is there"),
    ],
)
def test_what_an_annotation_or_a_name_may_mean_is_told(changes, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_row(tmp_path, **changes)


def test_corners_in_place_of_a_size_are_told(tmp_path):
    (note,) = read_row(tmp_path, bbox=[10, 5, 20, 15], area=100.0).notes
    assert note.startswith("1 annotation has the area of a box whose last two numbers are its far corner")
    assert read_row(tmp_path, bbox=[10, 5, 20, 15], area=300.0).notes == ()
