"""The command predict with a step that finds the bright square: sources, files, videos and broken images."""

from __future__ import annotations

import csv
import json
import os
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolox.cli import predict as predict_command
from yolox.cli import run
from yolox.cli.experiment import Experiment
from yolox.cli.inputs import OpenedWeights
from yolox.config import InputSpec, Recipe
from yolox.errors import CommandError, DataError
from yolox.eval.media import find_files, frames_per_second, read_frames, unique_names
from yolox.weights.load import LoadedWeights

SIZE = 64


def find_square(images):  # [B,64,64,3] -> [B,2,7]
    """One box around the white pixels, class 1, and a row without an object."""
    rows = np.zeros((len(images), 2, 7), np.float32)
    for row, image in zip(rows, images, strict=True):
        y, x = np.nonzero((image > 200).all(2))
        if len(x):
            corners = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
            row[0] = [*(corners[:2] + corners[2:]) / 2, *(corners[2:] - corners[:2]), 0.9, 0.2, 1.0]
    return rows


@pytest.fixture
def experiment(monkeypatch):
    recipe = Recipe(input=InputSpec(input_size=(SIZE, SIZE)))
    metadata = LoadedWeights(source="yolox", loaded=(), class_names=("cat", "big dog"), recipe=recipe)
    opened = OpenedWeights(detector=None, num_classes=2, strides=(8, 16, 32), metadata=metadata, path=Path("weights"))
    monkeypatch.setattr(OpenedWeights, "make_step", lambda self, spec: find_square)
    monkeypatch.setattr(predict_command, "open_weights", lambda *args: opened)
    nothing = {"build_detector": None, "make_step": None}
    return Experiment(name="square", recipes={"megvii": recipe}, **nothing)


def square(left: int, *, shape=(SIZE, SIZE)) -> np.ndarray:
    image = np.zeros((*shape, 3), np.uint8)
    image[8:24, left : left + 16] = 255
    return image


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        cv2.imwrite(str(images / f"{number}.png"), square(8 * number))
    return images


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 12.5, (128, 96))
    for number in range(5):
        writer.write(square(8 + 16 * number, shape=(96, 128)))
    writer.release()
    return path


def predict(experiment, *argv) -> int:
    return run(experiment, ["predict", "--weights", "w", *map(str, argv)])


def test_every_form_says_the_same(experiment, folder, tmp_path):
    out = tmp_path / "out"
    argv = ["--source", folder, "--output", out, "--save", "json", "txt", "csv", "coco", "--batch-size", "2"]
    assert predict(experiment, *argv) == 0
    want = [[8.0 * i, 8, 8 * i + 16, 24] for i in range(3)]
    records = json.loads((out / "predictions.json").read_text())
    assert [record["boxes"] for record in records] == [[box] for box in want]
    assert {tuple(record["names"]) for record in records} == {("big dog",)}
    assert records[0]["scores"] == [pytest.approx(0.9)] and "frame" not in records[0]
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    assert [[float(row[k]) for k in ("x1", "y1", "x2", "y2")] for row in rows] == want
    assert rows[2]["name"] == "big dog" and rows[2]["image"].endswith("2.png") and rows[2]["frame"] == ""
    coco = json.loads((out / "predictions_coco.json").read_text())
    assert [a["bbox"] for a in coco["annotations"]] == [[x1, 8, 16, 16] for x1, *_ in want]
    assert [a["image_id"] for a in coco["annotations"]] == [image["id"] for image in coco["images"]]
    assert coco["categories"][coco["annotations"][0]["category_id"] - 1]["name"] == "big dog"
    text = (out / "labels/1.txt").read_text().split()
    assert [float(value) for value in text] == [1, 0.25, 0.25, 0.25, 0.25, 0.9]
    assert {path.name for path in out.glob("*.png")} == {"0.png", "1.png", "2.png"}


