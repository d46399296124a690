"""The error of bad input data, which names the file or the annotation."""

from __future__ import annotations

from collections.abc import Sequence

MOST_NAMED = 20


class DataError(ValueError):
    """Data on disk that cannot be used as they are; the message names the file or the annotation."""


def raise_offenders(source: str, offenders: Sequence[str]) -> None:
    """Raise one DataError that lists all offenders (the first 20), so that a dataset is repaired in one go.

    Args:
        source: the file or folder that was read.
        offenders: one line each, naming the annotation or file and what is wrong with it. None: nothing
            happens.

    Raises:
        DataError: when there is at least one offender.

    Example:
        >>> raise_offenders("a.json", [])
        >>> raise_offenders("a.json", ["annotation 7: width -1"])
        Traceback (most recent call last):
        ...
        yolox.data.errors.DataError: a.json: 1 problem
          annotation 7: width -1
    """
    if not offenders:
        return
    noun = "problem" if len(offenders) == 1 else "problems"
    lines = [f"{source}: {len(offenders)} {noun}", *offenders[:MOST_NAMED]]
    if len(offenders) > MOST_NAMED:
        lines.append(f"... and {len(offenders) - MOST_NAMED} more")
    raise DataError("\n  ".join(lines))
