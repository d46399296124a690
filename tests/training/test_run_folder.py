"""The files of a run."""

from __future__ import annotations

import json

import attrs
import pytest

from yolox.errors import CommandError, RunError, UsageError
from yolox.eval.coco import METRIC_NAMES
from yolox.training import run_folder
from yolox.training.callbacks import EpochEvent
from yolox.training.progress import TrainingProgress
from yolox.training.run_folder import RunRecorder, prepare_run, read_history, restore_history, stored_history

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


def test_history_reads_back_as_numbers(tmp_path):
    record(tmp_path, "skip", 0.25)
    first, second = read_history(tmp_path / "history.csv")
    times = ("images_per_second", "data_wait_share", "skipped", "seconds")
    assert tuple(first) == ("epoch", "lr", *LOSS_NAMES, *times, *METRIC_NAMES)
    assert (first["epoch"], first["total"], first["AP"]) == (1.0, 1.5, None)
    assert (second["epoch"], second["AP"], second["skipped"]) == (2.0, 0.25, 1.0)


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


@pytest.mark.parametrize("torn", ["", "3,0.1", "3,0.1\n", "3,0.1\n4,0.2\n"])
def test_history_is_cut_back_to_the_checkpoint(tmp_path, torn):
    path = tmp_path / "history.csv"
    history = stored(tmp_path, 0.1, 0.2)
    whole = path.read_text()
    path.write_text(whole + torn)
    assert not restore_history(path, history) and path.read_text() == whole
    assert not restore_history(path, {**history, "rows": history["rows"][:1]})
    assert [row["epoch"] for row in read_history(path)] == [1.0]
    for _ in range(2):
        assert not restore_history(path, {"columns": [], "rows": []}) and not path.exists()


@pytest.mark.parametrize("spoil", [lambda text: None, lambda text: text[:-1], lambda text: text.replace("0.2", "0.9"), len])
def test_a_missing_torn_or_changed_history_is_rebuilt(tmp_path, spoil):
    path = tmp_path / "history.csv"
    history = stored(tmp_path, 0.1, 0.2)
    whole, spoilt = path.read_text(), spoil(path.read_text())
    path.unlink()
    if spoilt is not None:
        path.write_text(str(spoilt))
    assert restore_history(path, history) and path.read_text() == whole


def test_the_recorder_of_a_resumed_run_goes_on_with_the_rows_of_the_checkpoint(tmp_path):
    history, found = stored(tmp_path, 0.1, 0.2), []
    save = lambda path, progress, extra: found.append(path.write_text("") or extra["history"])  # noqa: E731
    recorder = RunRecorder(tmp_path, save, best_ap=0.2, history=history)
    recorder.on_epoch(attrs.evolve(EPOCH, epoch=2, metrics=metrics(0.3)))
    assert [row[0] for row in found[0]["rows"]] == [1, 2, 3] and found[0]["columns"] == history["columns"]
    assert not restore_history(tmp_path / "history.csv", found[0])


def test_line_ends_of_the_history_are_all_the_same(tmp_path):
    path = tmp_path / "history.csv"
    history = stored(tmp_path, 0.1, 0.2)
    whole = path.read_bytes()
    assert b"\r" not in whole
    path.write_bytes(whole.replace(b"\n", b"\r\n"))  # as a spreadsheet saves it
    assert not restore_history(path, history) and path.read_bytes() == whole
    record(tmp_path, 0.3)
    assert path.read_bytes().count(b"\n") == 4 and b"\r" not in path.read_bytes()


def test_a_checkpoint_without_history_takes_the_rows_of_the_file(tmp_path):
    history, path = stored(tmp_path, 0.1, 0.2), tmp_path / "history.csv"
    whole = path.read_text()
    path.write_text(whole + "3,0.")
    assert not restore_history(path, stored_history(path, 2)) and path.read_text() == whole
    assert stored_history(path, 0) == {"columns": [], "rows": []} and len(stored_history(path, 1)["rows"]) == 1
    path.write_text(whole[:-1])
    with pytest.raises(CommandError, match="has 1 epochs, the checkpoint has done 2"):
        stored_history(path, 2)
    assert history["columns"][0] == "epoch"


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
    monkeypatch.setattr(run_folder.os, "fsync", _full)
    message = rf"{tmp_path}/history.csv: cannot be written .No space left on device.; {tmp_path}/last.safetensors is whole"
    with pytest.raises(RunError, match=message) as error:
        record(tmp_path, 0.2)
    assert error.value.folder == tmp_path
    assert (tmp_path / "last.safetensors").read_text() == "1"


def test_rows_keep_the_order_of_the_first_and_other_columns_are_refused(tmp_path):
    path = tmp_path / "history.csv"
    run_folder.append_row(path, {"epoch": 1, "total": 2.0, "cls": 0.5})
    run_folder.append_row(path, {"cls": 0.25, "epoch": 2, "total": 1.0})
    assert read_history(path)[1] == {"epoch": 2.0, "total": 1.0, "cls": 0.25}
    with pytest.raises(CommandError, match="has the columns epoch, total, cls; want epoch, total, angle"):
        run_folder.append_row(path, {"epoch": 3, "total": 1.0, "angle": 0.25})
    assert len(read_history(path)) == 2
