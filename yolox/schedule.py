"""Learning rate, moving average and phases of a run, as functions of the step or the epoch.

Rates are Python numbers, made on the host before each step; pass them to the jitted step as Tensor scalars,
because a Python number would compile it again for every value.
"""

from __future__ import annotations

import math

from mindspore import Tensor, ops

from yolox.config import OptimConfig, Recipe


def learning_rate(
    step: int,
    *,
    peak: float,
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: int,
    flat_epochs: int,
    warmup_start: float = 0.0,
    min_lr_ratio: float = 0.05,
) -> float:
    """Computes the learning rate after a number of updates.

    Call it before each update with the number of updates done so far.

    Args:
        step: updates done, 0 before the first.
        peak: highest learning rate, reached at the end of warm-up.
        steps_per_epoch: updates in an epoch.
        epochs: length of the run.
        warmup_epochs: epochs of quadratic growth from ``warmup_start * peak`` to `peak`.
        flat_epochs: last epochs at ``min_lr_ratio * peak``.
        warmup_start: first learning rate as a share of `peak`.
        min_lr_ratio: last learning rate as a share of `peak`.

    Returns:
        The learning rate: quadratic warm-up, half a cosine, then constant; constant also beyond the end.

    Raises:
        ValueError: if `step` is negative, an epoch has no steps, or warm-up and flat epochs exceed the run.

    Source: Ge et al., YOLOX (arXiv:2107.08430), section 2.1 (cosine); warm-up and flat end as Megvii's code.

    Example:
        >>> knobs = dict(peak=0.01, steps_per_epoch=10, epochs=10, warmup_epochs=2, flat_epochs=2)
        >>> [round(learning_rate(step, **knobs), 6) for step in (0, 10, 20, 50, 80, 100)]
        [0.0, 0.0025, 0.01, 0.00525, 0.0005, 0.0005]
    """
    _check(step, steps_per_epoch, epochs, warmup_epochs, flat_epochs)
    warmup, flat_from = warmup_epochs * steps_per_epoch, (epochs - flat_epochs) * steps_per_epoch
    if warmup and step <= warmup:
        return peak * (warmup_start + (1.0 - warmup_start) * (step / warmup) ** 2)
    lowest = min_lr_ratio * peak
    if step >= flat_from:
        return lowest
    progress = (step - warmup) / (flat_from - warmup)
    return lowest + 0.5 * (peak - lowest) * (1.0 + math.cos(math.pi * progress))


def ema_decay(step: int, *, decay: float, ramp: float) -> float:
    """Computes the share of the moving average that an update keeps.

    Call it for each update of the average; early averages forget fast, because their start is arbitrary.

    Args:
        step: number of this update, 1 for the first.
        decay: limit for late steps, in [0, 1].
        ramp: steps after which the decay is 63 % of its limit; positive.

    Returns:
        ``decay * (1 - exp(-step / ramp))``, growing from 0 to `decay`.

    Raises:
        ValueError: if `step` is negative, `decay` not in [0, 1], or `ramp` not positive.

    Source: Megvii's and MindYOLO's common ramp; their limits are 0.9998 and 0.9999.

    Example:
        >>> round(ema_decay(2000, decay=0.9998, ramp=2000.0), 6)
        0.631994
    """
    if step < 0 or not 0.0 <= decay <= 1.0 or not ramp > 0:
        raise ValueError(
            f"ema_decay: got step={step}, decay={decay}, ramp={ramp}, want step >= 0, decay in 0..1, ramp > 0"
        )
    return decay * -math.expm1(-step / ramp)


def ema_value(ema: Tensor, value: Tensor, decay: Tensor | float) -> Tensor:  # [...],[...],[] -> [...]
    """Computes the next value of a moving average.

    Use it on every parameter and BN statistic after an update.

    Args:
        ema: ``[...]`` float32 average so far.
        value: ``[...]`` float32 of the same shape.
        decay: share of `ema` that stays; inside a jitted step a float32 Tensor scalar from `ema_decay`.

    Returns:
        ``[...]`` float32 ``decay * ema + (1 - decay) * value``.

    Raises:
        ValueError: if shapes differ.

    Example:
        >>> from mindspore import Tensor
        >>> ema_value(Tensor([1.0, 2.0]), Tensor([3.0, 2.0]), 0.75).asnumpy().tolist()
        [1.5, 2.0]
    """
    if ema.shape != value.shape:
        raise ValueError(f"ema_value: ema has shape {ema.shape} and value {value.shape}, want equal shapes")
    return ops.lerp(ema, value, 1.0 - decay)  # one kernel; exactly `ema` at decay 1


