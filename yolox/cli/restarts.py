"""The options ``--restarts`` and ``--processes`` of ``train``: the command again, in processes of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from yolox.cli.inputs import RUNS
from yolox.cli.messages import note
from yolox.errors import UsageError
from yolox.processes import msrun_command, run_with_restarts
from yolox.training.run_folder import LAST, next_folder

if TYPE_CHECKING:
    from yolox.cli.train import TrainOptions

OUTER = {"--restarts", "--processes"}  # options of the process that starts the others


def run_in_processes(options: TrainOptions) -> None:
    """Runs this command in a process of its own, or in several, and again when it fails.

    Args:
        options: of ``train``, with restarts or more than one process; the command's words are those of this process.

    Raises:
        UsageError: a number out of range, or a process that msrun or Python code has started.
        SystemExit: with the status of the last process, which has printed its own message.
    """
    if options.restarts < 0 or options.processes < 1:
        raise UsageError(f"--restarts {options.restarts}, --processes {options.processes}: want 0 and 1, or more")
    if options.parallel or "MS_ROLE" in os.environ:
        raise UsageError("--restarts, --processes: start msrun themselves; leave out msrun and --parallel")
    if not any(word.partition("=")[0] in OUTER for word in sys.argv):
        raise UsageError("--restarts, --processes: of the command line only; in Python see yolox.processes.run_with_restarts")
    folder = options.resume or options.output or next_folder(RUNS / "train")
    own, words = len(sys.orig_argv) - len(sys.argv) + 1, _without_outer(sys.argv[1:])
    first = [*sys.orig_argv[1:own], *words, *([] if options.resume or options.output else ["--output", str(folder)])]
    again = first if options.resume else [*sys.orig_argv[1:own], "train", *_model(words), "--resume", str(folder)]
    again += [] if options.resume else ["--hang-seconds", str(options.hang_seconds)]
    group = options.processes > 1
    if group:
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"  # where msrun finds python

    def command(start: int) -> list[str]:
        words = again if start else first
        if not group:
            return [sys.executable, *words]
        logs = folder.with_name(f"{folder.name}-logs") / str(start)
        return msrun_command(options.processes, logs, [*words, "--parallel"])

    status = run_with_restarts(
        command, checkpoint=folder / LAST, restarts=options.restarts, signal_group=group, report=note
    )
    if status:
        raise SystemExit(128 - status if status < 0 else status)


def _without_outer(words: Sequence[str]) -> list[str]:
    """Returns arguments without the options that only the outer process has, and their numbers."""
    left, skip = [], False
    for word in words:
        if not skip and word.partition("=")[0] not in OUTER:
            left.append(word)
        skip = word in OUTER
    return left


def _model(words: Sequence[str]) -> list[str]:
    """Returns ``--model`` and its value, where they are among the arguments."""
    for place, word in enumerate(words):
        if word.partition("=")[0] == "--model":
            return list(words[place : place + (1 if "=" in word else 2)])
    return []
