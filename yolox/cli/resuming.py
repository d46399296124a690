"""``train --resume``: what a run's folder remembers, and the way back into it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from yolox.config import Recipe
from yolox.config_io import recipe_from_json, recipe_to_json
from yolox.errors import CheckpointError, CommandError, RecipeError, UsageError
from yolox.training.checkpoint import Checkpoint, atomic_path, load_checkpoint
from yolox.training.progress import TrainingProgress
from yolox.training.resume import restore_state
from yolox.training.run_folder import HISTORY, LAST, OPTIONS, RECIPE, copy_best, cut_history, write_json
from yolox.training.step import TrainState

PATHS = tuple(f"{part}_{kind}" for part in ("train", "val") for kind in ("json", "voc", "yolo", "images"))
SPLITS = ("train_split", "val_split")
VOC = {"voc_first_pixel": 0, "voc_difficult_as_crowd": False}  # with the values of runs from before these options
FREE = ("workers",)  # fields of the loader that change no number


def remember(folder: Path, options, recipe: Recipe) -> None:
    """Write what `train --resume` needs: the recipe, and where the data lie."""
    paths = {name: getattr(options, name) for name in PATHS}
    facts = {name: None if path is None else os.path.abspath(path) for name, path in paths.items()}
    facts |= {name: _whole_path(getattr(options, name)) for name in SPLITS}
    facts |= {"device": options.device, "recipe": options.recipe, "save_steps": options.save_steps}
    facts |= {name: getattr(options, name) for name in ("patience", "freeze", "tensorboard", *VOC)}
    with atomic_path(folder / RECIPE) as recipe_path, atomic_path(folder / OPTIONS) as options_path:
        recipe_path.write_text(recipe_to_json(recipe))
        write_json(options_path, facts)


def _whole_path(split: str | None) -> str | None:
    """Make a split that is a text file independent of the present folder."""
    return os.path.abspath(split) if split is not None and split.lower().endswith(".txt") else split


def remembered(folder: Path) -> tuple[Recipe, dict[str, Any]]:
    """Read the recipe and the options of a run.

    Returns:
        The recipe, and values for the fields of `TrainOptions`.

    Raises:
        CommandError: not the folder of a run, or its files are damaged.
    """
    try:
        recipe = recipe_from_json((folder / RECIPE).read_text())
        facts = json.loads((folder / OPTIONS).read_text())
        values = {name: None if facts[name] is None else Path(facts[name]) for name in PATHS}
        others = {name: facts[name] for name in ("device", "recipe", "save_steps", *SPLITS)}
        others |= {"patience": facts.get("patience"), "freeze": tuple(facts.get("freeze", ()))}
        others |= {name: facts.get(name, value) for name, value in {"tensorboard": False, **VOC}.items()}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"--resume {folder}: not the folder of a run ({RECIPE}, {OPTIONS}: {reason})") from None
    except (RecipeError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"--resume {folder}: {RECIPE} or {OPTIONS} is damaged ({error})") from None
    return recipe, {**values, **others, "output": folder, "resume": folder}


def check_options(options, recipe: Recipe, values: Mapping[str, Any]) -> None:
    """Refuse options that would make it another run.

    Args:
        options: `TrainOptions` with `resume`.
        recipe: of the run.
        values: of the run's options, as `remembered` gives them.

    Raises:
        UsageError: the option is named.
    """
    if options.output != options.resume:
        raise UsageError(f"--output {options.output}: --resume goes on in {options.resume}; leave it out")
    for name in ("weights", "finetune", "overwrite"):
        if getattr(options, name):
            raise UsageError(f"--{name}: a resumed run goes on with what it has; leave it out")
    if options.freeze != values["freeze"]:
        before = " ".join(values["freeze"]) or "nothing"
        raise UsageError(f"--freeze {' '.join(options.freeze)}: the run has frozen {before}; leave it out")
    differ = sorted(_differences(attrs.asdict(options.settings), attrs.asdict(recipe)))
    if differ:
        words = ", ".join("--" + name.replace("_", "-") for name in differ)
        raise UsageError(f"{words}: a resumed run keeps the recipe of {options.resume / RECIPE}; leave it out")


def _differences(one: Mapping, other: Mapping) -> Sequence[str]:
    names: list[str] = []
    for name, value in one.items():
        if isinstance(value, dict):
            names += _differences(value, other[name])
        elif value != other[name] and name not in FREE:
            names.append(name)
    return names


def open_run(
    folder: Path, state: TrainState, facts: Mapping[str, Any], *, rank: int = 0
) -> tuple[TrainingProgress, float | None]:
    """Fill a training state from the last checkpoint of a run, and cut the run's files back to it.

    Args:
        folder: of the run.
        state: of a fresh detector.
        facts: `data_facts` of the training set, and the number of devices.
        rank: of this process; that with rank 0 cuts the files back.

    Returns:
        Where the run goes on, and the best AP so far.

    Raises:
        CommandError: no checkpoint, or other data than the run's.
        CheckpointError: the checkpoint is damaged or does not fit the detector.
    """
    path = folder / LAST
    if not path.is_file():
        raise CommandError(f"--resume {folder}: has no {LAST}; the run stopped before its first; begin it again")
    checkpoint = load_checkpoint(path)
    _check_data(folder, checkpoint, facts)
    try:
        position = restore_state(checkpoint, state, rank=rank)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if rank == 0:
        cut_history(folder / HISTORY, position.epoch)
    if rank == 0 and checkpoint.extra.get("best"):  # the run may have been killed before it copied the file
        copy_best(folder)
    return position, checkpoint.extra.get("best_AP")


def _check_data(folder: Path, checkpoint: Checkpoint, facts: Mapping[str, Any]) -> None:
    before = checkpoint.extra.get("data")
    if not before or {"devices": 1, **before} != dict(facts):
        raise CommandError(
            f"--resume {folder}: was trained on {_words(before)}, now there are {_words(facts)}; "
            "want the same annotations and number of devices"
        )


def _words(facts: Mapping[str, Any] | None) -> str:
    if not facts:
        return "unknown data"
    data = f"{facts['images']} images with {facts['boxes']} boxes (checksum {facts['checksum']:08x})"
    return f"{data} on {facts.get('devices', 1)} device(s)"
