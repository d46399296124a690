"""The published training recipes as frozen values, for each scale.

Megvii's is the reference; MindYOLO's is the one whose table of results and checkpoints exist for MindSpore; mmyolo's with the
hyper-parameters of RTMDet and PaddleDetection's have the highest published AP on the same layers. Every difference between
them is the value of a field. Two habits of the originals are not settings here:

* The published runs of Megvii, mmyolo and PaddleDetection were made in float16: the recipes have float32, and
  ``precision="float16"`` is the choice of the run. Assignment and losses are float32 in any case; Megvii rounds ground
  truths and MindYOLO the matching costs to half precision.
* The loss scale moves, as Megvii's does, and begins at the 1024 that MindYOLO keeps. It acts in float16 only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

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
)

SCALES = ("nano", "tiny", "s", "m", "l", "x", "darknet53")
"""Names of the published detectors, by falling speed; darknet53 is the YOLOv3 backbone with YOLOX's head."""

_SMALL = ("nano", "tiny")  # trained at 416 pixels, with milder augmentation


def megvii_recipe(scale: str) -> Recipe:
    """Returns the recipe of the reference implementation.

    Start here: it finds more small objects than MindYOLO's, and its learning rate follows the batch size.

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


def rtmdet_recipe(scale: str) -> Recipe:
    """Returns mmyolo's recipe for YOLOX with the hyper-parameters of RTMDet.

    It has the highest published AP of tiny, s and m. A step is over 256 images, 32 on each of 8 devices; on fewer devices the
    rate follows the batch.

    Args:
        scale: one of `SCALES`; `published_ap` is None where it was not published: then the rule of the nearest scale is taken
            (tiny's for nano, with its mosaic of probability 1; s and m's for l, x and darknet53).

    Returns:
        The recipe of 300 epochs on COCO; change it with ``attrs.evolve``.

    Raises:
        ValueError: if the scale is not known.

    Source: ``configs/yolox/yolox_{tiny,s,m}_fast_8xb32-300e-rtmdet-hyp_coco.py`` of github.com/open-mmlab/mmyolo at
        8c4d9dc5. Its cosine has the length of 280 epochs and begins at epoch 5, so that it ends a little above its lowest
        rate; here it reaches it. Its assigner adds 1e-7, not 1e-8, to the IoU before the logarithm. It leaves out samples in
        which no box is left; here they are images without objects.

    Example:
        >>> recipe = rtmdet_recipe("s")
        >>> recipe.optim.optimizer, recipe.optim.lr_per_image * 256, recipe.loader.multiscale_interval
        ('adamw', 0.004, 1)
    """
    _check_scale("rtmdet_recipe", scale)
    return Recipe(
        epochs=300,
        no_aug_epochs=20,
        eval_interval=10,
        no_aug_eval_interval=1,
        input=InputSpec(input_size=_size(scale)),
        augment=attrs.evolve(
            _megvii_augment(scale), mosaic_prob=1.0, mixup_scale=(0.8, 1.6), canvas_size=(640, 640)
        ),
        loader=LoaderConfig(
            batch_size=32,
            last_batch="fill",
            max_gt=120,
            min_image_side=32,
            multiscale_sizes=_multiscale(scale),
            multiscale_interval=1,
            workers=8,
            seed=0,
        ),
        assign=AssignConfig(prior="box_or_center", center_radius=2.5, outside_penalty=1e5),
        loss=LossConfig(loss_normalizer="global"),
        optim=OptimConfig(
            optimizer="adamw",
            lr_per_image=0.004 / 256,
            betas=(0.9, 0.999),
            eps=1e-8,
            weight_decay=0.05,
            warmup_start=0.0,
            flat_epochs=20,
            ema_decay=0.9998,
            gradient_reduction="mean",
            average_bn_stats=True,
        ),
        postprocess=PostprocessConfig(
            score_threshold=0.001, iou_threshold=0.65, multi_label=True, max_candidates=30000, max_detections=300
        ),
    )


def paddle_recipe(scale: str) -> Recipe:
    """Returns PaddleDetection's recipe for YOLOX.

    It has the highest published AP of nano, l and x. A step is over 64 images, 8 on each of 8 devices.

    Args:
        scale: one of `SCALES`; darknet53 was not published there and takes the values of l.

    Returns:
        The recipe of 300 epochs on COCO; change it with ``attrs.evolve``.

    Raises:
        ValueError: if the scale is not known.

    Source: configs/yolox of github.com/PaddlePaddle/PaddleDetection at 666f597f. There the L1 loss is on decoded boxes in
        strides (here on raw outputs), and scores of an evaluation are the roots of these here, which keeps their order. Its
        cost adds 1e-7, not 1e-8, to the IoU, and its box predictions begin at zero weights and a size of five strides.

    Example:
        >>> recipe = paddle_recipe("nano")
        >>> recipe.input.channel_order, recipe.augment.canvas_size, recipe.postprocess.max_detections
        ('rgb', (640, 640), 1000)
    """
    _check_scale("paddle_recipe", scale)
    return Recipe(
        epochs=300,
        no_aug_epochs=15,
        eval_interval=10,
        no_aug_eval_interval=10,
        input=InputSpec(input_size=_size(scale), channel_order="rgb"),
        augment=attrs.evolve(_megvii_augment(scale), canvas_size=(640, 640)),
        loader=LoaderConfig(
            batch_size=8,
            last_batch="drop",
            max_gt=120,
            multiscale_sizes=_multiscale(scale),
            multiscale_interval=10,
            workers=4,
            seed=0,
        ),
        assign=AssignConfig(prior="box_or_center", center_radius=2.5, outside_penalty=1e8),
        loss=LossConfig(loss_normalizer="local"),
        optim=OptimConfig(
            lr_per_image=0.01 / 64,
            warmup_start=0.0,
            ema_decay=0.9999,
            gradient_reduction="mean",
            average_bn_stats=True,
            sync_bn=True,
        ),
        postprocess=PostprocessConfig(
            score_threshold=0.001, iou_threshold=0.65, multi_label=True, max_candidates=10000, max_detections=1000
        ),
    )


RECIPES: Mapping[str, Callable[[str], Recipe]] = MappingProxyType(
    {"megvii": megvii_recipe, "mindyolo": mindyolo_recipe, "rtmdet": rtmdet_recipe, "paddle": paddle_recipe}
)
"""Function of the scale by the name of the published recipe."""
BEST = "best"
"""Name that stands for the recipe with the highest published AP of a scale."""
_PUBLISHED_AP = {
    "megvii": (25.8, 32.8, 40.5, 46.9, 49.7, 51.1, 47.7),
    "mindyolo": (24.1, 33.3, 40.7, 46.7, 49.2, 51.6, 47.7),
    "rtmdet": (None, 34.3, 41.9, 47.5, None, None, None),
    "paddle": (26.1, 32.9, 40.4, 46.9, 50.1, 51.8, None),
}


def published_ap(name: str, scale: str) -> float | None:
    """Returns the AP on COCO val2017 that the authors of a recipe published for a scale.

    Args:
        name: of the recipe, a key of `RECIPES`.
        scale: one of `SCALES`.

    Returns:
        AP in percent after 300 epochs at the scale's size; None where none was published.

    Raises:
        ValueError: the recipe or the scale is not known.

    Source: the READMEs of the repositories that `megvii_recipe` and the others name. None was repeated here.

    Example:
        >>> published_ap("rtmdet", "s"), published_ap("rtmdet", "x")
        (41.9, None)
    """
    _check_scale("published_ap", scale)
    if name not in RECIPES:
        raise ValueError(f"published_ap: name is {name!r}, want one of {', '.join(RECIPES)}")
    return _PUBLISHED_AP[name][SCALES.index(scale)]


def published_recipes(scale: str) -> dict[str, Recipe]:
    """Returns the recipes of a scale by name, and as `BEST` the one of `best_recipe_name`.

    Args:
        scale: one of `SCALES`.

    Returns:
        The recipes, "megvii" first.

    Raises:
        ValueError: if the scale is not known.

    Example:
        >>> recipes = published_recipes("nano")
        >>> list(recipes), recipes["best"] == recipes["paddle"]
        (['megvii', 'mindyolo', 'rtmdet', 'paddle', 'best'], True)
    """
    recipes = {name: make(scale) for name, make in RECIPES.items()}
    return {**recipes, BEST: recipes[best_recipe_name(scale)]}


def best_recipe_name(scale: str) -> str:
    """Returns the name of the recipe with the highest published AP of a scale.

    Args:
        scale: one of `SCALES`.

    Returns:
        A key of `RECIPES`; of equal ones the first.

    Raises:
        ValueError: if the scale is not known.

    Example:
        >>> [best_recipe_name(scale) for scale in SCALES]
        ['paddle', 'rtmdet', 'rtmdet', 'rtmdet', 'paddle', 'paddle', 'megvii']
    """
    return max(RECIPES, key=lambda name: published_ap(name, scale) or 0.0)


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
