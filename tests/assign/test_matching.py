"""Matching: how many points, which, and who keeps a point that several took."""

import mindspore as ms
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mindspore import Tensor

from yolox.assign.matching import NEVER, dynamic_k, dynamic_k_matching, select_k_lowest


def _slow_lowest(cost, k):
    taken = np.zeros(cost.shape, bool)
    for b, g in np.ndindex(cost.shape[:2]):
        order = sorted(range(cost.shape[2]), key=lambda p: (cost[b, g, p], p))  # noqa: B023
        taken[b, g, [p for p in order[: k[b, g]] if cost[b, g, p] < NEVER]] = True
    return taken


@pytest.mark.parametrize("points", [3, 10, 40])
def test_take_lowest_equals_a_sort_and_ties_go_to_the_lower_index(points):
    rng = np.random.default_rng(points)
    cost = rng.integers(0, 6, (2, 4, points)).astype(np.float32)  # many ties
    cost[rng.random(cost.shape) < 0.3] = NEVER
    k = rng.integers(1, 11, (2, 4)).astype(np.int32)
    for run in (select_k_lowest, ms.jit(select_k_lowest)):
        np.testing.assert_array_equal(run(Tensor(cost), Tensor(k)).asnumpy(), _slow_lowest(cost, k))


def test_dynamic_k_sums_the_ten_best_candidates_only():
    iou = np.full((1, 3, 30), 0.95, np.float32)
    iou[0, 1] = 0.05
    iou[0, 2, 1:] = 0.0
    candidate = np.ones((1, 30), bool)
    assert dynamic_k(Tensor(iou), candidate=Tensor(candidate)).asnumpy().tolist() == [[9, 1, 1]]
    candidate[0, 4:] = False
    assert dynamic_k(Tensor(iou), candidate=Tensor(candidate)).asnumpy().tolist() == [[3, 1, 1]]
    assert dynamic_k(Tensor(iou), candidate=Tensor(candidate), top_k=2).asnumpy().tolist() == [[1, 1, 1]]


def test_a_contested_point_goes_to_the_lowest_cost_of_all_ground_truths():
    # Ground truths 0 and 1 select point 0; 2 selects point 1, yet has the lowest cost at point 0 and gets it too.
    cost = Tensor([[[2.0, 9.0, 9.0], [3.0, 9.0, 9.0], [1.0, 0.5, 9.0]]])
    iou = Tensor(np.full((1, 3, 3), 0.1, np.float32))
    everything = {"valid": Tensor([[True] * 3]), "candidate": Tensor([[True] * 3])}
    match = dynamic_k_matching(cost, iou, **everything).asnumpy()[0]
    np.testing.assert_array_equal(match, [[0, 0, 0], [0, 0, 0], [1, 1, 0]])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_one_ground_truth_a_point_and_nothing_outside(seed):
    rng = np.random.default_rng(seed)
    cost, iou = rng.random((2, 5, 12)).astype(np.float32), rng.random((2, 5, 12)).astype(np.float32)
    valid, candidate = rng.random((2, 5)) < 0.7, rng.random((2, 12)) < 0.6
    match = dynamic_k_matching(
        Tensor(cost), Tensor(iou), valid=Tensor(valid), candidate=Tensor(candidate)
    ).asnumpy()
    assert match.sum(1).max() <= 1
    assert not match[~valid].any() and not match.transpose(0, 2, 1)[~candidate].any()
    for image in range(2):
        assert match[image].any() == (valid[image].any() and candidate[image].any())


def test_says_what_does_not_fit():
    with pytest.raises(ValueError, match=r"dynamic_k: candidate has shape \(3,\), want \[B,P\]"):
        dynamic_k(Tensor(np.zeros((1, 1, 3), np.float32)), candidate=Tensor([True] * 3))
