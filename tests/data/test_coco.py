"""The COCO reader and the flat dataset: any ids, any names, and every fault named."""

from __future__ import annotations

import json
import re
import tracemalloc
from io import StringIO
from itertools import permutations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.folders import coco_dict, write_image, write_json
from yolox.data.coco import read_coco
from yolox.data.dataset import ground_truth, image_path, load_sample, truths
from yolox.data.errors import DataError, raise_offenders

NAMES = ("b c/dé.PNG", "sub/a.png", "12.png")


@pytest.fixture
def folder(tmp_path):
    """Three images of 20x30 (height, width), one in a sub-folder with a space, one in another."""
    for level, name in enumerate(NAMES):
        write_image(tmp_path / name, np.full((20, 30, 3), 50 * level, np.uint8))
    return tmp_path


def images(*ids):
    return [(ids[i] if ids else i, name, 20, 30) for i, name in enumerate(NAMES)]


def read(folder, annotations=(), *, image_rows=None, categories=((900, "dog"), (7, "cat")), **options):
    content = coco_dict(image_rows or images(55, -3, 10**12), annotations, categories)
    return read_coco(write_json(folder / "a.json", content), str(folder), **options)


def test_arbitrary_ids_names_and_sub_folders(folder):
    dataset = read(
        folder, [(70, 10**12, 900, (1, 2, 3, 4)), (5, 55, 7, (0, 0, 30, 20)), (6, 10**12, 7, (5, 5, 1, 1))]
    )
    assert dataset.file_names == NAMES and len(dataset) == 3
    assert dataset.class_names == ("cat", "dog") and dataset.category_ids == (7, 900)
    assert dataset.image_ids.tolist() == [55, -3, 10**12]
    assert dataset.offsets.tolist() == [0, 1, 1, 3]
    assert dataset.boxes.tolist() == [[0, 0, 30, 20], [1, 2, 4, 6], [5, 5, 6, 6]]
    assert dataset.classes.tolist() == [0, 1, 0] and dataset.annotation_ids.tolist() == [5, 70, 6]
    assert dataset.boxes.dtype == np.float32 and dataset.classes.dtype == np.int32
    assert load_sample(dataset, 2).image[0, 0].tolist() == [100, 100, 100]
    assert image_path(dataset, 1).endswith("sub/a.png")


def test_an_image_without_objects_is_an_empty_sample(folder):
    sample = load_sample(read(folder), 1)
    assert sample.boxes.shape == (0, 4) and sample.classes.shape == (0,)
    assert sample.boxes.dtype == np.float32 and sample.classes.dtype == np.int32


def test_crowds_are_left_out_of_training_and_kept_in_ground_truth(folder):
    dataset = read(
        folder, [(1, 55, 7, (1, 1, 5, 5), {"iscrowd": 1}), (2, 55, 900, (2, 2, 5, 5), {"iscrowd": 0})]
    )
    assert load_sample(dataset, 0).classes.tolist() == [1]
    assert load_sample(dataset, 0, keep_crowd=True).classes.tolist() == [0, 1]
    assert [a["iscrowd"] for a in ground_truth(dataset)["annotations"]] == [1, 0]


@pytest.mark.parametrize(("value", "want"), [(0, 0), (1, 1), (False, 0), (True, 1), (0.0, 0), (1.0, 1)])
def test_a_crowd_is_marked_by_one_or_true(folder, value, want):
    dataset = read(folder, [(1, 55, 7, (1, 1, 5, 5), {"iscrowd": value})])
    assert [a["iscrowd"] for a in ground_truth(dataset)["annotations"]] == [want]


def test_integers_may_be_written_as_floats(folder):
    rows = [(float(ident), name, 20.0, 30.0) for ident, name, *_ in images(55, 6, 7)]
    dataset = read(folder, [(3.0, 55.0, 7.0, (1, 1, 5, 5))], image_rows=rows, categories=((7.0, "cat"),))
    assert dataset.image_ids.tolist() == [55, 6, 7] and dataset.sizes.tolist() == [[20, 30]] * 3
    assert dataset.annotation_ids.tolist() == [3] and dataset.category_ids == (7,)
    with pytest.raises(DataError, match="height 20.5 and width 30, want positive integers"):
        read(folder, image_rows=[(1, NAMES[0], 20.5, 30)])
    with pytest.raises(DataError, match="id True, want an integer"):
        read(folder, image_rows=[(True, NAMES[0], 20, 30)])


