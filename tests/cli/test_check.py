"""The command ``check`` and the check before training: files written, errors listed, warnings that go on."""

from __future__ import annotations

import io
import json
import os

import attrs
import cv2
import numpy as np
import pytest
from rich.console import Console

from tests.cli.arguments import SMALL
from tests.cli.test_commands import without_fit  # noqa: F401 (a fixture)
from tests.cli.tiny import EXPERIMENT
from tests.data.folders import write_as_yolo
from yolox.cli import check, run
from yolox.config import InputSpec, Recipe
from yolox.data.check import check_for_training
from yolox.data.coco import read_coco
from yolox.data.synthetic import SyntheticConfig, write_synthetic
from yolox.errors import DataError
from yolox.training.run_folder import CACHE_FILE
from yolox.visualize.grids import sample_grid

CONFIG = SyntheticConfig(image_size=(48, 64), sides=(12, 30))


@pytest.fixture
def data(tmp_path):
    for seed, name in enumerate(("train", "val")):
        write_synthetic(tmp_path / name, images=4, seed=seed, config=CONFIG)
    return tmp_path


def arguments(data, command, *more, parts=("train", "val")):
    named = [(f"--{p}-json", data / p / "instances.json", f"--{p}-images", data / p / "images") for p in parts]
    return [str(part) for part in (command, "--output", data / "out", *(w for group in named for w in group), *SMALL, *more)]


def test_check_writes_a_report_and_a_picture(nano, data, capsys):
    assert run(nano, arguments(data, "check")) == 0
    out = capsys.readouterr().out
    assert "of these crowd regions" in out and "circle" in out and "most boxes of an image" in out and "labels.png" in out
    report = json.loads((data / "out/report.json").read_text())
    assert (report["train"]["images"], report["val"]["errors"]) == (4, [])
    content = json.loads((data / "train/instances.json").read_text())
    assert report["train"]["boxes"] == len(content["annotations"]) == sum(report["train"]["per_class"].values())
    (empty,) = [names for line, names in report["val"]["named"].items() if line.startswith("classes without a box")] or [[]]
    assert empty == [name for name, count in report["val"]["per_class"].items() if count == 0]
    picture = cv2.imread(str(data / "out/labels.png"))
    assert picture.shape == (2 * 324, 4 * 324, 3)  # four augmented images above four plain ones


def test_check_writes_into_a_folder_whose_name_is_not_utf8(nano, data, capsys):
    out = data / os.fsdecode(b"\xd6\xd0")
    assert run(nano, [*arguments(data, "check"), "--output", str(out)]) == 0
    assert "\\xd6\\xd0/labels.png: look" in capsys.readouterr().out
    assert (out / "labels.png").stat().st_size > 0


def test_validation_images_that_training_sees_are_told(nano, data, capsys):
    copied = json.loads((data / "val/instances.json").read_text())["images"][0]["file_name"]
    (data / "val/images" / copied).write_bytes((data / "train/images/shapes_00002.png").read_bytes())
    assert run(nano, arguments(data, "check")) == 0
    out = capsys.readouterr().out
    assert "warning: images of val that are equal to one of train: 1 (shapes_00001.png = shapes_00002.png)" in out
    picture = cv2.imread(str(data / "out/leaks.png"))
    left, right = picture[30:-4, 8:328], picture[30:-4, 334:-8]
    assert left.std() > 5 and (left == right).all()  # one file on both sides
    leaks = json.loads((data / "out/report.json").read_text())["leaks"]
    assert leaks == [{"val": "shapes_00001.png", "train": "shapes_00002.png", "distance": 0, "equal": True}]
    same = ["--val-json", str(data / "train/instances.json"), "--val-images", str(data / "train/images")]
    assert run(nano, [*arguments(data, "check", parts=("train",)), *same]) == 0
    out = capsys.readouterr().out
    assert "warning: images for validation that are trained on too: 4 (shapes_00001.png, " in out
    assert "that are equal to one of" not in out


def test_images_that_cannot_be_read_stop_the_check_and_training_with_all_named(nano, data, capsys, without_fit):  # noqa: F811
    for number in range(1, 4):
        (data / f"train/images/shapes_0000{number}.png").write_bytes(b"no image")
    for command in ("check", "train"):
        assert run(nano, arguments(data, command)) == 1
        err = capsys.readouterr().err
        assert "instances.json: 3 problems" in err and all(f"shapes_0000{number}.png" in err for number in range(1, 4))
    assert without_fit == [] and not (data / "out/last.safetensors").exists()


def test_the_quick_check_lists_twenty_and_prints_warnings(tmp_path):
    path = write_synthetic(tmp_path, images=25, seed=0, config=CONFIG)
    dataset = attrs.evolve(read_coco(str(path), str(tmp_path / "images")), source="a.json")
    limits = {"input_size": (640, 640), "max_gt": 1}
    warnings = check_for_training({"train": dataset}, **limits)
    assert "images with more boxes than `max_gt` (1); the smallest are left out: " in "\n".join(warnings)
    for name in dataset.file_names:
        (tmp_path / "images" / name).write_bytes(b"")
    with pytest.raises(DataError, match="a.json: 25 problems") as caught:
        check_for_training({"train": dataset}, **limits)
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
    plain = sample_grid(dataset, recipe)[324 + 2 : 648 - 2, 2:322]
    coloured = np.ptp(plain.astype(int), axis=2) > 60
    ys, xs = np.nonzero(coloured[80:, :])  # below the label
    left = 8 if plain[160, 20 * 5].min() > 200 else 24  # the flip of the plain sample, seen in the pixels
    assert abs(xs.min() - left * 5) <= 2 and abs(xs.max() - (left + 32) * 5) <= 2 and abs(ys.max() + 80 - 48 * 5) <= 2


