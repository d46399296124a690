"""Converts recipes to dicts and JSON, and back with every field checked; and recipe files."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import attrs
import tomlkit
import tomlkit.exceptions
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
from yolox.wire import RepeatedKeyError, unique_keys

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


SUFFIXES = (".toml", ".json")
"""Of recipe files."""
MAX_BYTES = 1 << 20
MAX_TOML_BYTES = 1 << 16  # a recipe has 3 kB; tomlkit's time grows with the square of the keys
"""Of a recipe file."""


def read_recipe(path: str | Path, bases: Mapping[str, Recipe]) -> Recipe:
    """Reads a recipe file: the name of a base and what differs from it, or every section of a recipe.

    Args:
        path: ``.toml``, or ``.json`` such as recipe.json of a run. The key ``base`` names a recipe of `bases`; the others are
            fields of `Recipe`, nested as it is, under their names or the keys of `STORED_KEYS`. ``lr`` takes
            ``lr_per_image`` away and the reverse.
        bases: recipes by name, such as those of `published_recipes`.

    Returns:
        The recipe.

    Raises:
        RecipeError: the file cannot be read, names no known base, has a field that does not exist (the nearest name is
            proposed) or that the configuration refuses, or has neither a base nor all sections.
    """
    return read_stated_recipe(path, bases)[0]


def read_stated_recipe(path: str | Path, bases: Mapping[str, Recipe]) -> tuple[Recipe, tuple[str, ...]]:
    """Reads a recipe file, and which fields it states itself.

    Args:
        path: as for `read_recipe`.
        bases: recipes by name.

    Returns:
        The recipe, and the names of the fields that are not those of its base, such as ``epochs`` and ``optim.lr``.

    Raises:
        RecipeError: as for `read_recipe`.
    """
    content = _with_stored_keys(_read_file(Path(path)), str(path))
    base = content.pop("base", None)
    if base is None:
        missing = [name for name in ("epochs", *_SECTIONS) if name not in content]
        if missing:
            raise RecipeError(f"{path}: no base, and no {', '.join(missing)}; want base = one of {', '.join(bases)}")
        whole = content
    elif isinstance(base, str) and base in bases:
        whole = _merged(recipe_to_dict(bases[base]), content)
    else:
        raise RecipeError(f"{path}: base is {base!r}, which is no recipe; {_proposal(str(base), bases, 'want one of')}")
    try:
        return recipe_from_dict(whole), tuple(name for name, _ in _leaves(_with_field_names(content)))
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def save_recipe(path: str | Path, recipe: Recipe, bases: Mapping[str, Recipe]) -> None:
    """Writes a recipe as a file for `read_recipe`: the base that it is nearest to, and the fields that differ.

    Args:
        path: ends in ``.toml`` or ``.json``; a file that exists is replaced.
        recipe: any.
        bases: recipes by name.

    Raises:
        RecipeError: another suffix, the file cannot be written, or a field is None that TOML cannot hold.
    """
    path = Path(path)
    check_recipe_suffix(path)
    name = nearest_base(recipe, bases)
    content = {"base": name, **_with_field_names(_difference(recipe_to_dict(recipe), recipe_to_dict(bases[name])))}
    if path.suffix.lower() == ".json":
        text = json.dumps(content, indent=2) + "\n"
    else:
        rates = content.get("optim", {})
        if {"lr", "lr_per_image"} <= rates.keys():  # the one that is given takes the other away
            rates.pop("lr" if rates["lr"] is None else "lr_per_image")
        if nulls := [field for field, value in _leaves(content) if value is None]:
            raise RecipeError(f"{path}: {', '.join(nulls)} is null, which TOML does not have; want a file that ends in .json")
        text = tomlkit.dumps(content)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{path}: not written ({error.strerror})") from None


def nearest_base(recipe: Recipe, bases: Mapping[str, Recipe]) -> str:
    """Returns the name of the recipe that differs in the fewest fields.

    Args:
        recipe: any.
        bases: recipes by name.

    Returns:
        A key of `bases`; of several the first.
    """
    whole = recipe_to_dict(recipe)
    return min(bases, key=lambda name: sum(1 for _ in _leaves(_difference(whole, recipe_to_dict(bases[name])))))


_SECTIONS = tuple(field.name for field in attrs.fields(Recipe) if attrs.has(type(field.default)))


def check_recipe_suffix(path: Path) -> None:
    """Raises RecipeError unless a path ends as a recipe file does.

    Args:
        path: of a recipe file.

    Raises:
        RecipeError: another suffix.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise RecipeError(f"{path}: want a recipe file that ends in {' or '.join(SUFFIXES)}")


def _read_file(path: Path) -> dict[str, Any]:
    check_recipe_suffix(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such file")
    most = MAX_TOML_BYTES if path.suffix.lower() == ".toml" else MAX_BYTES
    if (size := path.stat().st_size) > most:
        raise RecipeError(f"{path}: {size} bytes, want a recipe of at most {most}")
    try:
        text = path.read_text(encoding="utf-8")
        is_toml = path.suffix.lower() == ".toml"
        content = tomlkit.parse(text).unwrap() if is_toml else json.loads(text, object_pairs_hook=unique_keys)
    except (OSError, ValueError, RecursionError, RepeatedKeyError, tomlkit.exceptions.TOMLKitError) as error:
        raise RecipeError(f"{path}: cannot be read as {path.suffix.lower()[1:].upper()} ({error})") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: {_came(content)}, want an object with fields")
    return content


def _with_stored_keys(content: dict[str, Any], path: str) -> dict[str, Any]:
    """Returns the content under the keys of `recipe_from_dict`."""
    keys = [STORED_KEYS.get(name, name) for name in content]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise RecipeError(f"{path}: {', '.join(sorted(twice))} is there twice, by its two names")
    values = (_with_stored_keys(value, path) if isinstance(value, dict) else value for value in content.values())
    return dict(zip(keys, values, strict=True))


def _with_field_names(content: dict[str, Any]) -> dict[str, Any]:
    names = {key: name for name, key in STORED_KEYS.items()}
    return {names.get(k, k): _with_field_names(v) if isinstance(v, dict) else v for k, v in content.items()}


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    others = {"lr": "lr_per_image", "lr_per_image": "lr"}
    result = base | {others[name]: None for name in changes if name in others and others[name] not in changes}
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(name), dict)
        result[name] = _merged(base[name], value) if both else value
    return result


def _difference(whole: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    return {k: _difference(v, base[k]) if isinstance(v, dict) else v for k, v in whole.items() if v != base[k]}


def _leaves(content: dict[str, Any], path: str = ""):
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield path + name, value


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
    text = str(value) if isinstance(value, int | float) and abs(value) < 1e300 else json.dumps(value, default=str)
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
    return f"{path}.{name}: no such field; {_proposal(name, known, 'known are')}"


def _proposal(name: str, known: Iterable[str], otherwise: str) -> str:
    """Returns the nearest name as a question, or all names."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"{otherwise} {', '.join(known)}"
