"""The command plot draws what a folder holds, and says what it does not."""

from __future__ import annotations

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from yolox.cli import run
from yolox.cli.experiment import Experiment
from yolox.config import Recipe
from yolox.data.check import label_statistics
from yolox.data.coco import read_coco
from yolox.data.dataset import image_labels
from yolox.data.synthetic import write_synthetic
from yolox.distributed import Group
from yolox.eval.coco import METRIC_NAMES
from yolox.eval.postprocess import Detections
from yolox.training.callbacks import EpochEvent
from yolox.training.progress import TrainingProgress
from yolox.training.run_folder import RunRecorder, prepare_run
from yolox.visualize import run_pictures
from yolox.visualize.run_pictures import (
    CHARTS,
    RunPictures,
    evaluation_report,
    write_charts,
    write_comparisons,
    write_curves,
)

EXPERIMENT = Experiment(name="none", build_detector=None, recipes={"megvii": Recipe()}, make_step=None)
LOSS_NAMES = ("total", "iou", "obj", "cls", "l1")
HISTORY_COLUMNS = ("epoch", "lr", *LOSS_NAMES, "images_per_second", "data_wait_share", "skipped", "seconds", *METRIC_NAMES)


@pytest.fixture
def evaluation(tmp_path):
    """A dataset, perfect detections of it, and what their JSON keeps."""
    dataset = read_coco(write_synthetic(tmp_path / "data", images=3, seed=0), tmp_path / "data/images")
    found = []
    for index in range(len(dataset)):
        boxes, classes = image_labels(dataset, index)
        found.append(Detections(boxes, np.full(len(boxes), 0.9, np.float32), classes))
    return dataset, found, evaluation_report({"AP": 1.0}, dataset, found, input_size=(64, 64))


def history(folder):
    folder.mkdir(exist_ok=True)
    row = ["1" for _ in HISTORY_COLUMNS]
    (folder / "history.csv").write_text("\n".join([",".join(HISTORY_COLUMNS), ",".join(row)]) + "\n")


def test_a_run_with_an_evaluation_is_drawn_again(evaluation, tmp_path, capsys):
    folder = tmp_path / "run"
    history(folder)
    (folder / "recipe.json").write_text("{}")
    (folder / "metrics.json").write_text(json.dumps(evaluation[2]))
    assert run(EXPERIMENT, ["plot", str(folder)]) == 0
    charts = ["precision_recall", "f1", "confusion", "confusion_normalised", "errors", "labels"]
    paths = [folder / "curves.png", *(folder / f"pictures/{name}.png" for name in charts)]
    assert capsys.readouterr().out.splitlines() == [f"wrote {path}" for path in (*paths, folder / "report.html")]
    page = (folder / "report.html").read_text()
    assert "There is no evaluation" in page and "<summary>recipe: optim</summary>" in page  # metrics.json is not the run's
    assert all(cv2.imread(str(path)).std() > 5 for path in paths)
    assert run(EXPERIMENT, ["plot", str(folder / "metrics.json"), "--output", str(tmp_path / "else")]) == 0
    assert sorted(path.stem for path in (tmp_path / "else").iterdir()) == sorted(charts)


def test_charts_of_the_run_and_of_other_evaluations_lie_apart(evaluation, tmp_path, capsys):
    dataset, _, content = evaluation
    (tmp_path / "metrics.json").write_text(json.dumps({"analysis": content["analysis"]}))
    own = {**content, "train_labels": label_statistics(dataset, input_size=(64, 64))}
    (tmp_path / "evaluation.json").write_text(json.dumps(own))
    assert run(EXPERIMENT, ["plot", str(tmp_path)]) == 0
    assert {path.stem for path in (tmp_path / "pictures").glob("*.png")} == set(CHARTS)
    assert {path.stem for path in (tmp_path / "pictures/metrics").iterdir()} == set(CHARTS) - {"errors", "labels", "labels_train"}


