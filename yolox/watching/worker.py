"""The process that is watched, as its watcher sees it."""

from __future__ import annotations

import os
import signal
import time

from yolox.watching.lines import Lines
from yolox.watching.status import Status


class Worker:
    """The parent of this process: where it is, and whether it has ended.

    Args:
        pid: of the parent when it started this process.
        pipe: descriptor through which it says where it is.
        patience: seconds that it may be stopped; 0 for ever.
    """

    def __init__(self, pid: int, pipe: int, patience: float) -> None:
        self.pid, self.lines, self.status = pid, Lines(pipe), Status(patience=patience)
        self.left, self.failed = False, None
        self.descriptor = _pidfd(pid)

    def alive(self) -> bool:
        """Tell whether it runs; the system gives its children another parent when it ends."""
        return os.getppid() == self.pid

    def hear(self) -> bool:
        """Read where it is; False when it has closed the pipe."""
        try:
            messages = self.lines.read()
        except (OSError, ValueError):
            messages = None
        for message in messages or ():
            self.left, self.failed = message.get("left", self.left), message.get("failed", self.failed)
            if "where" in message:
                self.status = Status(**message, patience=self.status.patience, done=self.status.done + 1)
        return messages is not None

    def tick(self, seconds: float) -> None:
        """Count the time."""
        self.status.silent += seconds
        self.status.stopped = self.status.stopped + seconds if _is_stopped(self.pid) else 0.0

    def end(self, patience: float) -> None:
        """Kill it, after it had the time to end by itself."""
        until = time.monotonic() + patience
        while self.alive() and time.monotonic() < until:
            time.sleep(0.05)
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)


def _pidfd(pid: int) -> int | None:
    """Open what becomes readable when the process ends; None where the system has no such thing."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _is_stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False
