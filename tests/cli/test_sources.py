"""Options that name a dataset: each format is read, and contradictions are refused before anything is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.data.folders import noise_dataset, write_as_yolo
from yolox.cli.inputs import read_evaluation_set, read_training_set
from yolox.cli.messages import CommandError, UsageError
from yolox.cli.options import parse_options
from yolox.cli.resuming import remember, remembered
from yolox.cli.sources import data_source, evaluation_source, training_source
from yolox.config import Recipe


def options(part="train", **values):
    keys = ("json", "voc", "yolo", "images", "split")
    return SimpleNamespace(**{f"{part}_{key}": values.get(key) for key in keys})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"json": "a", "images": "b", "yolo": "c"}, "--train-json and --train-yolo: give one of them"),
        ({"json": "a"}, "--train-json and --train-images: give both"),
        ({"images": "a"}, "--train-json and --train-images: give both"),
        ({"json": "a", "images": "b", "split": "c"}, "--train-split: is for --train-voc and --train-yolo"),
        ({"split": "c"}, "--train-split: is for"),
    ],
)
def test_contradictions_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        data_source(options(**values), "train")


def test_no_dataset_is_none_or_refused_where_one_is_needed():
    assert data_source(options("val"), "val") is None
    with pytest.raises(UsageError, match="no training images: give --train-json and --train-images, or --train-voc"):
        training_source(options())
    with pytest.raises(UsageError, match="no images to evaluate on: give --val-json"):
        evaluation_source(options("val"))


@pytest.fixture
def folder(tmp_path):
    dataset = noise_dataset(tmp_path / "images", count=3)
    (tmp_path / "labels").mkdir()
    write_as_yolo(dataset, tmp_path / "labels")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\ntrain: images\nval: images\n")
    return tmp_path


def test_every_format_is_read_and_evaluated_in_the_detectors_classes(folder):
    json = read_training_set(training_source(options(json=folder / "images/a.json", images=folder / "images")))
    source = evaluation_source(options("val", yolo=folder / "data.yaml"))
    yolo = read_evaluation_set(source, num_classes=3, class_names=("dog", "cow", "cat"))
    np.testing.assert_allclose(yolo.boxes, json.boxes, atol=1e-4)
    assert [yolo.class_names[c] for c in yolo.classes] == [json.class_names[c] for c in json.classes]
    with pytest.raises(CommandError, match=r"data.yaml: 1 of 2 categories \(cat\) are none of the detector's 1"):
        read_evaluation_set(source, num_classes=1, class_names=("dog",))


def test_a_voc_folder_takes_all_unless_a_list_is_asked_for(folder):
    (folder / "x").mkdir()
    for split, message in (("train", "so no list 'train'"), (None, "0 images and no box")):
        with pytest.raises((ValueError, CommandError), match=message):
            read_training_set(training_source(options(voc=folder / "x", split=split)))


def test_a_run_remembers_where_its_data_lie_in_every_format(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = "train --train-voc VOC --train-split mine.txt --val-yolo data.yaml --val-split test --output run --cache ram".split()
    made = parse_options(argv, Recipe())
    (tmp_path / "run").mkdir()
    remember(tmp_path / "run", made, made.settings)
    recipe, values = remembered(tmp_path / "run")
    assert recipe == made.settings and recipe.loader.cache == "ram"
    assert (values["train_voc"], values["train_split"]) == (tmp_path / "VOC", str(tmp_path / "mine.txt"))
    assert (values["val_yolo"], values["val_split"]) == (tmp_path / "data.yaml", "test")
    assert values["train_json"] is values["train_images"] is values["val_voc"] is None
    again = parse_options(["train", "--resume", "run"], recipe, remembered=values)
    assert (again.train_voc, again.val_split, again.settings) == (tmp_path / "VOC", "test", recipe)
