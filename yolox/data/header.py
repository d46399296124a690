"""Sizes of image files from their headers, for formats whose annotations do not state them."""

from __future__ import annotations

import os
import struct

from .errors import DataError
from .image import read_image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_MOST_BYTES = 1 << 18
_FRAME_MARKERS = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


def is_image_name(name: str) -> bool:
    """Tell whether a file name has the suffix of an image, in upper or lower case."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def image_size(path: str) -> tuple[int, int]:
    """Find the height and width that `read_image` will give, without decoding where that is possible.

    Headers of JPEG and PNG files are read; a file that may be turned by EXIF, and any other format, is
    decoded.

    Args:
        path: the file.

    Returns:
        height and width in pixels.

    Raises:
        DataError: the file is missing or is no image.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_MOST_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    turned = (
        b"Exif\0" in head
        or b"eXIf" in head
        or (len(head) == _MOST_BYTES and not head.startswith(b"\xff\xd8"))
    )
    size = None if turned else _png_size(head) or _jpeg_size(head)
    return size or read_image(os.fspath(path)).shape[:2]


def _png_size(head: bytes) -> tuple[int, int] | None:
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR" or len(head) < 24:
        return None
    width, height = struct.unpack(">II", head[16:24])
    return (height, width) if height and width else None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Walk over the segments to the one that states the size."""
    position = 2
    while head[:2] == b"\xff\xd8" and position + 9 <= len(head) and head[position] == 0xFF:
        marker, length = head[position + 1], int.from_bytes(head[position + 2 : position + 4], "big")
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack(">HH", head[position + 5 : position + 9])
            return (height, width) if height and width else None
        position += 1 if marker == 0xFF else 2 + length
    return None
