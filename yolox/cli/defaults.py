"""Defaults that follow from other options, found in the raw arguments before or after they are parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from yolox.config import Recipe
from yolox.recipes import finetune_recipe, with_input_size


def given_option(argv: Sequence[str], name: str) -> str | None:
    """Find the value of ``--name`` among raw arguments, before they are parsed.

    The recipe decides the defaults of the other options, so it has to be known first.

    Returns:
        The last value given, as text; None if the option is not there.

    Example:
        >>> given_option(["train", "--recipe", "mindyolo"], "recipe"), given_option(["--lr=0.1"], "lr")
        ('mindyolo', '0.1')
    """
    found = None
    for word, following in zip(argv, [*argv, ""][1:], strict=True):
        option, equals, value = word.replace("_", "-").partition("=")
        if option == "--" + name.replace("_", "-"):
            found = word.partition("=")[2] if equals else following
    return found


def base_recipe(argv: Sequence[str], recipes: Mapping[str, Recipe]) -> Recipe:
    """Pick the recipe that the arguments start from.

    ``--finetune`` changes the recipe before other options do. A learning rate is given per image or absolute. Giving
    one of the two takes the other one away.
    """
    recipe = recipes.get(given_option(argv, "recipe") or "megvii", recipes["megvii"])
    if "--finetune" in argv and "--no-finetune" not in argv:
        recipe = finetune_recipe(recipe)
    for name, other in (("lr", "lr_per_image"), ("lr_per_image", "lr")):
        if given_option(argv, name) is not None and given_option(argv, other) is None:
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
    if given_option(argv, "input_size") is None or given_option(argv, "multiscale_sizes") is not None:
        return settings
    sizes = with_input_size(recipe, settings.input.input_size).loader.multiscale_sizes
    return attrs.evolve(settings, loader=attrs.evolve(settings.loader, multiscale_sizes=sizes))
