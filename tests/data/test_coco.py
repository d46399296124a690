"""The COCO reader and the flat dataset: any ids, any names. Faults are in test_coco_faults.py."""

from __future__ import annotations

import json
import tracemalloc
from io import StringIO
from itertools import permutations

import numpy as np
import pytest

from tests.data.folders import coco_dict, write_json
from tests.data.three_images import NAMES, images, read, write_images
from yolox.data.coco import read_coco
from yolox.data.dataset import ground_truth, image_labels, image_path, load_sample
from yolox.errors import DataError


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path)


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


def test_names_that_differ_by_case_or_spaces_are_told(folder):
    dataset = read(folder, categories=((1, "person "), (2, "Person"), (3, "traffic_light"), (4, "traffic light"), (5, "car")))
    assert len(dataset.class_names) == 5 and len(dataset.notes) == 1
    assert "differ by case or spaces" in dataset.notes[0]
    assert "'person ' and 'Person', 'traffic_light' and 'traffic light'" in dataset.notes[0]
    assert not read(folder).notes


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
    with pytest.raises(DataError, match="images without a whole positive height and width: 1.*height 20.5 and width 30"):
        read(folder, image_rows=[(1, NAMES[0], 20.5, 30)])
    with pytest.raises(DataError, match="id True, want an integer"):
        read(folder, image_rows=[(True, NAMES[0], 20, 30)])


def test_boxes_partly_outside_are_clipped_for_training_and_kept_for_evaluation(folder):
    dataset = read(folder, [(1, 55, 7, (-4, 5, 50, 10))])
    assert load_sample(dataset, 0).boxes.tolist() == [[0, 5, 30, 15]]
    assert ground_truth(dataset)["annotations"][0]["bbox"] == [-4, 5, 50, 10]


def test_boxes_without_area_are_left_out_of_training(folder):
    dataset = read(folder, [(1, 55, 7, (4, 5, 0, 10)), (2, 55, 7, (30, 5, 0, 0)), (3, 55, 7, (1, 1, 2, 2))])
    assert image_labels(dataset, 0)[0].tolist() == [[1, 1, 3, 3]]
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
    content = ground_truth(read(folder, rows))
    json.dumps(content)
    with redirect_stdout(StringIO()):
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
    assert coco.getAnnIds(catIds=[900]) == [9] and set(coco.imgs) == {55, -3, 10**12}
    assert coco.anns[4]["bbox"] == [1.5, 2.25, 3, 4] and coco.anns[4]["area"] == 9.5
    assert coco.anns[9]["area"] == 600


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


def test_real_annotations_are_read_whole(data_dir):
    folder = data_dir / "coco_ccby_val"
    dataset = read_coco(str(folder / "instances.json"), str(folder / "images"))
    want = json.loads((folder / "instances.json").read_text())
    assert len(dataset) == len(want["images"]) and len(dataset.boxes) == len(want["annotations"])
    by_id = {a["id"]: a for a in want["annotations"]}
    for annotation in ground_truth(dataset)["annotations"]:
        original = by_id[annotation["id"]]
        np.testing.assert_allclose(annotation["bbox"], original["bbox"], atol=1e-3)
        assert [annotation[k] for k in ("image_id", "category_id", "iscrowd", "area")] == [
            original[k] for k in ("image_id", "category_id", "iscrowd", "area")
        ]


SIZED = {"height": 20, "width": 30}


def read_one(folder, image, count=1, **options):
    """Reads a file of equal images, each with two boxes."""
    rows = [{"id": i, "file_name": NAMES[2], **SIZED, **image} for i in range(1, count + 1)]
    boxes = [(2 * i + k, i, 7, (1, 1, 5, 5)) for i in range(1, count + 1) for k in range(2)]
    content = coco_dict([], boxes, categories=((7, "cat"),)) | {"images": rows}
    return read_coco(write_json(folder / "a.json", content), str(folder), **options)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"height": None}, "images without a whole positive height and width: 3 .*height None and width 30"),
        ({"height": "20", "width": "30"}, "images without a whole positive height and width: 3.*height '20' and width '30'"),
        ({"height": 0}, "images without a whole positive height and width: 3.*height 0 and width 30"),
        ({"file_name": "https://x.org/12.png"}, "file names that are URLs: 3 .'https://x.org/12.png'.*; want the names of files"),
        ({"file_name": "s3://bucket/12.png"}, "file names that are URLs: 3"),
    ],
)
def test_one_sentence_for_a_fault_of_all_images_and_none_about_their_boxes(folder, image, message):
    with pytest.raises(DataError, match=message) as error:
        read_one(folder, image, count=3)
    assert len(str(error.value).splitlines()) == 2 and "none of the images" not in str(error.value)