def test_boxes_partly_outside_are_clipped_for_training_and_kept_for_evaluation(folder):
    dataset = read(folder, [(1, 55, 7, (-4, 5, 50, 10))])
    assert load_sample(dataset, 0).boxes.tolist() == [[0, 5, 30, 15]]
    assert ground_truth(dataset)["annotations"][0]["bbox"] == [-4, 5, 50, 10]


def test_boxes_without_area_are_left_out_of_training(folder):
    dataset = read(folder, [(1, 55, 7, (4, 5, 0, 10)), (2, 55, 7, (30, 5, 0, 0)), (3, 55, 7, (1, 1, 2, 2))])
    assert truths(dataset, 0)[0].tolist() == [[1, 1, 3, 3]]
    assert len(ground_truth(dataset)["annotations"]) == 3


def test_classes_wanted_set_the_order(folder):
    annotations = [(1, 55, 7, (1, 1, 2, 2)), (2, 55, 900, (1, 1, 2, 2))]
    dataset = read(folder, annotations, class_names=("bird", "dog", "cat"))
    assert dataset.classes.tolist() == [2, 1] and dataset.category_ids[1:] == (900, 7)
    assert len(set(dataset.category_ids)) == 3
    with pytest.raises(DataError, match=r"category 7 \(cat\) is none of the 1 classes wanted"):
        read(folder, annotations, class_names=("dog",))


def test_ground_truth_is_what_pycocotools_would_read(folder):
    from contextlib import redirect_stdout

    from pycocotools.coco import COCO

    rows = [(4, 55, 7, (1.5, 2.25, 3, 4), {"area": 9.5, "iscrowd": 0}), (9, 10**12, 900, (0, 0, 30, 20))]
    truth = ground_truth(read(folder, rows))
    json.dumps(truth)
    with redirect_stdout(StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
    assert coco.getAnnIds(catIds=[900]) == [9] and set(coco.imgs) == {55, -3, 10**12}
    assert coco.anns[4]["bbox"] == [1.5, 2.25, 3, 4] and coco.anns[4]["area"] == 9.5
    assert coco.anns[9]["area"] == 600


FAULTS = [
    ((8, 56, 7, (1, 1, 2, 2)), "annotation 8: image_id 56 is none of the images"),
    ((8, 55, 8, (1, 1, 2, 2)), "annotation 8: category_id 8 is none of the categories"),
    ((8, 55, "7", (1, 1, 2, 2)), "annotation 8: category_id '7' is none of the categories"),
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
    (("x", 55, 7, (1, 1, 2, 2)), "annotation 'x': id 'x', want an integer"),
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
    with pytest.raises(DataError, match=r"(?s)1 problem\n.*elsewhere: has none of the 3 image files, .*--train-images"):
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
    raise_offenders("nothing wrong", [])


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


def test_lists_may_come_in_any_order(folder):
    content = coco_dict(images(5, 6, 4), [(2, 4, 7, (1, 2, 3, 4)), (1, 5, 900, (0, 0, 9, 9))], ((900, "dog"), (7, "cat")))
    want = ground_truth(read_coco(write_json(folder / "a.json", content), str(folder)))
    for order in permutations(content):
        path = write_json(folder / "a.json", {key: content[key] for key in order})
        assert ground_truth(read_coco(path, str(folder))) == want


def test_memory_of_reading_grows_with_the_arrays_only(folder):
    outline = {"segmentation": [[1.5] * 60]}
    content = coco_dict(images(), [(i, i % 3, 7, (1, 2, 3, 4), outline) for i in range(20_000)], ((7, "cat"),))
    path = write_json(folder / "a.json", content)
    tracemalloc.start()
    read_coco(path, str(folder))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000 * 250 + 4e6, peak  # bytes


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


def test_real_annotations_are_read_whole(data_dir):
    folder = data_dir / "coco_ccby_val"
    dataset = read_coco(str(folder / "instances.json"), str(folder / "images"))
    want = json.loads((folder / "instances.json").read_text())
    assert len(dataset) == len(want["images"]) and len(dataset.boxes) == len(want["annotations"])
    by_id = {a["id"]: a for a in want["annotations"]}
    for truth in ground_truth(dataset)["annotations"]:
        original = by_id[truth["id"]]
        np.testing.assert_allclose(truth["bbox"], original["bbox"], atol=1e-3)
        assert [truth[k] for k in ("image_id", "category_id", "iscrowd", "area")] == [
            original[k] for k in ("image_id", "category_id", "iscrowd", "area")
        ]
