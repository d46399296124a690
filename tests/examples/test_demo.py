"""The demo's commands are ones that the command line takes; `make demo` itself runs them."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import tyro

from yolox.cli.commands import read_command
from yolox.data.synthetic import write_synthetic
from yolox.training.phases import check_epochs

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module("demo")
    sys.modules.pop("demo")


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 100])
def test_commands_can_be_read_and_their_phases_fit(demo, tmp_path, epochs):
    write_synthetic(tmp_path / "data/unseen", images=2, seed=1)
    settings = demo.Demo(output=tmp_path, epochs=epochs)
    train, evaluate, predict = (
        read_command(argv, demo.EXPERIMENT.recipes).options() for argv in demo.commands(settings)
    )
    check_epochs(train.settings)
    assert (train.settings.epochs, train.settings.input.input_size) == (epochs, (128, 128))
    assert train.settings.loader.multiscale_sizes == () and train.overwrite
    assert evaluate.weights == predict.weights == train.output / "best.safetensors"
    assert evaluate.val_json == train.val_json and evaluate.val_json.is_file()
    assert len(predict.source) == 2 and all(path.is_file() for path in predict.source)


@pytest.mark.parametrize(
    ("argv", "ap50", "status"), [((), 0.7, 0), ((), 0.699, 1), ((), None, 1), (("--least-ap50", "0"), 0.02, 0)]
)
def test_the_demo_fails_below_its_target(demo, tmp_path, monkeypatch, capsys, argv, ap50, status):
    def run_command(experiment, argv):
        (tmp_path / "metrics.json").write_text(json.dumps({"AP50": ap50}))
        return 0

    monkeypatch.setattr(demo, "run", run_command)
    monkeypatch.setattr(demo, "write_curves", lambda *folders: None)
    settings = tyro.cli(demo.Demo, args=["--output", str(tmp_path), "--images", "4", *argv])
    assert demo.main(settings) == status
    message = f"error: AP50 is {ap50 or 0:.3f}, want at least 0.70 (--least-ap50)\n"
    assert capsys.readouterr().err == message * status
