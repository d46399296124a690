"""The command predict with a step that finds the bright square: sources, files, videos and broken images."""

from __future__ import annotations

import csv
import json
import os
import re
import struct
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from tests.cli.squares import SIZE, predict, square
from tests.data.folders import coco_dict, write_json
from yolox import config_io
from yolox.data.coco import read_coco
from yolox.data.yolo import read_yolo
from yolox.errors import CommandError, DataError
from yolox.eval import media
from yolox.eval.coco import evaluate_coco
from yolox.eval.media import read_frames
from yolox.eval.sources import find_files, unique_names


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
    assert [float(value) for value in text] == [1, 0.25, 0.25, 0.25, 0.25]
    assert {path.name for path in out.glob("*.png")} == {"0.png", "1.png", "2.png"}


def test_a_video_becomes_a_video(experiment, video, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(experiment, "--source", video, "--output", out, "--batch-size", "2") == 0
    assert "clip.mp4: 5 frames, 5 objects (5 big dog), " in capsys.readouterr().out
    assert [frame.rate for frame in read_frames(out / "clip.mp4", "x")] == pytest.approx([12.5] * 5)
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


def test_images_without_an_object_are_said_with_the_score(experiment, folder, tmp_path, capsys):
    assert predict(experiment, "--source", folder, "--output", tmp_path / "out", "--score-threshold", "0.999") == 0
    assert "3 images: 0 objects with a score above 0.999 (--score-threshold)\n" in capsys.readouterr().out


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
    assert [path.name for path in found.files] == ["clip.mp4", "0.png", "1.png", "2.png", "3.JPG"]  # each once
    assert [line.partition(" (")[0] for line in found.left_out] == [
        "1 file is no image or video and was not taken: 1 .txt",
        "1 sub-folder was not looked into",
    ]
    (folder / "gone.png").symlink_to("nowhere.png")
    found = find_files([folder / "*"])  # a pattern fits folders, too, and links to what is not there, which reading names
    assert [path.name for path in found.files] == ["0.png", "1.png", "2.png", "gone.png"]
    assert found.left_out[1] == "1 sub-folder was not looked into (deep); `recursive` takes them"
    assert len(find_files([folder / "*"], recursive=True).files) == 5
    (folder / "gone.png").unlink()
    paths = [Path("a/0.png"), Path("b/0.jpg"), Path("0_2.png"), Path("a.mp4"), Path("a_000001.png")]
    assert unique_names(paths) == ["0", "0_3", "0_2", "a_2", "a_000001"]  # nor is a frame of the video named as an image
    for source, message in ((folder / "x*.png", "no file fits it as a pattern"), (folder / "*.txt", "no images found")):
        with pytest.raises(CommandError, match=message):
            find_files([source])


def test_a_broken_video_is_a_data_error(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(DataError, match="a.mp4: cannot be decoded as a video"):
        list(read_frames(tmp_path / "a.mp4", "a"))


def test_a_codec_that_opencv_lacks_is_named(video, tmp_path):
    content = video.read_bytes()
    assert content.count(b"mp4v") == 1
    (tmp_path / "a.mp4").write_bytes(content.replace(b"mp4v", b"vvc1").replace(b"esds", b"free"))
    with pytest.raises(DataError, match="cannot be decoded as a video: it is in VVC, which this OpenCV does not decode; convert"):
        list(read_frames(tmp_path / "a.mp4", "a"))


GBK = os.fsdecode(b"\xd6\xd0\xce\xc4")  # not UTF-8, as Chinese archives unpack to: OpenCV's own opening ends the process


def test_names_that_are_not_utf8_are_detected_in_or_named(experiment, folder, video, tmp_path, capsys):
    (folder / "1.png").rename(folder / f"{GBK}.png")
    video.rename(folder / f"{GBK}.mp4")
    out = tmp_path / "out"
    assert predict(experiment, "--source", folder, "--output", out, "--save", "json", "txt", "csv", "coco") == 0
    said = capsys.readouterr()
    assert "1 of 4 sources could not be read" in said.err
    assert "\\xd6\\xd0\\xce\\xc4.mp4: the path is not UTF-8, which OpenCV cannot open; rename it" in said.err
    assert "\\xd6\\xd0\\xce\\xc4.png: 1 object" in said.out
    assert sorted(os.listdir(out / "labels"), key=os.fsencode) == ["0.txt", "2.txt", f"{GBK}_2.txt"]
    assert (out / f"{GBK}_2.png").stat().st_size > 0  # the video has the name without a number
    assert os.fsencode(f"{GBK}.png") in (out / "predictions.csv").read_bytes()
    assert [Path(r["image"]).name for r in json.loads((out / "predictions.json").read_text())] == ["0.png", "2.png", f"{GBK}.png"]


def test_a_video_in_a_folder_that_is_not_utf8_is_refused(experiment, folder, video, tmp_path, capsys):
    with pytest.raises(DataError, match="not UTF-8"):
        next(read_frames(Path(GBK, "clip.mp4"), "clip"))
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
    assert predict(experiment, "--source", folder / source, "--output", folder) == 0
    after = contents(folder)
    assert {path: after[path] for path in before} == before and len(after) > len(before)
    assert "_2.png" in capsys.readouterr().out


def test_links_in_the_output_are_not_written_through(experiment, folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/2.png").hardlink_to(folder / "2.png")
    (tmp_path / "out/1.png").symlink_to("nowhere")
    before = contents(folder)
    assert predict(experiment, "--source", folder, "--output", tmp_path / "out") == 0
    assert contents(folder) == before and {"2_2.png", "1_2.png"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_a_video_is_not_written_over_itself(experiment, video, capsys):
    before = contents(video.parent)
    assert predict(experiment, "--source", video, "--output", video.parent) == 0
    assert {path: contents(video.parent)[path] for path in before} == before
    assert "clip_2.mp4" in capsys.readouterr().out


def test_nothing_that_is_there_is_replaced(experiment, folder, tmp_path, capsys):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/0.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    argv = ["--source", folder, "--output", tmp_path, "--save", "json", "txt", "csv", "coco"]
    assert predict(experiment, *argv) == 0
    before = contents(tmp_path)
    assert predict(experiment, *argv) == 0
    after, out = contents(tmp_path), capsys.readouterr().out
    assert {path: after[path] for path in before} == before and len(after) == len(before) + 9
    for name in ("predictions_2.json", "labels_3", "predictions_2.csv", "predictions_coco_2.json", "0_2.png"):
        assert name in out and (tmp_path / name).exists()


def test_sources_of_one_name_have_results_of_their_own(experiment, folder, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    cv2.imwrite(str(tmp_path / "other/0.jpg"), square(40))
    out = tmp_path / "out"
    argv = ["--source", folder / "0.png", tmp_path / "other/0.jpg", "--output", out, "--save", "txt", "--with-scores"]
    assert predict(experiment, *argv) == 0
    assert {path.name for path in out.rglob("*.*")} == {"0.png", "0_2.jpg", "0.txt", "0_2.txt"}
    assert "results of " in (err := capsys.readouterr().err) and "other/0.jpg have 0_2" in err
    assert len((out / "labels/0.txt").read_text().split()) == 6


def test_files_that_are_not_taken_are_named(experiment, folder, tmp_path, capsys):
    (folder / "sub").mkdir()
    cv2.imwrite(str(folder / "sub/deep.png"), square(0))
    (folder / "sub/deep.png").rename(folder / "sub/photo.dat")
    for name in ("notes.txt", "._0.png", "Thumbs.db", "@eaDir"):
        (folder / name).write_text("x")
    (folder / "page.jpg").write_text("<!DOCTYPE html><title>404</title>")
    assert predict(experiment, "--source", folder, "--output", tmp_path / "a", "--save", "json") == 0
    err = capsys.readouterr().err
    assert "1 file is no image or video and was not taken: 1 .txt (notes.txt)" in err
    assert "1 sub-folder was not looked into (sub); --recursive takes them" in err
    assert "page.jpg: cannot be decoded as an image: it is an HTML page" in err and "._0" not in err
    argv = ["--source", folder, "--output", tmp_path / "b", "--recursive", "--save", "json"]
    assert predict(experiment, *argv) == 0 and (tmp_path / "b/photo.png").exists()


def test_predictions_can_be_read_as_labels(experiment, folder, tmp_path):
    out = tmp_path / "out"
    assert predict(experiment, "--source", folder, "--output", out, "--save", "coco", "txt") == 0
    dataset = read_coco(str(out / "predictions_coco.json"), str(folder))
    assert dataset.file_names == ("0.png", "1.png", "2.png") and len(dataset.boxes) == 3
    texts = read_yolo(str(out / "labels"), str(folder), class_names=dataset.class_names)
    np.testing.assert_allclose(texts.boxes, dataset.boxes, atol=1e-3)


def test_results_have_the_ids_of_the_dataset(experiment, folder, tmp_path, capsys):
    """COCO's list of results: loadRes takes it, and perfect boxes have AP 1."""
    boxes = [(10 + i, 70 + i, 18, [8 * i, 8, 16, 16]) for i in range(3)]
    content = coco_dict([(70 + i, f"{i}.png", SIZE, SIZE) for i in range(3)], boxes, categories=((17, "cat"), (18, "big dog")))
    path, out = write_json(tmp_path / "a.json", content), tmp_path / "out"
    assert predict(experiment, "--source", folder, "--output", out, "--save", "json", "--results-for", path) == 0
    records = json.loads((out / "results.json").read_text())
    assert [(r["image_id"], r["category_id"]) for r in records] == [(70, 18), (71, 18), (72, 18)]
    COCO(path).loadRes(str(out / "results.json"))
    assert evaluate_coco({**content, "images": content["images"]}, records)["AP"] == pytest.approx(1.0)
    content["images"].pop()
    write_json(tmp_path / "a.json", content)
    predict(experiment, "--source", folder, "--output", out, "--save", "json", "--results-for", path)
    err = capsys.readouterr().err
    assert "images that are not in" in err
    assert "results.json has detections from a score of 0.25 on; AP counts those below too: --score-threshold 0.01" in err


def damage(path, number):
    """Fills one JPEG frame of an AVI with zeros."""
    data = bytearray(path.read_bytes())
    places = [found.start() for found in re.finditer(b"00dc", data)][: 20]
    size = int.from_bytes(data[places[number] + 4 : places[number] + 8], "little")
    data[places[number] + 8 : places[number] + 8 + size] = bytes(size)
    path.write_bytes(data)


def test_a_damaged_frame_does_not_end_a_video(experiment, tmp_path, capsys):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 96))
    for number in range(20):
        writer.write(square(2 * number, shape=(96, 96)))
    writer.release()
    damage(path, 8)
    path = path.rename(tmp_path / "clip.dat")  # found by its content
    argv = ["--source", path, "--save", "json", "--output"]
    assert predict(experiment, *argv, tmp_path / "a") == 0
    assert "19 of 20 frames, 1 could not be decoded" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "a/predictions.json").read_text())) == 19
    assert predict(experiment, *argv, tmp_path / "b", "--strict") == 1
    assert "1 of 1 sources could not be read to their end" in capsys.readouterr().err


