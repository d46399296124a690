"""The epoch loop: schedules, phases, evaluation times and reports, around a step that it does not know."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

import mindspore as ms
import numpy as np
from attrs import evolve

from yolox.config import Recipe
from yolox.errors import TrainingDiverged
from yolox.schedule import ema_decay
from yolox.training.callbacks import LOSS_NAMES, Callback, EpochEvent, StepEvent
from yolox.training.phases import check_epochs, is_evaluated, is_plain, rate_at
from yolox.training.progress import TrainingProgress, advance_epoch, advance_step, initial_progress

BATCH_NAMES = ("images", "gt_boxes", "gt_classes", "valid")


class StopRequested(Exception):
    """Raised by an evaluation that was asked to stop."""


class TrainingStopped(Exception):
    """The run was asked to stop and did so between two steps; `position` is where it goes on."""

    def __init__(self, position: TrainingProgress) -> None:
        super().__init__(f"stopped in epoch {position.epoch + 1} after {position.step} steps")
        self.position = position


def fit(
    step: Callable,
    *,
    recipe: Recipe,
    steps_per_epoch: int,
    train_batches: Callable[[int, bool, int], Iterable],
    listener: Callback,
    evaluate: Callable[[], dict] | None = None,
    parameters: Sequence = (),
    start: TrainingProgress | None = None,
    stop: Callable[[], bool] = lambda: False,
    world: int = 1,
) -> None:
    """Run the epochs of a recipe: feed batches and schedules to the step, evaluate, and report.

    Args:
        step: as made by `yolox.training.step.make_train_step`.
        recipe: epochs, schedules, phases.
        steps_per_epoch: number of batches of every epoch, on this device.
        train_batches: function of (epoch, augment, first) that gives the epoch's batches from number `first` on,
            each (images, gt_boxes, gt_classes, valid) as numpy arrays or tensors.
        listener: receives a report after every step and every epoch.
        evaluate: gives the metrics of the averaged weights, with "AP" among them; None skips evaluation. It may
            raise `StopRequested`.
        parameters: the trainable Parameters in the order of the step's sums, then any others (`TrainState.averaged`),
            to name what is not finite.
        start: where a run goes on that was saved; None begins one.
        stop: asked after every step whether to stop there.
        world: number of devices that train together.

    Raises:
        ValueError: if the recipe's phases do not fit its epochs.
        TrainingDiverged: after `recipe.optim.max_bad_steps` steps in a row that were not finite.
        TrainingStopped: `stop` said so; the caller saves the state with the position of the exception.

    Source:
        Megvii's trainer: rate and average are functions of the step; L1 and plain images begin together.
    """
    check_epochs(recipe)
    position = start or initial_progress(recipe.optim)
    while position.epoch < recipe.epochs:
        running = _Epoch(recipe, position, steps_per_epoch, world)
        with closing(running.timed(train_batches)) as batches:  # worker processes end with the iterator
            for batch in batches:
                report = running.run(step, batch, parameters)
                listener.on_step(report)
                if stop():
                    raise TrainingStopped(report.position)
        metrics = _metrics(evaluate, recipe, running)
        report = running.report(metrics)
        listener.on_epoch(report)
        position = report.position


def _metrics(evaluate, recipe: Recipe, running: _Epoch) -> dict | None:
    if evaluate is None or not is_evaluated(recipe, running.position.epoch):
        return None
    running.end_training()
    try:
        return evaluate()
    except StopRequested:
        raise TrainingStopped(running.now()) from None


class _Epoch:
    """One epoch while it runs: its position and its clock, which go on where a saved run stopped."""

    def __init__(self, recipe: Recipe, position: TrainingProgress, steps: int, world: int) -> None:
        self.recipe, self.position, self.steps, self.world = recipe, position, steps, world
        self.begin, self.waited, self.end = time.perf_counter(), 0.0, None
        self.plain = is_plain(recipe, position.epoch)
        self.l1_weight = _scalar(recipe.loss.loss_l1_weight if self.plain else 0.0)

    @property
    def done(self) -> int:
        """Steps of the whole run."""
        return self.position.epoch * self.steps + self.position.step

    @property
    def lr(self) -> float:
        """Rate of the next step."""
        return self.rate(self.done)

    def rate(self, step: int) -> float:
        return rate_at(self.recipe, step, self.steps, self.recipe.loader.batch_size * self.world)

    def timed(self, train_batches: Callable) -> Iterator:
        """Give the batches that are left, and count the time spent waiting for them."""
        if self.position.step >= self.steps:  # stopped in the evaluation
            return
        iterator = iter(train_batches(self.position.epoch, not self.plain, self.position.step))
        try:
            while True:
                before = time.perf_counter()
                batch = next(iterator, None)
                self.waited += time.perf_counter() - before
                if batch is None:
                    return
                yield batch
        finally:
            getattr(iterator, "close", bool)()

    def now(self) -> TrainingProgress:
        """Give the position with the time spent up to now."""
        spent = (self.end or time.perf_counter()) - self.begin
        times = {"seconds": self.position.seconds + spent, "waited": self.position.waited + self.waited}
        return evolve(self.position, **times)

    def end_training(self) -> None:
        """Stop the clock: an evaluation is not counted."""
        self.end = time.perf_counter()

    def run(self, step: Callable, batch, parameters: Sequence) -> StepEvent:
        optim, lr = self.recipe.optim, self.lr
        decay = ema_decay(self.done + 1, decay=optim.ema_decay, ramp=optim.ema_ramp)
        scalars = (_scalar(lr), _scalar(decay), self.l1_weight, _scalar(self.position.loss_scale.value))
        tensors = tuple(ms.Tensor(part) for part in batch[:4])
        *parts, num_pos, finite, sums = step(*tensors, *scalars)
        losses, finite = tuple(float(part.asnumpy()) for part in parts), bool(finite.asnumpy())
        bad = None if finite else first_bad(batch, sums.asnumpy(), parameters)
        images = len(tensors[0]) * self.world
        self.position = advance_step(self.position, losses, finite=finite, images=images, optim=optim)
        self._check_bad(batch, bad)
        return self._step_report(losses, int(num_pos.asnumpy()), bad, lr)

    def _check_bad(self, batch, bad: str | None) -> None:
        in_a_row = self.position.bad_in_a_row
        if bad is not None and in_a_row >= self.recipe.optim.max_bad_steps:
            raise TrainingDiverged(
                f"stopped at step {self.done}: {in_a_row} steps in a row were not finite, first in {bad}; "
                "lower the learning rate, or check the images and boxes",
                {name: _numpy(part) for name, part in zip(BATCH_NAMES, batch, strict=False)},
            )

    def _step_report(self, losses, num_pos: int, bad: str | None, lr: float) -> StepEvent:
        now = self.now()
        return StepEvent(
            epoch=now.epoch,
            step=self.done,
            losses=dict(zip(LOSS_NAMES, losses, strict=True)),
            num_pos=num_pos,
            finite=bad is None,
            bad=bad,
            lr=lr,
            seconds_left=(self.recipe.epochs * self.steps - self.done) * now.seconds / now.step,
            position=now,
            **_speed(now),
        )

    def report(self, metrics: dict | None) -> EpochEvent:
        now = self.now()
        return EpochEvent(
            epoch=now.epoch,
            losses=dict(zip(LOSS_NAMES, now.loss_means or (float("nan"),) * len(LOSS_NAMES), strict=True)),
            lr=self.rate(self.done - 1),
            skipped=now.skipped,
            seconds=now.seconds,
            metrics=metrics,
            position=advance_epoch(now),
            **_speed(now),
        )


def _speed(now: TrainingProgress) -> dict[str, float]:
    seconds = max(now.seconds, 1e-9)
    return {"images_per_second": now.images / seconds, "data_wait_share": now.waited / seconds}


def _scalar(value: float) -> ms.Tensor:
    return ms.Tensor(value, ms.float32)


def _numpy(part) -> np.ndarray:
    return part.asnumpy() if hasattr(part, "asnumpy") else np.asarray(part)


def first_bad(batch: Sequence, sums: np.ndarray, parameters: Sequence = ()) -> str:
    """Name the first thing that is not finite: the batch, then a parameter, then a gradient, else the loss.

    A number that is not finite spreads to everything after it, so that the order of the search is that of the
    computation.

    Args:
        batch: images, boxes, classes, validity.
        sums: one number for each trainable parameter, not finite where its gradient is not.
        parameters: with `name` and `asnumpy()`, the trainable ones first.

    Returns:
        A name to print, such as ``gt_boxes of the batch``.

    Example:
        >>> first_bad((np.ones(2), np.array([np.inf])), np.ones(1)), first_bad((), np.array([1.0, np.nan]))
        ('gt_boxes of the batch', 'the gradient of parameter 1')
    """
    for name, part in zip(BATCH_NAMES, batch, strict=False):
        if not np.isfinite(_numpy(part)).all():
            return f"{name} of the batch"
    for parameter in parameters:
        if not np.isfinite(parameter.asnumpy()).all():
            return f"the values of {parameter.name}"
    bad = np.flatnonzero(~np.isfinite(sums))
    if not len(bad):
        return "the loss"
    return f"the gradient of {parameters[bad[0]].name if bad[0] < len(parameters) else f'parameter {bad[0]}'}"
