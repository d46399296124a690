"""Processes: children and states, as Linux lists them, restarts of a training command, and what msrun leaves open.

The last is time limits from one number, a port in use, and a scheduler that outlives its workers. msrun starts the script once as
scheduler (``MS_ROLE=MS_SCHED``) and once as each worker. Both call `yolox.distributed.join_group`; the scheduler stays in
``mindspore.communication.init()`` until the job ends and holds Python's lock there, so that what must act meanwhile is a
process of its own.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

ENDED = ("", "Z", "X")
"""States of a process that runs no more: gone, or not yet collected by its parent."""


STATES = {"T": "stopped by a signal", "t": "stopped by a debugger", "D": "waiting for a disk", "Z": "ended", "X": "ended"}
"""States of a process in words; of the others it runs."""


def children_of(pid: int) -> set[int]:
    """Returns the ids of the processes that a process has started and that its parent has not collected.

    Args:
        pid: id of the process.

    Returns:
        Process ids; none for a process that is gone.
    """
    children: set[int] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            children |= {int(child) for child in path.read_text().split()}
    return children


def process_state(pid: int) -> str:
    """Returns the state of a process.

    Args:
        pid: id of the process.

    Returns:
        The letter that Linux uses, such as S or T; empty where there is no such process.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


ASKED = (2, 128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM)
"""Statuses after which nothing is started again: arguments that cannot be used, and an end that a signal asked for."""


