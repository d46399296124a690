"""Children and states of processes, as Linux lists them; elsewhere there are none."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

ENDED = ("", "Z", "X")
"""States of a process that runs no more: gone, or not yet collected by its parent."""


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
