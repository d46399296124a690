"""Watchers of three processes: whatever happens to one, all say which rank it was, and end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from yolox.watching.hub import MOST_UNKNOWN

WORLD, TOKEN, PATIENCE = 3, "secret", 400.0
STEP = {"where": "training step 7", "together": True, "limit": 0.0}


def wait_until(condition, problem=lambda: "waited too long") -> None:
    """Wait for a minute of this process's own time: the machine may have stopped all of them meanwhile."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(problem())


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


class Ranks:
    """Three workers and what they and their watchers printed."""

    def __init__(self, folder: Path, patience: float = 0.0) -> None:
        self.folder, self.checkpoint = folder, folder / "last.safetensors"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.address = listener.getsockname()[:2]
            self.workers = [self._start(rank, listener, patience) for rank in range(WORLD)]
        self.watchers = [int(self.wait_for(rank, lambda text: text.endswith("\n"))) for rank in range(WORLD)]

    def _start(self, rank: int, listener: socket.socket, patience: float) -> subprocess.Popen:
        own = {"listener": listener.fileno() if rank == 0 else None, "rank": rank, "world": WORLD, "patience": patience}
        place = {"host": self.address[0], "port": self.address[1], "token": TOKEN}
        advice = {"checkpoint": str(self.checkpoint), "advice": "it is whole\ngo on"}
        command = [sys.executable, str(Path(__file__).parent / "worker.py"), json.dumps({**own, **place, **advice})]
        with (self.folder / f"{rank}.log").open("w") as log:
            pipes = {"stdin": subprocess.PIPE, "stdout": log, "stderr": log, "text": True}
            return subprocess.Popen(command, pass_fds=[listener.fileno()] if rank == 0 else [], **pipes)

    def say(self, rank: int, **message) -> None:
        before = (self.folder / f"{rank}.log").read_text().count("said")
        self.workers[rank].stdin.write(json.dumps(message) + "\n")
        self.workers[rank].stdin.flush()
        self.wait_for(rank, lambda text: text.count("said") > before)

    def wait_for(self, rank: int, condition) -> str:
        path = self.folder / f"{rank}.log"
        wait_until(lambda: condition(path.read_text()), lambda: f"rank {rank} printed: {path.read_text()!r}")
        return path.read_text()

    def settle(self) -> None:
        """Let the watchers meet: all are connected, and have said their first words."""
        for rank in range(WORLD):
            self.say(rank, **STEP)
        first = psutil.Process(self.watchers[0])
        wait_until(lambda: [c.status for c in first.net_connections()].count(psutil.CONN_ESTABLISHED) == WORLD - 1)
        time.sleep(1.0)

    def ends(self) -> list[int]:
        return [worker.wait(PATIENCE) for worker in self.workers]

    def assert_gone(self) -> None:
        wait_until(lambda: not any(map(runs, self.watchers)), lambda: "a watcher outlives its worker")


@pytest.fixture
def ranks(tmp_path):
    made = []

    def make(**options):
        made.append(Ranks(tmp_path, **options))
        made[0].settle()
        return made[0]

    yield make
    for each in made:
        for worker in each.workers:
            worker.kill()
            worker.communicate()
        each.assert_gone()


@pytest.mark.parametrize("victim", range(WORLD))
def test_a_killed_rank_is_named_everywhere_although_the_others_are_killed_at_once(ranks, victim):
    """As msrun does: it kills all as soon as it sees the first."""
    group = ranks()
    group.checkpoint.touch()
    for rank in (victim, *range(WORLD)):
        group.workers[rank].kill()
        time.sleep(0.1)
    for rank in range(WORLD):
        text = group.wait_for(rank, lambda text: "go on\n" in text)
        assert f"\nerror: rank {victim} of 3 has gone (in training step 7)\nit is whole\ngo on\n" in text


@pytest.mark.parametrize("victim", [0, 2])
def test_the_others_end_where_nobody_kills_them(ranks, victim):
    group = ranks()
    group.workers[victim].kill()
    assert group.ends() == [-signal.SIGKILL] * WORLD
    for rank in range(WORLD):
        text = group.wait_for(rank, lambda text: "error:" in text)
        assert f"rank {victim} of 3 has gone (in training step 7)" in text and "go on" not in text  # no checkpoint


def test_a_rank_that_fails_says_why_and_the_others_repeat_it(ranks):
    group = ranks()
    group.say(1, failed="no space left")
    assert group.ends() == [-signal.SIGKILL, 0, -signal.SIGKILL]
    for rank in (0, 2):
        assert "error: rank 1 of 3 has failed (in training step 7): no space left" in group.wait_for(rank, lambda t: "error" in t)
    group.assert_gone()
    assert "error" not in (group.folder / "1.log").read_text()  # the process has said it itself


