"""A training run leaves its best evaluation as JSON and pictures, without evaluating twice."""

from __future__ import annotations

import errno
import io
import json
from types import SimpleNamespace

import attrs
import cv2
import numpy as np
import pytest
from rich.console import Console

from tests.cli.tiny import EXPERIMENT, RECIPE, write_data
from yolox.cli import run
from yolox.data.coco import read_coco
from yolox.distributed import Group
from yolox.eval import evaluate
from yolox.eval.postprocess import Detections
from yolox.training.callbacks import EpochEvent
from yolox.training.history import read_history
from yolox.training.progress import TrainingProgress
from yolox.visualize import run_pictures
from yolox.visualize.run_pictures import CHARTS, RunPictures, write_charts, write_curves, write_run_report

SHORT = ["--epochs", "3", "--plain-epochs", "1", "--eval-interval", "1"]


@pytest.fixture(scope="module")
def argv(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), images=4)


def event(epoch, ap):
    """The event of an epoch; `ap` is "none" where it was not evaluated."""
    fields = {name: 1.0 for name in ("lr", "images_per_second", "data_wait_share", "seconds")}
    metrics = None if ap == "none" else {"AP": ap}
    fields |= {"losses": {"total": 1.0}, "progress": TrainingProgress(epoch=epoch + 1)}
    found = None if ap == "none" else [f"of epoch {epoch + 1}"]
    return EpochEvent(epoch=epoch, metrics=metrics, detections=found, skipped=0, **fields)


