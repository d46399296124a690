"""``--parallel``: what a verb does differently where several processes run it."""

from __future__ import annotations

import os

from rich.console import Console

from yolox.distributed import Group, join_group
from yolox.errors import CommandError, UsageError


def open_group(parallel: bool, *, seconds: float = 90.0, advice: str = "") -> Group:
    """Joins the processes of msrun where ``--parallel`` asks for it.

    Args:
        parallel: the option.
        seconds: limit for usual work, from ``--hang-seconds``.
        advice: printed when a process fails.

    Raises:
        UsageError: the limit is below 0.
        CommandError: msrun did not start this process, or started it and ``--parallel`` is missing; the port is in use.
    """
    if not seconds >= 0:
        raise UsageError(f"--hang-seconds {seconds:g}: want 0 (no limit) or more")
    if not parallel:
        if int(os.environ.get("MS_WORKER_NUM", "1")) > 1:
            raise CommandError("msrun started several processes; want --parallel, or each would train by itself")
        return Group()
    try:
        return join_group(seconds=seconds, advice=advice)
    except RuntimeError as error:
        raise CommandError(f"--parallel: {error}") from None


def console_of(group: Group) -> Console:
    """Returns the console of a process: only that of rank 0 prints."""
    return Console(soft_wrap=True, highlight=False, quiet=not group.is_first)
