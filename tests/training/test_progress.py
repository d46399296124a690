"""Positions survive JSON without loss, and damaged ones are refused."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolox.config import OptimConfig
from yolox.training.progress import (
    LossScale,
    TrainingProgress,
    advance_epoch,
    advance_step,
    initial_progress,
    progress_from_dict,
    progress_to_dict,
)

HALF = OptimConfig(precision="float16")
COUNT = st.integers(0, 2**40)
NUMBER = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), st.tuples(*[NUMBER] * 5)), max_size=6), COUNT)
def test_json_returns_every_bit(steps, images):
    progress = initial_progress(HALF)
    for finite, losses in steps:
        progress = advance_step(progress, dict(zip("abcde", losses, strict=True)), finite=finite, images=images, optim=HALF)
    again = progress_from_dict(json.loads(json.dumps(progress_to_dict(progress))))
    assert again == progress and type(again.loss_sums) is dict
    good = [losses for finite, losses in steps if finite]
    assert progress.applied == len(good) and progress.skipped == len(steps) - len(good)
    for mean, column in zip(progress.loss_means.values(), zip(*good, strict=True), strict=False):
        assert mean == pytest.approx(math.fsum(column) / len(good), rel=1e-9, abs=1e-6)


def test_an_epoch_begins_with_zeros_and_keeps_what_counts_across_epochs():
    running = TrainingProgress(epoch=3, step=9, applied=7, images=72, bad_in_a_row=2, loss_scale=LossScale(4.0, 5))
    assert advance_epoch(running) == TrainingProgress(epoch=4, bad_in_a_row=2, loss_scale=LossScale(4.0, 5))


def changed(**changes):
    return {**progress_to_dict(TrainingProgress()), **changes}


@pytest.mark.parametrize(
    "data",
    [None, [], {}, changed(more=1), changed(step=-1), changed(step="1"), changed(seconds=math.nan)]
    + [changed(epoch=True), changed(loss_scale={"value": -1.0, "good_steps": 0})],
)
def test_damaged_progress_is_refused(data):
    with pytest.raises((ValueError, TypeError)):
        progress_from_dict(data)


def test_losses_of_old_checkpoints_get_their_names():
    old = changed(loss_sums=[5.0, 1.0, 2.0, 1.5, 0.5], applied=1, step=1)
    assert progress_from_dict(old).loss_means == {"total": 5.0, "iou": 1.0, "obj": 2.0, "cls": 1.5, "l1": 0.5}
