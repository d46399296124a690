import contextlib
import copy
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from yolox.eval.coco import METRIC_NAMES, detections_to_coco, evaluate_coco, write_results
from yolox.eval.postprocess import Detections

BOX = [10.0, 10.0, 50.0, 50.0]  # medium
FAR = [200.0, 10.0, 50.0, 50.0]


def _annotation(number, box, *, image=1, category=1, **more):
    more = {"area": box[2] * box[3], "iscrowd": 0, **more}
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, **more}


def _ground_truth(annotations, *, images=(1,), categories=((1, "cat"),)):
    return {
        "images": [{"id": i} for i in images],
        "categories": [{"id": i, "name": name} for i, name in categories],
        "annotations": annotations,
    }


def _record(box, score, *, image=1, category=1):
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def _random(seed=0, images=6, classes=4):
    """Ground ground_truth, and records that hit most of them."""
    rng = np.random.default_rng(seed)
    annotations, records = [], []
    for image in range(images):
        for number in range(8):
            category = int(rng.integers(classes))
            box = [*(rng.random(2) * 300).tolist(), *(rng.random(2) * 120 + 10).tolist()]
            annotations.append(_annotation(len(annotations), box, image=image, category=category, iscrowd=int(number == 7)))
            moved = (np.array(box) + rng.normal(size=4) * 3).tolist()
            guess = category if rng.random() < 0.8 else 0
            records.append(_record(moved, float(rng.random()), image=image, category=guess))
    names = [(i, f"c{i}") for i in range(classes + 1)]  # the last class has no objects
    return _ground_truth(annotations, images=range(images), categories=names), records


