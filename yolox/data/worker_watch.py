"""Sees data workers that are stuck or stopped: without it, a process waits for their next batch for ever."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from yolox.processes import ENDED, children_of, process_state

FIRST_SECONDS = 60.0
"""Least limit of the first batch, before which the workers start."""
_STATES = {"T": "stopped by a signal", "t": "stopped by a debugger", "D": "waiting for a disk", "Z": "ended", "X": "ended"}


class WorkerWatch:
    """Context manager that ends the worker processes when the wait for a batch exceeds a limit.

    MindSpore then sends this process a SIGTERM, and mostly raises a RuntimeError where the batch is waited for. Where the
    signal does not end the process, about one wait in a hundred went on for ever (2.10.0): the thread that collects the
    workers' results is told to end, too, and the iterator then ends early. Without worker processes nothing can be ended:
    the stacks of all threads are printed.

    Args:
        seconds: limit; 0 for none.
    """

    def __init__(self, seconds: float) -> None:
        self.problem, self._iterator = "", None
        self._seconds, self._deadline, self._ended = seconds, float("inf"), threading.Event()
        self._before, self._workers = child_processes(), set()

    def __enter__(self) -> WorkerWatch:
        if self._seconds > 0:
            threading.Thread(target=self._end_when_late, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()

    def begin(self, batch: int, iterator: object) -> None:
        """Starts the limit of a batch, counted from 0; called before MindSpore's iterator is asked for it."""
        self._iterator = iterator
        if batch < 2:  # the workers are there at the second at the latest
            self._workers = child_processes() - self._before
        limit = self._seconds if batch else max(self._seconds, FIRST_SECONDS)
        self._deadline = time.monotonic() + limit if self._seconds > 0 else float("inf")

    def end(self) -> None:
        """Ends the limit; called with each batch."""
        self._deadline = float("inf")

    def cause(self) -> str:
        """Returns what was wrong with the workers when MindSpore raised an error; empty for other errors."""
        if self.problem:
            return self.problem
        ended = sorted(pid for pid in self._workers if process_state(pid) in ENDED)
        if not ended:
            return ""
        return f"data worker process {ended[0]} has ended: killed, or out of memory (fewer `workers` take less)"

    def _end_when_late(self) -> None:
        while not self._ended.wait(0.2):
            if time.monotonic() <= self._deadline:
                continue
            self._deadline = float("inf")
            self._workers |= child_processes() - self._before
            states = [f"process {pid} is {_STATES.get(process_state(pid), 'running')}" for pid in sorted(self._workers)]
            self.problem = f"no batch for {self._seconds:g} s; data workers: {', '.join(states) or 'threads of this process'}"
            print(f"\n{self.problem}", file=sys.__stderr__, flush=True)
            if not self._workers:
                with suppress(Exception):  # a standard error without a file
                    faulthandler.dump_traceback(sys.__stderr__)
                continue
            for pid in self._workers:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            _end_collection(self._iterator)


def _end_collection(iterator: object) -> None:
    """Ends the thread that waits for the workers' results: it looks at this event, never at the workers' states.

    The event that is there is shared with the workers, and its lock is lost with a worker that held it: it is replaced.
    """
    collector = getattr(getattr(iterator, "dataset", None), "sample_fn", None)
    if collector is not None:
        collector.eof = threading.Event()
        collector.eof.set()


def child_processes() -> set[int]:
    """Returns the ids of this process's children that run the same program.

    Returns:
        Process ids; none where the system is not Linux.
    """
    return {pid for pid in children_of(os.getpid()) if _command(pid) == _command(os.getpid())}


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
