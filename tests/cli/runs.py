"""Runs of the tiny detector as processes that are stopped, and the comparison of two runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.leftovers import group_of
from yolox.training.checkpoint import load_checkpoint
from yolox.training.history import read_history
from yolox.training.signals import StopSignals

ROOT = Path(__file__).resolve().parents[2]
TIMES = ("images_per_second", "data_wait_share", "seconds", "waited")
PATIENCE = 300.0


def start(*argv) -> subprocess.Popen:
    """Begin ``train`` with these arguments in a process group of its own."""
    command = [sys.executable, "-m", "tests.cli.tiny", "train", *map(str, argv)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes)


class StopAfterEightSteps(StopSignals):
    """A SIGTERM that comes at a step; put it in the place of `yolox.training.trainer.StopSignals`."""

    asked = 0

    def __call__(self):
        self.asked += 1
        self.signal = signal.SIGTERM if self.asked == 8 else self.signal
        return self.signal is not None


def wait_for(condition, process: subprocess.Popen, pause: float = 0.01) -> bool:
    """Wait until the condition holds; False if the process ended before."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None:
            return False
        if time.monotonic() > end:
            process.kill()
            raise AssertionError(f"waited too long: {process.communicate()[0]}")
        time.sleep(pause)
    return True


def changes(path: Path):
    """Returns a condition: the file is not what it is now."""

    def stamp():
        return (path.stat().st_ino, path.stat().st_size) if path.exists() else None

    before = stamp()
    return lambda: stamp() != before


def stop(process: subprocess.Popen, number: int) -> tuple[int, str]:
    """Send a signal to the process alone, and give its exit status and what it printed."""
    process.send_signal(number)
    if number == signal.SIGKILL:
        process.wait(PATIENCE)  # as a shell does: for MindSpore's workers a parent that nobody waited for is alive
    out, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, out


def assert_gone(process: subprocess.Popen, seconds: float = 20.0) -> None:
    """Check that no process of the group outlives it; data workers look for their parent once a second."""
    end = time.monotonic() + seconds
    while group_of(process.pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not group_of(process.pid)


def assert_same_run(found: Path, wanted: Path) -> None:
    """Compare all tensors of both checkpoints, their places in the run and the history, but not the times."""
    for name in ("last.safetensors", "best.safetensors"):
        one, other = load_checkpoint(found / name), load_checkpoint(wanted / name)
        assert one.tensors.keys() == other.tensors.keys()
        differ = [key for key in one.tensors if one.tensors[key].tobytes() != other.tensors[key].tobytes()]
        assert not differ, f"{name}: {len(differ)} of {len(one.tensors)} tensors differ: {differ[:3]}"
        extras = [{k: v for k, v in c.extra.items() if k != "position"} for c in (one, other)]
        places = [_timeless(c.extra["position"]) for c in (one, other)]
        assert extras[0] == extras[1] and places[0] == places[1]
    rows = [list(map(_timeless, read_history(folder / "history.csv"))) for folder in (found, wanted)]
    np.testing.assert_equal(*rows)  # NaN equals NaN


def _timeless(values: dict) -> dict:
    return {name: value for name, value in values.items() if name not in TIMES}