def run_with_restarts(
    command: Callable[[int], Sequence[str]],
    *,
    checkpoint: str | os.PathLike,
    restarts: int,
    signal_group: bool = False,
    report: Callable[[str], object] = print,
) -> int:
    """Runs a training command in a process of its own, and again when it fails or is killed.

    A process that is killed cannot start itself again, so that this is a function of commands and not an argument of `train`.
    The command continues from the checkpoint by itself, such as a script that calls
    ``yolox.train(..., resume=Path("RUN/last.safetensors").exists())``. SIGINT and SIGTERM are passed on and end the restarts.

    Args:
        command: function of the number of the start, from 0, that returns the command with its arguments.
        checkpoint: what it continues from; nothing is started again before this file is there.
        restarts: starts after the first.
        signal_group: pass signals on to the whole process group, as SIGTERM: msrun loses processes otherwise.
        report: called with a line before each restart.

    Returns:
        The status of the last process; below 0 the number of the signal that ended it.

    Example:
        >>> run_with_restarts(lambda start: ["sh", "-c", f"exit {3 - start}"], checkpoint="/bin/sh", restarts=9)
        the run has ended with status 3; restart 1 of 9 from /bin/sh
        2
    """
    asked: list[int] = []
    status = 0
    process: subprocess.Popen | None = None

    def pass_on(number: int, _frame: object = None) -> None:
        asked.append(number)
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM) if signal_group else process.send_signal(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for start in range(restarts + 1):
            if start:
                how = f"status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
                report(f"the run has ended with {how}; restart {start} of {restarts} from {checkpoint}")
            process = subprocess.Popen(command(start), start_new_session=True)  # Ctrl-C of a terminal comes once, from here
            if asked:  # in the moment before
                pass_on(asked[-1])
            status = process.wait()
            if signal_group:
                with suppress(ProcessLookupError):  # msrun leaves the programs behind that show its logs
                    os.killpg(process.pid, signal.SIGKILL)
            if not status or status in ASKED or asked or not os.path.isfile(checkpoint):
                break
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status


def msrun_command(processes: int, logs: str | os.PathLike, arguments: Sequence[str]) -> list[str]:
    """Returns the command that runs a Python program in several processes of this host, at a port that is free.

    Args:
        processes: their number.
        logs: folder of their output.
        arguments: of Python: the script, or ``-m`` and a module, with its own.

    Returns:
        The command as a list of words.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    msrun = Path(sys.executable).with_name("msrun")
    numbers = [f"--worker_num={processes}", f"--local_worker_num={processes}", f"--master_port={port}"]
    return [str(msrun) if msrun.is_file() else "msrun", *numbers, "--join=True", f"--log_dir={logs}", "python", *arguments]


SLOW = 20
"""Factor on the limit for work that may compile a graph or write large files."""

NO_LIMIT = 7 * 24 * 3600  # seconds
GRACE = 8.0  # seconds in which the scheduler ends by itself after its workers, which takes about 3, or they after it
PORT_WAIT = 45.0  # seconds; importing MindSpore, before the scheduler listens, takes 3 to 20


def set_timeouts(seconds: float) -> None:
    """Sets MindSpore's timeouts from one limit; values that the user set stay.

    ``MS_NODE_TIMEOUT`` (MindSpore: 30): the scheduler ends the job when a process has sent no heartbeat for so long, as a
    stopped process. ``MS_CPU_COMM_OP_TIMEOUT`` (MindSpore: 30): a CPU collective fails when the other processes have not
    come after so long. They may be compiling or saving, so that this is the limit of slow work.

    Args:
        seconds: limit for usual work; 0 for none.
    """
    os.environ.setdefault("MS_NODE_TIMEOUT", str(int(max(30, seconds)) if seconds else NO_LIMIT))
    os.environ.setdefault("MS_CPU_COMM_OP_TIMEOUT", str(int(max(300, SLOW * seconds)) if seconds else NO_LIMIT))


def check_port() -> None:
    """Raises RuntimeError when another program holds the master port: MindSpore would wait ten minutes in silence.

    The scheduler tries to listen. A worker on the same host waits until the scheduler listens or has ended. (A worker on
    another host cannot know; it ends after msrun's limit for a cluster.)

    Raises:
        RuntimeError: another program holds the port; its number is in the message.
    """
    host, port = os.environ.get("MS_SCHED_HOST", "127.0.0.1"), int(os.environ.get("MS_SCHED_PORT", "8118"))
    scheduler = None if os.environ["MS_ROLE"] == "MS_SCHED" else _scheduler_of(os.getppid())
    end = time.monotonic() + PORT_WAIT
    while scheduler is not None and _runs(scheduler) and time.monotonic() < end:
        if _listens(scheduler, port):
            return
        time.sleep(0.1)
    if scheduler is not None and not _runs(scheduler) or os.environ["MS_ROLE"] == "MS_SCHED":
        try:
            socket.create_server((host, port)).close()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                message = f"port {port} of {host} is in use by another program; want a free one (option master_port of msrun)"
                raise RuntimeError(message) from None


def end_with_workers(advice: str) -> None:
    """Makes scheduler and workers end some seconds after each other; called by the scheduler.

    msrun kills all workers when one fails, and then waits for the scheduler, which waits for ``MS_NODE_TIMEOUT``. When the
    scheduler ends because a worker is stopped, msrun waits for the workers, which wait for the stopped one. A child of the
    scheduler ends those that are left. Linux only; elsewhere it does nothing.

    Args:
        advice: how the run can continue; printed to all logs on this host and to the standard error of msrun.
    """
    scheduler, msrun = os.getpid(), os.getppid()
    if not _workers(msrun, scheduler) or os.fork():
        return
    both, logs = time.monotonic(), {"/proc/self/fd/2", f"/proc/{msrun}/fd/2"}
    while _runs(msrun):
        alive, workers = os.getppid() == scheduler, _workers(msrun, scheduler)
        if not alive and not workers:  # all has ended well, or msrun has killed them
            break
        for pid in workers:
            with suppress(OSError):
                logs.add(os.readlink(f"/proc/{pid}/fd/2"))
        if alive and workers:
            both = time.monotonic()
        elif time.monotonic() - both > GRACE:
            ranks = describe_ranks(None, int(os.environ.get("MS_WORKER_NUM", len(workers))), msrun=msrun)[:MOST_RANKS]
            for pid in [scheduler] if alive else workers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            text = "\na process of this run has ended before its time; the logs of the workers tell why\n"
            if not alive:  # the scheduler has missed the heartbeat of a rank
                text += "".join(f"{line}\n" for line in ranks)
            text += f"{advice}\n"
            for path in logs:  # nobody else writes to those of the workers any more
                with suppress(OSError), open(path, "a") as file:
                    file.write(text)
            break
        time.sleep(0.5)
    os._exit(0)


class RankMark:
    """What this process does, where the other ranks of the host can read it: in a file that is in memory only.

    It needs neither a folder nor a message, so that it can be read of a rank that hangs or is stopped. Linux only; elsewhere
    nothing is written.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create(MARK) if hasattr(os, "memfd_create") else None

    def write(self, description: str) -> None:
        """Replaces the mark by a description, and the present time."""
        if self._file is not None:
            data = f"{time.monotonic()} {description}".encode()[:MARK_BYTES].ljust(MARK_BYTES)
            os.pwrite(self._file, data, 0)

    def close(self) -> None:
        """Removes the mark."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


MARK, MARK_BYTES = "yolox-rank", 256
MOST_RANKS = 8  # that a message describes


def describe_ranks(rank: int | None, world: int, *, msrun: int | None = None) -> list[str]:
    """Describes the other ranks that the same msrun has started, the one with the oldest `RankMark` first.

    Args:
        rank: of this process; None for one that is no rank.
        world: number of ranks.
        msrun: id of its process; None for the parent of this one.

    Returns:
        A line for each rank: its process, state and mark; the last names ranks that are not there, or on another host.
    """
    found = {}
    for pid in children_of(os.getppid() if msrun is None else msrun):
        other = _variable(pid, "RANK_ID")
        # msrun's tail has the variables of the last worker
        if _variable(pid, "MS_ROLE") == "MS_WORKER" and other.isdigit() and _runs(pid) and not _is_tail(pid):
            found[int(other)] = (*rank_mark(pid), pid)
    found.pop(rank, None)
    lines, now = [], time.monotonic()
    for other, (since, doing, pid) in sorted(found.items(), key=lambda item: item[1][0]):
        state = STATES.get(process_state(pid), "running")
        lines.append(f"rank {other} (process {pid}) is {state}" + (f", for {now - since:.0f} s in {doing}" if doing else ""))
    missing = [str(other) for other in range(world) if other != rank and other not in found]
    if missing:
        lines.append(f"rank {', '.join(missing[:8])}{' ...' if missing[8:] else ''}: ended, or on another host")
    return lines


def rank_mark(pid: int) -> tuple[float, str]:
    """Reads the `RankMark` of another process.

    Args:
        pid: id of the process.

    Returns:
        The time of the mark on the monotonic clock, in seconds, and its description; 0 and an empty text without one.
    """
    with suppress(OSError):
        for file in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError, ValueError):  # another file that was just closed
                if os.readlink(file.path).startswith(f"/memfd:{MARK} "):
                    since, _, doing = Path(file.path).read_text().rstrip().partition(" ")
                    return float(since), doing
    return 0.0, ""


def _variable(pid: int, name: str) -> str:
    """Returns an environment variable of a process, as at its start; empty where it has none."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    start = f"{name}=".encode()
    return next((each[len(start) :].decode() for each in variables if each.startswith(start)), "")


def _runs(pid: int) -> bool:
    return process_state(pid) not in ENDED


def _workers(msrun: int, scheduler: int) -> list[int]:
    """Returns the worker processes that msrun started and that still run; ``tail``, which shows their logs, is none."""
    return [pid for pid in children_of(msrun) if pid != scheduler and _runs(pid) and not _is_tail(pid)]


def _is_tail(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "tail"
    except OSError:
        return True


def _scheduler_of(msrun: int) -> int | None:
    return next((pid for pid in children_of(msrun) if _variable(pid, "MS_ROLE") == "MS_SCHED"), None)


def _listens(pid: int, port: int) -> bool:
    """Returns whether a process listens on a TCP port: one of its files is a listening socket of that port."""
    sockets = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            rows = [line.split() for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
            sockets |= {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    with suppress(OSError):
        for file in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(file.path) in sockets:
                    return True
    return False
