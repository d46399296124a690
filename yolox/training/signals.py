"""SIGINT, SIGTERM and the end of msrun, as functions that training asks between two steps."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

from yolox.distributed import Group, any_of

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
