"""The command ``info``: the numbers of a scale, without weights and data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import attrs
from attrs import frozen
from rich.table import Table

from yolox.cli.experiment import Experiment
from yolox.cli.options import CommonOptions
from yolox.config import Recipe, pixel_words
from yolox.config_io import recipe_to_dict, save_recipe
from yolox.console import PlainConsole
from yolox.native import native_status
from yolox.nn import count_flops, count_parameters


def describe(experiment: Experiment, options: InfoOptions) -> dict:
    """Returns the counted and published numbers of a scale.

    Args:
        experiment: the scale.
        options: number of classes, input size and recipe.

    Returns:
        dict for JSON: name, num_classes, parameters, flops (of one image), input_size (height, width),
        pixels (a line about them), published (None for a detector of one's own), recipe (its name), settings (its values)
        and native_kernels (whether the kernels of `yolox.native` run: active, instruction_set, reason, library).
    """
    detector = experiment.build(options.num_classes, options.settings.input.channels)
    size = options.settings.input.input_size
    return {
        "name": experiment.name,
        "num_classes": options.num_classes,
        "parameters": count_parameters(detector),
        "flops": count_flops(detector, size),
        "input_size": list(size),
        "pixels": pixel_words(options.settings.input),
        "published": None if experiment.published is None else attrs.asdict(experiment.published),
        "recipe": options.recipe,
        "settings": recipe_to_dict(options.settings),
        "native_kernels": attrs.asdict(native_status()),
    }


@frozen(kw_only=True)
class InfoOptions(CommonOptions):
    """Show parameters, FLOPs, published AP and the recipe."""

    json: bool = False
    """Print one JSON object instead of tables."""
    num_classes: int = 80
    """Classes of the detector that is counted."""
    save_recipe: Path | None = None
    """Write the recipe with all options to this file (.toml, .json), for --recipe."""
    settings: Recipe = Recipe()


def run(experiment: Experiment, options: InfoOptions, with_defaults: Callable[[Recipe], InfoOptions]) -> None:
    """Prints the description as tables, or as one JSON object with ``--json``."""
    if options.save_recipe is not None:
        save_recipe(options.save_recipe, options.settings, experiment.recipes)
    description = describe(experiment, options)
    if options.json:
        print(json.dumps(description))
        return
    console = PlainConsole(soft_wrap=False)
    console.print(_detector_table(description))
    console.print(_recipe_table(description))
    if options.save_recipe is not None:
        console.print(f"recipe: {options.save_recipe}", markup=False, soft_wrap=True)


def _detector_table(description: dict) -> Table:
    height, width = description["input_size"]
    table = Table(title=description["name"], show_header=False, title_justify="left")
    table.add_row("classes", str(description["num_classes"]))
    table.add_row("parameters", f"{description['parameters']:,}")
    table.add_row("FLOPs of an image", f"{description['flops'] / 1e9:.2f} G at {height} x {width}")
    table.add_row("pixels", description["pixels"])
    native = description["native_kernels"]
    table.add_row("native CPU kernels", native["instruction_set"] or native["reason"])
    published = description["published"]
    if published is not None:
        table.add_row(
            "AP, Megvii's README", f"{published['ap_megvii']} (COCO val2017, 300 epochs; not repeated here)"
        )
        table.add_row(
            "AP, MindYOLO's README", f"{published['ap_mindyolo']} (8 Ascend 910; not repeated here)"
        )
        for name, origin in (("rtmdet", "mmyolo's README, RTMDet"), ("paddle", "PaddleDetection's README")):
            ap = published[f"ap_{name}"]
            table.add_row(f"AP, {origin}", "not published" if ap is None else f"{ap} (not repeated here)")
    return table


def _recipe_table(description: dict) -> Table:
    table = Table("option", "value", title=f"recipe {description['recipe']}", title_justify="left")
    for name, value in _flat(description["settings"]):
        table.add_row("--" + name.replace("_", "-"), _words(value))
    return table


def _flat(settings: dict):
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield name, value


def _words(value) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
