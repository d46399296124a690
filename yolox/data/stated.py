"""Sizes that image files state in their headers: known before anything is decoded."""

from __future__ import annotations

import struct
from typing import BinaryIO

_FRAME_MARKERS = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
_MOST_SEGMENTS = 10_000
_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, and LONG8, for which only a big TIFF has room
_LARGE_TILE = 4096  # px


def stated_size(file: BinaryIO) -> tuple[int, int] | None:
    """Read the height and width that the header of an image file states.

    JPEG, PNG, BMP, TIFF and WebP are known. The walk over a JPEG's segments is that of libjpeg: bytes between two
    segments are skipped.

    Args:
        file: opened for reading bytes.

    Returns:
        height and width in pixels as stored, before any rotation; None for other content or a broken header.

    Example:
        >>> import io
        >>> stated_size(io.BytesIO(b"\\x89PNG\\r\\n\\x1a\\n" + b"\\0\\0\\0\\rIHDR" + struct.pack(">II", 640, 480)))
        (480, 640)
    """
    head = file.read(32)
    for start, read in _READERS:
        if head.startswith(start):
            try:
                size = read(head, file)
            except (struct.error, IndexError):
                return None
            return size if size and size[0] > 0 and size[1] > 0 else None
    return None


def _png(head: bytes, _file: BinaryIO) -> tuple[int, int] | None:
    width, height = struct.unpack_from(">II", head, 16)
    return (height, width) if head[12:16] == b"IHDR" else None


def _bmp(head: bytes, _file: BinaryIO) -> tuple[int, int]:
    old = struct.unpack_from("<I", head, 14)[0] == 12
    width, height = struct.unpack_from("<HH" if old else "<ii", head, 18)
    return abs(height), abs(width)


def _webp(head: bytes, _file: BinaryIO) -> tuple[int, int] | None:
    kind = head[8:16]
    if kind == b"WEBPVP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"WEBPVP8L":
        bits = struct.unpack_from("<I", head, 21)[0]
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"WEBPVP8X":
        return int.from_bytes(head[27:30], "little") + 1, int.from_bytes(head[24:27], "little") + 1
    return None


def _jpeg(_head: bytes, file: BinaryIO) -> tuple[int, int] | None:
    file.seek(2)
    for _ in range(_MOST_SEGMENTS):
        marker = _next_marker(file)
        if marker is None or marker in (0xD9, 0xDA):  # the end, or pixels before any frame
            return None
        if marker in _ALONE:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", file.read(5), 1)
            return height, width
        file.seek(max(length - 2, 0), 1)
    return None


def _next_marker(file: BinaryIO) -> int | None:
    while byte := file.read(1):
        if byte != b"\xff":
            continue
        while byte == b"\xff":
            byte = file.read(1)
        if byte and byte != b"\0":
            return byte[0]
    return None


def _tiff(head: bytes, file: BinaryIO) -> tuple[int, int] | None:
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", head, 2)[0] == 43
    (offset,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    if offset >= 1 << 62:
        return None
    file.seek(offset)
    (entries,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
    found: dict[int, int | None] = {}
    for _ in range(min(entries, _MOST_SEGMENTS)):
        tag, value = _tiff_entry(file.read(20 if big else 12), order, big)
        found.setdefault(tag, value)  # as in libtiff, the first of several entries counts
    height, width = found.get(257), found.get(256)
    return (height, width) if height and width and _fair_tiles(found, height, width) else None


def _tiff_entry(entry: bytes, order: str, big: bool) -> tuple[int, int | None]:
    """Give an entry's tag and its number; None where it is not one number of the types that TIFF has for sizes.

    libtiff also takes signed types, and in a small TIFF eight bytes that stand elsewhere; writers do not make those.
    """
    tag, kind, count = struct.unpack_from(order + ("HHQ" if big else "HHI"), entry)
    form = _TIFF_TYPES.get(kind)
    if form is None or count != 1:
        return tag, None
    return tag, struct.unpack_from(order + form, entry, 12 if big else 8)[0]


def _fair_tiles(found: dict[int, int | None], height: int, width: int) -> bool:
    """Tell whether tiles are about as large as the image at most: a decoder makes room for a whole one."""
    tiles = ((found.get(322, 1), width), (found.get(323, 1), height))
    return all(tile is not None and tile <= max(side, _LARGE_TILE) for tile, side in tiles)


_READERS = (
    (b"\xff\xd8", _jpeg), (b"\x89PNG\r\n\x1a\n", _png), (b"BM", _bmp), (b"RIFF", _webp),
    (b"II*\0", _tiff), (b"MM\0*", _tiff), (b"II+\0", _tiff), (b"MM\0+", _tiff),
)  # fmt: skip
