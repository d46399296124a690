"""A picture that cannot be written does not end the run."""

from pathlib import Path
from types import SimpleNamespace

import attrs
import numpy as np
import pytest

from tests.training.test_run_folder import EPOCH, metrics
from yolox.distributed import Group
from yolox.training.history import append_row, history_row
from yolox.training.progress import TrainingProgress
from yolox.visualize import run_pictures
from yolox.visualize.run_pictures import RunPictures, try_picture, write_curves


def context(folder, recipe=None):
    """What a run tells its callbacks."""
    start = TrainingProgress()
    return SimpleNamespace(folder=folder, group=Group(), resumed=False, start=start, train_set=None, val_set=None, recipe=recipe)


@pytest.mark.parametrize("full", [False, True])
def test_first_batches_that_cannot_be_written_are_a_warning(tmp_path, monkeypatch, caplog, full):
    monkeypatch.setattr(run_pictures, "sample_grid", lambda *_arguments: np.zeros((8, 8, 3), np.uint8))
    folder = tmp_path / "gone" if full else tmp_path
    RunPictures().on_start(context(folder))
    assert (folder / "first_batches.jpg").exists() != full
    warning = f"{folder}/first_batches.jpg: not drawn (No such file or directory); the run is complete without it"
    assert caplog.messages == [warning] * full


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a broken history\nof two lines")])
def test_curves_that_cannot_be_drawn_do_not_end_the_run(tmp_path, monkeypatch, caplog, error):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr(run_pictures, "sample_grid", lambda *_arguments: np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setattr(run_pictures, "write_curves", write_curves)  # tests/conftest.py leaves it out
    monkeypatch.setattr(run_pictures, "history_chart", fail)
    monkeypatch.setattr(run_pictures, "CURVES_SECONDS", 0.0)
    callback = RunPictures()
    callback.on_start(context(tmp_path))
    for ap in (0.1, 0.2):
        event = attrs.evolve(EPOCH, metrics=metrics(ap))
        append_row(tmp_path / "history.csv", history_row(event))
        callback.on_epoch(event)
    assert not (tmp_path / "curves.png").exists()
    reason = "No space left on device" if isinstance(error, OSError) else "a broken history"
    assert caplog.messages == [f"{tmp_path}/curves.png: not drawn ({reason}); the run is complete without it"] * 2


def test_a_stop_is_not_taken_for_a_picture_that_failed():
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        try_picture(Path("a.png"), stop)
