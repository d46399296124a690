"""Ends a process of several that no longer advances, with the stack of every thread in its log."""

from __future__ import annotations

import faulthandler
import sys
from pathlib import Path

from yolox.distributed import Group

SLOW = 20
"""Factor on the limit for work that may compile or write large files."""


class Watchdog:
    """Context manager that ends the process when the time since the last `mark` exceeds a limit.

    Args:
        seconds: limit for usual work; 0 for none.
        group: with one process nothing is watched.
        checkpoint: of the run, for the message.
    """

    def __init__(self, seconds: float, *, group: Group, checkpoint: Path | None = None) -> None:
        self._seconds, self._group, self._checkpoint = seconds, group, checkpoint
        self._active = seconds > 0 and group.world > 1

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(self, *_error) -> None:
        if self._active:
            faulthandler.cancel_dump_traceback_later()

    def mark(self, description: str, *, slow: bool = False) -> None:
        """Notes what the process does next, and begins the limit anew."""
        if self._active:
            faulthandler.dump_traceback_later(self._seconds * (SLOW if slow else 1), exit=True, file=sys.stderr)
