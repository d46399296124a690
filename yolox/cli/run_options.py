"""options.json of a run: written when it starts, read and checked by ``train --resume``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from yolox.cli.messages import option_name
from yolox.cli.sources import FORMATS
from yolox.config import Recipe
from yolox.config_io import MAX_BYTES, recipe_from_json
from yolox.data.build import read_text
from yolox.data.image import MAX_PIXELS
from yolox.errors import CommandError, DataError, RecipeError, UsageError
from yolox.training.callbacks import Callback, RunContext
from yolox.training.checkpoint import atomic_path
from yolox.training.run_folder import OPTIONS, RECIPE, write_json

PATHS = tuple(f"{part}_{kind}" for part in ("train", "val") for kind in (*FORMATS, "images"))
SPLITS = ("train_split", "val_split")
_REQUIRED = object()
_FITS = {
    "a text or null": lambda value: value is None or isinstance(value, str) and "\0" not in value,
    "a whole number of 1 or more, or null": lambda value: value is None or type(value) is int and value > 0,
    "a whole number of 1 or more": lambda value: type(value) is int and value > 0,
    "true or false": lambda value: type(value) is bool,
    "0 or 1": lambda value: type(value) is int and value in (0, 1),
    "CPU or Ascend": lambda value: value in ("CPU", "Ascend"),
    "a text": lambda value: isinstance(value, str) and "\0" not in value,
    "refuse or drop": lambda value: value in ("refuse", "drop"),
    "a list of texts": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
}
_COUNT = "a whole number of 1 or more, or null"
KINDS = {
    **{name: ("a text or null",) for name in (*PATHS, *SPLITS)},
    "device": ("CPU or Ascend",), "recipe": ("a text",), "save_steps": (_COUNT,), "save_every": (_COUNT, None),
    "single_class": ("true or false", False), "patience": (_COUNT, None),
    "freeze": ("a list of texts", ()), "tensorboard": ("true or false", False),
    "mlflow": ("true or false", False),
    "voc_first_pixel": ("0 or 1", 0), "voc_difficult_as_crowd": ("true or false", False),
    "data": ("a text or null", None), "class_map": ("a text or null", None), "follow_links": ("true or false", False),
    "scored_labels": ("refuse or drop", "refuse"), "max_pixels": ("a whole number of 1 or more", MAX_PIXELS),
}  # fmt: skip
"""What each field of options.json holds, and its value in runs from before the field; none where it must be there."""
FREE = ("workers", "epochs")  # fields that change no number, and the one that a longer run changes


class RememberOptions(Callback):
    """Writes options.json on rank 0 when a new run starts.

    Args:
        options: `TrainOptions` of the command.
    """

    def __init__(self, options) -> None:
        self._options = options

    def on_start(self, context: RunContext) -> None:
        """Writes the file."""
        if context.group.is_first and not context.resumed:
            remember(context.folder, self._options)


def remember(folder: Path, options) -> None:
    """Writes what ``train --resume`` needs beside the recipe: where the data are, and the options that stay."""
    paths = {name: getattr(options, name) for name in (*PATHS, "data", "class_map")}
    content = {name: None if path is None else os.path.abspath(path) for name, path in paths.items()}
    content |= {name: _whole_path(getattr(options, name)) for name in SPLITS}
    content |= {name: getattr(options, name) for name in KINDS if name not in content}
    with atomic_path(folder / OPTIONS) as options_path:
        write_json(options_path, content)


def _whole_path(split: str | None) -> str | None:
    """Returns the split; the path of a text file is made absolute."""
    return os.path.abspath(split) if split is not None and split.lower().endswith(".txt") else split


def remembered(folder: Path) -> tuple[Recipe, dict[str, Any]]:
    """Reads the recipe and the options of a run.

    Returns:
        The recipe, and values for the fields of `TrainOptions`.

    Raises:
        CommandError: not the folder of a run, or its files are damaged.
    """
    try:
        recipe = recipe_from_json(read_text(str(folder / RECIPE), most=MAX_BYTES))
        stored = json.loads(read_text(str(folder / OPTIONS), most=MAX_BYTES))
    except DataError as error:
        raise CommandError(f"--resume {folder}: not the folder of a run ({error})") from None
    except (RecipeError, ValueError, RecursionError) as error:
        raise CommandError(f"--resume {folder}: {RECIPE} or {OPTIONS} is damaged ({error})") from None
    try:
        values = {name: _stored(stored, name, *kinds) for name, kinds in KINDS.items()}
    except ValueError as error:
        raise CommandError(f"{folder / OPTIONS}: {error}") from None
    paths = {name: None if values[name] is None else Path(values[name]) for name in (*PATHS, "data", "class_map")}
    return recipe, {**values, **paths, "freeze": tuple(values["freeze"]), "output": folder, "resume": folder}


def _stored(stored: Any, name: str, kind: str, default: Any = _REQUIRED) -> Any:
    """Returns a field of options.json.

    Raises:
        ValueError: it is missing or has another type.
    """
    value = stored.get(name, default) if isinstance(stored, dict) else _REQUIRED
    if value is _REQUIRED or not _FITS[kind](value):
        came = "nothing" if value is _REQUIRED else json.dumps(value)[:60]
        raise ValueError(f"{name}: got {came}, want {kind}")
    return value


def check_options(options, recipe: Recipe, values: Mapping[str, Any]) -> None:
    """Raises UsageError for options that would change the run.

    Args:
        options: `TrainOptions` with `resume`.
        recipe: of the run.
        values: of the run's options, as `remembered` gives them.

    Raises:
        UsageError: the option is named.
    """
    if options.output != options.resume:
        raise UsageError(f"--output {options.output}: --resume goes on in {options.resume}; leave it out")
    for name in ("weights", "raw_weights", "finetune", "legacy", "overwrite"):
        if getattr(options, name):
            raise UsageError(f"{option_name(name)}: a resumed run goes on with what it has; leave it out")
    if options.freeze != values["freeze"]:
        before = " ".join(values["freeze"]) or "nothing"
        raise UsageError(f"--freeze {' '.join(options.freeze)}: the run has frozen {before}; leave it out")
    differ = sorted(_differences(attrs.asdict(options.settings), attrs.asdict(recipe)))
    if differ and not options.allow_changed:
        names = ", ".join(map(option_name, differ))
        kept = f"a resumed run keeps the recipe of {options.resume / RECIPE}"
        raise UsageError(f"{names}: {kept}; leave it out, or give --allow-changed")


def _differences(one: Mapping, other: Mapping) -> Sequence[str]:
    names: list[str] = []
    for name, value in one.items():
        if isinstance(value, dict):
            names += _differences(value, other[name])
        elif value != other[name] and name not in FREE:
            names.append(name)
    return names
