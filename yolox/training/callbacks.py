"""What a training run tells its listeners."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from yolox.training.progress import TrainingProgress

LOSS_NAMES = ("total", "iou", "obj", "cls", "l1")


@frozen(kw_only=True)
class StepEvent:
    """What one step did; losses are floats by name, times are in seconds."""

    epoch: int
    step: int
    losses: dict[str, float]
    num_pos: int
    finite: bool
    bad: str | None
    """What was not finite first; None after a good step."""
    lr: float
    images_per_second: float
    data_wait_share: float
    seconds_left: float
    position: TrainingProgress
    """Where a run that is saved now goes on."""


@frozen(kw_only=True)
class EpochEvent:
    """What one epoch did; `metrics` is None where nothing was evaluated.

    Losses are means over the applied steps, so that a skipped step leaves them as they were; NaN where none was applied.
    """

    epoch: int
    losses: dict[str, float]
    lr: float
    images_per_second: float
    data_wait_share: float
    skipped: int
    seconds: float
    metrics: dict | None
    position: TrainingProgress
    """Where a run that is saved now goes on."""


class Callback(Protocol):
    """Receives reports; a training run is silent without one."""

    def on_step(self, report: StepEvent) -> None:
        """Take the report of a step."""

    def on_epoch(self, report: EpochEvent) -> None:
        """Take the report of an epoch, after its evaluation."""
