"""Data workers that are stopped, stuck or killed end the wait for a batch with a message."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from yolox.data import loader
from yolox.data.loader import WorkerWatch

SCRIPT = """
import os, signal, sys, time
import numpy as np
from yolox.data.loader import load_rows
from yolox.data.loader import child_processes
from yolox.training.signals import StopSignals

class Source:
    def __len__(self):
        return 50
    def __getitem__(self, index):
        time.sleep(600 if sys.argv[1] == "0" and index > 5 else 0.02)
        return (np.array([index]),)

if __name__ == "__main__":
    with StopSignals():
        try:
            for number, _ in enumerate(load_rows(Source(), columns=1, workers=2, stall_seconds=3)):
                if number == 5 and sys.argv[1] != "0":
                    for pid in child_processes():
                        os.kill(pid, int(sys.argv[1]))
        except Exception as error:
            print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("number", "message"), [(signal.SIGSTOP, "is stopped by a signal"), (signal.SIGKILL, "ended"), (0, "is running")]
)
def test_stopped_killed_and_stuck_workers_are_named(tmp_path, number, message):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", str(int(number))], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith("CommandError") and message in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0 and "Traceback" not in done.stdout


def test_without_workers_the_stacks_are_printed(monkeypatch, capfd):
    monkeypatch.setattr(loader, "FIRST_SECONDS", 0.1)
    with WorkerWatch(0.1) as watch:
        watch.begin(0, None)
        time.sleep(0.6)
        watch.end()
    err = capfd.readouterr().err
    assert "no batch for 0.1 s; data workers: threads of this process" in err and "most recent call first" in err


def test_no_limit_and_batches_in_time_are_no_problem(capfd):
    for seconds in (0, 5.0):
        with WorkerWatch(seconds) as watch:
            watch.begin(0, None)
            np.zeros(3)
            watch.end()
        assert not watch.problem and not watch.cause()
