"""--freeze: the named parts keep the weights' bits through a run, its stop, its resume and its evaluation."""

from __future__ import annotations

import json

import pytest

from tests.cli.runs import StopAfterEightSteps, assert_same_run
from tests.cli.tiny import EXPERIMENT, write_data
from yolox.cli import run
from yolox.training import trainer
from yolox.training.checkpoint import load_checkpoint
from yolox.training.history import read_history

FROZEN = ("down", "bn.0")


@pytest.fixture(scope="module")
def argv(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def weights(argv, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    assert run(EXPERIMENT, ["train", *argv, "--output", str(folder)]) == 0
    return folder / "last.safetensors"


def frozen_run(argv, weights, folder):
    return run(EXPERIMENT, ["train", *argv, "--weights", str(weights), "--freeze", *FROZEN, "--output", str(folder)])


@pytest.fixture(scope="module")
def frozen(argv, weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "frozen"
    assert frozen_run(argv, weights, folder) == 0
    return folder


def test_frozen_tensors_have_the_bits_of_the_weights_and_the_others_do_not(weights, frozen):
    before, after = load_checkpoint(weights).tensors, load_checkpoint(frozen / "last.safetensors").tensors
    names = [name.removeprefix("ema.") for name in before if name.startswith("ema.")]
    assert any("bn.0.moving_mean" in name for name in names)
    for name in names:
        same = [after[kind + name].tobytes() == before["ema." + name].tobytes() for kind in ("params.", "ema.")]
        assert same == [name.startswith(FROZEN)] * 2, name
    assert not any(name.startswith(("momentum.down", "momentum.bn.0")) for name in after)


def test_a_stopped_run_goes_on_with_what_it_froze(argv, weights, frozen, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "StopSignals", StopAfterEightSteps)
        assert frozen_run(argv, weights, folder) == 143
    assert json.loads((folder / "options.json").read_text())["freeze"] == list(FROZEN)
    assert run(EXPERIMENT, ["train", "--resume", str(folder), "--freeze", "preds"]) == 2
    assert "--freeze preds: the run has frozen down bn.0; leave it out" in capsys.readouterr().err
    assert run(EXPERIMENT, ["train", "--resume", str(folder)]) == 0
    assert_same_run(folder, frozen)


def test_the_evaluation_of_the_file_gives_the_numbers_of_the_run(argv, frozen, tmp_path):
    numbers = tmp_path / "metrics.json"
    val = argv[argv.index("--val-json") :]
    assert run(EXPERIMENT, ["eval", *val, "--weights", str(frozen / "last.safetensors"), "--json", str(numbers)]) == 0
    assert json.loads(numbers.read_text())["AP"] == read_history(frozen / "history.csv")[-1]["AP"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--freeze", "down"], "--freeze down: down.0.weight would stay random; want --weights that have it"),
        (["--freeze", "neck"], "--freeze neck: no parameter's name begins so; want down, bn, preds, or more of a name: down.0.w"),
        (["--weights", "W", "--freeze", "down", "bn", "preds"], "--freeze down bn preds: nothing is left to train"),
    ],
)
def test_what_cannot_be_frozen_is_refused_before_anything_is_written(argv, weights, tmp_path, capsys, more, message):
    more = [str(weights) if part == "W" else part for part in more]
    assert run(EXPERIMENT, ["train", *argv, *more, "--output", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err and len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()
