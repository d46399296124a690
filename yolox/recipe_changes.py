"""From one recipe to another: image size, epochs, the input convention of weights, fine-tuning.

Each function returns a new value; ``attrs.evolve`` changes single fields.
"""

from __future__ import annotations

import attrs

from yolox.config import MAX_SIDE, InputSpec, OptimConfig, Recipe, Size

FINETUNE_RATE = 0.005  # with SGD, whatever the batch: half of what Megvii's recipe has for 64 images


def with_convention(spec: InputSpec, weights_input: InputSpec | None) -> InputSpec:
    """Returns the weights' input convention at the image size of `spec`; `spec` where it is not known.

    Args:
        spec: its size counts.
        weights_input: pixels that the weights were trained on; None where that is not known.

    Returns:
        InputSpec. A `max_value` of 16 bits in `spec` stays: it is of the files, and the network sees 0 to 255 either way.
    """
    if weights_input is None:
        return spec
    largest = weights_input.max_value if spec.max_value == 255 else spec.max_value
    return attrs.evolve(weights_input, input_size=spec.input_size, max_value=largest)


def with_input_size(recipe: Recipe, size: Size) -> Recipe:
    """Returns a recipe with another image size, and the sizes of multi-scale training with it.

    ``attrs.evolve`` of `recipe.input` alone leaves the training sizes around the old size.

    Args:
        recipe: any.
        size: height and width in pixels, multiples of 32.

    Returns:
        The recipe with this input size. Each training height keeps its distance to the input's height, in pixels; those that
        fall below 32 are left out. A recipe of one size stays one. A canvas keeps its ratio to the input's height, and has
        the shape of the input.

    Raises:
        ValueError: the size is no multiple of 32.

    Source: Megvii's ``random_resize``, five steps of 32 px each way, unless the experiment names its range, as nano's and
        tiny's do: three steps down and seven up, which are kept here.

    Example:
        >>> from yolox.recipes import megvii_recipe
        >>> small = with_input_size(megvii_recipe("s"), (320, 320))
        >>> small.input.input_size, small.loader.multiscale_sizes[0], small.loader.multiscale_sizes[-1]
        ((320, 320), 160, 480)
    """
    spec = attrs.evolve(recipe.input, input_size=size)
    moved = (height + size[0] - recipe.input.input_size[0] for height in recipe.loader.multiscale_sizes)
    loader = attrs.evolve(recipe.loader, multiscale_sizes=tuple(height for height in moved if height >= 32))
    augment = recipe.augment
    if augment.canvas_size is not None:
        factor = augment.canvas_size[0] / recipe.input.input_size[0]
        augment = attrs.evolve(augment, canvas_size=tuple(min(round(side * factor), MAX_SIDE) for side in size))
    return attrs.evolve(recipe, input=spec, loader=loader, augment=augment)


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Returns a recipe with another number of epochs, whose warm-up and last phases fit into it.

    ``attrs.evolve`` of `recipe.epochs` alone leaves these as long as they are, which a short run has no room for.

    Args:
        recipe: any.
        epochs: passes over the training images.

    Returns:
        The recipe. Where warm-up and flat epochs would take more than half of the run, these and the no-augmentation
        epochs are shortened by one factor and rounded down, so that the two take a half; otherwise they stay.

    Source: chosen here.

    Example:
        >>> from yolox.recipes import megvii_recipe
        >>> short = with_epochs(megvii_recipe("nano"), 20)
        >>> short.optim.warmup_epochs, short.optim.flat_epochs, short.no_aug_epochs
        (2, 7, 8)
    """
    optim = recipe.optim
    factor = min(1.0, epochs / 2 / max(optim.warmup_epochs + optim.flat_epochs, 1))
    warmup, flat, no_aug = (int(n * factor) for n in (optim.warmup_epochs, optim.flat_epochs, recipe.no_aug_epochs))
    optim = attrs.evolve(optim, warmup_epochs=warmup, flat_epochs=flat)
    return attrs.evolve(recipe, epochs=epochs, no_aug_epochs=no_aug, optim=optim)


def finetune_recipe(recipe: Recipe, *, epochs: int = 40) -> Recipe:
    """Returns a recipe for fine-tuning COCO weights on a few hundred images or more, from one of 300 epochs.

    What changes, and why:

    * A rate of 0.005 for recipes with SGD, whatever the batch, with the mean over devices, and half of the recipe's own rate an
      image for those with AdamW. At 64 images it is half of Megvii's rate; at 8 images four times: a few hundred images have few
      steps, and with Megvii's rate an image the detector had not learned them at the end (docs/recipes.md has the figures).
    * One epoch of warm-up in place of five, and five flat epochs at the lowest rate in place of fifteen: the same
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

    Source: chosen here; the schedule's shape is Megvii's. The rate was chosen on validation images of BCCD.

    Example:
        >>> from yolox.recipes import mindyolo_recipe
        >>> finetune_recipe(mindyolo_recipe("s")).optim.lr
        0.005
    """
    optim = attrs.evolve(
        recipe.optim,
        **_rates(recipe.optim),
        gradient_reduction="mean",
        warmup_epochs=1,
        flat_epochs=5,
        ema_decay=0.998,
        ema_ramp=200.0,
    )
    loader = attrs.evolve(recipe.loader, multiscale_sizes=())
    return attrs.evolve(
        recipe, epochs=epochs, no_aug_epochs=5, eval_interval=5, no_aug_eval_interval=1, optim=optim, loader=loader
    )


def _rates(optim: OptimConfig) -> dict[str, float | None]:
    if optim.optimizer == "adamw" and optim.lr_per_image is not None:
        return {"lr": None, "lr_per_image": optim.lr_per_image / 2}
    return {"lr": FINETUNE_RATE, "lr_per_image": None}
