"""Ends a process of several that makes no progress, with the stack of every thread in its log.

Beside it stand MindSpore's own timeouts (`yolox.msrun.set_timeouts`) and msrun, which ends all workers when one ends with an
error. The watchdog adds the stack, the name of the rank, and the case that all ranks wait for each other.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from yolox.distributed import Group
from yolox.msrun import SLOW

GRACE = 10.0
"""Seconds between the stack and the end: ranks that wait for each other reach the limit at about the same time, and msrun
kills all of them as soon as one has ended."""


class Watchdog:
    """Context manager that ends the process when the time since the last `mark` exceeds a limit.

    Two timers need no Python code to run, since a hanging call may hold the interpreter's lock: `faulthandler` prints the
    stacks, and the alarm of the operating system (SIGALRM) ends the process. A thread prints the rank, the mark and the
    advice before that, where it can run. With one process, or without a limit, nothing happens.

    Args:
        seconds: limit for usual work; 0 for none.
        group: the processes.
        checkpoint: of the run, for the message.
        advice: how the run can continue, as text of the caller.
    """

    def __init__(self, seconds: float, *, group: Group, checkpoint: Path | None = None, advice: str = "") -> None:
        self.seconds, self._group = seconds, group
        self._advice = advice or (f"the last checkpoint is {checkpoint}" if checkpoint else "")
        self._active = seconds > 0 and group.world > 1
        self._description, self._limit, self._deadline = "the start", 0.0, float("inf")
        self._ended = threading.Event()

    def __enter__(self) -> Watchdog:
        if self._active:
            with suppress(ValueError):  # outside the main thread; the default, to end the process, is then taken as set
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
            threading.Thread(target=self._print_when_late, daemon=True).start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, _trace: object) -> None:
        if not self._active:
            return
        self._ended.set()
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        if kind is RuntimeError:  # MindSpore's collectives raise it when a rank did not come; ours are subclasses
            self._print(f"failed in {self._description}; if it waited for another rank, the log of that one has the reason")

    def mark(self, description: str, *, slow: bool = False) -> None:
        """Notes what the process does next, and starts the limit anew.

        Args:
            description: as in "no progress for 60 s in ...".
            slow: the work may compile a graph or write large files, or wait for a rank that does: SLOW times the limit.
        """
        if not self._active:
            return
        self._description, self._limit = description, self.seconds * (SLOW if slow else 1)
        self._deadline = time.monotonic() + self._limit
        faulthandler.dump_traceback_later(self._limit + 0.5, file=sys.__stderr__)  # after the line of the thread
        signal.setitimer(signal.ITIMER_REAL, self._limit + GRACE)

    def _print_when_late(self) -> None:
        while not self._ended.wait(0.1):
            if time.monotonic() > self._deadline:
                self._print(f"no progress for {self._limit:g} s in {self._description}; the stack of every thread:")
                self._deadline = float("inf")

    def _print(self, problem: str) -> None:
        text = f"\nerror: rank {self._group.rank} of {self._group.world}: {problem}\n"
        print(text + (self._advice and self._advice + "\n"), end="", file=sys.__stderr__, flush=True)