def test_hand_worked_average_precision():
    ground_truth = _ground_truth([_annotation(1, BOX), _annotation(2, FAR)])
    found = [_record(BOX, 0.9), _record([400.0, 10.0, 50.0, 50.0], 0.8), _record(FAR, 0.7)]
    metrics = evaluate_coco(ground_truth, found)
    # precision 1 up to recall .5 (51 of 101 recall levels), then 2/3
    assert metrics["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert [metrics["AP50"], metrics["APm"]] == pytest.approx([metrics["AP"]] * 2)
    assert (metrics["AR1"], metrics["AR10"]) == pytest.approx((0.5, 1.0))
    assert metrics["APs"] is None and metrics["APl"] is None


def test_ap_depends_on_the_overlap():
    shifted = [BOX[0] + 10, *BOX[1:]]  # IoU 40 / 60
    metrics = evaluate_coco(_ground_truth([_annotation(1, BOX)]), [_record(shifted, 0.9)])
    assert (metrics["AP50"], metrics["AP75"]) == pytest.approx((1.0, 0.0))
    assert metrics["AP"] == pytest.approx(0.4)  # right at .50, .55, .60 and .65


def test_all_keys_are_valid_json():
    ground_truth, records = _random()
    metrics = evaluate_coco(ground_truth, records)
    assert set(metrics) == {*METRIC_NAMES, "per_class"}
    back = json.loads(json.dumps(metrics, allow_nan=False))
    assert back == metrics and back["per_class"]["c4"] is None
    defined = [v for v in back["per_class"].values() if v is not None]
    assert np.mean(defined) == pytest.approx(metrics["AP"])
    assert all(0 <= v <= 1 for v in defined)


@pytest.mark.parametrize("annotations", [[], [_annotation(1, BOX)]])
def test_nothing_found(annotations):
    metrics = evaluate_coco(_ground_truth(annotations), [])
    expected = 0.0 if annotations else None
    assert metrics["AP"] == metrics["AR100"] == metrics["per_class"]["cat"] == expected


def test_detections_where_there_are_no_ground_truths():
    assert evaluate_coco(_ground_truth([]), [_record(BOX, 0.9)])["AP"] is None


def test_any_ids_give_the_same_numbers():
    ground_truth, records = _random()
    expected = evaluate_coco(ground_truth, records)
    for image_ids, category_ids in [
        ([900, 7, 10**12, 3, 0, 44], [90, 3, 1, 0, 17]),
        (["b.jpg", "a", "", "zz", "x/y", "c"], [5, 4, 3, 2, 1]),
    ]:
        changed = copy.deepcopy((ground_truth, records))
        for entry in changed[0]["annotations"] + changed[1]:
            entry["image_id"] = image_ids[entry["image_id"]]
            entry["category_id"] = category_ids[entry["category_id"]]
        changed[0]["images"] = [{"id": i} for i in image_ids]
        changed[0]["categories"] = [{"id": i, "name": f"c{n}"} for n, i in enumerate(category_ids)]
        metrics = evaluate_coco(*changed)
        assert metrics["per_class"] == pytest.approx(expected["per_class"])
        assert [metrics[k] for k in METRIC_NAMES] == pytest.approx([expected[k] for k in METRIC_NAMES])


def test_annotation_id_zero_counts():
    # pycocotools alone takes the id 0 for "matched nothing"
    assert evaluate_coco(_ground_truth([_annotation(0, BOX)]), [_record(BOX, 0.9)])["AP"] == pytest.approx(1.0)


def test_finds_in_crowds_are_neither_right_nor_wrong():
    crowd = _annotation(2, [190.0, 0.0, 100.0, 100.0], iscrowd=1)
    ground_truth = _ground_truth([_annotation(1, BOX), crowd])
    metrics = evaluate_coco(ground_truth, [_record(FAR, 0.99), _record(BOX, 0.9)])
    assert metrics["AP"] == pytest.approx(1.0)


def test_class_names():
    ground_truth = _ground_truth([_annotation(1, BOX, category=7)], categories=[(9, "cat"), (7, "cat"), (8, "dog")])
    records = [_record(BOX, 0.9, category=7)]
    assert list(evaluate_coco(ground_truth, records)["per_class"]) == ["cat (9)", "cat (7)", "dog"]
    named = evaluate_coco(ground_truth, records, class_names=("a", "b", "c"))["per_class"]
    assert (named["a"], named["b"], named["c"]) == (None, pytest.approx(1.0), None)
    with pytest.raises(ValueError, match="2 class names for 3 categories"):
        evaluate_coco(ground_truth, records, class_names=("a", "b"))


def test_is_silent_and_changes_nothing(capsys):
    ground_truth, records = _random()
    before = copy.deepcopy((ground_truth, records))
    evaluate_coco(ground_truth, records)
    assert (ground_truth, records) == before and capsys.readouterr().out == ""


@pytest.mark.parametrize("wrong", [{"image_id": 99}, {"category_id": 99}])
def test_records_of_another_data_set(wrong):
    (key,) = wrong
    with pytest.raises(ValueError, match=f"1 {key} of the records, such as 99, are not among the 1"):
        evaluate_coco(_ground_truth([_annotation(1, BOX)]), [{**_record(BOX, 0.9), **wrong}])


def test_detections_to_coco():
    boxes = np.array([[1, 2, 4, 6], [0, 0, 5, 5.5]], np.float32)
    first = Detections(boxes, np.array([0.5, 0.25]), np.array([1, 0]))
    records = detections_to_coco([first, Detections()], image_ids=np.array([139, 7]), category_ids=(3, 90))
    assert records == [
        {"image_id": 139, "category_id": 90, "bbox": [1, 2, 3, 4], "score": 0.5},
        {"image_id": 139, "category_id": 3, "bbox": [0, 0, 5, 5.5], "score": 0.25},
    ]
    json.dumps(records)


def test_detections_to_coco_errors():
    one = Detections(np.zeros((1, 4)), np.ones(1), np.array([2]))
    with pytest.raises(ValueError, match="1 detections for 2 image ids"):
        detections_to_coco([one], image_ids=[1, 2], category_ids=[1])
    with pytest.raises(ValueError, match="class 2 in image 1, but the data set has 2 categories"):
        detections_to_coco([one], image_ids=[1], category_ids=[1, 2])


def test_official_results_on_coco_images(data_dir):
    ground_truth = json.loads((data_dir / "coco_ccby_val" / "instances.json").read_text())
    results = json.loads((data_dir / "coco_ccby_val" / "yolox_nano_results_coco_ccby_val.json").read_text())
    metrics = evaluate_coco(ground_truth, results)
    assert [metrics[k] for k in ("AP", "AP50", "AP75")] == pytest.approx([0.3088, 0.4636, 0.3224], abs=1e-4)


def row_of_objects(count):
    """One image with many equal objects of one class, and perfect detections of them."""
    boxes = [[20 * i, 0, 15, 15] for i in range(count)]
    truth = {"images": [{"id": 1}], "categories": [{"id": 3, "name": "cell"}], "annotations": [
        {"id": i, "image_id": 1, "category_id": 3, "bbox": box} for i, box in enumerate(boxes)]}  # fmt: skip
    records = [{"image_id": 1, "category_id": 3, "bbox": box, "score": 0.9 - i / 1000} for i, box in enumerate(boxes)]
    return truth, records


def test_more_than_a_hundred_objects_need_more_detections():
    truth, records = row_of_objects(150)
    plain, more = evaluate_coco(truth, records), evaluate_coco(truth, records, max_detections=400)
    assert plain["AP"] == pytest.approx(0.663, abs=1e-3) and "AP@400" not in plain
    assert {name: more[name] for name in plain} == plain
    assert (more["AP@400"], more["AR@400"]) == (1.0, 1.0)


def test_results_are_what_pycocotools_loads(tmp_path):
    truth, records = row_of_objects(20)
    write_results(tmp_path / "results.json", records)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    with contextlib.redirect_stdout(io.StringIO()):
        found = COCO(str(tmp_path / "truth.json")).loadRes(str(tmp_path / "results.json"))
    assert [{k: a[k] for k in records[0]} for a in found.anns.values()] == records
