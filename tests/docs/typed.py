"""Commands of the pages as they are typed, in this process; only what makes them large is made small."""

from __future__ import annotations

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

SIZES = {"--input-size": "64"}  # of the pages, which are replaced
SHORT = "--epochs 1 --warmup-epochs 0 --flat-epochs 0 --plain-epochs 0 --eval-interval 1".split()
BATCHES = "--input-size 64 --batch-size 2 --max-truths 8 --workers 0".split()
MORE = {  # options that are added where the command does not have them
    "train": [*SHORT, *BATCHES],
    "check": BATCHES,
    "eval": "--input-size 64 --batch-size 2 --workers 0".split(),
    "predict": ["--input-size", "64"],
    "export": ["--input-size", "64"],
}


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Let the scripts have the detector of tests/docs/small.py, which compiles in seconds, under their own recipes."""
    real = yolox.cli.main

    def main(experiment, argv=None):
        real(attrs.evolve(experiment, build_detector=SmallDetector, make_step=tiny.make_step), argv)

    patch.setattr(yolox.cli, "main", main)


def words_of(text: str) -> list[str]:
    """Split a command as a shell does, with its sizes replaced and what makes it short added."""
    words = shlex.split(text, comments=True)[1:]
    for option, value in SIZES.items():
        if option in words:
            words[words.index(option) + 1] = value
    return [*words, *_added(words)]


def _added(words: Sequence[str]) -> list[str]:
    verb = next(iter(words[1:]), "")
    if "--resume" in words or "--help" in words:  # a run that goes on has its options already
        return []
    options = MORE.get(verb, [])
    pairs = zip(options[::2], options[1::2], strict=True)
    more = [word for pair in pairs if pair[0] not in words for word in pair]
    if verb in ("train", "check") and "--multiscale-sizes" not in words:
        more.append("--multiscale-sizes")
    if verb == "train" and "--overwrite" not in words and Path(words[words.index("--output") + 1]).exists():
        more.append("--overwrite")
    return more


def type_in(text: str, patch: pytest.MonkeyPatch) -> int:
    """Run ``python -c CODE`` or ``python SCRIPT WORDS`` in the present folder; give the exit status."""
    words = words_of(text)
    if words[0] == "-c":
        return subprocess.run([sys.executable, *words], env=_fresh_environment()).returncode
    patch.setattr(sys, "argv", words)
    patch.setattr(sys, "path", [str((ROOT / words[0]).parent), *sys.path])
    try:
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def _fresh_environment() -> dict[str, str]:
    """Give the environment of a new shell: this process has imported yolox, which sets a variable."""
    kept = {name: value for name, value in os.environ.items() if name != ONEDNN_VARIABLE}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(ROOT), kept.get("PYTHONPATH", "")])}
