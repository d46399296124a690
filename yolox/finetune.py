"""The preset for starting from published weights on a dataset of one's own."""

from __future__ import annotations

import attrs

from yolox.config import Recipe

RATE_PER_IMAGE = 0.005 / 64  # half of Megvii's


def finetune_recipe(recipe: Recipe, *, epochs: int = 40) -> Recipe:
    """Change a recipe of 300 epochs on COCO into one for weights that know COCO already, and a few hundred images or more.

    What changes, and why:

    * Half of Megvii's rate, per image and with the mean over devices, whichever recipe it starts from: the weights
      are near a good place. MindYOLO's absolute rate of 0.01 is meant for 64 images; at 8 it is eight times as long
      a step an image.
    * One epoch of warm-up in place of five, and five plain epochs at the lowest rate in place of fifteen: the same
      shape of schedule in fewer epochs.
    * A moving average of at most 500 steps that is ready after some hundreds. The published one grows over 2000
      steps (``decay * (1 - exp(-step / 2000))``): in a run of 1000 steps it averages no more than the last two or three, so
      the evaluated weights are as noisy as those of training. Without its growth it would be worse: 0.9998 to the
      power of 1000 leaves 82% of the weights from before the training in the average.
    * One image size: each further size is a compiled step, which a short run does not earn back.

    Args:
        recipe: a published recipe, or any other; augmentation, input, assignment and loss stay as they are.
        epochs: passes over the training images; at least 6.

    Returns:
        The recipe; change it further with ``attrs.evolve``.

    Source: chosen here; the schedule's shape is Megvii's. The numbers were not tuned.

    Example:
        >>> from yolox.recipes import mindyolo_recipe
        >>> finetune_recipe(mindyolo_recipe("s")).optim.lr_per_image * 64
        0.005
    """
    optim = attrs.evolve(
        recipe.optim,
        lr=None,
        lr_per_image=RATE_PER_IMAGE,
        gradient_reduction="mean",
        warmup_epochs=1,
        flat_epochs=5,
        ema_decay=0.998,
        ema_ramp=200.0,
    )
    loader = attrs.evolve(recipe.loader, multiscale_sizes=())
    return attrs.evolve(
        recipe, epochs=epochs, plain_epochs=5, eval_interval=5, plain_eval_interval=1, optim=optim, loader=loader
    )