@pytest.mark.parametrize("victim", [0, 1])
def test_a_stopped_process_is_named_wherever_it_is(ranks, victim):
    group = ranks(patience=1.0)
    group.workers[victim].send_signal(signal.SIGSTOP)
    assert group.ends() == [-signal.SIGKILL] * WORLD
    for rank in range(WORLD):
        text = group.wait_for(rank, lambda text: "error:" in text)
        assert f"error: rank {victim} of 3 got no further for" in text and "its process is stopped)" in text


def test_who_works_alone_for_too_long_is_named_and_not_those_who_wait(ranks):
    group = ranks()
    for rank in (0, 2):
        group.say(rank, where="a step", together=True, limit=1.0)
    group.say(1, where="a batch", together=False, limit=3.0)
    assert group.ends() == [-signal.SIGKILL] * WORLD
    assert "rank 1 of 3 got no further for 3 s (in a batch)\n" in group.wait_for(0, lambda text: "error:" in text)


def test_all_that_take_their_leave_end_in_silence(ranks):
    group = ranks(patience=1.0)
    for rank in (2, 0, 1):
        group.say(rank, left=True)
    assert group.ends() == [0] * WORLD
    group.assert_gone()
    assert all((group.folder / f"{rank}.log").read_text().endswith("\nsaid\nsaid\n") for rank in range(WORLD))


STRANGERS = (
    b'{"rank": 1, "token": "guessed"}\n{"end": [0, "nonsense", false]}\n', b'{"end": [0, "nonsense", false]}\n',
    b"GET / HTTP/1.0\n\n", b"[]\n", b'{"rank": 1, "token": "secret"}\n{"end": [0, "nonsense", false]}\n', b"\xff" * 9000,
    b"[" * 8000 + b"\n", b'{"rank": 1, "token": ' + b"[" * 900 + b"]" * 900 + b"}\n", b"{" * 9000, b"9" * 8000 + b"\n",
)  # fmt: skip


def test_strangers_are_thrown_out_and_change_nothing(ranks):
    group = ranks()
    for words in STRANGERS:
        with socket.create_connection(group.address) as stranger:
            stranger.sendall(words)
            stranger.settimeout(PATIENCE)
            try:
                assert stranger.recv(100) == b"", words
            except ConnectionResetError:
                pass
    time.sleep(1.5)
    assert [worker.poll() for worker in group.workers] == [None] * WORLD
    group.workers[2].kill()
    assert "rank 2 of 3 has gone" in group.wait_for(0, lambda text: "error:" in text)


def test_of_too_many_silent_strangers_the_oldest_go(ranks):
    """Their number is bounded, and so is what each of them may leave behind: half a line of 8 kB."""
    group = ranks()
    first = psutil.Process(group.watchers[0])
    before, strangers = first.num_fds(), []
    for _ in range(MOST_UNKNOWN + 50):
        strangers.append(socket.create_connection(group.address))
        strangers[-1].sendall(b"[" * 4000)
    strangers[49].settimeout(PATIENCE)
    try:
        assert strangers[49].recv(1) == b""
    except ConnectionResetError:
        pass
    assert first.num_fds() <= before + MOST_UNKNOWN + 2
    time.sleep(1.5)
    assert [worker.poll() for worker in group.workers] == [None] * WORLD
    for stranger in strangers:
        stranger.close()
    group.workers[2].kill()
    assert "rank 2 of 3 has gone" in group.wait_for(0, lambda text: "error:" in text)


@pytest.mark.parametrize("victim", [0, 2])
def test_a_watcher_that_is_killed_counts_as_its_rank(ranks, victim):
    group = ranks()
    os.kill(group.watchers[victim], signal.SIGKILL)
    others = [rank for rank in range(WORLD) if rank != victim]
    for rank in others:
        assert f"rank {victim} of 3 has gone" in group.wait_for(rank, lambda text: "error:" in text)
        assert group.workers[rank].wait(PATIENCE) == -signal.SIGKILL


def test_a_rank_that_cannot_reach_the_first_says_so_and_goes_on(tmp_path):
    facts = {"listener": None, "rank": 1, "world": 2, "patience": 0.0, "host": "127.0.0.1", "port": 1, "token": TOKEN}
    command = [sys.executable, str(Path(__file__).parent / "worker.py"), json.dumps({**facts, "checkpoint": "", "advice": ""})]
    done = subprocess.run(command, input='{"left": true}\n', capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert "warning: the watcher of rank 0 at 127.0.0.1:1 cannot be reached" in done.stderr
