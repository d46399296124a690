"""Commands of the pages as they are typed, in this process; only what makes them large is made small."""

from __future__ import annotations

import importlib
import os
import runpy
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

import yolox.cli
from tests.cli import tiny
from tests.docs.commands import ROOT
from tests.docs.small import SmallDetector
from yolox.environment import ONEDNN_VARIABLE

COMMAND_LINE = importlib.import_module("yolox.cli.main")  # `yolox.cli.main` is the function
SIZES = {"--input-size": "64"}  # of the pages, which are replaced
SHORT = "--epochs 1 --warmup-epochs 0 --flat-epochs 0 --plain-epochs 0 --eval-interval 1".split()
BATCHES = "--input-size 64 --batch-size 2 --max-truths 8 --workers 0".split()
MORE = {  # options that are added where the command does not have them
    "train": [*SHORT, *BATCHES],
    "check": BATCHES,
    "eval": "--input-size 64 --batch-size 2 --workers 0".split(),
    "predict": ["--input-size", "64"],
    "export": ["--input-size", "64"],
    "benchmark": "--input-size 64 --rounds 2".split(),
}


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Replaces the detector of scripts and of `yolox` by that of tests/docs/small.py, which compiles in seconds."""
    real, scale_experiment = yolox.cli.main, COMMAND_LINE.scale_experiment

    def small(experiment):
        return attrs.evolve(experiment, build_detector=SmallDetector, make_step=tiny.make_step)

    patch.setattr(yolox.cli, "main", lambda experiment, argv=None: real(small(experiment), argv))
    patch.setattr(COMMAND_LINE, "scale_experiment", lambda scale: small(scale_experiment(scale)))
    patch.setattr(COMMAND_LINE, "scale_of", lambda shapes: "nano")  # of the small detector's weights, too


def arguments_of(text: str) -> list[str]:
    """Splits a command as a shell does; its sizes are replaced, and options that make it short are added."""
    program, *arguments = shlex.split(text, comments=True)
    for option, value in SIZES.items():
        if option in arguments:
            arguments[arguments.index(option) + 1] = value
    return [*arguments, *_added(arguments if program == "yolox" else arguments[1:])]


def _added(arguments: Sequence[str]) -> list[str]:
    command = next(iter(arguments), "")
    if "--resume" in arguments or "--help" in arguments:  # a run that is resumed has its options already
        return []
    options = MORE.get(command, [])
    pairs = zip(options[::2], options[1::2], strict=True)
    more = [text for pair in pairs if pair[0] not in arguments for text in pair]
    if command in ("train", "check") and "--multiscale-sizes" not in arguments:
        more.append("--multiscale-sizes")
    if command == "train" and "--overwrite" not in arguments:
        if Path(arguments[list(arguments).index("--output") + 1]).exists():
            more.append("--overwrite")
    return more


def type_in(text: str, patch: pytest.MonkeyPatch) -> int:
    """Runs ``[python -m] yolox ...``, ``python -c CODE`` or ``python SCRIPT ...`` in this folder; returns the exit status."""
    arguments = arguments_of(text)
    if text.startswith("yolox "):
        return COMMAND_LINE.run_model(arguments)
    if arguments[0] == "-c":
        return subprocess.run([sys.executable, *arguments], env=_fresh_environment()).returncode
    if arguments[:2] == ["-m", "yolox"]:
        return COMMAND_LINE.run_model(arguments[2:])
    patch.setattr(sys, "argv", arguments)
    patch.setattr(sys, "path", [str((ROOT / arguments[0]).parent), *sys.path])
    try:
        runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def _fresh_environment() -> dict[str, str]:
    """Returns the environment of a new shell: this process has imported yolox, which sets a variable."""
    kept = {name: value for name, value in os.environ.items() if name != ONEDNN_VARIABLE}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(ROOT), kept.get("PYTHONPATH", "")])}