def test_a_redrawn_chart_is_the_same_picture(evaluation, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    first.mkdir(), again.mkdir()
    for folder, content in ((first, evaluation[2]), (again, json.loads(json.dumps(evaluation[2])))):
        paths = write_charts(folder, content)
    assert len(paths) == 6
    for path in paths:
        assert (cv2.imread(str(path)) == cv2.imread(str(first / path.name))).all()


def test_overwrite_removes_the_pictures_of_a_run_and_no_others(evaluation, tmp_path):
    dataset, found, content = evaluation
    folder = tmp_path / "run/pictures"
    folder.mkdir(parents=True)
    write_charts(folder, content)
    write_comparisons(folder, dataset, found, 0.25)
    for name in ("mine.jpg", "beside/mine.jpg"):
        (folder / name).touch()
    (tmp_path / "run/evaluation.json").touch()
    prepare_run(tmp_path / "run", overwrite=True)
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert left == ["beside/mine.jpg", "mine.jpg"] and not (tmp_path / "run/evaluation.json").exists()


def test_perfect_detections_are_all_on_the_diagonal(evaluation, tmp_path):
    dataset, found, content = evaluation
    analysis = content["analysis"]
    table = np.array(analysis["confusion"])
    assert table.trace() == table.sum() == len(dataset.boxes)
    assert all(curve == [1.0] * 101 for curve in analysis["precision"] if curve is not None)
    write_comparisons(tmp_path, dataset, found, analysis["score_threshold"])
    assert len(list((tmp_path / "beside").glob("*.jpg"))) == 3


@pytest.mark.parametrize(
    ("prepare", "status", "message"),
    [
        (lambda folder: None, 1, "no such folder or file"),
        (lambda folder: folder.mkdir(), 1, "has neither history.csv nor the JSON of an evaluation"),
        (lambda folder: (folder.mkdir(), (folder / "a.json").write_text("{")), 1, "a.json: no JSON"),
        (lambda folder: (folder.mkdir(), (folder / "history.csv").write_text("epoch\n?\n")), 1, "history.csv: damaged"),
        (
            lambda folder: (folder.mkdir(), (folder / "history.csv").write_text("lr,total,images_per_second,AP\n1,1,1,1\n")),
            1,
            "run/history.csv: has the columns lr, total, images_per_second, AP; want epoch, AP50 too\n",
        ),
        (lambda folder: (folder.mkdir(), (folder / "history.csv").write_text("epoch,lr\n")), 1, "history.csv: has no row; want"),
        (lambda folder: (folder.mkdir(), (folder / "a.json").write_text('{"labels": {}}')), 1, "a.json: damaged (KeyError"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, capsys, prepare, status, message):
    prepare(tmp_path / "run")
    assert run(EXPERIMENT, ["plot", str(tmp_path / "run")]) == status
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err


def test_training_draws_its_curves_after_every_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(run_pictures, "write_curves", write_curves)  # tests/conftest.py leaves it out
    monkeypatch.setattr(run_pictures, "CURVES_SECONDS", 0.0)
    recorder = RunRecorder(tmp_path, lambda path, progress, extra: path.write_bytes(b"weights"))
    fields = {name: 1.0 for name in ("lr", "images_per_second", "data_wait_share", "seconds")}
    losses, pictures, drawing = dict.fromkeys(LOSS_NAMES, 2.0), [], RunPictures()
    context = SimpleNamespace(folder=tmp_path, group=Group(), resumed=True, start=TrainingProgress(), recipe=None)
    drawing.on_start(context)
    for epoch in range(2):
        progress = TrainingProgress(epoch=epoch + 1)
        event = EpochEvent(epoch=epoch, losses=losses, metrics=None, skipped=0, progress=progress, **fields)
        recorder.on_epoch(event)
        drawing.on_epoch(event)
        pictures.append(cv2.imread(str(tmp_path / "curves.png")))
    assert (pictures[0] != pictures[1]).any()
