"""How an image file says that its stored pixels are turned, read from its header as OpenCV applies it."""

from __future__ import annotations

import struct
from typing import BinaryIO

from yolox.data.segments import jpeg_segments
from yolox.data.tiff import ORIENTATION, STARTS, tiff_tags

UPRIGHT = 1
QUARTER_TURNS = (5, 6, 7, 8)
"""Orientations that swap height and width."""
_APP1 = 0xE1
_PREFIX = 6  # "Exif" and two zero bytes, which OpenCV does not look at
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ENTRY = 12  # bytes
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes, by TIFF's specification


def jpeg_orientation(file: BinaryIO) -> int | None:
    """Read the orientation that OpenCV applies when it decodes a JPEG.

    OpenCV takes the first segment APP1 alone, whatever it is called: EXIF behind another such segment (XMP) is not seen.

    Args:
        file: opened for reading bytes.

    Returns:
        1 (as stored) to 8; None for EXIF so broken that only decoding tells.
    """
    for marker, length in jpeg_segments(file):
        if marker == _APP1:
            content = file.read(length)
            return exif_orientation(content[_PREFIX:]) if len(content) == length else None
    return UPRIGHT


def tiff_orientation(file: BinaryIO) -> int:
    """Read how a TIFF file is turned.

    Args:
        file: opened for reading bytes.

    Returns:
        1 (as stored) to 8; 1 for what is no TIFF or does not tell.
    """
    file.seek(0)
    head = file.read(16)
    try:
        stated = tiff_tags(head, file).get(ORIENTATION, UPRIGHT) if head.startswith(STARTS) else UPRIGHT
    except struct.error:
        return UPRIGHT
    return stated if stated in range(UPRIGHT, 9) else UPRIGHT


def exif_orientation(data: bytes) -> int | None:
    """Read the orientation from EXIF data: a TIFF header and its first directory, no other.

    Args:
        data: from the mark of the byte order on.

    Returns:
        1 to 8, 1 where there is none; None where the directory or a value before the orientation reaches beyond the data.

    Example:
        >>> exif_orientation(b"MM\\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0))
        6
    """
    order = _ORDERS.get(data[:4])
    if order is None:
        return None if data[2:4] in (b"*\0", b"\0*") else UPRIGHT
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        places = range(start + 2, start + 2 + count * _ENTRY, _ENTRY)
        return next((found for place in places if (found := _entry(data, place, order)) is not None), UPRIGHT)
    except (struct.error, _Beyond):
        return None


class _Beyond(Exception):
    """A value that reaches beyond the data: OpenCV stops reading there."""


def _entry(data: bytes, place: int, order: str) -> int | None:
    """Give the orientation of an entry that states one, None of any other."""
    tag, kind, count, value = struct.unpack_from(order + "HHII", data, place)
    if tag == ORIENTATION:
        (stated,) = struct.unpack_from(order + "H", data, place + 8)
        return stated if UPRIGHT <= stated <= 8 else UPRIGHT
    size = count * _TYPE_SIZES.get(kind, 1)
    if size > 4 and value + size > len(data):
        raise _Beyond
    return None
