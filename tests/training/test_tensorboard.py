"""--tensorboard: events that TensorBoard's own reader gives back, also after a run was killed and resumed."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import attrs
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.cli.runs import StopAfterEightSteps
from tests.cli.tiny import EXPERIMENT, write_data
from tests.training.test_terminal import EPOCH, STEP
from yolox.cli import run
from yolox.distributed import Group
from yolox.training import trainer
from yolox.training.callbacks import TensorBoard
from yolox.training.history import read_history


def read(folder, tag):
    """Read the steps and values of a tag."""
    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    reader.Reload()
    return [(event.step, round(event.value, 4)) for event in reader.Scalars(tag)]


def write(folder, done, steps, metrics=None):
    callback = TensorBoard()
    callback.open(folder, done)
    for step in steps:
        callback.on_step(attrs.evolve(STEP, step=step, losses={"total": float(step + 10 * done)}))
    callback.on_epoch(attrs.evolve(EPOCH, metrics=metrics))
    callback.on_end()


def test_steps_and_metrics_read_back(tmp_path):
    write(tmp_path, 0, (1, 2, 3), {"AP": 0.25, "APs": None, "per_class": {"cat": 0.5, "dog": None}})
    assert read(tmp_path, "loss/total") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert read(tmp_path, "learning rate")[0] == (1, 1e-3) and read(tmp_path, "images per second")[0] == (1, 51.26)
    assert read(tmp_path, "metrics/AP") == [(3, 0.25)] and read(tmp_path, "AP of class/cat") == [(3, 0.5)]
    for absent in ("metrics/APs", "AP of class/dog"):
        with pytest.raises(KeyError):
            read(tmp_path, absent)


def test_what_a_killed_run_wrote_after_its_checkpoint_is_void(tmp_path):
    write(tmp_path, 0, (1, 2, 3, 4, 5))
    write(tmp_path, 3, (4, 5, 6))
    assert read(tmp_path, "loss/total") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 34.0), (5, 35.0), (6, 36.0)]


def test_ranks_other_than_0_write_nothing(tmp_path):
    callback = TensorBoard(tmp_path / "events")
    callback.on_start(SimpleNamespace(group=Group(1, 2)))
    callback.on_step(STEP)
    callback.on_epoch(EPOCH)
    callback.on_end()
    assert not (tmp_path / "events").exists()


@pytest.fixture(scope="module")
def argv(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.mark.slow
def test_a_run_and_its_resume_write_every_step_once_and_overwrite_begins_anew(argv, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    begin = ["train", *argv, "--tensorboard", "--output", str(folder)]
    assert run(EXPERIMENT, begin) == 0
    rows = read_history(folder / "history.csv")
    aps = [(5 * int(row["epoch"]), round(row["AP"], 4)) for row in rows if row["AP"] is not None]
    assert len(rows) == 6 and read(folder / "events", "metrics/AP") == aps and aps
    assert [step for step, _ in read(folder / "events", "loss/l1")] == list(range(1, 31))
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "StopSignals", StopAfterEightSteps)
        assert run(EXPERIMENT, [*begin, "--overwrite", "--epochs", "4"]) == 143
    assert [step for step, _ in read(folder / "events", "loss/l1")] == list(range(1, 9))
    assert run(EXPERIMENT, ["train", "--resume", str(folder)]) == 0
    assert [step for step, _ in read(folder / "events", "loss/l1")] == list(range(1, 21))
    assert len(list((folder / "events").iterdir())) == 2


def test_without_the_package_the_command_to_install_it_is_named(argv, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    assert run(EXPERIMENT, ["train", *argv, "--tensorboard", "--output", str(tmp_path / "run")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: tensorboard is not installed: pip install 'yolox-mindspore[tensorboard]'")
    assert len(err.splitlines()) == 1 and not (tmp_path / "run").exists()
