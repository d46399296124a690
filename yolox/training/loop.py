"""The loop over epochs and steps: schedules, evaluation, events. It knows the step only as a function."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from statistics import fmean

import mindspore as ms
import numpy as np
from attrs import evolve

from yolox.config import Recipe
from yolox.errors import TrainingDiverged
from yolox.schedule import check_epochs, ema_decay, is_evaluated, is_no_aug, rate_at
from yolox.training.callbacks import Callback, EpochEvent, StepEvent
from yolox.training.progress import TrainingProgress, advance_epoch, advance_step, initial_progress

BATCH_NAMES = ("images", "gt_boxes", "gt_classes", "valid")


class StopRequested(Exception):
    """Raised by an evaluation that was asked to stop."""


class TrainingStopped(Exception):
    """The run was asked to stop and did so between two steps; `progress` is where it continues."""

    def __init__(self, progress: TrainingProgress) -> None:
        super().__init__(f"stopped in epoch {progress.epoch + 1} after {progress.step} steps")
        self.progress = progress


def _nothing(*_arguments, **_options) -> None:
    """Does nothing."""


def fit(
    step: Callable,
    *,
    recipe: Recipe,
    steps_per_epoch: int,
    train_batches: Callable[[int, bool, int], Iterable],
    callbacks: Sequence[Callback] = (),
    sync: Callable[[], None] = _nothing,
    evaluate: Callable[[], tuple[dict, list | None]] | None = None,
    save_step: Callable[[StepEvent], None] = _nothing,
    save_epoch: Callable[[EpochEvent], None] = _nothing,
    mark: Callable[..., None] = _nothing,
    parameters: Sequence = (),
    start: TrainingProgress | None = None,
    stop: Callable[[], bool] = lambda: False,
    world: int = 1,
) -> None:
    """Runs the epochs of a recipe.

    Args:
        step: as made by `yolox.training.step.make_train_step`.
        recipe: epochs, schedules, phases.
        steps_per_epoch: number of batches of every epoch, on this device.
        train_batches: function of (epoch, augment, first) that returns the epoch's batches from number `first` on,
            each (images, gt_boxes, gt_classes, valid) as numpy arrays or tensors.
        callbacks: receive an event after every step and every epoch.
        sync: makes BN statistics the same on all devices.
        evaluate: returns the metrics of the averaged weights, with "AP" among them, and the detections or None; may raise
            `StopRequested`. None skips evaluation.
        save_step: writes a checkpoint within an epoch where one is due.
        save_epoch: writes history and checkpoints.
        mark: called with what comes next, for a watchdog: ``mark(description, slow=False)``.
        parameters: the trainable Parameters in the order of the step's sums, then any others (`TrainState.averaged`),
            to name what is not finite.
        start: where a saved run continues; None begins one.
        stop: asked after every step whether to stop there.
        world: number of devices that train together.

    Raises:
        ValueError: the recipe's phases do not fit its epochs.
        TrainingDiverged: after `recipe.optim.max_bad_steps` steps in a row that were not finite.
        TrainingStopped: `stop` returned True; the caller saves the state with the progress of the exception.
        StopTraining: a callback ended the run after an epoch.

    Source:
        Megvii's trainer: rate and EMA decay are functions of the step; L1 begins with the no-augmentation epochs.
    """
    check_epochs(recipe)
    progress, shapes, pace = start or initial_progress(recipe.optim), set(), _Pace()
    while progress.epoch < recipe.epochs:
        epoch = _Epoch(recipe, progress, steps_per_epoch, world, pace)
        mark("loading the first batch", slow=True)
        with closing(epoch.timed(train_batches)) as batches:  # data workers end with the iterator
            for batch in batches:
                compiles = batch[0].shape not in shapes
                mark(f"training step {epoch.done + 1}", slow=compiles)
                shapes.add(batch[0].shape)
                step_event = epoch.run(step, batch, parameters, compiles=compiles)
                mark(f"saving after step {epoch.done}", slow=True)
                save_step(step_event)  # before the callbacks: what they show is on the disk
                mark(f"callbacks after step {epoch.done}")
                for callback in callbacks:
                    callback.on_step(step_event)
                mark(f"waiting for the other ranks after step {epoch.done}", slow=True)  # rank 0 may be saving
                if stop():
                    raise TrainingStopped(step_event.progress)
                mark(f"loading a batch after step {epoch.done}")
        epoch.end_training()  # evaluation and saving do not count as training time
        # BN statistics differ between devices within an epoch. They become the same before the evaluation reads them and
        # before the checkpoint is written, so that a resumed run and an evaluation of the file see the same numbers.
        mark("averaging BN statistics")
        sync()
        metrics, detections = None, None
        if evaluate is not None and is_evaluated(recipe, progress.epoch):
            mark("evaluation", slow=True)
            try:
                metrics, detections = evaluate()
            except StopRequested:
                raise TrainingStopped(epoch.now()) from None
        epoch_event = epoch.event(metrics, detections)
        mark(f"saving after epoch {progress.epoch + 1}", slow=True)
        save_epoch(epoch_event)
        for callback in callbacks:
            callback.on_epoch(epoch_event)
        progress = epoch_event.progress


class _Pace:
    """Mean duration of the last steps, without those that compiled."""

    def __init__(self) -> None:
        self._seconds, self._last = deque(maxlen=100), time.perf_counter()

    def begin(self) -> None:
        """Starts the clock before the first step of an epoch."""
        self._last = time.perf_counter()

    def step(self, *, compiles: bool) -> None:
        """Counts the time since the step before."""
        now = time.perf_counter()
        self._seconds.extend([] if compiles else [now - self._last])
        self._last = now

    def seconds(self, steps: int) -> float:
        """Returns how long so many steps will take; NaN while nothing is known."""
        return steps * fmean(self._seconds) if self._seconds else 0.0 if steps == 0 else math.nan


class _Epoch:
    """One epoch while it runs: its progress and its clock, which continue where a saved run stopped."""

    def __init__(self, recipe: Recipe, progress: TrainingProgress, steps: int, world: int, pace: _Pace) -> None:
        self.recipe, self.progress, self.steps, self.world, self.pace = recipe, progress, steps, world, pace
        pace.begin()
        self.begin, self.waited, self.end = time.perf_counter(), 0.0, None
        self.no_aug = is_no_aug(recipe, progress.epoch)
        self.l1_weight = _scalar(recipe.loss.loss_l1_weight if self.no_aug else 0.0)

    @property
    def done(self) -> int:
        """Steps of the whole run."""
        return self.progress.epoch * self.steps + self.progress.step

    def rate(self, step: int) -> float:
        return rate_at(self.recipe, step, self.steps, self.recipe.loader.step_images * self.world)

    def timed(self, train_batches: Callable) -> Iterator:
        """Iterates over the batches that are left, and counts the time spent waiting for them."""
        if self.progress.step >= self.steps:  # stopped in the evaluation
            return
        iterator = iter(train_batches(self.progress.epoch, not self.no_aug, self.progress.step))
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
        """Returns the progress with the time spent up to now."""
        spent = (self.end or time.perf_counter()) - self.begin
        return evolve(self.progress, seconds=self.progress.seconds + spent, waited=self.progress.waited + self.waited)

    def end_training(self) -> None:
        """Stops the clock."""
        self.end = time.perf_counter()

    def run(self, step: Callable, batch, parameters: Sequence, *, compiles: bool) -> StepEvent:
        """Feeds one batch and the schedules to the step.

        Raises:
            TrainingDiverged: too many steps in a row were not finite.
        """
        optim, lr = self.recipe.optim, self.rate(self.done)
        if not math.isfinite(lr):
            raise ValueError(f"learning rate of step {self.done + 1}: got {lr}, want a finite number")
        decay = ema_decay(self.done + 1, decay=optim.ema_decay, ramp=optim.ema_ramp)
        tensors = tuple(ms.Tensor(part) for part in batch[:4])
        scalars = (_scalar(lr), _scalar(decay), self.l1_weight, _scalar(self.progress.loss_scale.value))
        losses, num_pos, finite, sums = step(*tensors, *scalars)
        losses, finite = {name: float(part.asnumpy()) for name, part in losses.items()}, bool(finite.asnumpy())
        bad = None if finite else first_bad(batch, sums.asnumpy(), parameters)
        images = len(tensors[0]) * self.world
        self.progress = advance_step(self.progress, losses, finite=finite, images=images, optim=optim)
        in_a_row = self.progress.bad_in_a_row
        if bad is not None and in_a_row >= optim.max_bad_steps:
            raise TrainingDiverged(
                f"stopped at step {self.done}: {in_a_row} steps in a row were not finite, first in {bad}; "
                "lower the learning rate, or check the images and boxes",
                {name: _numpy(part) for name, part in zip(BATCH_NAMES, batch, strict=False)},
            )
        now = self.now()
        self.pace.step(compiles=compiles)
        return StepEvent(
            epoch=now.epoch,
            step=self.done,
            losses=losses,
            num_pos=int(num_pos.asnumpy()),
            finite=finite,
            bad=bad,
            lr=lr,
            seconds_left=self.pace.seconds(self.recipe.epochs * self.steps - self.done),
            progress=now,
            **_speed(now),
        )

    def event(self, metrics: dict | None, detections: list | None) -> EpochEvent:
        now = self.now()
        return EpochEvent(
            epoch=now.epoch,
            losses=now.loss_means,
            lr=self.rate(self.done - 1),
            skipped=now.skipped,
            seconds=now.seconds,
            metrics=metrics,
            detections=detections,
            progress=advance_epoch(now),
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
    """Returns the first thing that is not finite: the batch, then a parameter, then a gradient, else the loss.

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
