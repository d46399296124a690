"""Times the parts of a training step: the network alone, then with loss, update and moving average.

Four steps are compiled in one process and called in turn, so that their differences mean something. The gradient that
enters the network is that of the loss in all four: the time of its backward pass depends on the numbers, because very
small ones (denormal) are slow on a CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import mindspore as ms
from mindspore import Tensor, ops

from benchmarks.ground_truths import make_ground_truths
from benchmarks.measure import peak_mb
from yolox.config import Recipe
from yolox.nn.functional import normalize_images, planes_function
from yolox.training.optim import make_gradient_sums, nesterov_sgd
from yolox.training.step import create_train_state, make_train_step
from yolox.yolox_loss import detection_loss

NAMES = ("bare", "with_loss", "with_update", "whole")


def wait(value: Tensor) -> float:
    """Reads a scalar after a small eager operation: reading the output of a graph directly may busy-wait."""
    return float((value + 0.0).asnumpy())


def bare_step(detector, images: Tensor, gt: tuple, recipe: Recipe) -> Callable[[], float]:
    """Forward and backward of the network alone, from the gradient that the loss has at its maps."""
    maps = tuple(Tensor(level.asnumpy()) for level in detector(normalize_images(images, spec=recipe.input)))
    gradients, planes_of = _map_gradients(maps, gt), planes_function(recipe.input)
    def forward(planes):
        return _weighted_sum(detector(normalize_images(planes, spec=recipe.input, planes_of=planes_of)), gradients)

    gradient_fn = ms.value_and_grad(forward, None, weights=ms.ParameterTuple(detector.trainable_params()))
    sum_gradients = make_gradient_sums(len(detector.trainable_params()))  # as the training step has it

    @ms.jit
    def step(planes):
        value, found = gradient_fn(planes)
        return value, sum_gradients(found)

    return lambda: wait(step(images)[0])


def _map_gradients(maps: tuple, gt: tuple) -> tuple:
    def loss(fine, middle, coarse):
        return detection_loss((fine, middle, coarse), *gt, Tensor(0.0, ms.float32))[0]

    return tuple(Tensor(part.asnumpy()) for part in ms.grad(loss, (0, 1, 2))(*maps))


def _weighted_sum(maps: tuple, weights: tuple) -> Tensor:
    fine, middle, coarse = maps
    return (fine * weights[0]).sum() + (middle * weights[1]).sum() + (coarse * weights[2]).sum()


def loss_step(detector, images: Tensor, gt: tuple, recipe: Recipe) -> Callable[[], float]:
    """Forward, assignment, losses, backward."""
    gradient_fn = _gradient_fn(detector, recipe)
    l1_weight = Tensor(0.0, ms.float32)
    sum_gradients = make_gradient_sums(len(detector.trainable_params()))

    @ms.jit
    def step(planes, boxes, classes, valid, weight):
        (total, *_), found = gradient_fn(planes, boxes, classes, valid, weight)
        return total, sum_gradients(found)

    return lambda: wait(step(images, *gt, l1_weight)[0])


def update_step(detector, images: Tensor, gt: tuple, recipe: Recipe) -> Callable[[], float]:
    """The same, and the optimizer; neither BN statistics nor averages."""
    state, gradient_fn = create_train_state(detector), _gradient_fn(detector, recipe)
    update = nesterov_sgd(state.params, state.slots, None, recipe.optim)
    scalars = (Tensor(0.0, ms.float32), Tensor(0.0, ms.float32))
    sum_gradients = make_gradient_sums(len(detector.trainable_params()))

    @ms.jit
    def step(planes, boxes, classes, valid, weight, lr):
        (total, *_), found = gradient_fn(planes, boxes, classes, valid, weight)
        sums = sum_gradients(found)
        update(found, lr, ops.isfinite(sums.sum() + total))
        return total, sums

    return lambda: wait(step(images, *gt, *scalars)[0])


def _gradient_fn(detector, recipe: Recipe) -> Callable:
    planes_of = planes_function(recipe.input)

    def forward(planes, boxes, classes, valid, weight):
        planes = normalize_images(planes, spec=recipe.input, planes_of=planes_of)
        return detection_loss(detector(planes), boxes, classes, valid, weight)

    return ms.value_and_grad(forward, None, weights=ms.ParameterTuple(detector.trainable_params()), has_aux=True)


def whole_step(detector, images: Tensor, gt: tuple, recipe: Recipe) -> Callable[[], float]:
    """The training step; a rate of 0 does the same work and keeps the network where it is."""
    options = {"optim": recipe.optim, "spec": recipe.input}
    step = make_train_step(detector, detection_loss, create_train_state(detector), **options)
    scalars = tuple(Tensor(value, ms.float32) for value in (0.0, 0.9998, 0.0))
    return lambda: wait(step(images, *gt, *scalars)[0]["total"])


def measure_parts(work: str, build: Callable, images: Tensor, recipe: Recipe, *, repeats: int) -> dict:
    """Time the four steps in turn, each on a detector of its own.

    Args:
        work: name of the result.
        build: function without arguments that gives a new detector.
        images: uint8 [B,H,W,3].
        recipe: of the scale.
        repeats: timed rounds.

    Returns:
        work; median_s of the bare step, and what loss, update, and averages with BN statistics add to it; the ratio of
        the whole to the bare step (median of the rounds' ratios); peak_mb of the process with all four.
    """
    gt = tuple(Tensor(part) for part in make_ground_truths(len(images), images.shape[1]))
    makers = (bare_step, loss_step, update_step, whole_step)
    calls = [make(build().set_train(True), images, gt, recipe) for make in makers]
    for call in calls:
        call()
    rounds = [[_seconds(call) for call in calls] for _ in range(repeats)]
    medians = dict(zip(NAMES, (median(column) for column in zip(*rounds, strict=True)), strict=True))
    return {
        "work": work,
        "bare_s": round(medians["bare"], 4),
        "loss_adds_s": round(medians["with_loss"] - medians["bare"], 4),
        "update_adds_s": round(medians["with_update"] - medians["with_loss"], 4),
        "average_adds_s": round(medians["whole"] - medians["with_update"], 4),
        "whole_s": round(medians["whole"], 4),
        "ratio": round(median(row[-1] / row[0] for row in rounds), 3),
        "peak_mb": round(peak_mb()),
    }


def _seconds(call: Callable[[], float]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
