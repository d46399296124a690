"""A folder that takes no more files does not end the run before it begins, nor one that is done."""

from types import SimpleNamespace

import numpy as np
import pytest

from yolox.cli import train
from yolox.training.progress import TrainingProgress


@pytest.mark.parametrize("full", [False, True])
def test_first_batches_that_cannot_be_written_are_a_warning(tmp_path, monkeypatch, caplog, full):
    monkeypatch.setattr(train, "label_sheet", lambda *_arguments: np.zeros((8, 8, 3), np.uint8))
    folder = tmp_path / "gone" if full else tmp_path
    group, options = SimpleNamespace(is_first=True), SimpleNamespace(resume=None)
    train._begin(SimpleNamespace(folder=folder, group=group, options=options, train_set=None, recipe=None), TrainingProgress())
    assert (folder / "first_batches.jpg").exists() != full
    warning = f"{folder}/first_batches.jpg: not drawn (No such file or directory); the run is complete without it"
    assert caplog.messages == [warning] * full
