"""The verb plot draws what a folder holds, and says what it does not."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from yolox.cli import run
from yolox.cli.experiment import Experiment
from yolox.cli.pictures import write_evaluation
from yolox.cli.rundir import HISTORY_COLUMNS, RunRecorder
from yolox.config import Recipe
from yolox.data.coco import read_coco
from yolox.data.dataset import truths
from yolox.data.shapes import write_shapes
from yolox.eval.analysis import analyse, truths_of_dataset
from yolox.eval.postprocess import Detections
from yolox.position import Position
from yolox.reports import LOSS_NAMES, EpochReport

EXPERIMENT = Experiment(name="none", build_detector=None, recipes={"megvii": Recipe()}, make_step=None)


@pytest.fixture
def evaluation(tmp_path):
    """A dataset, perfect detections of it, and their analysis."""
    dataset = read_coco(write_shapes(tmp_path / "data", images=3, seed=0), tmp_path / "data/images")
    found = []
    for index in range(len(dataset)):
        boxes, classes = truths(dataset, index)
        found.append(Detections(boxes, np.full(len(boxes), 0.9, np.float32), classes))
    return dataset, found, analyse(truths_of_dataset(dataset), found, class_names=dataset.class_names)


def history(folder):
    folder.mkdir(exist_ok=True)
    row = ["1" for _ in HISTORY_COLUMNS]
    (folder / "history.csv").write_text("\n".join([",".join(HISTORY_COLUMNS), ",".join(row)]) + "\n")


def test_a_run_with_an_evaluation_is_drawn_again(evaluation, tmp_path, capsys):
    folder = tmp_path / "run"
    history(folder)
    (folder / "recipe.json").write_text("{}")
    (folder / "metrics.json").write_text(json.dumps({"AP": 1.0, "analysis": evaluation[2]}))
    assert run(EXPERIMENT, ["plot", str(folder)]) == 0
    names = ["curves", "precision_recall", "f1", "confusion", "confusion_normalised"]
    assert capsys.readouterr().out.splitlines() == [f"wrote {folder}/{name}.png" for name in names]
    assert all(cv2.imread(str(folder / f"{name}.png")).std() > 5 for name in names)
    assert run(EXPERIMENT, ["plot", str(folder / "metrics.json"), "--output", str(tmp_path / "else")]) == 0
    assert sorted(path.stem for path in (tmp_path / "else").iterdir()) == sorted(names[1:])


def test_perfect_detections_are_all_on_the_diagonal(evaluation, tmp_path):
    dataset, found, analysis = evaluation
    table = np.array(analysis["confusion"])
    assert table.trace() == table.sum() == len(dataset.boxes)
    assert all(curve == [1.0] * 101 for curve in analysis["precision"] if curve is not None)
    write_evaluation(tmp_path, dataset, found, analysis, input_size=(64, 64))
    assert len(list((tmp_path / "beside").glob("*.jpg"))) == 3
    assert (tmp_path / "labels.png").is_file()


@pytest.mark.parametrize(
    ("prepare", "status", "message"),
    [
        (lambda folder: None, 1, "no such folder or file"),
        (lambda folder: folder.mkdir(), 1, "has neither history.csv nor the JSON of an evaluation"),
        (lambda folder: (folder.mkdir(), (folder / "a.json").write_text("{")), 1, "a.json: no JSON"),
        (lambda folder: (folder.mkdir(), (folder / "history.csv").write_text("epoch\n1\n")), 1, "history.csv: damaged"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, capsys, prepare, status, message):
    prepare(tmp_path / "run")
    assert run(EXPERIMENT, ["plot", str(tmp_path / "run")]) == status
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err


def test_training_draws_its_curves_after_every_epoch(tmp_path):
    recorder = RunRecorder(tmp_path, lambda path, position, extra: path.write_bytes(b"weights"))
    fields = {name: 1.0 for name in ("lr", "images_per_second", "data_wait_share", "seconds")}
    losses, pictures = dict.fromkeys(LOSS_NAMES, 2.0), []
    for epoch in range(2):
        position = Position(epoch=epoch + 1)
        recorder.on_epoch(
            EpochReport(epoch=epoch, losses=losses, metrics=None, skipped=0, position=position, **fields)
        )
        pictures.append(cv2.imread(str(tmp_path / "curves.png")))
    assert (pictures[0] != pictures[1]).any()
