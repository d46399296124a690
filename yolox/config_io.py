"""Converts recipes to dicts and JSON, and back with every field checked."""

from __future__ import annotations

import difflib
import json
import math
import re
import types
import typing
from typing import Any, Literal

import attrs

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
    return _to_json(attrs.asdict(recipe))


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
    return _config(Recipe, data, "recipe")


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


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {STORED_KEYS.get(name, name): _to_json(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_to_json(item) for item in value]
    return value


def _config(kind: type, data: Any, path: str) -> Any:
    if type(data) is not dict:
        raise RecipeError(f"{path}: {_came(data)}, want an object with fields")
    hints = typing.get_type_hints(kind)
    fields = {STORED_KEYS.get(name, name): name for name in hints}
    for key in data:
        if key not in fields:
            raise RecipeError(f"{path}.{str(key)[:80]}: no such field{_proposal(str(key), list(fields))}")
    values = {fields[key]: _value(hints[fields[key]], item, f"{path}.{key}") for key, item in data.items()}
    try:
        return kind(**values)
    except ValueError as error:  # of the config, which names its fields
        text = re.sub(r"\w+", lambda word: STORED_KEYS.get(word[0], word[0]), str(error))
        raise RecipeError(f"{path}.{text}") from error


def _proposal(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:80], known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"


def _value(kind: Any, value: Any, path: str) -> Any:
    """Checks `value` against a type of the configuration, and converts it where JSON has no such type."""
    if attrs.has(kind):
        return _config(kind, value, path)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        options = [option for option in arguments if option is not type(None)]
        return None if value is None else _value(options[0], value, path)
    if origin is Literal:
        return _choice(arguments, value, path)
    if origin is tuple:
        return _tuple(arguments, value, path)
    return _scalar(kind, value, path)


def _choice(options: tuple, value: Any, path: str) -> Any:
    if type(value) is not str or value not in options:
        raise RecipeError(f"{path}: {_came(value)}, want one of {', '.join(map(repr, options))}")
    return value


def _tuple(kinds: tuple, value: Any, path: str) -> tuple:
    if not isinstance(value, list | tuple):
        raise RecipeError(f"{path}: {_came(value)}, want a list")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise RecipeError(f"{path}: {len(value)} values, want {len(kinds)}")
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_value(kind, item, f"{path}[{i}]") for i, (kind, item) in pairs)


def _scalar(kind: type, value: Any, path: str) -> Any:
    accepted = (int, float) if kind is float else (kind,)
    if type(value) not in accepted:
        raise RecipeError(f"{path}: {_came(value)}, want {kind.__name__}")
    if kind is float and not (abs(value) <= 1e300 and math.isfinite(value)):
        raise RecipeError(f"{path}: {_came(value)}, want a finite number")
    return kind(value)


def _came(value: Any) -> str:
    text = str(value) if isinstance(value, int | float) and abs(value) < 1e300 else json.dumps(value)
    return f"got {text[:60]} ({type(value).__name__})"
