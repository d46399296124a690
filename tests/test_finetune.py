"""The fine-tuning preset: what it changes, what it leaves, and that its average fits short runs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.test_recipes import differences
from yolox.finetune import finetune_recipe
from yolox.recipes import SCALES, megvii_recipe, mindyolo_recipe
from yolox.schedule import ema_decay
from yolox.training.phases import check_epochs, peak_rate


@pytest.mark.parametrize("recipe", [megvii_recipe, mindyolo_recipe])
@pytest.mark.parametrize("scale", SCALES)
def test_only_schedule_average_and_sizes_change(recipe, scale):
    changed = {name.split(".")[0] for name in differences(recipe(scale), finetune_recipe(recipe(scale)))}
    assert changed <= {"epochs", "plain_epochs", "eval_interval", "plain_eval_interval", "optim", "loader"}
    tuned = finetune_recipe(recipe(scale))
    check_epochs(tuned)
    assert (tuned.augment, tuned.input, tuned.assign, tuned.loss) == (
        recipe(scale).augment, recipe(scale).input, recipe(scale).assign, recipe(scale).loss)  # fmt: skip


@pytest.mark.parametrize("recipe", [megvii_recipe, mindyolo_recipe])
def test_the_rate_is_lower_and_follows_the_batch(recipe):
    before, after = recipe("s").optim, finetune_recipe(recipe("s")).optim
    assert peak_rate(after, 64) == pytest.approx(0.005) and peak_rate(after, 8) == pytest.approx(0.005 / 8)
    assert peak_rate(after, 64) < peak_rate(before, 64) and after.gradient_reduction == "mean"
    assert after.warmup_epochs < before.warmup_epochs


def weight_of_steps(optim, steps):
    """Share of the start, and of each step's weights, in the average after some steps, multiplied out."""
    shares = np.array([1.0])
    for step in range(1, steps + 1):
        decay = ema_decay(step, decay=optim.ema_decay, ramp=optim.ema_ramp)
        shares = np.append(shares * decay, 1 - decay)
    return shares


def test_the_average_of_a_short_run_averages_and_forgets_the_start():
    published, tuned = megvii_recipe("nano").optim, finetune_recipe(megvii_recipe("nano")).optim
    few, many = (1 / (weight_of_steps(optim, 1000)[1:] ** 2).sum() for optim in (published, tuned))
    assert few < 3 and 100 < many < 400  # how many steps the average is as good as
    assert weight_of_steps(tuned, 1000)[0] < 1e-6
    assert 0.9998**1000 == pytest.approx(0.82, abs=0.005)
