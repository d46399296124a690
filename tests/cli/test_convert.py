"""The commands convert and split: what they print is what they wrote, and bad input is one line."""

from __future__ import annotations

import json
import os

import pytest

from tests.data.folders import coco_dict, write_image, write_json
from tests.data.test_duplicates import scene
from yolox.cli.main import run_model
from yolox.data.coco import read_coco
from yolox.data.layout import find_layout, read_data

SIZE = (48, 64)


@pytest.fixture
def coco(tmp_path, monkeypatch):
    """Twelve different pictures of two clips, and a crowd region."""
    monkeypatch.chdir(tmp_path)
    names = [f"clip{i // 6}_{i}.png" for i in range(12)]
    for i, name in enumerate(names):
        write_image(tmp_path / "coco/images" / name, scene(i, SIZE))
    rows = [(i + 1, i, i % 2 + 1, (1, 2, 10, 20), {"iscrowd": int(i == 0), "segmentation": [[i, 1]]}) for i in range(12)]
    write_json(tmp_path / "coco/instances.json", coco_dict([(i, name, *SIZE) for i, name in enumerate(names)], rows))
    return tmp_path


def test_convert_names_what_is_lost_and_what_it_wrote(coco, capsys):
    assert run_model(["convert", "--data", "coco", "--to", "yolo"]) == 0
    out = capsys.readouterr().out
    assert "data: coco: COCO, instances.json: train only\ntrain: 12 images, 11 boxes\n" in out
    assert "warning: not read, and so not kept: segmentation of 12 annotations\n" in out
    assert "warning: crowd regions were left out, as YOLO cannot mark them: 1 (clip0_0.png)\n" in out
    assert "wrote runs/convert: YOLO, data.yaml: train only; --data runs/convert reads it" in out
    assert len(read_data("runs/convert").boxes) == 11
    assert run_model(["convert", "--data", "coco", "--to", "voc", "--output", "voc"]) == 0
    assert "(read with --voc-difficult-as-crowd)" in capsys.readouterr().out
    assert run_model(["convert", "--data", "voc", "--to", "coco", "--voc-difficult-as-crowd", "--output", "back"]) == 0
    assert read_data("back").crowd.tolist() == [True] + [False] * 11 and "warning" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["convert", "--to", "coco"], 2, "--data: missing, want a dataset"),
        (["convert", "--data", "coco"], 2, "--to"),
        (["convert", "--data", "coco", "--to", "coco", "--output", "coco"], 1, "coco: is there already; want a new folder"),
        (["convert", "--data", "nowhere", "--to", "coco"], 1, "nowhere: no such file or folder"),
        (["convert", "--data", "coco", "--format", "yolo"], 2, "--format: here it is --to coco, voc or yolo"),
        (["convert", "--source", "coco", "--to", "yolo"], 2, "--source: here it is --data DATASET"),
        (["split", "--data", "coco", "--ratio", "0.8"], 2, "--ratio: here it is --fractions TRAIN VAL TEST"),
        (["split", "--data", "coco", "--fractions", "80", "10", "10"], 1, "with a sum of 1"),
        (["split"], 2, "--data: missing, want a dataset"),
        (["split", "--data", "coco", "--fractions", "1", "2"], 1, "--fractions 1 2: want two or three from 0 to 1"),
        (["split", "--data", "coco", "--group-by", "("], 1, "--group-by '(': is no regular expression"),
        (["split", "--data", "coco", "--part", "test"], 1, "has no part 'test'; it has train"),
        (["split", "--data", "coco", "--to", "lists"], 1, "COCO has no lists of images"),
        (["split", "--data", "coco", "--images", "hardlink"], 2, "--images hardlink: is for --to coco, voc or yolo; with json"),
        (["split", "--data", "coco", "--voc-first-pixel", "1"], 2, "--voc-first-pixel: is for --train-voc and --val-voc; --data"),
        (["convert", "--data", "coco", "--to", "voc", "--scored-labels", "drop"], 2, "--scored-labels: is for --train-yolo"),
        (["convert", "--data", "coco", "--to", "voc", "--output", "gone"], 1, "gone: is a link to "),
    ],
)
def test_what_cannot_be_done_is_one_message(coco, capsys, arguments, status, message):
    (coco / "gone").symlink_to("nowhere")
    assert run_model(arguments) == status
    err = capsys.readouterr().err
    assert message in err and err.count("\n") <= 2 and len(list(coco.glob("coco/*"))) == 2
    assert {path.name for path in coco.iterdir()} == {"coco", "gone"}  # no folder runs