def test_backslashes_are_read_where_the_file_is_there_and_told_where_it_is_not(folder):
    dataset = read_one(folder, {"file_name": "sub\\a.png"})
    assert dataset.file_names == ("sub/a.png",) and "1 file name has the backslashes of Windows" in dataset.notes[0]
    with pytest.raises(DataError, match="none of the 2 image files.*backslashes of Windows, want /; or want the folder"):
        read(folder, image_rows=[(7, "images\\1/a.png", 20, 30), (8, "images\\1/b.png", 20, 30)])
    with pytest.raises(DataError, match="backslashes of Windows, want /"):
        read_one(folder, {"file_name": "C:\\sub\\gone.png"})


def categories(*rows):
    return [dict(zip(("id", "name", "supercategory"), row, strict=True)) for row in rows]


@pytest.mark.parametrize("root", ["fish", "peixos"])
def test_a_root_without_boxes_is_left_out_and_named(folder, root):
    content = coco_dict(images(55, 6, 7), [(1, 55, 1, (1, 1, 5, 5)), (2, 6, 2, (1, 1, 5, 5))])
    content["categories"] = categories((0, root, "none"), (1, "fish", root), (2, "cup", root))
    dataset = read_coco(write_json(folder / "a.json", content), str(folder))
    assert dataset.class_names == ("fish", "cup") and dataset.category_ids == (1, 2) and dataset.classes.tolist() == [0, 1]
    assert dataset.notes == (f"left out the category {root} (id 0): it has no box and is the supercategory of others",)


def test_categories_are_judged_by_use(folder):
    """COCO's person is its own supercategory; a root with a box is a class; a twin without boxes is left out."""
    content = coco_dict(images(55, 6, 7), [(1, 55, 0, (1, 1, 5, 5))])
    content["categories"] = categories((0, "animal", ""), (1, "person", "person"), (2, "dog", "animal"))
    path = write_json(folder / "a.json", content)
    assert read_coco(path, str(folder)).class_names == ("animal", "person", "dog")
    content["categories"] = categories((0, "dog", ""), (5, "dog", ""))
    dataset = read_coco(write_json(folder / "a.json", content), str(folder))
    assert dataset.category_ids == (0,) and "category dog (id 5): it has no box, and another" in dataset.notes[0]
    content["annotations"].append({"id": 2, "image_id": 55, "category_id": 5, "bbox": [1, 1, 5, 5]})
    with pytest.raises(DataError, match=r"category 5 \(dog\): its name occurs twice, and both have boxes"):
        read_coco(write_json(folder / "a.json", content), str(folder))


def test_areas_that_are_no_numbers_are_replaced_and_counted(folder):
    areas = (7.5, "left out", "12", None, -1.0)
    rows = [(i, 55, 7, (1, 1, 4, 5), {} if area == "left out" else {"area": area}) for i, area in enumerate(areas)]
    dataset = read(folder, rows)
    assert dataset.areas.tolist() == [7.5, 20, 20, 20, 20]
    assert dataset.notes == ("3 annotations have an area that is no number of 0 or more; that of the box was taken",)


def test_scores_among_labels_are_said(folder):
    content = coco_dict(images(55, 6, 7), [(1, 55, 2, (1, 1, 5, 5), {"score": 0.5})])
    dataset = read_coco(write_json(folder / "a.json", content), str(folder))
    assert dataset.notes == ("1 annotation has a score: predictions are taken as labels, without their scores",)


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({"ignore": 1}, "1 annotation has `ignore`, which pycocotools does not follow either"),
        ({"rotation": 30.0}, "1 annotation has a rotation, which is not applied"),
        ({"attributes": {"rotation": 90}}, "1 annotation has a rotation, which is not applied"),
        ({"area": 0}, "1 annotation has an area of 0 or larger than the box"),
        ({"area": 500}, "1 annotation has an area of 0 or larger than the box"),
        ({"ignore": 0, "rotation": 360.0, "attributes": [], "area": 12}, None),
        ({"ignore": 1, "iscrowd": 1, "attributes": {"rotation": "no"}, "area": 1}, None),
    ],
)
def test_keys_that_are_not_followed_are_told(folder, more, note):
    notes = read(folder, [(1, 55, 7, (2, 3, 4, 3), more)]).notes
    assert not notes if note is None else len(notes) == 1 and note in notes[0]


def test_an_empty_name_is_nobodys_supercategory(folder):
    dataset = read(folder, [(1, 55, 7, (2, 3, 4, 3))], categories=((7, "cat"), (9, "")))
    assert dataset.class_names == ("cat", "") and not dataset.notes
