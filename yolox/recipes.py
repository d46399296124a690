"""The two published training recipes as frozen values, for each scale, and the preset for fine-tuning.

Megvii's is the reference; MindYOLO's is the one whose table of results and checkpoints exist for MindSpore.
Every difference between them is the value of a field. Two habits of the originals are not settings here:

* Megvii's published runs pass ``--fp16``, which is no part of its recipe files: both recipes have float32,
  and ``precision="float16"`` is the choice of the run. Assignment and losses are float32 in any case; Megvii
  rounds ground truths and MindYOLO the matching costs to half precision.
* The loss scale moves, as Megvii's does, and begins at the 1024 that MindYOLO keeps. It acts in float16 only.
"""

from __future__ import annotations

import attrs

from yolox.config import (
    AssignConfig,
    AugmentConfig,
    InputSpec,
    LoaderConfig,
    LossConfig,
    OptimConfig,
    PostprocessConfig,
    Recipe,
    Size,
)

SCALES = ("nano", "tiny", "s", "m", "l", "x", "darknet53")
"""Names of the published detectors, by falling speed; darknet53 is the YOLOv3 backbone with YOLOX's head."""

RATE_PER_IMAGE = 0.005 / 64  # of fine-tuning: half of Megvii's
_SMALL = ("nano", "tiny")  # trained at 416 pixels, with milder augmentation


def megvii_recipe(scale: str) -> Recipe:
    """Returns the recipe of the reference implementation.

    Start here: it finds more small objects than the other, and its learning rate follows the batch size.

    Args:
        scale: one of `SCALES`.

    Returns:
        The recipe of 300 epochs on COCO with 8 devices; change it with ``attrs.evolve``.

    Raises:
        ValueError: if the scale is not known.

    Source: Ge et al., YOLOX (arXiv:2107.08430), section 2.1, and the experiment files of
        github.com/Megvii-BaseDetection/YOLOX at 6ddff482. The no-augmentation epochs are 16, not the 15 that the
        files name: the switch tests the epoch after the present one.

    Example:
        >>> megvii_recipe("nano").input.input_size, megvii_recipe("s").optim.ema_decay
        ((416, 416), 0.9998)
    """
    _check_scale("megvii_recipe", scale)
    return Recipe(
        epochs=300,
        no_aug_epochs=16,
        eval_interval=10,
        no_aug_eval_interval=1,
        input=InputSpec(input_size=_size(scale)),
        augment=_megvii_augment(scale),
        loader=LoaderConfig(
            batch_size=8,
            last_batch="fill",
            max_gt=120,
            multiscale_sizes=_multiscale(scale),
            multiscale_interval=10,
            workers=4,
            seed=0,
        ),
        assign=AssignConfig(prior="center", outside_penalty=1e6),
        loss=LossConfig(loss_normalizer="local"),
        optim=_megvii_optim(),
        postprocess=PostprocessConfig(
            score_threshold=0.01, iou_threshold=0.65, multi_label=False, max_detections=30000
        ),
    )


def mindyolo_recipe(scale: str) -> Recipe:
    """Returns the recipe of MindYOLO.

    Use it to continue from MindYOLO's checkpoints or to compare with its table. Its learning rate does not
    follow the batch size and its gradients are summed over devices: on 8 devices it takes steps 8 times as
    long as on one.

    Args:
        scale: one of `SCALES`.

    Returns:
        The recipe of 300 epochs on COCO with 8 devices; change it with ``attrs.evolve``.

    Raises:
        ValueError: if the scale is not known.

    Source: configs/yolox of github.com/mindspore-lab/mindyolo at 67288e57.

    Example:
        >>> mindyolo_recipe("s").input.channel_order, mindyolo_recipe("s").assign.prior
        ('rgb', 'box_and_center')
    """
    _check_scale("mindyolo_recipe", scale)
    return Recipe(
        epochs=300,
        no_aug_epochs=15,
        eval_interval=25,
        no_aug_eval_interval=5,
        input=InputSpec(
            input_size=_size(scale),
            channel_order="rgb",
            pixel_scale=1 / 255,
            letterbox="center",
            shrink_interpolation="area",
        ),
        augment=_mindyolo_augment(scale),
        loader=LoaderConfig(
            batch_size=8, last_batch="drop", max_gt=160, multiscale_sizes=(), workers=8, seed=2
        ),
        assign=AssignConfig(prior="box_and_center", outside_penalty=1000.0),
        loss=LossConfig(loss_normalizer="local"),
        optim=_mindyolo_optim(),
        postprocess=PostprocessConfig(
            score_threshold=0.001, iou_threshold=0.65, multi_label=True, max_candidates=30000,
            max_detections=300
        ),
    )


def with_convention(spec: InputSpec, weights_input: InputSpec | None) -> InputSpec:
    """Returns the weights' input convention at the image size of `spec`; `spec` where it is not known.

    Args:
        spec: its size counts.
        weights_input: pixels that the weights were trained on; None where that is not known.

    Returns:
        InputSpec.
    """
    return spec if weights_input is None else attrs.evolve(weights_input, input_size=spec.input_size)


