"""The first directory of a TIFF file."""

from __future__ import annotations

import struct
from typing import BinaryIO

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # both byte orders, of TIFF and BigTIFF
WIDTH, HEIGHT, ORIENTATION = 256, 257, 274
_MOST_ENTRIES = 10_000


def tiff_tags(head: bytes, file: BinaryIO) -> dict[int, int]:
    """Read the tags of a TIFF's first directory.

    Args:
        head: the first 16 bytes, which begin with one of `STARTS`.
        file: opened for reading bytes.

    Returns:
        The first value of each tag that stands in the directory itself; nothing where the directory is beyond any file.

    Raises:
        struct.error: the file ends within the directory.
    """
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", head, 2)[0] == 43
    (offset,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    if offset >= 1 << 62:
        return {}
    file.seek(offset)
    (entries,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
    found: dict[int, int] = {}
    for _ in range(min(entries, _MOST_ENTRIES)):
        tag, value = _entry(file.read(20 if big else 12), order, big)
        found.setdefault(tag, value)
    return found


def _entry(entry: bytes, order: str, big: bool) -> tuple[int, int]:
    tag, kind = struct.unpack_from(order + "HH", entry)
    form = {3: "H", 4: "I", 16: "Q"}.get(kind, "B")
    return tag, struct.unpack_from(order + form, entry, 12 if big else 8)[0]
