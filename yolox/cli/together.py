"""``--parallel``: what a verb does differently where several processes run it."""

from __future__ import annotations

import os

from rich.console import Console

from yolox.distributed import Group, join_group
from yolox.errors import CommandError, UsageError


def open_group(parallel: bool) -> Group:
    """Join the processes of msrun where ``--parallel`` asks for it.

    Raises:
        CommandError: msrun did not start this process, or started it and ``--parallel`` is missing.
    """
    if not parallel:
        if int(os.environ.get("MS_WORKER_NUM", "1")) > 1:
            raise CommandError("msrun started several processes; want --parallel, or each would train by itself")
        return Group()
    try:
        return join_group()
    except RuntimeError as error:
        raise CommandError(f"--parallel: {error}") from None


def console_of(group: Group) -> Console:
    """Make the console of a process: only that of rank 0 is seen."""
    return Console(soft_wrap=True, highlight=False, quiet=not group.is_first)


def check_hang_seconds(seconds: float) -> None:
    """Raises UsageError for a limit below 0."""
    if not seconds >= 0:
        raise UsageError(f"--hang-seconds {seconds:g}: want 0 (no limit) or more")
