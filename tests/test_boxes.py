"""Boxes against an oracle that handles one pair at a time."""

import mindspore as ms
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mindspore import Tensor, ops

from tests.compare import assert_agrees, assert_gradients_agree, tensors
from tests.oracles.boxes import (
    slow_area,
    slow_center_size,
    slow_convert,
    slow_elementwise_iou,
    slow_pairwise_iou,
)
from yolox.boxes import area, cxcywh_to_xyxy, elementwise_iou, pairwise_iou, xywh_to_xyxy, xyxy_to_cxcywh


def boxes(shape, *, seed=0, span=40.0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, span, (*shape, 2))
    return np.concatenate((corner, corner + rng.uniform(2, span, (*shape, 2))), axis=-1)


CONVERSIONS = [
    (cxcywh_to_xyxy, lambda b: slow_convert(b, "cxcywh")),
    (xywh_to_xyxy, lambda b: slow_convert(b, "xywh")),
    (xyxy_to_cxcywh, slow_center_size),
    (area, slow_area),
]


@pytest.mark.parametrize(("function", "oracle"), CONVERSIONS)
@pytest.mark.parametrize("shape", [(5,), (2, 3)])
def test_conversions_agree_with_the_oracle(function, oracle, shape):
    assert_agrees(function, oracle, [boxes(shape)], rtol=1e-5)
    assert_gradients_agree(function, oracle, [boxes(shape)])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_center_and_size_come_back(seed):
    given_boxes = boxes((7,), seed=seed, span=600.0).astype(np.float32)
    back = cxcywh_to_xyxy(xyxy_to_cxcywh(Tensor(given_boxes)))
    np.testing.assert_allclose(back.asnumpy(), given_boxes, rtol=1e-6, atol=2e-4)


@pytest.mark.parametrize(("a", "b", "want"), [
    ([0, 0, 4, 4], [0, 0, 4, 4], 1.0),
    ([0, 0, 4, 4], [2, 2, 6, 6], 4 / 28),
    ([0, 0, 4, 4], [1, 1, 3, 3], 4 / 16),
    ([0, 0, 4, 4], [4, 0, 8, 4], 0.0),  # an edge in common
    ([0, 0, 4, 4], [5, 5, 8, 8], 0.0),  # apart on both axes: two negative lengths do not make an overlap
    ([0, 0, 0, 0], [0, 0, 0, 0], 0.0),  # padding
    ([1, 1, 1, 1], [0, 0, 4, 4], 0.0),
    ([0, 0, 1e-3, 1e-3], [0, 0, 1e-3, 5e-4], 0.5),  # eps changes nothing above it
])
def test_iou_by_hand(a, b, want):
    one, other = tensors([[a]], [[b]])
    for run in (pairwise_iou, elementwise_iou):
        assert run(one, other).asnumpy().item() == pytest.approx(want, rel=1e-6)


def test_pairwise_iou_agrees_with_the_oracle():
    a, b = boxes((2, 5)), boxes((2, 6), seed=1)
    assert_agrees(pairwise_iou, slow_pairwise_iou, [a, b])
    assert_gradients_agree(pairwise_iou, slow_pairwise_iou, [a, b])


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((2, 3, 4), (2, 3, 1)), ((2, 1, 3), (1, 4, 3))])
def test_elementwise_iou_agrees_with_the_oracle(shapes):
    a, b = boxes(shapes[0]), boxes(shapes[1], seed=1)
    assert_agrees(elementwise_iou, slow_elementwise_iou, [a, b])
    assert_gradients_agree(elementwise_iou, slow_elementwise_iou, [a, b])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_iou_is_a_share_symmetric_and_follows_permutations(seed):
    a, b = boxes((1, 5), seed=seed), boxes((1, 5), seed=seed + 1)
    order = np.random.default_rng(seed).permutation(5)
    iou = pairwise_iou(*tensors(a, b)).asnumpy()
    assert ((iou >= 0) & (iou <= 1)).all()
    np.testing.assert_array_equal(pairwise_iou(*tensors(b, a)).asnumpy(), iou.transpose(0, 2, 1))
    np.testing.assert_array_equal(pairwise_iou(*tensors(a[:, order], b)).asnumpy(), iou[:, order])
    elementwise = elementwise_iou(*tensors(a, b)).asnumpy()
    np.testing.assert_array_equal(elementwise, np.diagonal(iou, axis1=1, axis2=2))


def _iou_sum(a, b):
    return elementwise_iou(a, b).sum()


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_are_zero_where_boxes_do_not_overlap_and_finite_for_empty_ones(compiled):
    a, b = tensors([[0, 0, 4, 4], [0, 0, 0, 0], [0, 0, 4, 4]], [[9, 9, 12, 12], [0, 0, 0, 0], [4, 0, 8, 4]])
    gradient = ms.grad(_iou_sum, (0, 1))
    for one in (ms.jit(gradient) if compiled else gradient)(a, b):
        np.testing.assert_array_equal(one.asnumpy(), np.zeros((3, 4)))


def test_padding_changes_no_other_pair():
    a, b = boxes((1, 3)), boxes((1, 4), seed=1)
    padded = np.concatenate((a, np.zeros((1, 2, 4))), axis=1)
    iou = pairwise_iou(*tensors(padded, b)).asnumpy()
    np.testing.assert_array_equal(iou[:, :3], pairwise_iou(*tensors(a, b)).asnumpy())
    assert not iou[:, 3:].any()


def test_errors_say_what_came_and_what_was_wanted():
    for function in (cxcywh_to_xyxy, xyxy_to_cxcywh, xywh_to_xyxy, area):
        with pytest.raises(ValueError, match=rf"{function.__name__}: boxes has shape \(2, 5\), want .* 4"):
            function(ops.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"pairwise_iou: b has shape \(3, 4\), want \[B,M,4\]"):
        pairwise_iou(ops.zeros((1, 2, 4)), ops.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"pairwise_iou: a has shape \(1, 2, 5\), want last dimension 4"):
        pairwise_iou(ops.zeros((1, 2, 5)), ops.zeros((1, 3, 4)))
    with pytest.raises(ValueError, match=r"pairwise_iou: a is \(1, 2, 4\) and b \(2, 3, 4\), want the same"):
        pairwise_iou(ops.zeros((1, 2, 4)), ops.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"elementwise_iou: a is \(2, 4\) and b \(3, 4\), want them broad"):
        elementwise_iou(ops.zeros((2, 4)), ops.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"elementwise_iou: a is \(2, 4\) and b \(1, 2, 4\), want equal"):
        elementwise_iou(ops.zeros((2, 4)), ops.zeros((1, 2, 4)))
