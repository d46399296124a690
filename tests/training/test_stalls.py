"""A rank of two that stands still for a minute, in training, compilation and evaluation: the default limit survives it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from tests.cli.tiny import write_data
from tests.launch import logs_of, start_msrun, worker_of
from yolox.processes import rank_mark
from yolox.training.history import read_history
from yolox.training.run_folder import HISTORY

SCRIPT, STALL = "tests/training/stalled_ranks.py", 60.0
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
PHASE_OPTIONS = ("--plain-epochs", "1", "--warmup-epochs", "1", "--flat-epochs", "0")
OPTIONS = ("--parallel", "--epochs", "3", "--eval-interval", "1", *PHASE_OPTIONS)
PHASES = {"compilation": r"training step 1$", "training": r"\D+ step ([5-9]|1\d)$", "evaluation": r"evaluation, \d+ images done"}


class Job:
    """A run of two processes on small images."""

    def __init__(self, folder, phase: str, *options: str) -> None:
        argv, self.run, self.logs = write_data(folder / "data", images=60), folder / "run", folder / "logs"
        self.phase, options = phase, (*OPTIONS, "--output", self.run, *options)
        self.process = start_msrun(2, self.logs, SCRIPT, "train", *argv, *options, **QUIET, start_new_session=True)
        self.stopped = self.begin = None

    def step(self) -> bool:
        """Stops rank 1 when it comes to the phase, and continues it a minute later; returns whether the job has ended."""
        if self.stopped is None:
            with suppress(AssertionError, OSError):  # it is not there yet
                pid = worker_of(self.process, 1)
                if re.match(PHASES[self.phase], rank_mark(pid)[1]):
                    os.kill(pid, signal.SIGSTOP)
                    self.stopped, self.begin = pid, time.monotonic()
        elif self.stopped and time.monotonic() - self.begin > STALL:
            with suppress(ProcessLookupError):
                os.kill(self.stopped, signal.SIGCONT)
            self.stopped = 0
        return self.process.poll() is not None


def finish(jobs: list[Job], seconds: float) -> None:
    """Waits for the end of all jobs, and notes how long after the stall each has ended."""
    end, left = time.monotonic() + seconds, list(jobs)
    try:
        while left and time.monotonic() < end:
            for job in [job for job in left if job.step()]:
                job.seconds = time.monotonic() - (job.begin or time.monotonic())
                left.remove(job)
            time.sleep(0.001)
    finally:
        for job in jobs:
            with suppress(ProcessLookupError):
                os.killpg(job.process.pid, signal.SIGKILL)
    assert not left, [(job.phase, logs_of(job.logs)) for job in left]


@pytest.mark.slow
def test_a_rank_that_is_stopped_for_a_minute_does_not_end_a_run_with_the_default_limit(tmp_path):
    jobs = [Job(tmp_path / phase, phase) for phase in PHASES]
    finish(jobs, 300)
    for job in jobs:
        logs = logs_of(job.logs)
        assert job.process.returncode == 0 and job.seconds > STALL, (job.phase, logs)
        assert not any(word in text for text in logs.values() for word in ("error", "no progress")), (job.phase, logs)
        assert [row["epoch"] for row in read_history(job.run / HISTORY)] == [1, 2, 3]


@pytest.mark.slow
def test_with_a_short_limit_the_job_ends_within_the_minute_and_names_the_stopped_rank(tmp_path):
    jobs = [Job(tmp_path / phase, phase, "--hang-seconds", "10") for phase in PHASES]
    finish(jobs, 300)
    for job in jobs:
        logs = logs_of(job.logs)
        assert job.process.returncode != 0 and job.seconds < STALL, (job.phase, job.seconds, logs)
        assert re.search(r"rank 1 \(process \d+\) is stopped by a signal, for \d+ s in ", logs["worker_0.log"]), (job.phase, logs)
        assert f"go on with: train --resume {job.run}" in logs["worker_0.log"]


@pytest.mark.slow
def test_a_rank_that_sleeps_ends_after_a_short_limit_with_its_name_and_stack(tmp_path, monkeypatch):
    """In a compilation after 20 times the limit."""
    jobs = []
    for phase in ("compilation", "evaluation"):
        monkeypatch.setenv("STALL", f"{phase}:{STALL}")
        jobs.append(Job(tmp_path / phase, phase, "--hang-seconds", "2"))
        jobs[-1].stopped = 0  # nobody stops it from outside
    finish(jobs, 300)
    for job in jobs:
        text = logs_of(job.logs)["worker_1.log"]
        begin = float(re.search(r"FAULT ([\d.]+)", text)[1])
        assert job.process.returncode != 0 and time.time() - begin < 150, (job.phase, text)
        limit = {"compilation": "40 s in training step 1", "evaluation": r"2 s in evaluation, \d+ images done"}[job.phase]
        assert re.search(rf"rank 1 of 2: no progress for {limit}", text) and " in stall" in text, text
