"""The exceptions of the library, and checks of shapes. Every message names what came and what was wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

MAX_LISTED = 20
MAX_PROBLEMS = 10_000  # that are collected before a file is given up
"""Problems that `raise_problems` lists before it only counts them."""


class DataError(ValueError):
    """Data on disk that cannot be used; the message names the file or the annotation."""


class WeightsError(ValueError):
    """A weights file that cannot be read, is not trusted, or does not fit the network."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be written, is damaged, or was not written by this library."""


class RecipeError(ValueError):
    """A recipe with an unknown field, or with a value of the wrong type or out of range."""


class ExportError(ValueError):
    """A detector that cannot be exported, or an exported file that cannot be read or does not agree."""


class UnusableEnvironment(ImportError):
    """Installed packages that do not work together; the message names the versions that do."""


class NativeUnavailable(Exception):
    """The native kernels cannot be built or loaded here; the message says why. `yolox.native` catches it and logs it."""


class UsageError(ValueError):
    """Arguments that cannot be used together; the exit status of a command is 2."""


class CommandError(RuntimeError):
    """A job that was understood and cannot be done; the exit status of a command is 1."""


class RunError(CommandError):
    """A training run that ended early with a whole last checkpoint in `folder`, from which it can continue."""

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder


class RunStopped(RunError):
    """A run that was asked to stop and saved what it had; `signal` is the number of the signal, 0 without one."""

    def __init__(self, message: str, folder: Path, signal: int) -> None:
        super().__init__(message, folder)
        self.signal = signal


class TrainingDiverged(RuntimeError):
    """Too many steps in a row had a loss or gradients that are not finite.

    `batch` holds the last of these batches by name, as numpy arrays.
    """

    def __init__(self, message: str, batch: dict[str, np.ndarray]) -> None:
        super().__init__(message)
        self.batch = batch


def raise_problems(source: str, problems: Sequence[str]) -> None:
    """Raises one DataError that lists all problems (the first 20), so that a dataset is repaired in one go.

    Args:
        source: the file or folder that was read.
        problems: one line each, naming the annotation or file and what is wrong with it; nothing happens without any.

    Raises:
        DataError: when there is at least one problem.

    Example:
        >>> raise_problems("a.json", [])
        >>> raise_problems("a.json", ["annotation 7: width -1"])
        Traceback (most recent call last):
        ...
        yolox.errors.DataError: a.json: 1 problem
          annotation 7: width -1
    """
    if not problems:
        return
    noun = "problem" if len(problems) == 1 else "problems"
    lines = [f"{source}: {len(problems)} {noun}", *problems[:MAX_LISTED]]
    if len(problems) > MAX_LISTED:
        lines.append(f"... and {len(problems) - MAX_LISTED} more")
    raise DataError("\n  ".join(lines))


def stop_at_many_problems(source: str, problems: Sequence[str]) -> None:
    """Raises the DataError of `raise_problems` while a file is read, where it has so many that the rest does not matter.

    A message takes more memory than what it is about: without this, a list of a few MB with nothing right in it takes GB.

    Args:
        source: as for `raise_problems`.
        problems: those that were found so far.

    Raises:
        DataError: when there are `MAX_PROBLEMS`.
    """
    if len(problems) >= MAX_PROBLEMS:
        listed = "\n  ".join(problems[:MAX_LISTED])
        raise DataError(f"{source}: {len(problems)} problems, and more was not read\n  {listed}\n  ...")


def check_last_dim(function: str, name: str, shape: tuple[int, ...], want: int, meaning: str = "") -> None:
    """Raises ValueError unless the last dimension of `shape` is `want`.

    Args:
        function: name of the function that checks, for the message.
        name: of the array.
        shape: of the array, any length.
        want: its last dimension.
        meaning: text for the message, where the number comes from.

    Raises:
        ValueError: another last dimension, or none.
    """
    if len(shape) == 0 or shape[-1] != want:
        raise ValueError(f"{function}: {name} has shape {tuple(shape)}, want last dimension {want}{meaning}")


def check_rank(function: str, name: str, shape: tuple[int, ...], want: str) -> None:
    """Raises ValueError unless `shape` has as many dimensions as the comma-separated names in `want`, e.g. ``B,G,4``.

    Args:
        function: name of the function that checks, for the message.
        name: of the array.
        shape: of the array.
        want: names of the dimensions.

    Raises:
        ValueError: another number of dimensions.
    """
    if len(shape) != want.count(",") + 1:
        raise ValueError(f"{function}: {name} has shape {tuple(shape)}, want [{want}]")