def test_an_empty_folder_that_is_given_stays_the_same(coco, capsys, monkeypatch):
    """Such as the working directory, which must not be replaced under the feet of a shell."""
    (coco / "here").mkdir()
    monkeypatch.chdir(coco / "here")
    before = os.stat(".").st_ino
    assert run_model(["convert", "--data", "../coco", "--to", "yolo", "--output", "."]) == 0
    assert "wrote .: YOLO, data.yaml: train only" in capsys.readouterr().out
    assert os.stat(coco / "here").st_ino == before and sorted(os.listdir()) == ["data.yaml", "images", "labels"]


def test_split_prints_options_that_read_the_parts(coco, capsys):
    assert run_model(["split", "--data", "coco", "--fractions", "0.5", "0.25", "0.25", "--output", "out"]) == 0
    out = capsys.readouterr().out
    assert "images that look like another one: 0 in 0 groups" in out and "warning" not in out
    assert "│ images │ 6 (50.0%) │ 3 (25.0%) │ 3 (25.0%) │" in out
    options = [f"--{use}-json out/{part}.json --{use}-images coco/images"
               for use, part in (("train", "train"), ("val", "val"), ("val", "test"))]  # fmt: skip
    assert f"wrote out: {'; '.join(options)}" in out
    assert len(read_coco("out/train.json", "coco/images")) == 6
    assert json.loads((coco / "out/val.json").read_text())["annotations"][0]["segmentation"]


def test_split_keeps_groups_and_copies_together(coco, capsys):
    write_image(coco / "coco/images/clip1_6.png", scene(0, SIZE))  # the first of clip 0
    arguments = "split --data coco --fractions 0.5 0.5 --group-by clip(.) --output out --to coco".split()
    assert run_model(arguments) == 1
    assert "1 groups of images cannot be divided into train, val" in capsys.readouterr().err
    assert run_model([*arguments, "--no-join-similar"]) == 0
    out = capsys.readouterr().out
    assert "--group-by: 2 groups of 12 images" in out
    assert "wrote out: COCO, annotations/instances_train.json: train and val" in out
    clips = [{name[:5] for name in read_data("out", part).file_names} for part in ("train", "val")]
    assert sorted(map(sorted, clips)) == [["clip0"], ["clip1"]]


def test_split_of_yolo_and_voc_writes_lists(coco, capsys):
    for form, wanted in (("yolo", "wrote lists_yolo: --data lists_yolo reads it"),
                         ("voc", "wrote lists_voc: --train-voc voc --train-split lists_voc/train.txt; "
                                 "--val-voc voc --val-split lists_voc/val.txt")):  # fmt: skip
        assert run_model(["convert", "--data", "coco", "--to", form, "--output", form]) == 0
        assert run_model(["split", "--data", form, "--fractions", "0.75", "0.25", "--output", f"lists_{form}"]) == 0
        assert wanted in capsys.readouterr().out
    assert {part: len(read_data("lists_yolo", part)) for part in find_layout("lists_yolo").parts} == {"train": 9, "val": 3}


def test_lists_and_other_class_names_contradict_each_other(coco, capsys):
    """The annotation files stay beside the lists, with the classes that they have."""
    assert run_model(["convert", "--data", "coco", "--to", "yolo", "--output", "yolo"]) == 0
    (coco / "map.yaml").write_text("dog: cat\n")
    assert run_model(["split", "--data", "yolo", "--to", "lists", "--class-map", "map.yaml", "--output", "parts"]) == 2
    assert "--class-map: lists leave the annotation files with their classes" in capsys.readouterr().err
    assert not (coco / "parts").exists()
