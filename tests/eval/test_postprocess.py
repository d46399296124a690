import sys
import types

import attrs
import numpy as np
import pytest
from attrs import evolve

from tests.oracles.nms import slow_postprocess
from yolox.config import PostprocessConfig
from yolox.eval.postprocess import Detections, class_indices, postprocess, with_names


def _decoded(seed, points=80, classes=5):
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.random((points, 2)) * 60, rng.random((points, 2)) * 40 + 1], axis=1)
    return np.concatenate([boxes, rng.random((points, 1 + classes))], axis=1).astype(np.float32)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("score_threshold", [0.0, 0.3, 0.9])
def test_agrees_with_prediction_by_prediction(multi_label, score_threshold):
    for seed in range(8):
        values = dict(score_threshold=score_threshold, iou_threshold=0.4, multi_label=multi_label)
        found = postprocess(_decoded(seed), config=PostprocessConfig(**values, max_detections=10**6))
        want = slow_postprocess(_decoded(seed), **values)
        assert found.classes.tolist() == [c for _, _, c in want]
        np.testing.assert_array_equal(found.scores, np.array([s for _, s, _ in want], np.float32))
        np.testing.assert_allclose(found.boxes, np.array([b for b, _, _ in want]).reshape(-1, 4), atol=1e-4)


def test_hand_worked_best_class_and_every_class():
    row = np.array([[50, 50, 20, 10, 0.5, 0.4, 0.8]], np.float32)
    best = postprocess(row, config=PostprocessConfig(score_threshold=0.1))
    assert best.boxes.tolist() == [[40, 45, 60, 55]] and best.classes.tolist() == [1]
    np.testing.assert_allclose(best.scores, [0.4])
    every = postprocess(row, config=PostprocessConfig(score_threshold=0.1, multi_label=True))
    assert every.classes.tolist() == [1, 0]
    np.testing.assert_allclose(every.scores, [0.4, 0.2])


def test_score_equal_to_the_threshold_is_left_out():
    row = np.array([[50, 50, 20, 10, 0.5, 0.5]], np.float32)
    assert len(postprocess(row, config=PostprocessConfig(score_threshold=0.25))) == 0
    assert len(postprocess(row, config=PostprocessConfig(score_threshold=0.2499))) == 1


@pytest.mark.parametrize("multi_label", [False, True])
def test_limits_keep_the_best(multi_label):
    config = PostprocessConfig(score_threshold=0.0, multi_label=multi_label, max_detections=10**6)
    everything = postprocess(_decoded(1), config=config)
    limited = postprocess(_decoded(1), config=attrs.evolve(config, max_detections=7))
    np.testing.assert_array_equal(limited.boxes, everything.boxes[:7])
    few = postprocess(_decoded(1), config=attrs.evolve(config, max_candidates=1))
    assert few.scores.tolist() == everything.scores[:1].tolist()


def test_types_and_order():
    found = postprocess(_decoded(2), config=PostprocessConfig(score_threshold=0.0))
    assert (found.boxes.dtype, found.scores.dtype, found.classes.dtype) == (np.float32, np.float32, np.int32)
    assert (np.diff(found.scores) <= 0).all()


def test_input_is_left_as_it_is():
    decoded = _decoded(0)
    postprocess(decoded, config=PostprocessConfig())
    np.testing.assert_array_equal(decoded, _decoded(0))


@pytest.mark.parametrize("multi_label", [False, True])
def test_nothing_found(multi_label):
    found = postprocess(np.zeros((20, 8), np.float32), config=PostprocessConfig(multi_label=multi_label))
    assert len(found) == 0 and found.boxes.shape == (0, 4)


def test_predictions_that_are_not_finite_are_left_out():
    decoded = _decoded(0, points=4)
    decoded[:, 4:] = 0.9
    decoded[0, 2], decoded[1, 4], decoded[2, 0] = np.inf, np.nan, np.nan
    assert len(postprocess(decoded, config=PostprocessConfig())) == 1


