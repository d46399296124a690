"""The settings of a detector's command line: layers, recipes, step and published numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from attrs import field, frozen

from yolox.cli.options import Given
from yolox.cli.spelling import nearest
from yolox.config import Recipe
from yolox.config_io import SUFFIXES, read_stated_recipe
from yolox.errors import UsageError
from yolox.models import PUBLISHED, Published, build
from yolox.recipes import BEST, published_recipes
from yolox.training.step import make_recipe_step


def _has_megvii(_instance, attribute, value) -> None:
    if "megvii" not in value:
        raise ValueError(f"Experiment: {attribute.name} has {sorted(value)}, want at least 'megvii'")


@frozen(kw_only=True)
class Experiment:
    """A detector with its recipes, as every command takes it.

    A project's own detector becomes a command line by ``yolox.cli.main(Experiment(...))``.
    """

    name: str
    """Name that is shown, such as ``yolox-nano``."""
    build_detector: Callable[..., Any]
    """Function from the number of classes to a detector Cell; it has `num_classes` and `strides`. For images of other than
    three channels it is given `channels` too."""
    recipes: Mapping[str, Recipe] = field(validator=_has_megvii)
    """Named recipes; ``--recipe`` picks one or names a file with one as its base; ``megvii`` is the default."""
    make_step: Callable[..., Callable] = make_recipe_step
    """Function of detector, training state and recipe, with `group`, `loss_fn` and `compiled` by keyword, that returns the
    training step; ``functools.partial(make_recipe_step, loss_fn=...)`` takes another loss."""
    recipe_files: Mapping[str, Recipe] = {}
    """Recipes of files that the command line has read already, by path."""
    published: Published | None = None
    """Numbers of the papers' authors; None for a detector of one's own."""

    def build(self, num_classes: int, channels: int = 3) -> Any:
        """Returns the detector for so many classes, and for images of so many channels.

        Raises:
            UsageError: `build_detector` takes no `channels`, and other than 3 are wanted.
        """
        if channels == 3:
            return self.build_detector(num_classes)
        if "channels" not in inspect.signature(self.build_detector).parameters:
            raise UsageError(f"`channels` {channels}: {self.name} takes images of 3 channels")
        return self.build_detector(num_classes, channels=channels)


def scale_experiment(scale: str) -> Experiment:
    """Returns the experiment of a published scale, as its script in examples/ assembles it.

    Args:
        scale: one of `yolox.models.SCALES`.
    """
    return Experiment(
        name=f"yolox-{scale}",
        build_detector=partial(build, scale),
        recipes=published_recipes(scale),
        published=PUBLISHED[scale],
    )


def choose_recipe(recipes: Mapping[str, Recipe], name: str) -> tuple[str, Recipe, Given]:
    """Returns the recipe that ``--recipe`` names.

    Args:
        recipes: by name.
        name: one of them, or the path of a recipe file, whose base is one of them.

    Returns:
        The name, where `BEST` is replaced by the name of the same recipe; the recipe; and the fields that a recipe file
        states itself, with their values.

    Raises:
        UsageError: no such recipe.
        RecipeError: the file cannot be read.
    """
    if name in recipes:
        recipe = recipes[name]
        names = [other for other, same in recipes.items() if same == recipe and other != BEST]
        return (names[0] if name == BEST and names else name), recipe, Given()
    if name.lower().endswith(SUFFIXES):
        recipe, stated = read_stated_recipe(name, recipes)
        return name, recipe, _settings(stated, recipe)
    near = nearest(name, recipes)
    meant = f"; perhaps you meant {near}" if near else ""
    want = f"one of {', '.join(recipes)}, or a file that ends in {' or '.join(SUFFIXES)}"
    raise UsageError(f"--recipe: got {name!r}, want {want}{meant}")


def _settings(fields: Iterable[str], recipe: Recipe) -> Given:
    """Returns fields of a recipe with their values, by section."""
    result = Given()
    for name in fields:
        section, _, field = name.rpartition(".")
        holder = getattr(recipe, section) if section else recipe
        (result.setdefault(section, Given()) if section else result)[field] = getattr(holder, field)
    return result
