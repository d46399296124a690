"""Costs against plain loops, in eager and jit, at the limits of the logarithm, and without an axis for classes."""

import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from tests.oracles.simota import class_cost as slow_class_cost
from yolox.assign.cost import class_cost, class_terms, simota_cost
from yolox.config import AssignConfig


def _class_cost(obj, cls, gt_classes):
    return class_cost(*class_terms(obj, cls), gt_classes)


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_class_cost_equals_the_sum_over_classes(scale):
    rng = np.random.default_rng(0)
    obj, cls = rng.normal(0, scale, (2, 7)).astype(np.float32), rng.normal(0, scale, (2, 7, 5)).astype(np.float32)
    labels = rng.integers(0, 5, (2, 3)).astype(np.int32)
    want = [
        [[slow_class_cost(obj[b, p], cls[b, p], labels[b, g]) for p in range(7)] for g in range(3)] for b in range(2)
    ]
    for run in (_class_cost, ms.jit(_class_cost)):
        got = run(Tensor(obj), Tensor(cls), Tensor(labels))
        assert got.dtype == ms.float32
        np.testing.assert_allclose(got.asnumpy(), want, rtol=1e-3, atol=1e-4)  # 1 - p loses digits near 1


def test_logarithms_stop_at_minus_hundred():
    # Sure of class 0 where class 1 is true: 100 for each of the two.
    cost = _class_cost(Tensor([[200.0]]), Tensor([[[200.0, -200.0]]]), Tensor([[1]], ms.int32))
    assert 143.6 < cost.asnumpy().item() <= 200.0 and math.isfinite(cost.asnumpy().item())
    perfect = _class_cost(Tensor([[200.0]]), Tensor([[[200.0, -200.0]]]), Tensor([[0]], ms.int32))
    np.testing.assert_allclose(perfect.asnumpy(), 0.0, atol=1e-5)


def test_one_value_by_hand():
    # sigmoid(0) = 1/2 twice: p = 1/2 for both classes, so -2 log(1/2); overlap 1/2 costs 3 log 2; then the penalty.
    class_costs = _class_cost(Tensor([[0.0, 0.0]]), Tensor([[[0.0, 0.0], [0.0, 0.0]]]), Tensor([[0]], ms.int32))
    iou, own = Tensor([[[0.5, 0.5]]]), Tensor([[[True, False]]])
    cost = simota_cost(class_costs, iou, own, config=AssignConfig(outside_penalty=1000.0)).asnumpy()
    np.testing.assert_allclose(cost[0, 0], [5 * math.log(2), 1000 + 5 * math.log(2)], rtol=1e-6)


def test_no_overlap_has_a_finite_cost():
    cost = simota_cost(Tensor([[[0.0]]]), Tensor([[[0.0]]]), Tensor([[[True]]]), config=AssignConfig())
    np.testing.assert_allclose(cost.asnumpy(), -3 * math.log(1e-8), rtol=1e-5)


def test_says_what_does_not_fit():
    with pytest.raises(ValueError, match=r"class_terms: obj_logits has shape \(1, 1, 1\), want \[B,P\]"):
        class_terms(Tensor([[[0.0]]]), Tensor([[[0.0]]]))
    with pytest.raises(ValueError, match=r"class_cost: gt_classes has shape \(1,\), want \[B,G\]"):
        class_cost(Tensor([[0.0]]), Tensor([[[0.0]]]), Tensor([0]))