@pytest.mark.parametrize("shape", [(2, 20, 8), (20, 5), (8,)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError, match="postprocess: decoded has shape .* want \\[P,5\\+C\\]"):
        postprocess(np.zeros(shape, np.float32), config=PostprocessConfig())


def test_detections_check_their_shapes():
    with pytest.raises(ValueError, match="Detections: boxes, scores, classes are"):
        Detections(np.zeros((2, 4)), np.zeros(2), np.zeros(3))
    assert len(Detections()) == 0


FOUND = Detections(np.array([[1, 2, 4, 6.0]], np.float32), np.array([0.5], np.float32), np.array([1], np.int32))


def test_coco_records():
    record = {"image_id": 9, "category_id": 7, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5}
    assert FOUND.to_coco(image_id=9, category_ids=[3, 7]) == [record]


def test_supervision(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", types.SimpleNamespace(Detections=dict))
    made = with_names(FOUND, ["cat", "dog"]).to_supervision()
    assert made["xyxy"] is FOUND.boxes and made["data"]["class_name"].tolist() == ["dog"]
    assert (made["confidence"].tolist(), made["class_id"].tolist()) == ([0.5], [1])
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match="pip install supervision"):
        FOUND.to_supervision()


@pytest.mark.parametrize("line", ["import nothing_of_this_name", "from math import nothing_of_this_name"])
def test_a_supervision_that_cannot_be_loaded_is_told_with_its_reason(monkeypatch, tmp_path, line):
    (tmp_path / "supervision.py").write_text(line)
    monkeypatch.delitem(sys.modules, "supervision", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="cannot be loaded .*nothing_of_this_name") as error:
        FOUND.to_supervision()
    assert "pip install" not in str(error.value)


def test_names_fit_the_boxes():
    with pytest.raises(ValueError, match="2 names for 1 boxes"):
        evolve(FOUND, names=("a", "b"))
    with pytest.raises(ValueError, match="class 1, but there are 1 names"):
        with_names(FOUND, ["cat"])


@pytest.mark.parametrize("multi_label", [False, True])
def test_classes_are_kept_before_the_limits(multi_label):
    config = PostprocessConfig(score_threshold=0.0, multi_label=multi_label, max_detections=10**6)
    everything, kept = postprocess(_decoded(3), config=config), postprocess(_decoded(3), config=config, classes=(1, 4))
    rows = np.isin(everything.classes, (1, 4))
    np.testing.assert_array_equal(kept.boxes, everything.boxes[rows])
    assert 0 < len(kept) < len(everything) and set(kept.classes.tolist()) == {1, 4}
    one = postprocess(_decoded(3), config=attrs.evolve(config, max_detections=1, max_candidates=1), classes=(4,))
    assert one.classes.tolist() == [4]  # the best of the class, not nothing because another class is better


def test_classes_by_name_and_index():
    names = ("cat", "dog", "2", "traffic light")
    assert class_indices(["dog", "cat", 1], names) == class_indices((1, 0), names) == (0, 1)
    assert class_indices(["2", "3"], names) == (2, 3) and class_indices("cat", names) == (0,)
    assert class_indices([7, "1"], None) == (1, 7) and class_indices([], names) == ()
    for wanted, message in (
        (["Traffic-Light"], "no class 'Traffic-Light' among 4; perhaps you meant traffic light"),
        ([9], r"no class '9' among 4; want a name \(cat, dog, 2 and 1 more\) or its index from 0"),
        (["-1"], "no class '-1' among 4"),
    ):
        with pytest.raises(ValueError, match=message):
            class_indices(wanted, names)
    with pytest.raises(ValueError, match="got 'dog', want an index, as the detector has no class names"):
        class_indices(["dog"], None)


def test_detections_above_a_score_keep_their_order_and_names():
    boxes, scores = np.arange(12, dtype=np.float32).reshape(3, 4), np.array([0.9, 0.5, 0.6], np.float32)
    found = Detections(boxes, scores, np.array([2, 0, 1], np.int32), ("c", "a", "b"))
    above = found.above(0.5)
    assert above.boxes.tolist() == boxes[[0, 2]].tolist() and above.names == ("c", "b")
    assert (above.scores.tolist(), above.classes.tolist()) == (scores[[0, 2]].tolist(), [2, 1])
    assert len(Detections().above(0.5)) == 0 and found.above(0).names == found.names
