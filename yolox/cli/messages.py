"""Messages and exit status of exceptions."""

from __future__ import annotations

import re
import sys
import traceback
from typing import Any

import cv2

from yolox.console import PlainConsole, printable
from yolox.errors import CommandError, RunStopped, UsageError

USAGE, FAILURE, INTERRUPTED = 2, 1, 130
MOST_LINES = 24  # of a message that lists what is wrong with a dataset or a checkpoint
MOST_CHARACTERS = 1900  # of a message, which may quote a file


OPTION_NAMES = {
    "no_aug_epochs": "plain-epochs",
    "no_aug_eval_interval": "plain-eval-interval",
    "max_gt": "max-truths",
    "gt_paddings": "truth-paddings",
}
"""Field of the recipe to its option where the two differ; all others have the field's name, with dashes."""
# How messages of the library name an argument; the fields of a recipe also stand without backticks.
_ARGUMENT = re.compile(r"`([a-z_]+)`|\b(" + "|".join(OPTION_NAMES) + r")\b")
_NO_MEMORY = re.compile(
    r"memory failed|out of memory|insufficient memory|bad_alloc|memory (?:is|isn't|not) (?:not )?enough", re.IGNORECASE
)


PLANNER = "it compares times of the system clock: was that set back? Start the command again, or a training with --resume"


def _operating_system(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{error.filename}: {what}" if error.filename else what


def explain(error: BaseException) -> str:
    """Put an exception into words that say what to do.

    Args:
        error: anything that a command raised.

    Returns:
        One or two lines; more only where the message lists annotations or tensors.

    Example:
        >>> explain(FileNotFoundError(2, "No such file or directory", "a.json"))
        'a.json: No such file or directory'
    """
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError | cv2.error) and _NO_MEMORY.search(str(error))):
        return "out of memory: lower --batch-size or --input-size, or --workers"
    if isinstance(error, OSError):
        return _operating_system(error)
    if isinstance(error, RuntimeError) and not isinstance(error, CommandError) and "somas" in str(error).lower():
        return f"MindSpore's memory planner has failed ({' '.join(str(error).split())[:300]})\n{PLANNER}"
    text = name_options(str(error))
    lines = [line.rstrip() for line in text.splitlines() if line.strip(" -=")] or [type(error).__name__]  # rows of dashes
    if isinstance(error, ValueError | CommandError):  # the library's own words; they may list what is wrong
        return "\n".join(lines[:MOST_LINES])
    return f"{type(error).__name__}: {lines[0][:MOST_CHARACTERS]}\n--debug shows where it comes from"


def name_options(text: str) -> str:
    """Returns a message of the library with its arguments named as options: `` `save_steps` `` becomes ``--save-steps``.

    Example:
        >>> name_options("`device` Ascend: not usable here; try `device` CPU")
        '--device Ascend: not usable here; try --device CPU'
    """
    return _ARGUMENT.sub(lambda found: option_name(found[1] or found[2]), text)


class OptionConsole(PlainConsole):
    """Console that prints the library's messages with `name_options`."""

    def print(self, *objects: Any, **settings: Any) -> None:
        """Prints as `rich.console.Console.print`."""
        super().print(*(name_options(item) if isinstance(item, str) else item for item in objects), **settings)


def option_name(field: str) -> str:
    """Returns the option that sets a field of the recipe or an argument of a library function.

    Example:
        >>> option_name("batch_size"), option_name("max_gt")
        ('--batch-size', '--max-truths')
    """
    return "--" + OPTION_NAMES.get(field, field.replace("_", "-"))


def exit_status(error: BaseException) -> int:
    """Returns the exit status of an error: 2 for usage, 130 for an interrupt, 128 + signal for a run that was saved, else 1.

    Example:
        >>> exit_status(UsageError("no")), exit_status(OSError())
        (2, 1)
    """
    if isinstance(error, UsageError):
        return USAGE
    if isinstance(error, RunStopped):
        return 128 + error.signal
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILURE


def note(line: str) -> None:
    """Writes a note to stderr, such as what was taken for another word."""
    print(printable(f"note: {line}"), file=sys.stderr)


def report(error: BaseException, *, debug: bool) -> int:
    """Writes the message of `error` to stderr, with the traceback only if `debug`.

    Returns:
        The exit status.
    """
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    label = "" if isinstance(error, RunStopped) else "error: "
    text = printable(explain(error))
    print(label + (text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} ..."), file=sys.stderr)
    return exit_status(error)
