"""The verb ``check`` and the check before training: files written, errors listed, warnings that go on."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from rich.console import Console

from tests.cli.test_verbs import SMALL, nano, without_fit  # noqa: F401 (fixtures)
from yolox.cli import run
from yolox.cli.check import quick_check
from yolox.cli.sheet import label_sheet
from yolox.config import InputSpec, LoaderConfig, Recipe
from yolox.data.coco import read_coco
from yolox.data.errors import DataError
from yolox.data.shapes import ShapesConfig, write_shapes

CONFIG = ShapesConfig(image_size=(48, 64), sides=(12, 30))


@pytest.fixture
def data(tmp_path):
    for seed, name in enumerate(("train", "val")):
        write_shapes(tmp_path / name, images=4, seed=seed, config=CONFIG)
    return tmp_path


def words(data, verb, *more, parts=("train", "val")):
    named = [(f"--{p}-json", data / p / "instances.json", f"--{p}-images", data / p / "images") for p in parts]
    return [str(word) for word in (verb, "--output", data / "out", *(w for group in named for w in group), *SMALL, *more)]


def test_check_writes_a_report_and_a_picture(nano, data, capsys):  # noqa: F811
    assert run(nano, words(data, "check")) == 0
    out = capsys.readouterr().out
    assert "circle" in out and "most boxes of an image" in out and "labels.png" in out
    report = json.loads((data / "out/report.json").read_text())
    assert (report["train"]["images"], report["val"]["errors"]) == (4, [])
    content = json.loads((data / "train/instances.json").read_text())
    assert report["train"]["boxes"] == len(content["annotations"]) == sum(report["train"]["per_class"].values())
    picture = cv2.imread(str(data / "out/labels.png"))
    assert picture.shape == (2 * 324, 4 * 324, 3)  # four augmented images above four plain ones


def test_validation_images_that_training_sees_are_told(nano, data, capsys):  # noqa: F811
    copied = json.loads((data / "val/instances.json").read_text())["images"][0]["file_name"]
    (data / "val/images" / copied).write_bytes((data / "train/images/shapes_00002.png").read_bytes())
    assert run(nano, words(data, "check")) == 0
    out = capsys.readouterr().out
    assert "warning: 1 groups of image files are equal byte for byte: shapes_00002.png = shapes_00001.png" in out
    same = ["--val-json", str(data / "train/instances.json"), "--val-images", str(data / "train/images")]
    assert run(nano, [*words(data, "check", parts=("train",)), *same]) == 0
    assert "warning: 4 images for validation are trained on too" in capsys.readouterr().out


def test_images_that_cannot_be_read_stop_the_check_and_training_with_all_named(nano, data, capsys, without_fit):  # noqa: F811
    for number in range(1, 4):
        (data / f"train/images/shapes_0000{number}.png").write_bytes(b"no image")
    for verb in ("check", "train"):
        assert run(nano, words(data, verb)) == 1
        err = capsys.readouterr().err
        assert "instances.json: 3 problems" in err and all(f"shapes_0000{number}.png" in err for number in range(1, 4))
    assert without_fit == [] and not (data / "out/last.safetensors").exists()


def test_the_quick_check_lists_twenty_and_prints_warnings(tmp_path):
    path = write_shapes(tmp_path, images=25, seed=0, config=CONFIG)
    dataset = read_coco(str(path), str(tmp_path / "images"))
    source = type("Source", (), {"name": "a.json"})
    console, recipe = Console(record=True, width=200), Recipe(loader=LoaderConfig(max_truths=1))
    quick_check(console, {"train": source}, {"train": dataset}, recipe)
    assert "images have more boxes than max_truths=1; the smallest go: image shapes_000" in console.export_text()
    for name in dataset.file_names:
        (tmp_path / "images" / name).write_bytes(b"")
    with pytest.raises(DataError, match="a.json: 25 problems") as caught:
        quick_check(console, {"train": source}, {"train": dataset}, recipe)
    assert "... and 5 more" in str(caught.value) and str(caught.value).count("shapes_") == 20


def test_boxes_of_the_picture_lie_where_the_batch_has_them(tmp_path):
    """Grey images of one white rectangle: every drawn frame is on the rectangle's edge."""
    pixels = np.full((64, 64, 3), 60, np.uint8)
    pixels[16:48, 8:40] = 255
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), pixels)
    rows = {"images": [{"id": 1, "file_name": "a.png", "height": 64, "width": 64}], "categories": [{"id": 1, "name": "x"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 16, 32, 32]}]}  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(rows))
    dataset = read_coco(str(tmp_path / "a.json"), str(tmp_path / "images"))
    recipe = Recipe(input=InputSpec(input_size=(64, 64)))
    plain = label_sheet(dataset, recipe)[324 + 2 : 648 - 2, 2:322]
    coloured = np.ptp(plain.astype(int), axis=2) > 60
    ys, xs = np.nonzero(coloured[80:, :])  # below the label
    left = 8 if plain[160, 20 * 5].min() > 200 else 24  # the flip of the plain sample, seen in the pixels
    assert abs(xs.min() - left * 5) <= 2 and abs(xs.max() - (left + 32) * 5) <= 2 and abs(ys.max() + 80 - 48 * 5) <= 2


@pytest.mark.slow
def test_one_batch_of_drawn_shapes_is_learned(nano, data, capsys):  # noqa: F811
    assert run(nano, words(data, "check", "--overfit", "--batch-size", "4", parts=("train",))) == 0
    assert "one batch: sound: the loss of one batch fell from" in capsys.readouterr().out
    assert run(nano, words(data, "check", "--overfit", "--overfit-steps", "2", parts=("train",))) == 1
    assert "give --overfit-steps more if it still falls" in capsys.readouterr().err