def with_input_size(recipe: Recipe, size: Size) -> Recipe:
    """Returns a recipe with another image size, and the sizes of multi-scale training with it.

    ``attrs.evolve`` of `recipe.input` alone leaves the training sizes around the old size.

    Args:
        recipe: any.
        size: height and width in pixels, multiples of 32.

    Returns:
        The recipe with this input size. Each training height keeps its distance to the input's height, in pixels;
        what falls below 32 is left out. A recipe of one size stays one.

    Raises:
        ValueError: the size is no multiple of 32.

    Source: Megvii's ``random_resize``, five steps of 32 px each way, unless the experiment names its range, as nano's and
        tiny's do: three steps down and seven up, which are kept here.

    Example:
        >>> small = with_input_size(megvii_recipe("s"), (320, 320))
        >>> small.input.input_size, small.loader.multiscale_sizes[0], small.loader.multiscale_sizes[-1]
        ((320, 320), 160, 480)
    """
    spec = attrs.evolve(recipe.input, input_size=size)
    moved = (height + size[0] - recipe.input.input_size[0] for height in recipe.loader.multiscale_sizes)
    loader = attrs.evolve(recipe.loader, multiscale_sizes=tuple(height for height in moved if height >= 32))
    return attrs.evolve(recipe, input=spec, loader=loader)


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
        >>> short = with_epochs(megvii_recipe("nano"), 20)
        >>> short.optim.warmup_epochs, short.optim.flat_epochs, short.no_aug_epochs
        (2, 7, 8)
    """
    optim = recipe.optim
    factor = min(1.0, epochs / 2 / max(optim.warmup_epochs + optim.flat_epochs, 1))
    warmup, flat, no_aug = (int(n * factor) for n in (optim.warmup_epochs, optim.flat_epochs, recipe.no_aug_epochs))
    optim = attrs.evolve(optim, warmup_epochs=warmup, flat_epochs=flat)
    return attrs.evolve(recipe, epochs=epochs, no_aug_epochs=no_aug, optim=optim)


def _megvii_augment(scale: str) -> AugmentConfig:
    return AugmentConfig(
        mosaic_prob=_mosaic_prob(scale),
        mosaic_partners="uniform",
        affine_scale=(0.5, 1.5) if scale in _SMALL else (0.1, 2.0),
        affine_center=False,
        box_filter="min_side",
        mixup_prob=_mixup_prob(scale),
        mixup_partner="image",
        mixup_scale=(0.5, 1.5),
        hsv_mode="additive",
        hsv_gains=(5.0, 30.0, 30.0),
    )


def _mindyolo_augment(scale: str) -> AugmentConfig:
    return AugmentConfig(
        mosaic_prob=_mosaic_prob(scale),
        mosaic_partners="buffer",
        affine_scale=(0.5, 1.5) if scale in _SMALL else (0.1, 1.9),
        affine_center=True,
        box_filter="candidates",
        mixup_prob=_mixup_prob(scale),
        mixup_partner="mosaic",
        hsv_mode="multiplicative",
        hsv_gains=(0.015, 0.7, 0.4),
    )


def _megvii_optim() -> OptimConfig:
    return OptimConfig(
        lr_per_image=0.01 / 64,
        warmup_start=0.0,
        ema_decay=0.9998,
        gradient_reduction="mean",
        average_bn_stats=True,
    )


def _mindyolo_optim() -> OptimConfig:
    return OptimConfig(
        lr_per_image=None,
        lr=0.01,
        warmup_start=0.01,
        ema_decay=0.9999,
        gradient_reduction="sum",
        average_bn_stats=False,
    )


def _size(scale: str) -> tuple[int, int]:
    return (416, 416) if scale in _SMALL else (640, 640)


def _multiscale(scale: str) -> tuple[int, ...]:
    return tuple(range(320, 641, 32)) if scale in _SMALL else tuple(range(480, 801, 32))


def _mosaic_prob(scale: str) -> float:
    return 0.5 if scale == "nano" else 1.0


def _mixup_prob(scale: str) -> float:
    return 0.0 if scale in _SMALL else 1.0


def _check_scale(function: str, scale: str) -> None:
    if scale not in SCALES:
        raise ValueError(f"{function}: scale is {scale!r}, want one of {', '.join(SCALES)}")


def finetune_recipe(recipe: Recipe, *, epochs: int = 40) -> Recipe:
    """Returns a recipe for fine-tuning COCO weights on a few hundred images or more, from one of 300 epochs.

    What changes, and why:

    * Half of Megvii's rate, per image and with the mean over devices, whichever recipe it starts from: the weights
      are near a good place. MindYOLO's absolute rate of 0.01 is meant for 64 images; at 8 it is eight times as long
      a step an image.
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

    Source: chosen here; the schedule's shape is Megvii's. The numbers were not tuned.

    Example:
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
        recipe, epochs=epochs, no_aug_epochs=5, eval_interval=5, no_aug_eval_interval=1, optim=optim, loader=loader
    )