@pytest.fixture
def other_formats(data):
    """The drawn datasets as YOLO texts with a YAML, and as VOC folders."""
    for part in ("train", "val"):
        dataset = read_coco(str(data / part / "instances.json"), str(data / part / "images"))
        for folder in ("labels", "Annotations"):
            (data / part / folder).mkdir()
        write_as_yolo(dataset, data / part / "labels")
        (data / part / "JPEGImages").symlink_to(data / part / "images")
        for sample in to_voc(dataset):
            (data / part / "Annotations" / f"{sample[0]}.xml").write_text(sample[1])
    names = ", ".join(dataset.class_names)
    (data / "data.yaml").write_text(f"names: [{names}]\ntrain: train/images\nval: val/images\n")
    return data


def to_voc(dataset):
    """Returns the name and the XML text of each image; VOC's corners are whole numbers here, as in the drawn boxes."""
    for i, name in enumerate(dataset.file_names):
        rows = range(dataset.offsets[i], dataset.offsets[i + 1])
        corners = [(dataset.class_names[dataset.classes[r]], *dataset.boxes[r].tolist()) for r in rows]
        objects = "".join(f"<object><name>{n}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>"
                          "</bndbox></object>" for n, a, b, c, d in corners)  # fmt: skip
        height, width = dataset.sizes[i].tolist()
        size = f"<size><width>{width}</width><height>{height}</height></size>"
        yield name.rsplit(".", 1)[0], f"<annotation>{size}{objects}</annotation>"


def test_every_format_trains_on_the_same_batches(other_formats, without_fit):  # noqa: F811
    data = other_formats
    named = [("--train-voc", data / "train", "--val-voc", data / "val"),
             ("--train-yolo", data / "data.yaml", "--val-yolo", data / "data.yaml", "--overwrite", "--cache", "ram"),
             ("--train-yolo", data / "data.yaml", "--overwrite", "--cache", "disk")]  # fmt: skip
    assert run(EXPERIMENT, arguments(data, "train")) == 0
    for options in named:
        assert run(EXPERIMENT, [*arguments(data, "train", "--overwrite", parts=()), *map(str, options)]) == 0
    assert [settings["evaluate"] is None for settings in without_fit] == [False, False, False, True]
    assert (data / "out/recipe.json").exists() and not (data / "out" / CACHE_FILE).exists()
    want, *others = (list(settings["train_batches"](0, True, 0)) for settings in without_fit[:3])
    assert len(want) == 2
    for other in others:
        for one, same in zip(want, other, strict=True):
            np.testing.assert_array_equal(one.images, same.images)
            np.testing.assert_allclose(one.gt_boxes, same.gt_boxes, atol=1e-3)
            np.testing.assert_array_equal(one.gt_classes, same.gt_classes)


def test_training_without_a_dataset_is_refused(nano, tmp_path, capsys):
    assert run(nano, ["train", "--output", str(tmp_path / "run")]) == 2
    assert "no training images: give --data, or --train-json" in capsys.readouterr().err
    assert run(nano, ["eval", "--weights", "none.pth"]) == 2
    assert "no images to evaluate on: give --data, or --val-json" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [False, True])
def test_the_steps_of_one_batch_are_lines_where_nothing_is_live(monkeypatch, terminal):
    clock, live = iter([0, 10, 40, 40, 50, 75, 75]), []
    monkeypatch.setattr(check.time, "monotonic", lambda: next(clock))
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200)
    show = check.step_lines(console, live.append)
    for number in range(1, 5):
        show(number, 9.5 - number)
    assert live == [f"one batch: step {n}, loss {9.5 - n:.2f}" for n in range(1, 5)]
    lines = console.file.getvalue().splitlines()
    assert lines == ([] if terminal else ["one batch: compiling the step", live[1], live[3]])


def test_one_batch_is_learned_or_the_check_fails(data, capsys):
    argv = arguments(data, "check", "--overfit", "--max-truths", "8", parts=("train",))
    assert run(EXPERIMENT, argv) == 0
    out = capsys.readouterr().out
    assert "one batch: sound: the loss of one batch fell from" in out
    assert "one batch: compiling the step" in out  # no terminal: a plain line at once
    assert run(EXPERIMENT, [*argv, "--overfit-steps", "1"]) == 1
    assert "in 1 steps, and should fall below" in capsys.readouterr().err
    assert not (data / "out/last.safetensors").exists()


@pytest.mark.slow
def test_one_batch_of_drawn_shapes_is_learned(nano, data, capsys):
    assert run(nano, arguments(data, "check", "--overfit", "--batch-size", "4", parts=("train",))) == 0
    assert "one batch: sound: the loss of one batch fell from" in capsys.readouterr().out
    assert run(nano, arguments(data, "check", "--overfit", "--overfit-steps", "2", parts=("train",))) == 1
    assert "give --overfit-steps more if it still falls" in capsys.readouterr().err
