"""Single values of a COCO annotation file: what counts as an id, as a number and as a mark of a crowd."""

from __future__ import annotations

import math

_MOST = 2**62  # half of int64: classes without an id get one beside these
_EXACT = 2**53  # from here on a float stands for several integers


def as_id(value: object) -> int | None:
    """Read an integer, also where a tool wrote it as 1.0.

    Args:
        value: as it came from the file.

    Returns:
        The integer; None for anything else, true and false included.

    Example:
        >>> as_id(7), as_id(7.0), as_id(7.5), as_id(True), as_id("7")
        (7, 7, None, None, None)
    """
    if isinstance(value, float) and abs(value) < _EXACT and value == int(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MOST else None


def as_crowd(value: object) -> bool | None:
    """Read `iscrowd`: 0 or 1, or false or true.

    A text such as "0" is refused, not guessed at: taken for a crowd, a box would silently be left out of training.

    Args:
        value: as it came from the file.

    Returns:
        Whether the box is a crowd region; None for anything else.

    Example:
        >>> as_crowd(1), as_crowd(False), as_crowd(0.0), as_crowd("0"), as_crowd(2)
        (True, False, False, None, None)
    """
    return bool(value) if isinstance(value, (int, float)) and value in (0, 1) else None


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number within int64; true and false are none.

    Args:
        value: as it came from the file.

    Returns:
        Whether it is.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)


def short(value: object) -> str:
    """Write a value for a message, which a list of a million numbers would make too long.

    Args:
        value: as it came from the file.

    Returns:
        Its text, of at most 203 characters.
    """
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
