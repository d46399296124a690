"""Defaults that follow from other options, which a first, smaller parser reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
from attrs import frozen

from yolox.cli.parsing import parse_some
from yolox.config import Recipe
from yolox.recipes import finetune_recipe, with_input_size


@frozen(kw_only=True)
class FirstOptions:
    """The options that decide the defaults of others, as text; None where they are left out."""

    recipe: str | None = None
    finetune: bool = False
    resume: Path | None = None
    lr: str | None = None
    lr_per_image: str | None = None
    input_size: tuple[str, ...] | None = None
    multiscale_sizes: tuple[str, ...] | None = None


def first_options(argv: Sequence[str]) -> FirstOptions:
    """Returns the options that decide the defaults of others, from all arguments of a command.

    Example:
        >>> first_options(["train", "--recipe", "mindyolo", "--epochs", "3"]).recipe
        'mindyolo'
    """
    return parse_some(FirstOptions, argv, prog="yolox")[0]


def base_recipe(argv: Sequence[str], recipes: Mapping[str, Recipe]) -> Recipe:
    """Pick the recipe that the arguments start from.

    ``--finetune`` changes the recipe before other options do. A learning rate is given per image or absolute. Giving
    one of the two takes the other one away.
    """
    first = first_options(argv)
    recipe = recipes.get(first.recipe or "megvii", recipes["megvii"])
    if first.finetune:
        recipe = finetune_recipe(recipe)
    for name, other in (("lr", "lr_per_image"), ("lr_per_image", "lr")):
        if getattr(first, name) is not None and getattr(first, other) is None:
            placeholder = getattr(recipe.optim, name) or 1.0
            recipe = attrs.evolve(
                recipe, optim=attrs.evolve(recipe.optim, **{name: placeholder, other: None})
            )
    return recipe


def follow_input_size(settings: Recipe, argv: Sequence[str], recipe: Recipe) -> Recipe:
    """Let the training sizes go along with ``--input-size``, unless ``--multiscale-sizes`` says what they are.

    Args:
        settings: as parsed.
        argv: the raw arguments.
        recipe: the defaults that they were parsed with.

    Returns:
        The settings, with the training sizes of `yolox.recipes.with_input_size`.

    Example:
        >>> from yolox.recipes import megvii_recipe
        >>> words, recipe = ["train", "--input-size", "320"], megvii_recipe("s")
        >>> settings = attrs.evolve(recipe, input=attrs.evolve(recipe.input, input_size=(320, 320)))
        >>> sizes = follow_input_size(settings, words, recipe).loader.multiscale_sizes
        >>> sizes[0], sizes[-1]
        (160, 480)
    """
    first = first_options(argv)
    if first.input_size is None or first.multiscale_sizes is not None:
        return settings
    sizes = with_input_size(recipe, settings.input.input_size).loader.multiscale_sizes
    return attrs.evolve(settings, loader=attrs.evolve(settings.loader, multiscale_sizes=sizes))
