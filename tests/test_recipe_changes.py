"""Changes of recipes: exactly which fields each changes, and that short runs average and forget their start."""

import numpy as np
import pytest

from tests.test_recipes import ALL, differences
from yolox.config import LoaderConfig
from yolox.recipe_changes import finetune_recipe, with_input_size
from yolox.recipes import SCALES, megvii_recipe, mindyolo_recipe, paddle_recipe, rtmdet_recipe
from yolox.schedule import check_epochs, ema_decay, peak_rate


@pytest.mark.parametrize(
    ("scale", "size", "heights"),
    [
        ("s", (320, 320), range(160, 481, 32)),
        ("x", (960, 1280), range(800, 1121, 32)),
        ("nano", (320, 320), range(224, 545, 32)),
        ("s", (96, 96), range(32, 257, 32)),  # 96 - 160 and the next are below 32
        ("s", (640, 640), range(480, 801, 32)),
    ],
)
def test_training_sizes_follow_the_input_size(scale, size, heights):
    recipe = megvii_recipe(scale)
    want = {"input.input_size": (recipe.input.input_size, size)} if size != recipe.input.input_size else {}
    if tuple(heights) != recipe.loader.multiscale_sizes:
        want["loader.multiscale_sizes"] = (recipe.loader.multiscale_sizes, tuple(heights))
    moved = with_input_size(recipe, size)
    assert differences(recipe, moved) == want and with_input_size(moved, size) == moved


def test_a_recipe_of_one_size_stays_one_and_sizes_are_checked():
    assert with_input_size(mindyolo_recipe("s"), (320, 320)).loader.multiscale_sizes == ()
    with pytest.raises(ValueError, match=r"input_size: got \(100, 100\), want height and width as positive multiples of 32"):
        with_input_size(megvii_recipe("s"), (100, 100))
    with pytest.raises(ValueError, match=r"multiscale_sizes: got \(320, 330\), want positive multiples of 32"):
        LoaderConfig(multiscale_sizes=(320, 330))


@ALL
@pytest.mark.parametrize("scale", SCALES)
def test_only_schedule_average_and_sizes_change(recipe, scale):
    changed = {name.split(".")[0] for name in differences(recipe(scale), finetune_recipe(recipe(scale)))}
    assert changed <= {"epochs", "no_aug_epochs", "eval_interval", "no_aug_eval_interval", "optim", "loader"}
    tuned = finetune_recipe(recipe(scale))
    check_epochs(tuned)
    assert (tuned.augment, tuned.input, tuned.assign, tuned.loss) == (
        recipe(scale).augment, recipe(scale).input, recipe(scale).assign, recipe(scale).loss)  # fmt: skip


@pytest.mark.parametrize("recipe", [megvii_recipe, mindyolo_recipe])
def test_the_rate_is_lower_for_the_published_batch_and_the_same_for_smaller_ones(recipe):
    before, after = recipe("s").optim, finetune_recipe(recipe("s")).optim
    assert peak_rate(after, 64) == peak_rate(after, 8) == 0.005
    assert peak_rate(after, 64) < peak_rate(before, 64) and after.gradient_reduction == "mean"
    assert after.warmup_epochs < before.warmup_epochs


def test_the_rate_of_adamw_is_halved():
    assert finetune_recipe(rtmdet_recipe("s")).optim.lr_per_image == pytest.approx(0.002 / 256)
    assert peak_rate(finetune_recipe(paddle_recipe("s")).optim, 64) == 0.005  # SGD


def test_the_canvas_follows_the_input_size():
    moved = with_input_size(rtmdet_recipe("tiny"), (320, 352))
    assert moved.augment.canvas_size == (492, 542) and moved.loader.multiscale_sizes == tuple(range(224, 545, 32))
    for size in ((224, 448), (640, 384), (1280, 1280)):  # the shape of the input, so that nothing is squashed
        height, width = with_input_size(paddle_recipe("nano"), size).augment.canvas_size
        assert width / height == pytest.approx(size[1] / size[0], rel=2e-3)
        assert height == pytest.approx(size[0] * 640 / 416, abs=1)
    assert with_input_size(rtmdet_recipe("tiny"), (416, 416)) == rtmdet_recipe("tiny")


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
