"""The arguments and the summary of `benchmarks/bccd.py`; its training takes half an hour."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks import bccd
from examples.yolox_nano import RECIPES
from yolox.cli.main import read_command

METRICS = {"val": {"AP": 0.51234, "AP50": 0.8, "per_class": {}}, "test": {"AP": 0.4, "AP50": 0.7}}


def test_the_arguments_are_the_settings_of_the_recorded_runs():
    options = read_command(bccd.train_arguments(Path("D"), Path("R"), seed=3, extra=["--hsv-prob", "0"]), RECIPES).options()
    recipe = options.settings
    assert (recipe.epochs, recipe.loader.batch_size, recipe.loader.seed) == (40, 8, 3)
    assert (recipe.optim.warmup_epochs, recipe.no_aug_epochs, recipe.optim.flat_epochs) == (1, 6, 5)
    assert (recipe.augment.mosaic_prob, recipe.augment.hsv_prob, recipe.augment.mixup_prob) == (0.5, 0, 0)
    assert recipe.loader.multiscale_sizes == () and recipe.optim.lr_per_image == 0.01 / 64
    evaluated = read_command(bccd.eval_arguments(Path("D"), Path("R"), "test"), RECIPES).options()
    assert evaluated.val_json == Path("D/bccd/instances_test.json") and evaluated.weights == Path("R/last.safetensors")


def test_each_seed_is_trained_and_evaluated_and_the_means_are_taken(tmp_path, monkeypatch):
    def start(command, **_options):
        name, argv = command[2], command[3:]
        run = Path(argv[argv.index("--output") + 1] if name == "train" else argv[argv.index("--json") + 1])
        if name == "train":
            run.mkdir()
            seed = int(argv[argv.index("--seed") + 1])
            (run / "history.csv").write_text(f"epoch,total\n1,{14 + seed}\n2,9\n40,4\n")
        else:
            run.write_text(json.dumps(METRICS[run.stem]))

    monkeypatch.setattr(subprocess, "run", start)
    found = bccd.measure(Path("D"), tmp_path, [0, 2], ["--hsv-prob", "0"])
    assert found["seeds"][2] == {
        "loss_1": 16, "loss_40": 4, "val_AP": 0.5123, "val_AP50": 0.8, "test_AP": 0.4, "test_AP50": 0.7,
    }  # fmt: skip
    assert found["mean"]["loss_1"] == 15 and found["options"] == ["--hsv-prob", "0"]
