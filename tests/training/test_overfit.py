"""The check on one batch, with steps whose losses are known; and one real step."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from yolox.training.overfit import RATE, WARMUP_STEPS, overfit

BATCH = (
    np.zeros((2, 32, 32, 3), np.uint8),
    np.ones((2, 4, 4), np.float32),
    np.zeros((2, 4), np.int32),
    np.array([[True, False, False, False]] * 2),
)


class FakeStep:
    """Gives the losses of a list, and keeps the scalars it was called with."""

    def __init__(self, losses, *, num_pos=3, bad_at=None):
        self.losses, self.num_pos, self.bad_at, self.scalars = list(losses), num_pos, bad_at, []

    def __call__(self, images, gt_boxes, gt_classes, valid, lr, ema_decay, l1_weight):
        assert (images.shape, gt_boxes.dtype, valid.dtype) == ((2, 32, 32, 3), ms.float32, ms.bool_)
        number = len(self.scalars)
        self.scalars.append(tuple(float(s.asnumpy()) for s in (lr, ema_decay, l1_weight)))
        finite = ms.Tensor(number != self.bad_at)
        losses = {"total": ms.Tensor(self.losses[number], ms.float32)}
        return losses, ms.Tensor(self.num_pos, ms.int32), finite, ms.Tensor(np.zeros(3, np.float32))


def test_a_loss_that_collapses_is_sound_and_ends_the_loop():
    step, seen = FakeStep([10, 8, 6, 3.9, 1]), []
    report = overfit(step, BATCH, on_step=lambda *values: seen.append(values))
    assert report.sound and report.losses == pytest.approx((10, 8, 6, 3.9))
    assert report.message == "sound: the loss of one batch fell from 10.00 to 3.90 in 4 steps"
    assert [number for number, _ in seen] == [1, 2, 3, 4]


def test_the_rate_rises_over_the_first_steps():
    step = FakeStep([10.0 - i / 100 for i in range(40)])
    overfit(step, BATCH, max_steps=40)
    rates = [lr for lr, *_ in step.scalars]
    assert rates[0] == pytest.approx(RATE / WARMUP_STEPS) and rates[WARMUP_STEPS:] == pytest.approx([RATE] * 20)
    assert all(rest == [0.0, 0.0] for _, *rest in step.scalars)


@pytest.mark.parametrize(
    ("step", "steps", "message"),
    [
        (FakeStep([10, 9, 9], bad_at=1), 2, "not finite at step 2"),
        (FakeStep([10, 9], num_pos=0), 1, "no point is matched to a box at step 1"),
        (FakeStep([7.5] * 300), 21, "the loss is 7.50 at every one of 21 steps: the update does not reach"),
        (FakeStep([10 - 0.01 * i for i in range(300)]), 300, "from 10.00 to 7.01 in 300 steps, and should fall below 4.00"),
    ],
)
def test_what_fails_says_where_to_look(step, steps, message):
    report = overfit(step, BATCH)
    assert not report.sound and message in report.message and len(report.losses) == steps


def test_a_batch_without_boxes_fails_before_any_step():
    step = FakeStep([])
    report = overfit(step, (*BATCH[:3], np.zeros((2, 4), bool)))
    assert not report.sound and "the batch has no box" in report.message and step.scalars == []
