"""--tensorboard: events that TensorBoard's own reader gives back, also after a run was killed and resumed."""

from __future__ import annotations

import sys

import attrs
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.cli.test_progress import EPOCH, STEP
from yolox.cli.events import written_events

from tests.cli.runs import StopAfterEightSteps
from tests.cli.tiny import EXPERIMENT, write_data
from yolox.cli import run, train
from yolox.training.run_folder import read_history


def read(folder, tag):
    """Read the steps and values of a tag."""
    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    reader.Reload()
    return [(event.step, round(event.value, 4)) for event in reader.Scalars(tag)]


def write(folder, done, steps, metrics=None):
    with written_events(folder, done) as listener:
        for step in steps:
            listener.on_step(attrs.evolve(STEP, step=step, losses={"total": float(step + 10 * done)}))
        listener.on_epoch(attrs.evolve(EPOCH, metrics=metrics))


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


def test_an_unwanted_file_is_not_written(tmp_path):
    with written_events(tmp_path / "events", 0, wanted=False) as listener:
        assert listener is None
    assert not (tmp_path / "events").exists()


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def test_a_run_and_its_resume_write_every_step_once_and_overwrite_begins_anew(words, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    begin = ["train", *words, "--tensorboard", "--output", str(folder)]
    assert run(EXPERIMENT, begin) == 0
    rows = read_history(folder / "history.csv")
    aps = [(5 * int(row["epoch"]), round(row["AP"], 4)) for row in rows if row["AP"] is not None]
    assert len(rows) == 6 and read(folder / "events", "metrics/AP") == aps and aps
    assert [step for step, _ in read(folder / "events", "loss/l1")] == list(range(1, 31))
    with monkeypatch.context() as patched:
        patched.setattr(train, "StopSignals", StopAfterEightSteps)
        assert run(EXPERIMENT, [*begin, "--overwrite", "--epochs", "4"]) == 143
    assert [step for step, _ in read(folder / "events", "loss/l1")] == list(range(1, 9))
    assert run(EXPERIMENT, ["train", "--resume", str(folder)]) == 0
    assert [step for step, _ in read(folder / "events", "loss/l1")] == list(range(1, 21))
    assert len(list((folder / "events").iterdir())) == 2


def test_without_the_package_the_command_to_install_it_is_named(words, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    assert run(EXPERIMENT, ["train", *words, "--tensorboard", "--output", str(tmp_path / "run")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: --tensorboard needs one more package: pip install -c constraints.txt -e '.[tensorboard]'")
    assert len(err.splitlines()) == 1 and not (tmp_path / "run").exists()
