"""The loss scale by hand, step for step."""

import pytest

from yolox.config import OptimConfig
from yolox.training.progress import MAX_LOSS_SCALE, MIN_LOSS_SCALE, LossScale, initial_loss_scale, next_loss_scale

HALF = OptimConfig(precision="float16", loss_scale=8.0, loss_scale_interval=3)


def follow(steps, scale, optim=HALF):
    values = []
    for finite in steps:
        scale = next_loss_scale(scale, finite == "+", optim)
        values.append(scale.value)
    return values


def test_it_doubles_after_good_steps_in_a_row_and_halves_at_an_overflow():
    assert follow("+++++-++-+++", initial_loss_scale(HALF)) == [8, 8, 16, 16, 16, 8, 8, 8, 4, 4, 4, 8]


def test_it_has_limits():
    assert follow("--", LossScale(MIN_LOSS_SCALE)) == [MIN_LOSS_SCALE, MIN_LOSS_SCALE]
    assert follow("+" * 6, LossScale(MAX_LOSS_SCALE)) == [MAX_LOSS_SCALE] * 6


def test_float32_has_none():
    assert follow("+++-", initial_loss_scale(OptimConfig()), OptimConfig(loss_scale_interval=1)) == [1.0] * 4


def test_an_interval_below_one_is_refused():
    with pytest.raises(ValueError, match="loss_scale_interval"):
        OptimConfig(loss_scale_interval=0)
