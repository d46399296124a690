"""Options that name a dataset: each format is read, and contradictions are refused before anything is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.data.folders import coco_dict, noise_dataset, write_as_yolo, write_image, write_json
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


CROWD, FLAT, GOOD = ((1, 1, 9, 9), {"iscrowd": 1}), ((1, 1, 0, 9),), ((1, 1, 9, 9),)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([], "a.json: 1 images and no box; nothing can be learned from it"),
        ([CROWD, CROWD], "no box to train on, only 2 crowd regions; nothing"),
        ([FLAT], "no box to train on, only 1 boxes without area inside their image; nothing"),
        ([CROWD, FLAT], "only 1 crowd regions and 1 boxes without area inside their image; nothing"),
        ([CROWD, FLAT, GOOD], None),
    ],
)
def test_a_set_without_a_box_to_train_on_is_refused(tmp_path, boxes, message):
    write_image(tmp_path / "a.png", np.zeros((20, 30, 3), np.uint8))
    rows = [(i, 1, 1, *box) for i, box in enumerate(boxes)]
    write_json(tmp_path / "a.json", coco_dict([(1, "a.png", 20, 30)], rows))
    source = training_source(options(json=tmp_path / "a.json", images=tmp_path))
    if message is None:
        assert len(read_training_set(source).boxes) == 3
        return
    with pytest.raises(CommandError, match=message):
        read_training_set(source)


def test_labels_of_no_area_alone_are_refused(folder):
    for path in (folder / "labels").glob("*.txt"):
        path.write_text("0 .5 .5 0 .2\n")
    with pytest.raises(CommandError, match="no box to train on, only 3 boxes without area inside their image"):
        read_training_set(training_source(options(yolo=folder / "data.yaml")))


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