QUARTERS = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


@pytest.mark.parametrize("degrees", QUARTERS)
def test_videos_are_turned_as_players_turn_them(tmp_path, degrees):
    path = tmp_path / "phone.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:16, :16] = 255  # the upper left corner as stored
    for _ in range(3):
        writer.write(picture)
    writer.release()
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in QUARTERS[degrees])
    place = data.index(b"tkhd") + 4 + 40  # the display matrix of a track header of version 0
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    (frame, *rest) = read_frames(path, "x")
    turned = np.rot90(picture, -degrees // 90)
    assert len(rest) == 2 and frame.image.shape == turned.shape
    assert np.abs(frame.image.astype(int) - turned).mean() < 12


def test_frames_of_a_video_are_read_one_by_one(experiment, tmp_path, monkeypatch):
    """A generated video of 60 frames, of which only a batch and its neighbours live at any time."""
    alive, most = weakref.WeakValueDictionary(), []

    class Capture:
        def __init__(self, path, packets=False):
            self.left = iter(range(60))

        def set(self, what, value):
            pass

        def grab(self):
            return next(self.left, None) is not None

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
    monkeypatch.setattr(media, "VideoReader", Capture)
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
    assert predict(experiment, "--source", folder, "--output", out, "--save", "json", "txt") == 0
    assert target.read_text() == "mine" if name != "labels" else not list(target.iterdir())


def test_a_recipe_file_is_read_once(experiment, folder, tmp_path, monkeypatch):
    """It may be what another program writes to a pipe, and is what it was when the command began."""
    (tmp_path / "r.toml").write_text('base = "megvii"\nepochs = 3\n')
    calls, real = [], config_io._read_file
    monkeypatch.setattr(config_io, "_read_file", lambda path: calls.append(path) or real(path))
    argv = ["--source", folder, "--output", tmp_path / "out", "--no-pictures", "--recipe", tmp_path / "r.toml"]
    assert predict(experiment, *argv) == 0 and calls == [tmp_path / "r.toml"]
