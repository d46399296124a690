"""Training on one batch until its loss collapses, to check that data, loss and update fit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mindspore as ms
import numpy as np
from attrs import frozen

RATE, WARMUP_STEPS = 0.01, 20
TARGET = 0.4  # the IoU part falls slowly and soft class targets keep some entropy, so the loss never reaches zero
SAME_BEFORE_GIVING_UP = 20


@frozen(kw_only=True)
class OverfitReport:
    """Result of training on one batch.

    Args:
        sound: whether the loss collapsed.
        message: what happened, and where to look if it did not.
        losses: the loss of every step.
    """

    sound: bool
    message: str
    losses: tuple[float, ...]


def overfit(
    step: Callable,
    batch: Sequence[np.ndarray],
    *,
    max_steps: int = 300,
    rate: float = RATE,
    target: float = TARGET,
    on_step: Callable[[int, float], None] | None = None,
) -> OverfitReport:
    """Trains on one batch repeatedly and returns whether its loss collapses.

    Call it first with a new dataset or a changed step: whatever is wrong between annotations and update shows here in
    minutes, not after a night. It proves that the boxes reach the network and the network can learn them; that they
    lie on the right pixels is seen in a picture only.

    Args:
        step: as made by `yolox.training.step.make_train_step`, for random weights that nobody needs afterwards (weights that
            know the images already leave the loss little to fall).
        batch: images, gt_boxes, gt_classes, valid, without augmentation.
        max_steps: steps after which the check fails.
        rate: learning rate after `WARMUP_STEPS` steps.
        target: share of the first loss to which it has to fall.
        on_step: is called with the number of steps done and the loss.

    Returns:
        OverfitReport; the loop ends with the first loss at the target, or as soon as the check has failed.
    """
    if not np.asarray(batch[3]).any():
        return OverfitReport(sound=False, message="the batch has no box: look at the annotations and `max_gt`", losses=())
    tensors, losses = tuple(ms.Tensor(part) for part in batch[:4]), []
    for number in range(max_steps):
        lr = rate * min((number + 1) / WARMUP_STEPS, 1.0)
        scalars = (ms.Tensor(value, ms.float32) for value in (lr, 0.0, 0.0))  # rate, EMA decay, L1 weight
        parts, num_pos, finite, _ = step(*tensors, *scalars)
        losses.append(float(parts["total"].asnumpy()))
        if on_step is not None:
            on_step(number + 1, losses[-1])
        verdict = _verdict(losses, int(num_pos.asnumpy()), bool(finite.asnumpy()), target)
        if verdict is not None:
            return OverfitReport(sound=verdict[0], message=verdict[1], losses=tuple(losses))
    return OverfitReport(sound=False, message=_too_slow(losses, target), losses=tuple(losses))


def _verdict(losses: list[float], num_pos: int, finite: bool, target: float) -> tuple[bool, str] | None:
    """Returns the result after a step; None to continue."""
    count, first, last = len(losses), losses[0], losses[-1]
    if not finite:
        return False, f"loss or gradients are not finite at step {count}: look at the images and `precision`"
    if num_pos == 0:
        return False, f"no point is matched to a box at step {count}: look at the boxes' pixels and the input size"
    if last <= target * first:
        return True, f"sound: the loss of one batch fell from {first:.2f} to {last:.2f} in {count} steps"
    if count > SAME_BEFORE_GIVING_UP and len(set(losses)) == 1:
        return False, f"the loss is {last:.2f} at every one of {count} steps: the update does not reach the network"
    return None


def _too_slow(losses: list[float], target: float) -> str:
    return (
        f"the loss of one batch fell from {losses[0]:.2f} to {losses[-1]:.2f} in {len(losses)} steps, and should fall "
        f"below {target * losses[0]:.2f}: look at the picture of the labels; give `overfit_steps` more if it still falls"
    )
