"""The files of a run."""

from __future__ import annotations

import json

import attrs
import pytest

from yolox.errors import CommandError, RunError, UsageError
from yolox.eval.coco import METRIC_NAMES
from yolox.training import history as history_file
from yolox.training.callbacks import EpochEvent
from yolox.training.history import read_history, restore_history
from yolox.training.progress import TrainingProgress
from yolox.training.run_folder import RunRecorder, prepare_run

LOSS_NAMES = ("total", "iou", "obj", "cls", "l1", "angle")
LOSSES = dict.fromkeys(LOSS_NAMES, 1.5)
EPOCH = EpochEvent(
    epoch=0, losses=LOSSES, lr=1e-3, images_per_second=50.0, data_wait_share=0.03, skipped=1, seconds=7.0,
    metrics=None, progress=TrainingProgress(epoch=1),
)  # fmt: skip


def metrics(ap):
    return {**dict.fromkeys(METRIC_NAMES, 0.1), "AP": ap, "per_class": {"cat": ap}}


def test_prepare_run_makes_the_folder_with_its_parents(tmp_path):
    assert prepare_run(tmp_path / "a" / "b", overwrite=False).is_dir()


def test_prepare_run_refuses_a_folder_with_files(tmp_path):
    (tmp_path / "last.safetensors").touch()
    with pytest.raises(UsageError, match="or `overwrite` to replace"):
        prepare_run(tmp_path, overwrite=False)


def test_overwrite_removes_the_old_run_and_nothing_else(tmp_path):
    for name in ("last.safetensors", "history.csv", "notes.txt"):
        (tmp_path / name).touch()
    prepare_run(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_prepare_run_refuses_a_file(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(UsageError, match="is a file"):
        prepare_run(tmp_path / "run", overwrite=True)


def test_prepare_run_says_that_it_may_not_write(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="cannot be written"):
        prepare_run(tmp_path / "file" / "run", overwrite=False)


def record(tmp_path, *aps):
    recorder = RunRecorder(tmp_path, lambda path, progress, extra: path.write_text(str(progress.epoch)))
    for epoch, ap in enumerate(aps):
        found = None if ap == "skip" else metrics(ap)
        recorder.on_epoch(attrs.evolve(EPOCH, epoch=epoch, metrics=found, progress=TrainingProgress(epoch=epoch + 1)))
    return [(tmp_path / f"{name}.safetensors").read_text() for name in ("best", "last")]


@pytest.mark.parametrize(
    "aps, best",
    [
        ((0.2, 0.5, 0.4), "2"),
        ((0.2, "skip", "skip"), "1"),
        (("skip", "skip"), "2"),
        ((0.3, 0.3), "2"),
        ((None, 0.0), "2"),
    ],
)
def test_best_follows_the_ap(tmp_path, aps, best):
    assert record(tmp_path, *aps) == [best, str(len(aps))]


def test_an_epoch_of_skipped_steps_has_empty_losses_and_a_curve(tmp_path):
    recorder = RunRecorder(tmp_path, lambda path, progress, extra: path.touch())
    nothing = attrs.evolve(EPOCH, losses=dict.fromkeys(LOSS_NAMES, float("nan")), skipped=5)
    for report in (nothing, attrs.evolve(EPOCH, epoch=1)):
        recorder.on_epoch(report)
    assert "nan" not in (tmp_path / "history.csv").read_text()
    first, second = read_history(tmp_path / "history.csv")
    assert {first[name] for name in LOSS_NAMES} == {None} and first["skipped"] == 5 and second["total"] == 1.5


def stored(tmp_path, *aps):
    """The history of a checkpoint after so many epochs, as JSON gives it back."""
    found = []
    recorder = RunRecorder(tmp_path, lambda path, progress, extra: found.append(path.write_text("") or extra["history"]))
    for epoch, ap in enumerate(aps):
        recorder.on_epoch(attrs.evolve(EPOCH, epoch=epoch, metrics=metrics(ap), progress=TrainingProgress(epoch=epoch + 1)))
    return json.loads(json.dumps(found[-1], sort_keys=True))


def test_the_recorder_of_a_resumed_run_goes_on_with_the_rows_of_the_checkpoint(tmp_path):
    history, found = stored(tmp_path, 0.1, 0.2), []
    save = lambda path, progress, extra: found.append(path.write_text("") or extra["history"])  # noqa: E731
    recorder = RunRecorder(tmp_path, save, best_ap=0.2, history=history)
    recorder.on_epoch(attrs.evolve(EPOCH, epoch=2, metrics=metrics(0.3)))
    assert [row[0] for row in found[0]["rows"]] == [1, 2, 3] and found[0]["columns"] == history["columns"]
    assert not restore_history(tmp_path / "history.csv", found[0])


def test_a_new_best_checkpoint_takes_the_evaluation_of_the_one_before_away(tmp_path):
    (tmp_path / "pictures").mkdir()
    for name in ("evaluation.json", "pictures/f1.png", "pictures/mine.txt"):
        (tmp_path / name).write_text("of epoch 1")
    record(tmp_path, 0.1)
    assert not (tmp_path / "evaluation.json").exists()
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["mine.txt"]


def test_steps_are_saved_at_their_interval(tmp_path):
    saved = []
    recorder = RunRecorder(tmp_path, lambda path, progress, extra: saved.append(progress.step), save_steps=3)
    for step in range(1, 8):
        recorder.on_step(attrs.evolve(EPOCH, progress=TrainingProgress(step=step)))
    assert saved == [3, 6]


def test_a_copy_of_every_third_epoch_is_kept_and_goes_with_an_overwritten_run(tmp_path):
    recorder = RunRecorder(tmp_path, lambda path, progress, extra: path.write_text(str(progress.epoch)), save_every=3)
    for epoch in range(7):
        recorder.on_epoch(attrs.evolve(EPOCH, epoch=epoch, progress=TrainingProgress(epoch=epoch + 1)))
    kept = sorted(path.name for path in tmp_path.glob("epoch_*"))
    assert kept == ["epoch_3.safetensors", "epoch_6.safetensors"]
    assert [(tmp_path / name).read_text() for name in kept] == ["3", "6"]
    (tmp_path / "epoch_6.safetensors").unlink()  # a run that was killed between the checkpoint and its copy
    (tmp_path / "last.safetensors").write_text("6")
    for progress, there in ((TrainingProgress(epoch=6, step=1), False), (TrainingProgress(epoch=6), True)):
        recorder.keep_copy(progress)
        assert (tmp_path / "epoch_6.safetensors").exists() == there
    (tmp_path / "epoch_mine.txt").write_text("mine")
    prepare_run(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.glob("epoch_*")] == ["epoch_mine.txt"]


def _full(*_arguments, **_options):
    raise OSError(28, "No space left on device")


def test_a_history_that_cannot_be_written_says_what_is_left_and_how_to_go_on(tmp_path, monkeypatch):
    record(tmp_path, 0.1)
    monkeypatch.setattr(history_file.os, "fsync", _full)
    message = rf"{tmp_path}/history.csv: cannot be written .No space left on device.; {tmp_path}/last.safetensors is whole"
    with pytest.raises(RunError, match=message) as error:
        record(tmp_path, 0.2)
    assert error.value.folder == tmp_path
    assert (tmp_path / "last.safetensors").read_text() == "1"
