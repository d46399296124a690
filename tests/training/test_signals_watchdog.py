"""A rank that is killed, stopped, hangs or comes late: the job ends in time with its stack and advice, or goes on."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.launch import logs_of, start_msrun
from yolox import processes
from yolox.distributed import Group
from yolox.training.signals import SLOW, Watchdog

SCRIPT, ADVICE = "tests/training/watched_ranks.py", "continue with: train --resume RUN"
PAIR = Group(rank=1, world=2)


def run(folder, world: int, *arguments, limit: float = 120.0) -> tuple[int, float, dict[str, str]]:
    """Returns the exit status, the seconds after the fault, and the logs."""
    process = start_msrun(world, folder, SCRIPT, *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        status = process.wait(limit + 120)
    finally:
        process.kill()
    texts = logs_of(folder)
    begins = [float(begin) for text in texts.values() for begin in re.findall(r"FAULT ([\d.]+)", text)]
    return status, time.time() - min(begins), texts


def processes_of(folder) -> list[str]:
    """Returns command lines of processes that still write into a folder."""
    left = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if str(folder) in os.readlink(f"/proc/{pid}/fd/1"):
                left.append(pid)
        except OSError:
            continue
    return left


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize(("fault", "mode"), [("kill", "graph"), ("stop", "eager"), ("hang", "graph"), ("hang", "eager")])
def test_a_fault_of_one_rank_ends_the_job_within_two_minutes(tmp_path, world, fault, mode):
    status, seconds, logs = run(tmp_path, world, fault, world - 1, 15, mode)
    assert status != 0 and seconds < 120
    # A stopped rank prints nothing. The scheduler's child writes into its log, unless the scheduler itself ends before.
    waiting = {name: text for name, text in logs.items() if fault != "stop" or name != f"worker_{world - 1}.log"}
    assert all(ADVICE in text for text in waiting.values()) and len(waiting) >= world - 1, logs
    if fault == "hang":
        assert f"rank {world - 1} of {world}: no progress for 15 s in training step 10" in logs[f"worker_{world - 1}.log"]
        assert " in fail" in logs[f"worker_{world - 1}.log"]
    if fault == "stop":
        text = "".join(waiting.values())
        named = re.search(rf"rank {world - 1} \(process \d+\) is stopped by a signal, for", text)
        assert named or "no progress" not in text, logs
    assert processes_of(tmp_path) == []


@pytest.mark.slow
def test_all_ranks_hang(tmp_path):
    status, seconds, logs = run(tmp_path, 2, "hang", "all", 10, "graph")
    assert status != 0 and seconds < 60
    assert all(" in fail" in text for text in logs.values())


@pytest.mark.slow
def test_a_rank_that_is_a_minute_late_does_not_end_a_healthy_run(tmp_path):
    status, seconds, logs = run(tmp_path, 2, "late60", 1, 90, "graph")
    assert status == 0 and seconds > 60
    assert all("all steps are done" in text and "error" not in text for text in logs.values())


@pytest.mark.slow
def test_a_master_port_in_use_is_named_within_a_minute(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, begin = taken.getsockname()[1], time.monotonic()
        monkeypatch.setattr("tests.launch.free_port", lambda: port)
        process = start_msrun(2, tmp_path, SCRIPT, "none", 0, 60, "graph", stdout=subprocess.DEVNULL)
        assert process.wait(120) != 0 and time.monotonic() - begin < 60
    assert any(f"port {port} of 127.0.0.1 is in use by another program" in text for text in logs_of(tmp_path).values())


def late(code: str) -> subprocess.CompletedProcess:
    """Runs code with a watchdog of half a second in a process of its own."""
    head = (
        "import time; from yolox.distributed import Group; from yolox.training import signals; signals.GRACE = 1.5\n"
        f"with signals.Watchdog(0.5, group=Group(1, 2), advice={ADVICE!r}) as dog:\n    "
    )
    return subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, check=False, timeout=120)


def test_a_process_that_is_late_ends_with_rank_mark_advice_and_stack():
    done = late("dog.mark('training step 7'); time.sleep(60)")
    assert done.returncode == -signal.SIGALRM
    assert "error: rank 1 of 2: no progress for 0.5 s in training step 7; the stack of every thread:\n" in done.stderr
    assert f"rank 0: ended, or on another host\n{ADVICE}" in done.stderr
    assert 'File "<string>", line 3 in <module>' in done.stderr


def test_each_mark_starts_the_limit_anew_and_slow_work_has_more():
    done = late("[(dog.mark('a step'), time.sleep(0.2)) for _ in range(10)]; dog.mark('a checkpoint', slow=True); time.sleep(3)")
    assert done.returncode == 0 and done.stderr == "" and SLOW > 6


def test_a_failed_collective_names_the_mark_and_the_advice(capfd):
    with pytest.raises(RuntimeError), Watchdog(60, group=PAIR, advice=ADVICE) as watchdog:
        watchdog.mark("training step 7")
        raise RuntimeError("collective")
    text = capfd.readouterr().err
    assert "rank 1 of 2: failed in training step 7; if it waited for another rank" in text and ADVICE in text


@pytest.mark.parametrize("watchdog", [Watchdog(0, group=PAIR), Watchdog(9, group=Group())])
def test_without_a_limit_or_with_one_process_nothing_is_armed(watchdog):
    with watchdog:
        watchdog.mark("a step")
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize(
    ("seconds", "node", "collective"),
    [(90, "90", "1800"), (5, "30", "300"), (0, str(processes.NO_LIMIT), str(processes.NO_LIMIT))],
)
def test_mindspores_timeouts_follow_the_limit_but_not_over_the_users(monkeypatch, seconds, node, collective):
    for name in ("MS_NODE_TIMEOUT", "MS_CPU_COMM_OP_TIMEOUT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    processes.set_timeouts(seconds)
    assert (os.environ["MS_NODE_TIMEOUT"], os.environ["MS_CPU_COMM_OP_TIMEOUT"]) == (node, collective)
    os.environ["MS_NODE_TIMEOUT"] = "44"
    processes.set_timeouts(seconds)
    assert os.environ["MS_NODE_TIMEOUT"] == "44"


def test_the_scheduler_refuses_a_port_in_use(monkeypatch):
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    monkeypatch.setenv("MS_SCHED_HOST", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("MS_SCHED_PORT", str(taken.getsockname()[1]))
        with pytest.raises(RuntimeError, match=f"port {taken.getsockname()[1]} of 127.0.0.1 is in use"):
            processes.check_port()
        assert processes._listens(os.getpid(), taken.getsockname()[1]) and not processes._listens(os.getppid(), 1)
    processes.check_port()
