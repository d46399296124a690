"""The progress of a training run as a value, and the dynamic loss scale: what a checkpoint keeps beside the tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import evolve, field, frozen

from yolox.config import OptimConfig

MIN_LOSS_SCALE, MAX_LOSS_SCALE = 1.0, 2.0**24


@frozen
class LossScale:
    """Factor of the loss before the gradients, and number of finite steps since its last change."""

    value: float = 1.0
    good_steps: int = 0


def initial_loss_scale(optim: OptimConfig) -> LossScale:
    """Returns the scale at the start of a run: that of the configuration in float16, 1 in float32.

    Args:
        optim: `precision` and `loss_scale`.

    Returns:
        LossScale without good steps.

    Example:
        >>> initial_loss_scale(OptimConfig(precision="float16")), initial_loss_scale(OptimConfig()).value
        (LossScale(value=1024.0, good_steps=0), 1.0)
    """
    return LossScale(optim.loss_scale if optim.precision == "float16" else 1.0)


def next_loss_scale(scale: LossScale, finite: bool, optim: OptimConfig) -> LossScale:
    """Returns the scale after a step: half of it after an overflow, twice after enough good steps in a row.

    Gradients in half precision vanish below 6e-8 and overflow above 65504. The scale climbs until it overflows,
    which costs one skipped step, and so stays near the largest that fits.

    Args:
        scale: that of the step.
        finite: whether loss and gradients of the step were finite.
        optim: `loss_scale_interval` good steps double the scale; in float32 nothing changes it.

    Returns:
        The scale of the next step, in 1..2**24.

    Source:
        Micikevicius et al., mixed precision training (arXiv:1710.03740), section 3.2; the limits are ours.

    Example:
        >>> optim = OptimConfig(precision="float16", loss_scale_interval=2)
        >>> next_loss_scale(LossScale(8.0, 1), True, optim), next_loss_scale(LossScale(8.0, 1), False, optim)
        (LossScale(value=16.0, good_steps=0), LossScale(value=4.0, good_steps=0))
    """
    if optim.precision != "float16":
        return scale
    if not finite:
        return LossScale(max(scale.value / 2, MIN_LOSS_SCALE))
    if scale.good_steps + 1 >= optim.loss_scale_interval:
        return LossScale(min(scale.value * 2, MAX_LOSS_SCALE))
    return evolve(scale, good_steps=scale.good_steps + 1)


@frozen(kw_only=True)
class TrainingProgress:
    """State of a run that is neither in the tensors nor in the recipe.

    Batches are a pure function of seed, epoch and step, and rates one of the step, so that these numbers and the
    tensors decide every bit that follows.
    """

    epoch: int = 0
    """Epochs that are done."""
    step: int = 0
    """Steps done of the epoch that is running."""
    applied: int = 0
    """Steps of the epoch that changed the weights."""
    loss_sums: dict[str, float] = field(factory=dict)
    """Sums of the losses by name over the applied steps; empty before the first step."""
    images: int = 0
    """Images seen in the epoch, over all devices."""
    seconds: float = 0.0
    """Time spent on the epoch; not the same in two runs."""
    waited: float = 0.0
    """The part of it that was spent waiting for batches."""
    bad_in_a_row: int = 0
    """Last steps that were not finite; counts across epochs."""
    loss_scale: LossScale = field(factory=LossScale)
    """Scale of the next step."""

    @property
    def skipped(self) -> int:
        """Steps of the epoch that were not finite and changed nothing."""
        return self.step - self.applied

    @property
    def loss_means(self) -> dict[str, float]:
        """Means of the losses by name over the applied steps; NaN where no step was applied."""
        return {name: total / self.applied if self.applied else math.nan for name, total in self.loss_sums.items()}


def initial_progress(optim: OptimConfig) -> TrainingProgress:
    """Returns the progress of a run that has not begun.

    Args:
        optim: of the recipe, for the first loss scale.

    Returns:
        TrainingProgress of epoch 0, step 0.
    """
    return TrainingProgress(loss_scale=initial_loss_scale(optim))


def advance_step(
    progress: TrainingProgress, losses: Mapping[str, float], *, finite: bool, images: int, optim: OptimConfig
) -> TrainingProgress:
    """Returns the progress after one more step; times are unchanged.

    Args:
        progress: before the step.
        losses: of the step by name; left out of the sums where they are not finite.
        finite: whether loss and gradients were finite.
        images: images of the step, over all devices.
        optim: how the loss scale moves.

    Returns:
        TrainingProgress with one more step.

    Example:
        >>> first = advance_step(TrainingProgress(), {"total": 2.0}, finite=True, images=8, optim=OptimConfig())
        >>> advance_step(first, {"total": math.nan}, finite=False, images=8, optim=OptimConfig()).loss_means
        {'total': 2.0}
    """
    sums = progress.loss_sums or dict.fromkeys(losses, 0.0)
    return evolve(
        progress,
        step=progress.step + 1,
        applied=progress.applied + finite,
        loss_sums={name: total + losses[name] for name, total in sums.items()} if finite else sums,
        images=progress.images + images,
        bad_in_a_row=0 if finite else progress.bad_in_a_row + 1,
        loss_scale=next_loss_scale(progress.loss_scale, finite, optim),
    )


def advance_epoch(progress: TrainingProgress) -> TrainingProgress:
    """Returns the progress at the start of the next epoch: its counts are zero, counts across epochs stay.

    Args:
        progress: at the end of an epoch.

    Returns:
        TrainingProgress of step 0 of the epoch after it.
    """
    kept = {"bad_in_a_row": progress.bad_in_a_row, "loss_scale": progress.loss_scale}
    return TrainingProgress(epoch=progress.epoch + 1, **kept)


def progress_to_dict(progress: TrainingProgress) -> dict[str, Any]:
    """Converts progress to values that JSON holds without loss.

    Args:
        progress: any.

    Returns:
        dict of numbers and lists; `progress_from_dict` reads it.
    """
    return attrs.asdict(progress)


def progress_from_dict(data: dict[str, Any]) -> TrainingProgress:
    """Returns the progress from the values of `progress_to_dict`.

    Args:
        data: as `progress_to_dict` returned it, or as JSON gave it back.

    Returns:
        The same TrainingProgress, bit for bit.

    Raises:
        ValueError: fields that are missing, unknown, negative, or of another type.
    """
    names = {part.name for part in attrs.fields(TrainingProgress)}
    if not isinstance(data, dict) or set(data) != names:
        came = sorted(data)[:12] if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"position: has the fields {came}, want {sorted(names)}")
    scale, sums = data["loss_scale"], data["loss_sums"]
    if isinstance(sums, list):  # of checkpoints from before the losses had names
        sums = dict(zip(("total", "iou", "obj", "cls", "l1"), sums, strict=False))
    plain = {name: data[name] for name in names - {"loss_scale", "loss_sums"}}
    numbers = [*plain.values(), *scale.values()]
    if not all(type(n) in (int, float) and math.isfinite(n) and n >= 0 for n in numbers):
        raise ValueError(f"position: got {plain} and {scale}, want numbers of 0 or more")
    sums = {str(name): float(total) for name, total in sums.items()}
    return TrainingProgress(loss_scale=LossScale(**scale), loss_sums=sums, **plain)
