"""The console script chooses the scale by --model, has every command, and its mistakes are one line and a line of help."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from yolox.cli.main import run_model


def test_model_chooses_the_scale_wherever_it_stands(capsys):
    for argv in (["info", "--model", "tiny", "--json"], ["--model=tiny", "info", "--json"]):
        assert run_model(argv) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["name"], found["parameters"], found["input_size"]) == ("yolox-tiny", 5_055_855, [416, 416])


@pytest.mark.parametrize(
    ("argv", "want"),
    [
        (["info"], "--model: missing, want one of nano, tiny, s, m, l, x, darknet53"),
        (["info", "--model", "xs"], "--model: got 'xs', want one of nano, tiny"),
        (["info", "--model", "yolox_n"], "--model: got 'yolox_n', perhaps you meant nano; want one of nano, tiny"),
        (["info", "--model", "yolox_s.pth"], "--model: got 'yolox_s.pth', perhaps you meant s; want one of nano, tiny"),
        (["info", "--model", "yolov8n.pt"], "--model: got 'yolov8n.pt', want one of nano, tiny"),
        (["info", "--model", "s", "--colour", "red"], "no such option: --colour"),
    ],
)
def test_mistakes_end_with_status_2(capsys, argv, want):
    assert run_model(argv) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert want in first and second.startswith("see yolox") and second.endswith("--help")


def test_help_needs_no_model(capsys):
    assert run_model(["train", "--help"]) == 0
    assert "usage: yolox train --model SCALE" in capsys.readouterr().out
    assert run_model(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("info", "train", "assign", "plot", "--model"))


def test_exported_files_and_plot_need_no_model(tmp_path, capsys):
    missing = str(tmp_path / "a.onnx")
    assert run_model(["predict", "--weights", missing, "--source", "x.jpg", "--output", str(tmp_path)]) == 1
    assert run_model(["plot", str(tmp_path / "run")]) == 1
    assert "--model" not in capsys.readouterr().err


def test_the_module_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "yolox", "info"], capture_output=True, text=True)
    assert done.returncode == 2 and "--model: missing" in done.stderr


def test_the_version_is_printed_with_those_it_depends_on(capsys):
    assert run_model(["--version"]) == 0
    assert re.fullmatch(r"yolox-mindspore \S+, MindSpore 2\.\S+, Python 3\.\S+\n", capsys.readouterr().out)


@pytest.mark.parametrize("words", [["help"], ["version"], ["-v"]])
def test_words_for_help_and_version_are_understood(capsys, words):
    assert run_model(words) == 0
    assert ("usage: yolox" if words == ["help"] else "MindSpore ") in capsys.readouterr().out


def test_check_wants_a_model_only_to_train(tmp_path, capsys):
    """A dataset is the same for each scale: without --model its missing folder is the error."""
    assert run_model(["check", "--data", str(tmp_path / "none")]) == 1
    assert "none: no such file or folder" in capsys.readouterr().err
    assert run_model(["check", "--data", str(tmp_path / "none"), "--overfit"]) == 2
    assert "--model: missing" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "want"), [("weights", "none: no such file or folder"), ("resume", "none: not the folder of")])
def test_what_would_say_the_scale_is_missing(tmp_path, capsys, option, want):
    command = "eval" if option == "weights" else "train"
    assert run_model([command, f"--{option}", str(tmp_path / "none"), "--data", str(tmp_path)]) == 1
    assert want in capsys.readouterr().err
