"""`train --recipe best` of a scale's script for one step, for a process of its own: the graphs of seven scales in one process
take 16 GB."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import attrs
import numpy as np

from tests.cli.tiny import write_data
from yolox.cli import run
from yolox.nn import initialise
from yolox.recipes import RECIPES, best_recipe_name
from yolox.training.checkpoint import load_checkpoint
from yolox.training.history import read_history

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # MindSpore looks the source of the loss up by the name of its module
    spec.loader.exec_module(module)
    return module


def train_best(scale: str, folder: Path) -> None:
    """Train a scale by its best recipe: one step of four images at 64 px and an evaluation; assert what the run leaves."""
    experiment = load_script(f"yolox_{scale}").EXPERIMENT
    small = ["--input-size", "64", "--batch-size", "4", "--epochs", "1", "--workers", "0"]
    argv = ["train", "--recipe", "best", *write_data(folder / "data", images=4), *small]
    assert run(experiment, [*argv, "--output", str(folder / "RUN")]) == 0
    (row,) = read_history(folder / "RUN/history.csv")
    assert all(row[name] > 0 for name in ("iou", "obj", "cls")) and np.isfinite(row["total"]) and 0 <= row["AP"] <= 1

    last, best = load_checkpoint(folder / "RUN/last.safetensors"), RECIPES[best_recipe_name(scale)](scale)
    for name in ("assign", "loss", "postprocess"):
        assert getattr(last.recipe, name) == getattr(best, name)
    phases = {name: 0 for name in ("warmup_epochs", "flat_epochs")}  # there is no room for them in one epoch
    assert last.recipe.optim == attrs.evolve(best.optim, **phases)
    assert last.recipe.augment == attrs.evolve(best.augment, canvas_size=last.recipe.augment.canvas_size)
    slot = {"sgd": "momentum", "adamw": "exp_avg"}[best.optim.optimizer]
    detector = experiment.build_detector(len(last.class_names))
    initialise(detector, seed=best.loader.seed)
    for parameter in detector.backbone.trainable_params():  # the head has no gradient where a level has no positive point
        trained = last.tensors[f"params.{parameter.name}"]
        assert np.isfinite(trained).all() and (trained != parameter.asnumpy()).any(), parameter.name
        assert last.tensors[f"{slot}.{parameter.name}"].any(), parameter.name
