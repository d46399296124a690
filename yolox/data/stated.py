"""Sizes that image files state in their headers: known before anything is decoded."""

from __future__ import annotations

import struct
from typing import BinaryIO

from yolox.data.segments import jpeg_segments
from yolox.data.tiff import HEIGHT, STARTS, TILE_HEIGHT, TILE_WIDTH, WIDTH, tiff_tags

_FRAME_MARKERS = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_LARGE_TILE = 4096  # px


def stated_size(file: BinaryIO) -> tuple[int, int] | None:
    """Read the height and width that the header of an image file states.

    JPEG, PNG, BMP, TIFF and WebP are known. The walk over a JPEG's segments is libjpeg's.

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
    for marker, _ in jpeg_segments(file):
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", file.read(5), 1)
            return height, width
    return None


def _tiff(head: bytes, file: BinaryIO) -> tuple[int, int] | None:
    found = tiff_tags(head, file)
    height, width = found.get(HEIGHT), found.get(WIDTH)
    return (height, width) if height and width and _fair_tiles(found, height, width) else None


def _fair_tiles(found: dict[int, int | None], height: int, width: int) -> bool:
    """Tell whether tiles are about as large as the image at most: a decoder makes room for a whole one."""
    tiles = ((found.get(TILE_WIDTH, 1), width), (found.get(TILE_HEIGHT, 1), height))
    return all(tile is not None and tile <= max(side, _LARGE_TILE) for tile, side in tiles)


_READERS = (
    (b"\xff\xd8", _jpeg), (b"\x89PNG\r\n\x1a\n", _png), (b"BM", _bmp), (b"RIFF", _webp),
    *((start, _tiff) for start in STARTS),
)  # fmt: skip
