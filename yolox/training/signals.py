"""What ends a run early: SIGINT, SIGTERM, the end of msrun, and the watchdog of a process that makes no progress.

Beside the watchdog stand MindSpore's own timeouts (`yolox.processes.set_timeouts`) and msrun, which ends all workers when one
ends with an error. The watchdog adds the stack, the name of the rank, and the case that all ranks wait for each other.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType

from yolox.distributed import Group, any_of
from yolox.processes import MOST_RANKS, SLOW, RankMark, describe_ranks

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Launcher:
    """The process that started this one, such as msrun; a run of several processes stops when it has ended.

    Create it early: what ended before is not noticed. (An msrun without its option join ends at once, long before the
    first line of the script, and is not waited for.)
    """

    def __init__(self) -> None:
        self._pid, self._missed = os.getppid(), False

    def has_gone(self) -> bool:
        """Returns whether it has ended: the system gives this process another parent then. Prints it once."""
        gone = os.getppid() != self._pid
        if gone and not self._missed:
            print("\nmsrun has ended; stopping after this step", file=sys.stderr, flush=True)
        self._missed = gone
        return gone


class StopSignals:
    """Context manager that catches SIGINT and SIGTERM; calling it returns whether one came.

    The first signal lets the step end and the run be saved. The second stops at once, as without this class.
    In a thread other than the main one, where Python allows no handlers, it catches nothing.

    While a compiled graph runs, SIGINT belongs to MindSpore (2.10), which sends the process a SIGTERM instead: a
    Ctrl-C within a step arrives here as SIGTERM.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._process, self._before = os.getpid(), {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            self._install()
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        if self._before and self.signal is None:
            self._install()  # each run of a compiled graph leaves MindSpore's handler of SIGINT behind
        return self.signal is not None

    def _install(self) -> None:
        for number in self._before:
            signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a worker that inherited the handler ends as it would have
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.signal = number
        for each in SIGNALS:
            signal.signal(each, signal.default_int_handler)
        print("\nstopping after this step; a second signal stops at once", file=sys.stderr, flush=True)


def stop_on_any(stop: Callable[[], bool], group: Group, launcher: Launcher) -> Callable[[], bool]:
    """Returns a function that all processes call after each step, and that returns the same answer in all of them.

    A signal may reach one process only, and collectives need all of them.

    Args:
        stop: whether this process was asked to stop.
        group: the processes. Of several, each stops when the process that started them has ended.
        launcher: the process that started this one.

    Returns:
        Function without arguments that returns a bool.
    """

    def asked() -> bool:
        answer = any_of(stop() or (group.world > 1 and launcher.has_gone()), group)
        if answer and group.world > 1:
            launcher.has_gone()  # prints the reason, also where another process saw it first
        return answer

    return asked


GRACE = 10.0
"""Seconds between the stack and the end: ranks that wait for each other reach the limit at about the same time, and msrun
kills all of them as soon as one has ended."""


class Watchdog:
    """Context manager that ends the process when the time since the last `mark` exceeds a limit.

    Two timers need no Python code to run, since a hanging call may hold the interpreter's lock: `faulthandler` prints the
    stacks, and the alarm of the operating system (SIGALRM) ends the process. A thread prints the rank, the
    mark, what the other ranks of the host do, and the advice before that, where it can run. With one process, or without a
    limit, nothing happens.

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
            self._mark = RankMark()
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
        self._mark.close()

    def mark(self, description: str, *, slow: bool = False) -> None:
        """Notes what the process does next, and starts the limit anew.

        Args:
            description: as in "no progress for 60 s in ...".
            slow: the work may compile a graph or write large files, or wait for a rank that does: SLOW times the limit.
        """
        if not self._active:
            return
        self._description, self._limit = description, self.seconds * (SLOW if slow else 1)
        self._mark.write(description)
        self._deadline = time.monotonic() + self._limit
        faulthandler.dump_traceback_later(self._limit + 0.5, file=sys.__stderr__)  # after the line of the thread
        signal.setitimer(signal.ITIMER_REAL, self._limit + GRACE)

    def _print_when_late(self) -> None:
        while not self._ended.wait(0.1):
            if time.monotonic() > self._deadline:
                self._print(f"no progress for {self._limit:g} s in {self._description}; the stack of every thread:")
                self._deadline = float("inf")

    def _print(self, problem: str) -> None:
        others = "".join(f"{line}\n" for line in describe_ranks(self._group.rank, self._group.world)[:MOST_RANKS])
        text = f"\nerror: rank {self._group.rank} of {self._group.world}: {problem}\n{others}"
        print(text + (self._advice and self._advice + "\n"), end="", file=sys.__stderr__, flush=True)
