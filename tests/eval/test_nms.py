import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.nms import slow_nms
from yolox.eval.nms import batched_nms, nms


def _random(seed, n, *, classes=3, whole=False):
    rng = np.random.default_rng(seed)
    corner, size = rng.random((n, 2)) * 50, rng.random((n, 2)) * 30
    if whole:  # many equal edges, equal boxes, boxes without area
        corner, size = rng.integers(0, 12, (n, 2)), rng.integers(0, 8, (n, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    return boxes, np.round(rng.random(n), 1).astype(np.float32), rng.integers(0, classes, n)


@pytest.mark.parametrize("iou_threshold", [0.0, 0.1, 0.3, 0.5, 0.65, 0.9, 1.0])
@pytest.mark.parametrize("whole", [False, True])
def test_agrees_with_box_by_box_suppression(iou_threshold, whole):
    for seed in range(12):
        boxes, scores, classes = _random(seed, 10 * seed, whole=whole)
        want = slow_nms(boxes, scores, classes, iou_threshold)
        assert batched_nms(boxes, scores, classes, iou_threshold).tolist() == want


def test_agrees_over_more_boxes_than_one_chunk(monkeypatch):
    monkeypatch.setattr(sys.modules["yolox.eval.nms"], "_CHUNK", 16)  # the package's `nms` is the function
    boxes, scores, classes = _random(3, 150)
    assert batched_nms(boxes, scores, classes, 0.3).tolist() == slow_nms(boxes, scores, classes, 0.3)


def test_hand_worked():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5], [40, 0, 50, 10]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.95], np.float32)
    # IoU of 0 with 1 is 0.8 and with 2 is 0.5; of 1 with 2 it is 0.625, but 1 is gone when 2 is asked
    assert nms(boxes, scores, 0.6).tolist() == [3, 0, 2]
    assert nms(boxes, scores, 0.45).tolist() == [3, 0]


def test_overlap_equal_to_the_threshold_stays():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    assert nms(boxes, np.array([0.9, 0.8]), 0.5).tolist() == [0, 1]
    assert nms(boxes, np.array([0.9, 0.8]), np.nextafter(0.5, 0)).tolist() == [0]


def test_ties_go_to_the_lower_index():
    boxes = np.tile(np.array([[0, 0, 4, 4]], np.float32), (5, 1))
    assert nms(boxes, np.full(5, 0.5, np.float32), 0.5).tolist() == [0]
    assert nms(boxes + 10 * np.arange(5)[:, None], np.full(5, 0.5), 0.5).tolist() == [0, 1, 2, 3, 4]


def test_chain_of_overlaps_keeps_every_other_box():
    left = np.arange(9, dtype=np.float32) * 3  # neighbours overlap by 7 of 13, the next but one by 4 of 16
    boxes = np.stack([left, 0 * left, left + 10, 0 * left + 10], axis=1)
    assert nms(boxes, np.linspace(0.9, 0.1, 9), 0.5).tolist() == [0, 2, 4, 6, 8]


def test_classes_never_suppress_each_other_however_far_out_the_boxes_lie():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [1e7, 0, 1e7 + 4, 4], [1e7, 0, 1e7 + 4, 4]], np.float32)
    scores, classes = np.array([0.9, 0.8, 0.7, 0.6]), np.array([0, 1, 2, 2])
    assert batched_nms(boxes, scores, classes, 0.5).tolist() == [0, 1, 2]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 60), st.floats(0, 1))
def test_properties(seed, n, iou_threshold):
    boxes, scores, classes = _random(seed, n, whole=bool(seed % 2))
    kept = batched_nms(boxes, scores, classes, iou_threshold)
    assert len(set(kept.tolist())) == len(kept) and (np.diff(scores[kept]) <= 0).all()
    again = batched_nms(boxes[kept], scores[kept], classes[kept], iou_threshold)
    assert again.tolist() == list(range(len(kept)))  # what is kept stays

    limited = batched_nms(boxes, scores, classes, iou_threshold, max_kept=3)
    assert limited.tolist() == kept[:3].tolist()


def test_boxes_that_are_not_finite_suppress_nothing_else():
    good = np.array([[0, 0, 10, 10], [1, 0, 11, 10]], np.float32)
    bad = np.array([[-np.inf, 0, np.inf, 5], [np.nan, 0, 5, 5], [0, 0, np.inf, np.inf]], np.float32)
    kept = nms(np.concatenate([bad, good]), np.array([0.9, 0.9, 0.9, 0.8, 0.7]), 0.5)
    assert 3 in kept and 4 not in kept


def test_nothing_in_nothing_out():
    assert nms(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


@pytest.mark.parametrize("shapes", [((3, 5), 3, 3), ((3, 4), 2, 2), ((3, 4), 3, 2)])
def test_shapes_that_do_not_belong_together(shapes):
    boxes, scores, classes = (np.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"nms: boxes \(3, \d\), .* want \[N,4\], \[N\], \[N\]"):
        batched_nms(boxes, scores, classes, 0.5)
