"""The epoch loop: schedules, phases, evaluation times and reports, around a step that it does not know."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import mindspore as ms
import numpy as np
from attrs import frozen

from yolox.config import OptimConfig, Recipe
from yolox.schedule import ema_decay, learning_rate

LOSS_NAMES = ("total", "iou", "obj", "cls", "l1")


class TrainingDiverged(RuntimeError):
    """Too many steps in a row had a loss or gradients that are not finite."""


@frozen
class StepReport:
    """What one step did; losses are floats by name, times are in seconds."""

    epoch: int
    step: int
    losses: dict[str, float]
    num_pos: int
    finite: bool
    lr: float
    images_per_second: float
    data_wait_share: float
    seconds_left: float


@frozen
class EpochReport:
    """What one epoch did; losses are means over its applied steps, `metrics` is None where nothing was evaluated."""

    epoch: int
    losses: dict[str, float]
    lr: float
    images_per_second: float
    data_wait_share: float
    skipped: int
    seconds: float
    metrics: dict | None


class Listener(Protocol):
    """Receives reports; a training run is silent without one."""

    def on_step(self, report: StepReport) -> None:
        """Take the report of a step."""

    def on_epoch(self, report: EpochReport) -> None:
        """Take the report of an epoch, after its evaluation."""


def check_epochs(recipe: Recipe) -> None:
    """Raise ValueError if warm-up and the flat end leave no room in the epochs of `recipe`, or a phase is negative.

    Example:
        >>> check_epochs(Recipe(epochs=3))
        Traceback (most recent call last):
        ValueError: epochs: 3 is less than warmup_epochs 5 + flat_epochs 15; lower these two or train longer
    """
    optim = recipe.optim
    if min(optim.warmup_epochs, optim.flat_epochs, recipe.plain_epochs) < 0:
        raise ValueError("warmup_epochs, flat_epochs and plain_epochs: want 0 or more")
    if optim.warmup_epochs + optim.flat_epochs > recipe.epochs:
        raise ValueError(
            f"epochs: {recipe.epochs} is less than warmup_epochs {optim.warmup_epochs} + flat_epochs "
            f"{optim.flat_epochs}; lower these two or train longer"
        )


def is_plain(recipe: Recipe, epoch: int) -> bool:
    """Tell whether an epoch, counted from 0, is one of the last without mosaic and with L1.

    Example:
        >>> [is_plain(Recipe(epochs=20, plain_epochs=2), e) for e in (17, 18, 19)]
        [False, True, True]
    """
    return epoch >= recipe.epochs - recipe.plain_epochs


def is_evaluated(recipe: Recipe, epoch: int) -> bool:
    """Tell whether an epoch, counted from 0, ends with an evaluation: those of its interval, and the last."""
    interval = recipe.plain_eval_interval if is_plain(recipe, epoch) else recipe.eval_interval
    return (epoch + 1) % interval == 0 or epoch + 1 == recipe.epochs


def peak_rate(optim: OptimConfig, global_batch: int) -> float:
    """Give the peak learning rate: absolute, or per image times the images of a step over all devices.

    Example:
        >>> round(peak_rate(OptimConfig(), 64), 6), peak_rate(OptimConfig(lr=0.02, lr_per_image=None), 64)
        (0.01, 0.02)
    """
    return optim.lr if optim.lr is not None else optim.lr_per_image * global_batch


def rate_at(recipe: Recipe, step: int, steps_per_epoch: int, global_batch: int) -> float:
    """Give the learning rate that the step with this index, counted from 0 over the whole run, uses."""
    optim = recipe.optim
    return learning_rate(
        step,
        peak=peak_rate(optim, global_batch),
        steps_per_epoch=steps_per_epoch,
        epochs=recipe.epochs,
        warmup_epochs=optim.warmup_epochs,
        flat_epochs=optim.flat_epochs,
        warmup_start=optim.warmup_start,
        min_lr_ratio=optim.min_lr_ratio,
    )


class _Clock:
    """Time of an epoch and the share of it spent waiting for batches."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.waited = 0.0

    def timed(self, batches: Iterable) -> Iterator:
        iterator = iter(batches)
        while True:
            before = time.perf_counter()
            batch = next(iterator, None)
            self.waited += time.perf_counter() - before
            if batch is None:
                return
            yield batch

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start

    @property
    def wait_share(self) -> float:
        return self.waited / max(self.seconds, 1e-9)


def _scalar(value: float) -> ms.Tensor:
    return ms.Tensor(value, ms.float32)


