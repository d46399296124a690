"""Regions of points against plain loops and by hand."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from tests.assign.cases import random_case
from tests.oracles.simota import inside, near_center
from yolox.assign.geometry import center_prior, geometry_prior, in_box
from yolox.config import AssignConfig


def _near(points, strides, boxes):
    return center_prior(points, strides, boxes, radius=1.5)


@pytest.mark.parametrize("kind", ["mixed", "tiny", "edges"])
def test_regions_equal_nested_loops(kind):
    _, _, points, strides, gt_boxes, _, _ = random_case(np.random.default_rng(0), kind=kind)
    near = [[[near_center(p, s, box) for p, s in zip(points, strides, strict=True)] for box in row] for row in gt_boxes]
    within = [[[inside(p, box) for p in points] for box in row] for row in gt_boxes]
    tensors = (Tensor(points), Tensor(strides), Tensor(gt_boxes))
    for run in (_near, ms.jit(_near)):
        np.testing.assert_array_equal(run(*tensors).asnumpy(), near)
    for run in (in_box, ms.jit(in_box)):
        np.testing.assert_array_equal(run(tensors[0], tensors[2]).asnumpy(), within)


def test_at_most_nine_points_a_level_and_the_edge_is_outside():
    points, strides = Tensor([[float(x), 4.0] for x in (4, 12, 20, 28, 36)]), Tensor([8.0] * 5)
    on_a_point = center_prior(points, strides, Tensor([[[15.0, 0.0, 25.0, 8.0]]]), radius=1.5)
    between = center_prior(points, strides, Tensor([[[11.0, 0.0, 21.0, 8.0]]]), radius=1.5)
    assert on_a_point.asnumpy().tolist() == [[[False, True, True, True, False]]]
    assert between.asnumpy().tolist() == [[[False, True, True, False, False]]]  # 4 and 28 lie 12 px away


def test_points_of_each_image_may_differ():
    points, strides = Tensor([[[4.0, 4.0]], [[12.0, 4.0]]]), Tensor([[8.0], [1.0]])
    boxes = Tensor([[[0.0, 0.0, 8.0, 8.0]]] * 2)
    assert center_prior(points, strides, boxes, radius=1.5).asnumpy().tolist() == [[[True]], [[False]]]


def test_padding_owns_nothing_and_adds_no_candidate():
    points, strides = Tensor([[4.0, 4.0], [60.0, 60.0]]), Tensor([8.0, 8.0])
    boxes = Tensor([[[0.0, 0.0, 8.0, 8.0], [56.0, 56.0, 64.0, 64.0]]])
    for prior in ("center", "box_and_center", "box_or_center"):
        own, candidate = geometry_prior(
            points, strides, boxes, Tensor([[False, True]]), config=AssignConfig(prior=prior)
        )
        assert own.asnumpy().tolist() == [[[False, False], [False, True]]]
        assert candidate.asnumpy().tolist() == [[False, True]]


def test_candidates_of_the_other_rule_need_not_be_preferred():
    points, strides = Tensor([[4.0, 4.0], [44.0, 4.0]]), Tensor([8.0, 8.0])
    own, candidate = geometry_prior(
        points, strides, Tensor([[[0.0, 0.0, 48.0, 8.0]]]), Tensor([[True]]), config=AssignConfig(prior="box_and_center")
    )
    assert not own.asnumpy().any() and candidate.asnumpy().all()


def test_candidates_of_the_union_lie_in_a_box_or_near_a_centre():
    points = Tensor([[24.0, 4.0], [44.0, 4.0], [24.0, 10.0], [24.0, 30.0]])  # both, box, centre, neither
    own, candidate = geometry_prior(
        points, Tensor([8.0] * 4), Tensor([[[0.0, 0.0, 48.0, 8.0]]]), Tensor([[True]]), config=AssignConfig(prior="box_or_center")
    )
    assert own.asnumpy().tolist() == [[[True, False, False, False]]]
    assert candidate.asnumpy().tolist() == [[True, True, True, False]]


def test_says_what_does_not_fit():
    with pytest.raises(ValueError, match=r"center_prior: gt_boxes has shape \(2, 4\), want \[B,G,4\]"):
        center_prior(Tensor([[4.0, 4.0]]), Tensor([8.0]), Tensor(np.zeros((2, 4), np.float32)), radius=1.5)
    with pytest.raises(ValueError, match=r"in_box: gt_boxes has shape \(1, 2, 5\), want last dimension 4"):
        in_box(Tensor([[4.0, 4.0]]), Tensor(np.zeros((1, 2, 5), np.float32)))
