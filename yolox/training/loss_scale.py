"""The dynamic loss scale of float16 training as a value."""

from __future__ import annotations

from attrs import evolve, frozen

from yolox.config import OptimConfig

LOWEST, HIGHEST = 1.0, 2.0**24


@frozen
class LossScale:
    """What the loss is multiplied by before the gradients, and for how many steps it has done well."""

    value: float = 1.0
    good_steps: int = 0


def first_loss_scale(optim: OptimConfig) -> LossScale:
    """Give the scale that a run begins with: that of the configuration in float16, 1 in float32.

    Args:
        optim: `precision` and `loss_scale`.

    Returns:
        LossScale without good steps.

    Example:
        >>> first_loss_scale(OptimConfig(precision="float16")), first_loss_scale(OptimConfig()).value
        (LossScale(value=1024.0, good_steps=0), 1.0)
    """
    return LossScale(optim.loss_scale if optim.precision == "float16" else 1.0)


def next_loss_scale(scale: LossScale, finite: bool, optim: OptimConfig) -> LossScale:
    """Give the scale after a step: half of it after an overflow, twice after enough good steps in a row.

    Gradients in half precision vanish below 6e-8 and overflow above 65504. The scale climbs until it overflows,
    which costs one skipped step, and so stays near the largest that fits.

    Args:
        scale: that of the step.
        finite: whether loss and gradients of the step were.
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
        return LossScale(max(scale.value / 2, LOWEST))
    if scale.good_steps + 1 >= optim.loss_scale_interval:
        return LossScale(min(scale.value * 2, HIGHEST))
    return evolve(scale, good_steps=scale.good_steps + 1)
