"""Where a training run stands, as a value: what a checkpoint keeps beside the tensors."""

from __future__ import annotations

import math
from typing import Any

import attrs
from attrs import evolve, field, frozen

from yolox.config import OptimConfig
from yolox.training.loss_scale import LossScale, first_loss_scale, next_loss_scale


@frozen(kw_only=True)
class Position:
    """Everything of a run that is neither in the tensors nor in the recipe.

    Batches are a pure function of seed, epoch and step, and rates one of the step, so that these numbers and the
    tensors decide every bit that follows.
    """

    epoch: int = 0
    """Epochs that are done."""
    step: int = 0
    """Steps done of the epoch that is running."""
    applied: int = 0
    """Steps of the epoch that changed the weights."""
    loss_sums: tuple[float, ...] = ()
    """Sums of the losses over the applied steps; empty before the first."""
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
    def loss_means(self) -> tuple[float, ...]:
        """Means of the losses over the applied steps; empty before the first."""
        return tuple(total / self.applied for total in self.loss_sums)


def first_position(optim: OptimConfig) -> Position:
    """Give the position of a run that has not begun.

    Args:
        optim: says the first loss scale.

    Returns:
        Position of epoch 0, step 0.
    """
    return Position(loss_scale=first_loss_scale(optim))


def after_step(position: Position, losses: tuple[float, ...], *, finite: bool, images: int, optim: OptimConfig):
    """Count a step.

    Args:
        position: before the step.
        losses: of the step; left out of the sums where it was not finite.
        finite: whether loss and gradients were.
        images: images of the step, over all devices.
        optim: says how the loss scale moves.

    Returns:
        The position after it; times are unchanged.

    Example:
        >>> first = after_step(Position(), (2.0, 1.0), finite=True, images=8, optim=OptimConfig())
        >>> after_step(first, (4.0, math.nan), finite=False, images=8, optim=OptimConfig()).loss_means
        (2.0, 1.0)
    """
    sums = position.loss_sums or (0.0,) * len(losses)
    return evolve(
        position,
        step=position.step + 1,
        applied=position.applied + finite,
        loss_sums=tuple(a + b for a, b in zip(sums, losses, strict=True)) if finite else position.loss_sums,
        images=position.images + images,
        bad_in_a_row=0 if finite else position.bad_in_a_row + 1,
        loss_scale=next_loss_scale(position.loss_scale, finite, optim),
    )


def after_epoch(position: Position) -> Position:
    """Begin the next epoch: its counts are zero, what counts across epochs stays.

    Args:
        position: at the end of an epoch.

    Returns:
        Position of step 0 of the epoch after it.
    """
    kept = {"bad_in_a_row": position.bad_in_a_row, "loss_scale": position.loss_scale}
    return Position(epoch=position.epoch + 1, **kept)


def position_to_dict(position: Position) -> dict[str, Any]:
    """Turn a position into values that JSON holds without loss.

    Args:
        position: any.

    Returns:
        dict of numbers and lists; `position_from_dict` reads it.
    """
    return attrs.asdict(position)


def position_from_dict(data: dict[str, Any]) -> Position:
    """Read what `position_to_dict` gave.

    Args:
        data: as `position_to_dict` gave it, or JSON gave it back.

    Returns:
        The same Position, bit for bit.

    Raises:
        ValueError: fields that are missing, unknown, negative, or of another type.
    """
    names = {part.name for part in attrs.fields(Position)}
    if not isinstance(data, dict) or set(data) != names:
        came = sorted(data)[:12] if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"position: has the fields {came}, want {sorted(names)}")
    scale, sums = data["loss_scale"], data["loss_sums"]
    plain = {name: data[name] for name in names - {"loss_scale", "loss_sums"}}
    numbers = [*plain.values(), *scale.values()]
    if not all(type(n) in (int, float) and math.isfinite(n) and n >= 0 for n in numbers):
        raise ValueError(f"position: got {plain} and {scale}, want numbers of 0 or more")
    return Position(loss_scale=LossScale(**scale), loss_sums=tuple(map(float, sums)), **plain)