def first_bad(names: tuple[str, ...], sums: np.ndarray) -> str:
    """Name the first tensor whose gradient sum is not finite, or the loss if all gradients are finite.

    Example:
        >>> first_bad(("a", "b"), np.array([1.0, np.nan])), first_bad(("a",), np.array([1.0]))
        ('b', 'the loss')
    """
    bad = np.flatnonzero(~np.isfinite(sums))
    return names[bad[0]] if len(bad) else "the loss"


class _BadSteps:
    """Counts steps that changed nothing, and stops the run when too many come in a row."""

    def __init__(self, limit: int, names: tuple[str, ...]) -> None:
        self.limit, self.names = limit, names
        self.in_a_row = self.total = 0

    def see(self, step: int, finite: bool, sums) -> None:
        self.in_a_row = 0 if finite else self.in_a_row + 1
        self.total += not finite
        if self.in_a_row >= self.limit:
            raise TrainingDiverged(
                f"stopped at step {step}: {self.in_a_row} steps in a row were not finite, first in "
                f"{first_bad(self.names, sums.asnumpy())}; lower the learning rate, or check the images and boxes"
            )


def fit(
    step: Callable,
    *,
    recipe: Recipe,
    steps_per_epoch: int,
    train_batches: Callable[[int, bool], Iterable],
    listener: Listener,
    evaluate: Callable[[], dict] | None = None,
    parameter_names: tuple[str, ...] = (),
    start_epoch: int = 0,
    world: int = 1,
) -> None:
    """Run the epochs of a recipe: feed batches and schedules to the step, evaluate, and report.

    Args:
        step: as made by `yolox.train.make_train_step`.
        recipe: epochs, schedules, phases.
        steps_per_epoch: number of batches of every epoch, on this device.
        train_batches: function of (epoch, augment) that gives the epoch's batches, each
            (images, gt_boxes, gt_classes, valid) as numpy arrays or tensors.
        listener: receives a report after every step and every epoch.
        evaluate: gives the metrics of the averaged weights, with "AP" among them; None skips evaluation.
        parameter_names: of the trainable parameters, to name a gradient that is not finite.
        start_epoch: epochs that are already done.
        world: number of devices that train together.

    Raises:
        ValueError: if the recipe's phases do not fit its epochs.
        TrainingDiverged: after `recipe.optim.max_bad_steps` steps in a row that were not finite.

    Source:
        Megvii's trainer: rate and average are functions of the step; L1 and plain images begin together.
    """
    check_epochs(recipe)
    bad = _BadSteps(recipe.optim.max_bad_steps, parameter_names)
    for epoch in range(start_epoch, recipe.epochs):
        report = _run_epoch(epoch, step, recipe, steps_per_epoch, train_batches, listener, bad, world)
        metrics = evaluate() if evaluate is not None and is_evaluated(recipe, epoch) else None
        listener.on_epoch(EpochReport(epoch=epoch, metrics=metrics, **report))


def _run_epoch(epoch, step, recipe, steps_per_epoch, train_batches, listener, bad, world) -> dict:
    plain, clock, skipped_before = is_plain(recipe, epoch), _Clock(), bad.total
    l1_weight = _scalar(recipe.loss.loss_l1_weight if plain else 0.0)
    applied, done, images_seen, lr = [], epoch * steps_per_epoch, 0, 0.0
    for batch in clock.timed(train_batches(epoch, not plain)):
        lr = rate_at(recipe, done, steps_per_epoch, recipe.loader.batch_size * world)
        decay = ema_decay(done + 1, decay=recipe.optim.ema_decay, ramp=recipe.optim.ema_ramp)
        tensors = tuple(ms.Tensor(part) for part in batch[:4])
        *parts, num_pos, finite, sums = step(*tensors, _scalar(lr), _scalar(decay), l1_weight)
        losses = {name: float(part.asnumpy()) for name, part in zip(LOSS_NAMES, parts, strict=True)}
        done, images_seen, finite = done + 1, images_seen + len(tensors[0]) * world, bool(finite.asnumpy())
        bad.see(done, finite, sums)
        if finite:
            applied.append(list(losses.values()))
        left = (recipe.epochs * steps_per_epoch - done) * clock.seconds / (done - epoch * steps_per_epoch)
        speed = images_seen / clock.seconds
        listener.on_step(
            StepReport(
                epoch, done, losses, int(num_pos.asnumpy()), finite, lr, speed, clock.wait_share, left
            )
        )
    means = np.mean(applied, axis=0) if applied else np.full(len(LOSS_NAMES), np.nan)
    return {
        "losses": dict(zip(LOSS_NAMES, map(float, means), strict=True)),
        "lr": lr,
        "images_per_second": images_seen / clock.seconds,
        "data_wait_share": clock.wait_share,
        "skipped": bad.total - skipped_before,
        "seconds": clock.seconds,
    }
