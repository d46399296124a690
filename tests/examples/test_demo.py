"""The demo's commands are ones that the command line takes; `make demo` itself runs them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from yolox.cli.defaults import base_recipe
from yolox.cli.options import parse_options
from yolox.data.shapes import write_shapes
from yolox.phases import check_epochs

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module("demo")
    sys.modules.pop("demo")


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 100])
def test_commands_can_be_read_and_their_phases_fit(demo, tmp_path, epochs):
    write_shapes(tmp_path / "data/unseen", images=2, seed=1)
    settings = demo.Demo(output=tmp_path, epochs=epochs)
    train, evaluate, predict = (
        parse_options(argv, base_recipe(argv, demo.EXPERIMENT.recipes)) for argv in demo.commands(settings)
    )
    check_epochs(train.settings)
    assert (train.settings.epochs, train.settings.input.input_size) == (epochs, (128, 128))
    assert train.settings.loader.multiscale_sizes == () and train.overwrite
    assert evaluate.weights == predict.weights == train.output / "best.safetensors"
    assert evaluate.val_json == train.val_json and evaluate.val_json.is_file()
    assert len(predict.source) == 2 and all(path.is_file() for path in predict.source)
