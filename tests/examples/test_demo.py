"""The demo's recipe and result; `make demo` itself trains."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tyro

import yolox
from yolox.eval.postprocess import Detections
from yolox.schedule import check_epochs

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module("demo")
    sys.modules.pop("demo")


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 100])
def test_the_phases_of_the_recipe_fit(demo, epochs):
    recipe = demo.demo_recipe(demo.Demo(epochs=epochs))
    check_epochs(recipe)
    assert (recipe.epochs, recipe.input.input_size, recipe.loader.multiscale_sizes) == (epochs, (128, 128), ())


@pytest.mark.parametrize(
    ("argv", "ap50", "status"), [((), 0.7, 0), ((), 0.699, 1), ((), None, 1), (("--least-ap50", "0"), 0.02, 0)]
)
def test_the_demo_fails_below_its_target(demo, tmp_path, monkeypatch, capsys, argv, ap50, status):
    def train(detector, train_set, *, val_set, recipe, output, overwrite):
        assert output == tmp_path / "run" and overwrite
        return SimpleNamespace(detector=detector)

    nothing = Detections(boxes=np.zeros((0, 4)), scores=np.zeros(0), classes=np.zeros(0, int))
    monkeypatch.setattr(yolox, "train", train)
    monkeypatch.setattr(yolox, "evaluate", lambda detector, dataset: {"AP50": ap50})
    monkeypatch.setattr(yolox, "predict", lambda detector, paths: [nothing] * len(paths))
    monkeypatch.setattr(demo, "write_curves", lambda *folders: None)
    settings = tyro.cli(demo.Demo, args=["--output", str(tmp_path), "--images", "4", *argv])
    assert demo.main(settings) == status
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"AP50": ap50}
    assert len(list((tmp_path / "pictures").iterdir())) == 4
    message = f"error: AP50 is {ap50 or 0:.3f}, want at least 0.70 (--least-ap50)\n"
    assert capsys.readouterr().err == message * status
