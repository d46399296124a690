"""Losses against their definitions in float64."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from tests.compare import assert_agrees, assert_gradients_agree, tensors
from tests.oracles.losses import slow_cross_entropy, slow_iou_loss, slow_l1
from yolox.losses import binary_cross_entropy_with_logits, iou_loss, l1_loss


def _pair(shape=(3, 4), seed=0):
    rng = np.random.default_rng(seed)
    return [3 * rng.standard_normal(shape), rng.uniform(0, 1, shape)]


@pytest.mark.parametrize(("function", "oracle"), [
    (binary_cross_entropy_with_logits, slow_cross_entropy),
    (l1_loss, slow_l1),
])
def test_losses_of_pairs_agree_with_the_oracle(function, oracle):
    assert_agrees(function, oracle, _pair())
    assert_gradients_agree(function, oracle, _pair())


def test_iou_loss_agrees_with_the_oracle():
    overlaps = [np.random.default_rng(0).uniform(0, 1, (3, 4))]
    assert_agrees(iou_loss, slow_iou_loss, overlaps)
    assert_gradients_agree(iou_loss, slow_iou_loss, overlaps)


def test_by_hand():
    logits, targets = tensors([0.0, 0.0, np.log(3), np.log(3)], [0.0, 0.5, 1.0, 0.0])
    want = [np.log(2), np.log(2), np.log(4 / 3), np.log(4)]
    np.testing.assert_allclose(binary_cross_entropy_with_logits(logits, targets).asnumpy(), want, rtol=1e-5)
    assert iou_loss(Tensor([0.0, 0.6, 1.0])).asnumpy() == pytest.approx([1.0, 0.64, 0.0])
    assert l1_loss(Tensor([1.0, -1.0]), Tensor([3.0, -1.5])).asnumpy().tolist() == [2.0, 0.5]


def _entropy_sum(logits, targets):
    return binary_cross_entropy_with_logits(logits, targets).sum()


@pytest.mark.parametrize("compiled", [False, True])
def test_cross_entropy_is_exact_at_its_extremes(compiled):
    logits, targets = tensors([0.0, 500.0, -500.0, 500.0, -500.0], [0.25, 1.0, 0.0, 0.0, 1.0])
    run = ms.jit(ms.value_and_grad(_entropy_sum)) if compiled else ms.value_and_grad(_entropy_sum)
    total, gradient = run(logits, targets)
    assert total.asnumpy() == pytest.approx(1000 + np.log(2), rel=1e-6)
    # 0.25 at logit 0: forms with an absolute value lose the 0.5 of the sigmoid there
    np.testing.assert_allclose(gradient.asnumpy(), [0.25, 0, 0, 1, -1], atol=1e-6)


def test_cross_entropy_is_least_where_the_sigmoid_is_the_target():
    logits = np.linspace(-4, 4, 81, dtype=np.float32)
    targets = np.full(81, 1 / (1 + np.exp(-1.0)), np.float32)
    losses = binary_cross_entropy_with_logits(Tensor(logits), Tensor(targets)).asnumpy()
    assert logits[losses.argmin()] == pytest.approx(1.0) and (losses > 0).all()


def test_errors_say_what_came_and_what_was_wanted():
    with pytest.raises(ValueError, match=r"logits have shape \(2, 1\) and targets \(2, 3\), want equal"):
        binary_cross_entropy_with_logits(ops.zeros((2, 1)), ops.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"l1_loss: predictions have shape \(2,\) and targets \(3,\)"):
        l1_loss(ops.zeros((2,)), ops.zeros((3,)))