def _check(step: int, steps_per_epoch: int, epochs: int, warmup_epochs: int, flat_epochs: int) -> None:
    if step < 0 or steps_per_epoch <= 0:
        raise ValueError(
            f"learning_rate: got step={step} and steps_per_epoch={steps_per_epoch}, "
            f"want step >= 0 and steps_per_epoch > 0"
        )
    if warmup_epochs < 0 or flat_epochs < 0 or warmup_epochs + flat_epochs > epochs:
        raise ValueError(
            f"learning_rate: got warmup_epochs={warmup_epochs} and flat_epochs={flat_epochs}, "
            f"want both >= 0 and together at most epochs={epochs}"
        )


def check_epochs(recipe: Recipe) -> None:
    """Raises ValueError if warm-up and the flat end leave no room in the epochs of `recipe`.

    Args:
        recipe: any.

    Raises:
        ValueError: the message has the numbers.

    Example:
        >>> check_epochs(Recipe(epochs=3))
        Traceback (most recent call last):
        ValueError: epochs: 3 is less than warmup_epochs 5 + flat_epochs 15; lower these two or train longer
    """
    optim = recipe.optim
    if optim.warmup_epochs + optim.flat_epochs > recipe.epochs:
        raise ValueError(
            f"epochs: {recipe.epochs} is less than warmup_epochs {optim.warmup_epochs} + flat_epochs "
            f"{optim.flat_epochs}; lower these two or train longer"
        )


def is_no_aug(recipe: Recipe, epoch: int) -> bool:
    """Returns whether an epoch, counted from 0, is one of the last without mosaic and with L1.

    Args:
        recipe: `epochs` and `no_aug_epochs`.
        epoch: counted from 0.

    Returns:
        True in the last `no_aug_epochs`.

    Example:
        >>> [is_no_aug(Recipe(epochs=20, no_aug_epochs=2), e) for e in (17, 18, 19)]
        [False, True, True]
    """
    return epoch >= recipe.epochs - recipe.no_aug_epochs


def is_evaluated(recipe: Recipe, epoch: int) -> bool:
    """Returns whether an epoch, counted from 0, ends with an evaluation: those of its interval, and the last.

    Args:
        recipe: `eval_interval`, and `no_aug_eval_interval` for the no-augmentation epochs.
        epoch: counted from 0.

    Returns:
        True where an evaluation follows the epoch.
    """
    interval = recipe.no_aug_eval_interval if is_no_aug(recipe, epoch) else recipe.eval_interval
    return (epoch + 1) % interval == 0 or epoch + 1 == recipe.epochs


def peak_rate(optim: OptimConfig, global_batch: int) -> float:
    """Returns the peak learning rate: absolute, or per image times the images of a step over all devices.

    Args:
        optim: `lr` or `lr_per_image`.
        global_batch: images of a step over all devices.

    Returns:
        The rate at the end of warm-up.

    Example:
        >>> round(peak_rate(OptimConfig(), 64), 6), peak_rate(OptimConfig(lr=0.02, lr_per_image=None), 64)
        (0.01, 0.02)
    """
    return optim.lr if optim.lr is not None else optim.lr_per_image * global_batch


def rate_at(recipe: Recipe, step: int, steps_per_epoch: int, global_batch: int) -> float:
    """Returns the learning rate of a step.

    Args:
        recipe: epochs and the rates of `optim`.
        step: counted from 0 over the whole run.
        steps_per_epoch: steps of one device in an epoch.
        global_batch: images of a step over all devices.

    Returns:
        The rate, a number (`learning_rate` of `yolox.schedule`).
    """
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
