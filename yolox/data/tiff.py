"""The first directory of a TIFF file."""

from __future__ import annotations

import struct
from typing import BinaryIO

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # both byte orders, of TIFF and BigTIFF
WIDTH, HEIGHT, ORIENTATION, TILE_WIDTH, TILE_HEIGHT = 256, 257, 274, 322, 323
_MOST_ENTRIES = 10_000
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, and LONG8, for which only a big TIFF has room


def tiff_tags(head: bytes, file: BinaryIO) -> dict[int, int | None]:
    """Read the tags of a TIFF's first directory.

    Args:
        head: the first 16 bytes, which begin with one of `STARTS`.
        file: opened for reading bytes.

    Returns:
        The number of each tag; None where it is not one number of the types that TIFF has for sizes. Of several entries
        of a tag the first counts, as in libtiff. Nothing where the directory is beyond any file.

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
    found: dict[int, int | None] = {}
    for _ in range(min(entries, _MOST_ENTRIES)):
        tag, value = _entry(file.read(20 if big else 12), order, big)
        found.setdefault(tag, value)
    return found


def _entry(entry: bytes, order: str, big: bool) -> tuple[int, int | None]:
    """Give an entry's tag and its number.

    libtiff also takes signed types, and in a small TIFF eight bytes that stand elsewhere; writers do not make those.
    """
    tag, kind, count = struct.unpack_from(order + ("HHQ" if big else "HHI"), entry)
    form = _TYPES.get(kind)
    if form is None or count != 1:
        return tag, None
    return tag, struct.unpack_from(order + form, entry, 12 if big else 8)[0]
