"""Runs of several processes of which one is killed or hangs: the run ends with advice and resumes to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from tests.cli.runs import assert_same_run
from tests.cli.tiny import write_data
from tests.launch import children_of, logs_of, msrun, name_of, start_msrun, worker_of
from yolox.errors import CheckpointError
from yolox.schedule import is_evaluated
from yolox.training.checkpoint import load_checkpoint

TINY, MINUTES = "tests/cli/tiny.py", 120.0
OPTIONS = ("--parallel", "--epochs", "6", "--eval-interval", "3", "--plain-epochs", "2", "--save-steps", "1")
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
WORLDS = (2, 4)
VICTIMS = ((2, 1), (2, 0), (4, 3))


def saved_at(folder) -> tuple[int, int]:
    """Read where the last checkpoint stands: its epoch and step."""
    try:
        progress = load_checkpoint(folder / "last.safetensors").extra["position"]
    except CheckpointError:
        return 0, 0
    return progress["epoch"], progress["step"]


def wait_until_gone(processes) -> None:
    """Wait for the end of processes that are not this one's children: perhaps nobody collects them."""
    end = time.monotonic() + MINUTES
    while alive := [pid for pid in processes if name_of(pid)]:
        assert time.monotonic() < end, alive
        time.sleep(0.1)


def kill_all(processes) -> None:
    """Kills what a failed test leaves behind."""
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_for(condition, process) -> None:
    while not condition():
        assert process.poll() is None, "the run is over"
        time.sleep(0.001)


def seconds_to_end(process) -> float:
    """Wait for the end, and count the seconds in which this process itself could run."""
    seconds = 0.0
    while process.poll() is None and seconds < MINUTES:
        time.sleep(0.1)
        seconds += 0.1
    assert process.poll() != 0
    return seconds


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_without_msrun_the_processes_finish_the_step_save_and_end(tmp_path, number):
    """SIGTERM goes to its process group, as `kill -TERM -PID` and schedulers send it: the scheduler of MindSpore ends too."""
    argv, run = write_data(tmp_path / "data", images=16), tmp_path / "run"
    options, tree = [*OPTIONS, "--workers", "2", "--output", run, "--epochs", "500"], []
    process = start_msrun(2, tmp_path / "logs", TINY, "train", *argv, *options, **QUIET, start_new_session=True)
    try:
        wait_for(lambda: saved_at(run) >= (1, 1), process)
        tree = [pid for pid in children_of(process.pid) if name_of(pid) != "tail"]  # tail shows logs
        (os.kill if number == signal.SIGKILL else os.killpg)(process.pid, number)
        assert process.wait(MINUTES) == -number
        assert len(tree) > 4  # two processes and their data workers
        wait_until_gone(tree)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        kill_all(tree)
    epoch, step = saved_at(run)
    for text in logs_of(tmp_path / "logs").values():
        assert "msrun has ended; stopping after this step" in text
        assert f"stopped and saved {run / 'last.safetensors'} (epoch {epoch + 1}, {step} steps done)" in text


@pytest.mark.slow
@pytest.mark.parametrize(("world", "victim"), VICTIMS)
def test_a_killed_rank_ends_the_run_and_the_resumed_run_has_the_same_bits(tmp_path, world, victim):
    """Within an epoch the BN statistics of the processes differ: the checkpoint has those of all."""
    argv, run = write_data(tmp_path / "data", images=8 * world), tmp_path / "run"
    process = start_msrun(world, tmp_path / "logs", TINY, "train", *argv, *OPTIONS, "--output", run, **QUIET)
    try:
        wait_for(lambda: saved_at(run) >= (1, 1), process)
        os.kill(worker_of(process, victim), signal.SIGKILL)
        assert seconds_to_end(process) < MINUTES
    finally:
        process.kill()
    for text in logs_of(tmp_path / "logs").values():
        assert "a process of this run has ended before its time" in text
        assert f"last.safetensors is there, it is whole; go on with: train --resume {run}" in text
    names = load_checkpoint(run / "last.safetensors").tensors
    assert f"rank{world - 1}.params.bn.0.moving_mean" in names or saved_at(run)[1] == 0
    done = msrun(world, tmp_path / "again", TINY, "train", "--resume", run, "--parallel")
    assert done.returncode == 0, logs_of(tmp_path / "again")
    done = msrun(world, tmp_path / "whole_logs", TINY, "train", *argv, *OPTIONS, "--output", tmp_path / "whole")
    assert done.returncode == 0 and not any("error" in text for text in logs_of(tmp_path / "whole_logs").values())
    assert_same_run(run, tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_a_rank_stopped_in_an_evaluation_ends_the_run(tmp_path, world):
    """At the latest after 20 times the limit and ten seconds, when the others wait where a rank may be saving: 110 s."""
    argv, run = write_data(tmp_path / "data", images=60), tmp_path / "run"
    options = [*OPTIONS, "--output", run, "--hang-seconds", "5", "--epochs", "200", "--eval-interval", "1"]
    process = start_msrun(world, tmp_path / "logs", TINY, "train", *argv, *options, **QUIET)
    recipe = {}

    def evaluates() -> bool:
        epoch, step = saved_at(run)
        if step and not recipe:
            recipe[0] = load_checkpoint(run / "last.safetensors").recipe
        return step == 30 // world and is_evaluated(recipe[0], epoch)

    try:
        wait_for(evaluates, process)
        os.kill(worker_of(process, 1), signal.SIGSTOP)
        assert seconds_to_end(process) < MINUTES
    finally:
        process.kill()
    for text in logs_of(tmp_path / "logs").values():
        assert f"go on with: train --resume {run}" in text
    assert load_checkpoint(run / "last.safetensors").extra["position"]["step"]
