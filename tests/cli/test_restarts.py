"""The words of the commands that ``--restarts`` and ``--processes`` start; tests/training/test_resume_run.py runs them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from yolox.cli import restarts
from yolox.cli.main import read_command
from yolox.cli.restarts import _model, _without_outer, run_in_processes
from yolox.errors import UsageError
from yolox.recipes import megvii_recipe


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("train --restarts=3 --epochs 2", "train --epochs 2"),
        ("train --epochs 2 --processes 2", "train --epochs 2"),
        ("train --restarts 3 --epochs 3", "train --epochs 3"),
        ("train --processes 2 --restarts 3 --eager", "train --eager"),
        ("train --restarts 3 --processes=2", "train"),
        ("train --epochs 2 --eager", "train --epochs 2 --eager"),
        ("", ""),
    ],
)
def test_options_of_the_outer_process_are_left_out_with_their_numbers(words, left):
    assert _without_outer(words.split()) == left.split()


@pytest.mark.parametrize(
    ("words", "model"),
    [
        ("train --model=nano --epochs 2", "--model=nano"),
        ("train --epochs 2 --model nano", "--model nano"),
        ("--model nano train --epochs 2", "--model nano"),
        ("train --epochs 2", ""),
        ("", ""),
    ],
)
def test_the_model_is_found_with_its_value(words, model):
    assert _model(words.split()) == model.split()


def start(monkeypatch, *words):
    """Returns the first two commands that words start, in which nothing is run."""
    commands = []

    def run(command, **_):
        commands.extend(command(number) for number in range(2))
        return 0

    monkeypatch.setattr(restarts, "run_with_restarts", run)
    monkeypatch.setattr(sys, "argv", ["yolox", *words])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "yolox", *words])
    run_in_processes(read_command(words, {"megvii": megvii_recipe("nano")}, prog="yolox").options())
    return commands


def test_a_restart_resumes_the_folder_of_the_first_start(monkeypatch):
    first, again = start(monkeypatch, "train", "--restarts", "3", "--epochs", "2", "--output", "run")
    assert first == [sys.executable, "-m", "yolox", "train", "--epochs", "2", "--output", "run"]
    assert again[:6] == [sys.executable, "-m", "yolox", "train", "--resume", "run"]
    assert again[6:7] == ["--hang-seconds"]


def test_the_path_is_extended_once_for_all_starts(monkeypatch):
    monkeypatch.setenv("PATH", "/bin")
    commands = start(monkeypatch, "train", "--processes", "2", "--restarts", "3", "--output", "run")
    assert all(command[-1] == "--parallel" for command in commands)
    assert os.environ["PATH"] == f"{Path(sys.executable).parent}:/bin"


@pytest.mark.parametrize("words", [["--restarts", "-1"], ["--restarts", "1", "--processes", "0"]])
def test_numbers_out_of_range_are_refused(monkeypatch, words):
    with pytest.raises(UsageError, match="want 0 and 1, or more"):
        start(monkeypatch, "train", *words)