def started(folder, monkeypatch, dataset=None, console=None, *, resumed=False):
    monkeypatch.setattr(run_pictures, "sample_grid", lambda *_: np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setattr(run_pictures, "write_curves", lambda *_: None)
    callback, start = RunPictures(console), TrainingProgress()
    callback.on_start(
        SimpleNamespace(
            folder=folder, recipe=RECIPE, train_set=dataset, val_set=dataset, group=Group(), resumed=resumed, start=start
        )
    )
    return callback


@pytest.mark.parametrize(
    ("aps", "best"),
    [([0.1, 0.3, 0.2], 2), ([None, 0.0], 2), (["none", None, 0.1, 0.1], 4), (["none", "none"], None), ([0.3, "none"], 1)],
)
def test_the_best_evaluation_is_kept_with_what_it_found(tmp_path, monkeypatch, aps, best):
    kept, written = started(tmp_path, monkeypatch), []
    monkeypatch.setattr(run_pictures, "label_statistics", lambda *_, **__: {})
    monkeypatch.setattr(run_pictures, "evaluation_report", lambda metrics, *_, **__: {"analysis": {"score_threshold": 0.5}})
    monkeypatch.setattr(run_pictures, "write_comparisons", lambda folder, dataset, found, threshold: written.append(found))
    monkeypatch.setattr(run_pictures, "write_charts", lambda *_: None)
    monkeypatch.setattr(run_pictures, "write_run_report", lambda *_, **__: None)
    for epoch, ap in enumerate(aps):
        kept.on_epoch(event(epoch, ap))
    kept.on_finish()
    assert json.loads((tmp_path / "evaluation.json").read_text()).get("epoch") == best
    assert written == ([] if best is None else [[f"of epoch {best}"]])


def test_training_leaves_all_pictures_and_plot_draws_them_again(argv, tmp_path, capsys, monkeypatch):
    folder, evaluations = tmp_path / "run", []
    monkeypatch.setattr(run_pictures, "write_charts", write_charts)  # tests/conftest.py leaves them out
    monkeypatch.setattr(run_pictures, "write_run_report", write_run_report)
    monkeypatch.setattr(run_pictures, "write_curves", write_curves)
    monkeypatch.setattr("sys.argv", ["/bin/yolox", "train", "--data", "my data"])
    predict = evaluate.predict_dataset
    monkeypatch.setattr(evaluate, "predict_dataset", lambda *a, **k: evaluations.append(1) or predict(*a, **k))
    assert run(EXPERIMENT, ["train", *argv, *SHORT, "--output", str(folder)]) == 0
    history = read_history(folder / "history.csv")
    assert len(evaluations) == len(history) == 3  # none for the pictures
    content = json.loads((folder / "evaluation.json").read_text())
    aps = [row["AP"] for row in history]
    assert content["AP"] == max(aps) and content["epoch"] == 1 + max(range(3), key=lambda i: (aps[i], i))
    assert set(content["per_class"]) == {"circle", "square", "triangle"} == set(content["labels"]["class_names"])
    assert content["train_labels"]["images"] == content["labels"]["images"] == 4
    said = f"wrote {folder}/evaluation.json and {folder}/pictures: the evaluation after epoch {content['epoch']}\n"
    assert said in capsys.readouterr().out
    page = (folder / "report.html").read_text()
    assert "yolox train --data &#39;my data&#39;" in page and f"Training run {folder}" in page
    assert "losses and AP by epoch" in page and page.count("<figcaption>") >= 4 and "--plain-epochs" not in page
    assert cv2.imread(str(folder / "curves.png")).std() > 5
    charts = {folder / f"pictures/{name}.png" for name in CHARTS}
    assert set((folder / "pictures").glob("*.png")) == charts
    assert len(list((folder / "pictures/beside").glob("*.jpg"))) == 4
    before = {path: cv2.imread(str(path)) for path in charts}
    for path in charts:
        path.unlink()
    assert run(EXPERIMENT, ["plot", str(folder)]) == 0
    assert all((cv2.imread(str(path)) == before[path]).all() for path in charts)


@pytest.mark.parametrize("written", [None, "{", "[]", '{"epoch": 2}', '{"epoch": 1}'])
def test_a_resumed_run_writes_the_evaluation_of_its_best_checkpoint(argv, tmp_path, monkeypatch, written):
    dataset, lines = read_coco(argv[1], argv[3]), io.StringIO()
    found, path = [Detections()] * len(dataset), tmp_path / "evaluation.json"
    if written is not None:
        path.write_text(written)
    pictures = started(tmp_path, monkeypatch, dataset, Console(file=lines, soft_wrap=True), resumed=True)
    pictures.on_epoch(attrs.evolve(event(4, 0.1), detections=found))
    assert pictures.wants_best(1) == (written != '{"epoch": 1}')
    reports = []
    monkeypatch.setattr(run_pictures, "write_run_report", lambda context, content, **more: reports.append((content, more)))
    if written == '{"epoch": 1}':  # of the best checkpoint already: only the curves of the report are others
        pictures.on_finish()
        assert path.read_text() == written and not lines.getvalue()
        assert reports == [({"epoch": 1}, {"command": None, "settings": {}, "kept": run_pictures.ReportParts()})]
    else:
        pictures.on_best(1, {"AP": 0.3}, found)
        pictures.on_finish()
        assert json.loads(path.read_text())["epoch"] == 1 and "the evaluation after epoch 1" in lines.getvalue()


@pytest.mark.parametrize("ap", [0.3, "none"])
def test_a_run_that_is_stopped_has_a_report_of_what_is_known(argv, tmp_path, monkeypatch, ap):
    dataset, reports = read_coco(argv[1], argv[3]), []
    pictures = started(tmp_path, monkeypatch, dataset)
    monkeypatch.setattr(run_pictures, "write_run_report", lambda context, content, **more: reports.append((content, more)))
    pictures.on_epoch(attrs.evolve(event(0, ap), detections=None if ap == "none" else [Detections()] * len(dataset)))
    pictures.on_end()
    (content, options), has_evaluation = reports[0], ap != "none"
    assert content["train_labels"]["images"] == len(dataset) and content.get("epoch") == (1 if has_evaluation else None)
    assert ("found" in options) == has_evaluation and not (tmp_path / "evaluation.json").exists()


def test_a_run_that_is_stopped_again_keeps_the_evaluation_that_is_written(tmp_path, monkeypatch):
    (tmp_path / "evaluation.json").write_text('{"epoch": 1}')
    pictures, reports = started(tmp_path, monkeypatch, resumed=True), []
    monkeypatch.setattr(run_pictures, "write_run_report", lambda context, content, **more: reports.append(content))
    pictures.on_epoch(event(4, "none"))
    pictures.on_end()
    assert reports == [{"epoch": 1}]


def test_no_report_is_written_before_an_epoch_and_none_twice(tmp_path, monkeypatch):
    reports = []
    pictures = started(tmp_path, monkeypatch)
    monkeypatch.setattr(run_pictures, "write_run_report", lambda context, content, **more: reports.append(content))
    pictures.on_end()
    assert reports == []
    monkeypatch.setattr(run_pictures, "label_statistics", lambda *_, **__: {})
    monkeypatch.setattr(run_pictures, "write_charts", lambda *_: None)
    pictures = started(tmp_path, monkeypatch)
    pictures.on_epoch(event(0, "none"))
    pictures.on_finish()
    pictures.on_end()
    assert len(reports) == 1


def test_a_run_whose_best_epoch_was_evaluated_here_needs_no_other_evaluation(tmp_path, monkeypatch):
    pictures = started(tmp_path, monkeypatch, resumed=True)
    pictures.on_epoch(event(4, 0.1))
    assert not pictures.wants_best(5)


def test_a_disk_that_is_full_after_the_last_epoch_is_a_warning(argv, tmp_path, monkeypatch, caplog):
    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_pictures, "write_json", full)
    folder = tmp_path / "run"
    assert run(EXPERIMENT, ["train", *argv[:4], *SHORT, "--output", str(folder)]) == 0
    assert caplog.messages[-1] == f"{folder}/pictures: not drawn (No space left on device); the run is complete without it"
    assert len(read_history(folder / "history.csv")) == 3 and (folder / "last.safetensors").is_file()


def test_without_validation_images_the_labels_are_left(argv, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run_pictures, "write_charts", write_charts)
    folder = tmp_path / "run"
    assert run(EXPERIMENT, ["train", *argv[:4], *SHORT, "--output", str(folder)]) == 0
    assert f"{folder}/pictures: the labels" in capsys.readouterr().out
    assert list(json.loads((folder / "evaluation.json").read_text())) == ["train_labels"]
    assert [path.name for path in (folder / "pictures").iterdir()] == ["labels_train.png"]


def test_the_curves_of_short_epochs_are_drawn_now_and_then_and_at_the_end(tmp_path, monkeypatch):
    drawn, clock = [], [0.0]
    pictures = started(tmp_path, monkeypatch)
    monkeypatch.setattr(run_pictures, "write_curves", lambda folder: drawn.append(clock[0]))
    monkeypatch.setattr(run_pictures.time, "monotonic", lambda: clock[0])
    for epoch in range(8):
        clock[0] = 4.0 * epoch
        pictures.on_epoch(event(epoch, 0.1))
    assert drawn == [0.0, 12.0, 24.0]
    pictures.on_end()
    pictures.on_end()
    assert drawn == [0.0, 12.0, 24.0, 28.0]
