"""Text files that people and tools wrote, and the files of a folder, with a clear error where one is not there."""

from __future__ import annotations

import os
from collections.abc import Callable

from yolox.errors import DataError


def read_text(path: str) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Args:
        path: of the file.

    Returns:
        The text without the mark; every line ends with a line feed.

    Raises:
        DataError: the file cannot be read, or holds bytes that are not UTF-8.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{path}: is not a text file in UTF-8 ({error})") from None


def read_lines(path: str) -> list[str]:
    """Read the lines of a text file without their ends; errors as in `read_text`.

    Args:
        path: of the file.

    Returns:
        The lines.

    Raises:
        DataError: as `read_text`.
    """
    return read_text(path).splitlines()


def files_below(folder: str, wanted: Callable[[str], bool]) -> list[str]:
    """List the files in a folder and its sub-folders that are wanted, by name relative to it.

    Args:
        folder: to search.
        wanted: tells of a file's name, without folders, whether it counts.

    Returns:
        Names with their sub-folders, sorted.

    Raises:
        DataError: there is no such folder.
    """
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder")
    paths = (os.path.join(place, name) for place, _, files in os.walk(folder) for name in files if wanted(name))
    return sorted(os.path.relpath(path, folder) for path in paths)
