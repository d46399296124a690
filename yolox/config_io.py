"""Converts recipes to dicts and JSON, and back with every field checked."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import attrs
from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from yolox.config import Recipe
from yolox.errors import RecipeError

STORED_KEYS = {
    "no_aug_epochs": "plain_epochs",
    "no_aug_eval_interval": "plain_eval_interval",
    "max_gt": "max_truths",
    "gt_paddings": "truth_paddings",
}
"""Field to key where the two differ: recipe.json and checkpoints keep the keys that they have always had."""


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """Converts a recipe to dicts, lists, numbers, strings and None, as JSON has them.

    Args:
        recipe: any recipe.

    Returns:
        One key for every field, nested as the recipe is; `recipe_from_dict` gives an equal recipe back. The keys are
        the fields' names, except those of `STORED_KEYS`.

    Example:
        >>> recipe_to_dict(Recipe(epochs=40))["epochs"]
        40
    """
    return _converter.unstructure(recipe)


def recipe_from_dict(data: dict[str, Any]) -> Recipe:
    """Returns a recipe from a dict, as read from a checkpoint or a file.

    Args:
        data: nested as `recipe_to_dict` gives it. Fields that are not there take their defaults, so that
            recipes of earlier versions can be read.

    Returns:
        The recipe.

    Raises:
        RecipeError: a field that does not exist (the nearest name is proposed), a value of another type, or
            one that the configuration refuses. The message names the field, e.g. ``recipe.optim.momentum``.

    Example:
        >>> recipe_from_dict({"optim": {"momentum": 0.8}}).optim.momentum
        0.8
        >>> recipe_from_dict({"epoch": 40})
        Traceback (most recent call last):
        yolox.errors.RecipeError: recipe.epoch: no such field; did you mean 'epochs'?
    """
    try:
        return _converter.structure(data, Recipe)
    except (BaseValidationError, ValueError) as error:
        raise RecipeError(_problem(error, "recipe")) from error


def recipe_to_json(recipe: Recipe) -> str:
    """Returns a recipe as indented JSON text that ends with a newline.

    Args:
        recipe: any.

    Returns:
        Text with every field, which `recipe_from_json` reads.
    """
    return json.dumps(recipe_to_dict(recipe), indent=2) + "\n"


def recipe_from_json(text: str) -> Recipe:
    """Reads the JSON text of a recipe.

    Args:
        text: of `recipe_to_json`, or written by hand; fields that are left out take their defaults.

    Returns:
        The recipe.

    Raises:
        RecipeError: the text is not JSON, or as for `recipe_from_dict`.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"recipe: not JSON ({error})") from error
    return recipe_from_dict(data)


_converter = Converter(forbid_extra_keys=True, unstruct_collection_overrides={tuple: list})


def _renamed(kind: type) -> dict[str, Any]:
    return {name: override(rename=STORED_KEYS[name]) for name in attrs.fields_dict(kind).keys() & STORED_KEYS.keys()}


@_converter.register_unstructure_hook_factory(attrs.has)
def _config_writer(kind: type) -> Callable:
    return make_dict_unstructure_fn(kind, _converter, **_renamed(kind))


@_converter.register_structure_hook_factory(attrs.has)
def _config_reader(kind: type) -> Callable:
    read = make_dict_structure_fn(kind, _converter, **_renamed(kind))

    def structure(value: Any, _kind: type) -> Any:
        if type(value) is not dict:
            raise ValueError(f"{_came(value)}, want an object with fields")
        return read(value, kind)

    return structure


def _choice(value: Any, kind: Any) -> Any:
    options = get_args(kind)
    if type(value) is not str or value not in options:
        raise ValueError(f"{_came(value)}, want one of {', '.join(map(repr, options))}")
    return value


def _tuple(value: Any, kind: Any) -> tuple:
    first, *others = get_args(kind)  # the items of a configuration's tuple are of one type
    if not isinstance(value, list | tuple):
        raise ValueError(f"{_came(value)}, want a list")
    if others != [Ellipsis] and len(value) != 1 + len(others):
        raise ValueError(f"{len(value)} values, want {1 + len(others)}")
    return tuple(_converter.structure(value, list[first]))


def _number(value: Any, kind: type) -> Any:
    """cattrs would take "3", 3.0 and True for 3."""
    accepted = (int, float) if kind is float else (kind,)
    if type(value) not in accepted:
        raise ValueError(f"{_came(value)}, want {kind.__name__}")
    if kind is float and not (abs(value) <= 1e300 and math.isfinite(value)):
        raise ValueError(f"{_came(value)}, want a finite number")
    return kind(value)


_converter.register_structure_hook_func(lambda kind: get_origin(kind) is Literal, _choice)
_converter.register_structure_hook_func(lambda kind: get_origin(kind) is tuple, _tuple)
for _kind in (bool, int, float):
    _converter.register_structure_hook(_kind, _number)


def _came(value: Any) -> str:
    text = str(value) if isinstance(value, int | float) and abs(value) < 1e300 else json.dumps(value)
    return f"got {text[:60]} ({type(value).__name__})"


def _problem(error: BaseException, path: str) -> str:
    """Returns the path of the first field that is wrong, and what is wrong with it."""
    while isinstance(error, BaseValidationError):
        inner = error.exceptions
        error = next((e for e in inner if isinstance(e, ForbiddenExtraKeysError)), inner[0])
        if isinstance(error, ForbiddenExtraKeysError):
            return _unknown_field(error, path)
        note = next((n for n in getattr(error, "__notes__", ()) if isinstance(n, _NOTES)), None)
        if note is None:  # of the configuration itself, which names its fields
            return f"{path}." + re.sub(r"\w+", lambda word: STORED_KEYS.get(word[0], word[0]), str(error))
        in_list = isinstance(note, IterableValidationNote)
        path += f"[{note.index}]" if in_list else f".{STORED_KEYS.get(note.name, note.name)}"
    return f"{path}: {error}"


_NOTES = (AttributeValidationNote, IterableValidationNote)


def _unknown_field(error: ForbiddenExtraKeysError, path: str) -> str:
    name = min(map(str, error.extra_fields))[:80]
    known = [STORED_KEYS.get(field, field) for field in attrs.fields_dict(error.cl)]
    near = difflib.get_close_matches(name, known, n=1)
    proposal = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"{path}.{name}: no such field; {proposal}"
