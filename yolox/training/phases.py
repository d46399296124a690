"""Phase of an epoch and learning rate of a step, by the recipe."""

from __future__ import annotations

from yolox.config import OptimConfig, Recipe
from yolox.schedule import learning_rate


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


