"""Early stopping ends a run whose AP no longer rises, also one that was resumed."""

from __future__ import annotations

import json

import cv2
import pytest

from tests.cli.tiny import EXPERIMENT, write_data
from yolox.cli import run
from yolox.training.callbacks import EarlyStopping, StopTraining
from yolox.training.history import read_history


@pytest.mark.parametrize(
    ("aps", "last"),
    [([0.1, 0.2, 0.3, 0.4], None), ([0.3, 0.2, 0.1, 0.4], 3), ([0.3, 0.2, 0.4, 0.1], None), ([0.0, 0.0, 0.0], 3)],
)
def test_it_counts_epochs_since_the_best(aps, last):
    patience, stopped = EarlyStopping(2), None
    for epoch, ap in enumerate(aps, start=1):
        try:
            patience.add(epoch, ap)
        except StopTraining:
            stopped = epoch
            break
    assert stopped == last


def test_a_resumed_run_remembers_its_history():
    history = [{"epoch": 1.0, "AP": 0.5}, {"epoch": 2.0, "AP": None}, {"epoch": 3.0, "AP": 0.4}]
    with pytest.raises(StopTraining, match="has not risen for 4 epochs: best 0.5000 in epoch 1, stopped by patience=3"):
        EarlyStopping(3, history).add(5, 0.5)


@pytest.mark.parametrize("aps", [(0.3, 0.2, 0.1), (None, None, None), (None, 0.0, None), (0.0, 0.0, 0.0)])
def test_a_history_is_counted_as_the_run_counted_it(aps):
    rows = [{"epoch": float(epoch), "AP": ap} for epoch, ap in enumerate(aps, start=1)]
    assert not EarlyStopping(2, rows[:2]).is_exhausted() and EarlyStopping(2, rows).is_exhausted()
    live = EarlyStopping(2)
    with pytest.raises(StopTraining) as stopped:
        for row in rows:
            live.add(int(row["epoch"]), row["AP"] or 0.0)
    assert EarlyStopping(2, rows).reason() == str(stopped.value)


def test_only_evaluated_epochs_count():
    assert not EarlyStopping(2).is_exhausted()
    assert not EarlyStopping(2, [{"epoch": 4.0, "AP": 0.0}]).is_exhausted()  # the first evaluation, at an interval of 4


@pytest.fixture(scope="module")
def argv(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def test_training_stops_with_its_files_and_says_why(argv, tmp_path, capsys):
    more = ["--epochs", "30", "--eval-interval", "1", "--patience", "2", "--output", str(tmp_path / "run")]
    assert run(EXPERIMENT, ["train", *argv, *more]) == 0
    out = capsys.readouterr().out
    assert "AP has not risen for 2 epochs" in out and "wrote" in out
    epochs = len(read_history(tmp_path / "run/history.csv"))
    assert 3 <= epochs < 30
    assert (tmp_path / "run/best.safetensors").is_file() and (tmp_path / "run/curves.png").is_file()
    assert cv2.imread(str(tmp_path / "run/first_batches.jpg")).shape[1] > 1200
    assert json.loads((tmp_path / "run/evaluation.json").read_text())["epoch"] == epochs  # AP is 0 throughout
    assert list((tmp_path / "run/pictures/beside").iterdir())
    before = (tmp_path / "run/history.csv").read_bytes(), (tmp_path / "run/last.safetensors").read_bytes()
    assert run(EXPERIMENT, ["train", "--resume", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "stopped by patience=2; a larger patience continues" in out and "continuing in" not in out
    assert before == ((tmp_path / "run/history.csv").read_bytes(), (tmp_path / "run/last.safetensors").read_bytes())


def test_patience_needs_an_evaluation(argv, tmp_path, capsys):
    train_only = argv[:4]
    assert run(EXPERIMENT, ["train", *train_only, "--patience", "3", "--output", str(tmp_path / "run")]) == 2
    assert "--patience 3: want 1 or more, and validation images" in capsys.readouterr().err
