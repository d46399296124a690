"""options.json of a run: written when it starts, read and checked by ``train --resume``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from yolox.cli.messages import option_name
from yolox.config import Recipe
from yolox.config_io import recipe_from_json
from yolox.errors import CommandError, RecipeError, UsageError
from yolox.training.callbacks import Callback, RunContext
from yolox.training.checkpoint import atomic_path
from yolox.training.run_folder import OPTIONS, RECIPE, write_json

PATHS = tuple(f"{part}_{kind}" for part in ("train", "val") for kind in ("json", "voc", "yolo", "images"))
SPLITS = ("train_split", "val_split")
READING = {"voc_first_pixel": 0, "voc_difficult_as_crowd": False, "follow_links": False, "scored_labels": "refuse"}
"""How annotations are read, with the values of runs from before these options."""
FREE = ("workers",)  # fields of the loader that change no number


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
    paths = {name: getattr(options, name) for name in PATHS}
    content = {name: None if path is None else os.path.abspath(path) for name, path in paths.items()}
    content["class_map"] = None if options.class_map is None else os.path.abspath(options.class_map)
    content |= {name: _whole_path(getattr(options, name)) for name in SPLITS}
    content |= {"device": options.device, "recipe": options.recipe, "save_steps": options.save_steps}
    content |= {name: getattr(options, name) for name in ("patience", "freeze", "tensorboard", *READING)}
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
        recipe = recipe_from_json((folder / RECIPE).read_text())
        stored = json.loads((folder / OPTIONS).read_text())
        values = {name: None if stored[name] is None else Path(stored[name]) for name in PATHS}
        values["class_map"] = Path(stored["class_map"]) if stored.get("class_map") else None
        others = {name: stored[name] for name in ("device", "recipe", "save_steps", *SPLITS)}
        others |= {"patience": stored.get("patience"), "freeze": tuple(stored.get("freeze", ()))}
        others |= {name: stored.get(name, value) for name, value in {"tensorboard": False, **READING}.items()}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"--resume {folder}: not the folder of a run ({RECIPE}, {OPTIONS}: {reason})") from None
    except (RecipeError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"--resume {folder}: {RECIPE} or {OPTIONS} is damaged ({error})") from None
    return recipe, {**values, **others, "output": folder, "resume": folder}


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
    for name in ("weights", "finetune", "legacy", "overwrite"):
        if getattr(options, name):
            raise UsageError(f"--{name}: a resumed run goes on with what it has; leave it out")
    if options.freeze != values["freeze"]:
        before = " ".join(values["freeze"]) or "nothing"
        raise UsageError(f"--freeze {' '.join(options.freeze)}: the run has frozen {before}; leave it out")
    differ = sorted(_differences(attrs.asdict(options.settings), attrs.asdict(recipe)))
    if differ:
        names = ", ".join(map(option_name, differ))
        raise UsageError(f"{names}: a resumed run keeps the recipe of {options.resume / RECIPE}; leave it out")


def _differences(one: Mapping, other: Mapping) -> Sequence[str]:
    names: list[str] = []
    for name, value in one.items():
        if isinstance(value, dict):
            names += _differences(value, other[name])
        elif value != other[name] and name not in FREE:
            names.append(name)
    return names