def test_a_video_becomes_a_video(experiment, video, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(experiment, "--source", video, "--output", out, "--batch-size", "2") == 0
    assert "5 frames, 5 objects" in capsys.readouterr().out
    assert len(list(read_frames(out / "clip.mp4", "x"))) == 5
    assert frames_per_second(out / "clip.mp4") == pytest.approx(12.5)
    records = json.loads((out / "predictions.json").read_text())
    assert [record["frame"] for record in records] == list(range(5))
    for number, record in enumerate(records):
        np.testing.assert_allclose(record["boxes"], [[8 + 16 * number, 8, 24 + 16 * number, 24]], atol=4)


@pytest.mark.parametrize("strict", [False, True])
def test_a_broken_image_is_named_and_the_others_go_on(experiment, folder, tmp_path, capsys, strict):
    (folder / "1.png").write_text("no picture")
    argv = ["--source", folder, "--output", tmp_path / "out"] + ["--strict"] * strict
    assert predict(experiment, *argv) == int(strict)
    err = capsys.readouterr().err
    assert "1 of 3 sources could not be read" in err and "1.png: cannot be decoded as an image" in err
    records = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [record["image"][-5:] for record in records] == ["0.png", "2.png"]
    assert [record["boxes"][0][0] for record in records] == [0.0, 16.0]


def test_nothing_readable_is_a_failure(experiment, tmp_path, capsys):
    (tmp_path / "a.png").touch()
    assert predict(experiment, "--source", tmp_path / "a.png", "--output", tmp_path / "out") == 1
    assert "1 of 1 sources could not be read" in capsys.readouterr().err
    assert json.loads((tmp_path / "out/predictions.json").read_text()) == []


def test_sources_are_files_folders_and_patterns(folder, video, tmp_path):
    (folder / "notes.txt").touch()
    (folder / "deep").mkdir()
    cv2.imwrite(str(folder / "deep/3.JPG"), square(0))
    found = find_files([video, folder, folder / "[01].*", folder / "**/*.JPG"])
    names = ["clip.mp4", "0.png", "1.png", "2.png", "0.png", "1.png", "3.JPG"]
    assert [path.name for path in found] == names
    assert unique_names(found) == ["clip", "0", "1", "2", "0_2", "1_2", "3"]
    for source, message in ((folder / "x*.png", "no file fits it as a pattern"), (folder / "*.txt", "no images found")):
        with pytest.raises(CommandError, match=message):
            find_files([source])


def test_a_broken_video_is_a_data_error(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(DataError, match="a.mp4: cannot be decoded as a video"):
        list(read_frames(tmp_path / "a.mp4", "a"))
    assert frames_per_second(tmp_path / "a.mp4") == 25


GBK = os.fsdecode(b"\xd6\xd0\xce\xc4")  # not UTF-8, as Chinese archives unpack to: OpenCV's own opening ends the process


def test_names_that_are_not_utf8_are_detected_in_or_named(experiment, folder, video, tmp_path, capsys):
    (folder / "1.png").rename(folder / f"{GBK}.png")
    video.rename(folder / f"{GBK}.mp4")
    out = tmp_path / "out"
    assert predict(experiment, "--source", folder, "--output", out, "--save", "json", "txt", "csv", "coco") == 0
    said = capsys.readouterr()
    assert "1 of 4 sources could not be read" in said.err
    assert "\\xd6\\xd0\\xce\\xc4.mp4: the path is not UTF-8, which OpenCV cannot open; rename it" in said.err
    assert "\\xd6\\xd0\\xce\\xc4.png: 1 objects" in said.out
    assert sorted(os.listdir(out / "labels"), key=os.fsencode) == ["0.txt", "2.txt", f"{GBK}_2.txt"]
    assert (out / f"{GBK}_2.png").stat().st_size > 0  # the video has the name without a number
    assert os.fsencode(f"{GBK}.png") in (out / "predictions.csv").read_bytes()
    assert [Path(r["image"]).name for r in json.loads((out / "predictions.json").read_text())] == ["0.png", "2.png", f"{GBK}.png"]


def test_a_video_in_a_folder_that_is_not_utf8_is_refused(experiment, folder, video, tmp_path, capsys):
    with pytest.raises(DataError, match="not UTF-8"):
        frames_per_second(Path(GBK, "clip.mp4"))
    out = tmp_path / GBK
    assert predict(experiment, "--source", folder, "--output", out, "--save", "json") == 0
    assert f"wrote {tmp_path}/\\xd6\\xd0\\xce\\xc4/predictions.json" in capsys.readouterr().out
    assert predict(experiment, "--source", video, "--output", out) == 1
    assert "clip.mp4: the path is not UTF-8" in capsys.readouterr().err


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("source", ["", "1.png", "[01].png", "copy.bmp"])
def test_sources_are_never_overwritten(experiment, folder, capsys, source):
    cv2.imwrite(str(folder / "copy.bmp"), square(0))
    (folder / "copy.png").symlink_to(folder / "copy.bmp")  # OpenCV would write through it
    before = contents(folder)
    assert predict(experiment, "--source", folder / source, "--output", folder) == 2
    assert "would overwrite the source" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_source_that_is_linked_into_the_output_is_not_overwritten(experiment, folder, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/2.png").hardlink_to(folder / "2.png")
    before = contents(tmp_path)
    assert predict(experiment, "--source", folder, "--output", tmp_path / "out") == 2
    assert f"out/2.png would overwrite the source {folder / '2.png'}" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_a_video_is_not_written_over_itself(experiment, video, capsys):
    before = contents(video.parent)
    assert predict(experiment, "--source", video, "--output", video.parent) == 2
    assert "clip.mp4 would overwrite the source" in capsys.readouterr().err
    assert contents(video.parent) == before


def test_labels_that_are_there_are_not_overwritten(experiment, folder, tmp_path, capsys):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/0.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    before = contents(tmp_path)
    argv = ["--source", folder, "--output", tmp_path, "--save", "json"]
    assert predict(experiment, *argv, "txt") == 2
    assert "has label files already, such as 0.txt" in capsys.readouterr().err
    assert contents(tmp_path) == before
    assert predict(experiment, *argv) == 0  # without txt nobody touches them


def test_pictures_of_a_run_before_are_replaced(experiment, folder, tmp_path):
    argv = ["--source", folder, "--output", tmp_path / "out"]
    assert [predict(experiment, *argv) for _ in range(2)] == [0, 0]


def test_frames_of_a_video_are_read_one_by_one(experiment, tmp_path, monkeypatch):
    """A generated video of 60 frames, of which only a batch and its neighbours live at any time."""
    alive, most = weakref.WeakValueDictionary(), []

    class Capture:
        def __init__(self, path):
            self.left = iter(range(60))

        def read(self):
            number = next(self.left, None)
            if number is None:
                return False, None
            most.append(len(alive))
            image = alive[number] = square(number % 40)
            return True, image

        def get(self, what):
            return 25.0

        def release(self):
            pass

    (tmp_path / "clip.mp4").touch()
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    argv = ["--source", tmp_path / "clip.mp4", "--output", tmp_path / "out", "--save", "json", "csv", "--batch-size", "2"]
    assert predict(experiment, *argv) == 0
    assert len(json.loads((tmp_path / "out/predictions.json").read_text())) == len(most) == 60
    assert max(most) <= 4


@pytest.mark.parametrize("name", ["predictions.json", "0.png", "labels", "labels/0.txt"])
def test_links_in_the_output_folder_are_not_written_through(experiment, folder, tmp_path, capsys, name):
    out, target = tmp_path / "out", tmp_path / "elsewhere"
    (out / name).parent.mkdir(parents=True)
    target.mkdir() if name == "labels" else target.write_text("mine")
    (out / name).symlink_to(target)
    assert predict(experiment, "--source", folder, "--output", out) == 2
    assert f"{out / name} is a link, which is not written through" in capsys.readouterr().err
    assert target.is_dir() or target.read_text() == "mine"
