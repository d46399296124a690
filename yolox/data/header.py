"""Sizes of image files from their headers, for formats whose annotations do not state them."""

from __future__ import annotations

import io
import os

from .errors import DataError
from .image import read_image
from .stated import stated_size

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_MOST_BYTES = 1 << 18


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
    known = head.startswith((b"\x89PNG", b"\xff\xd8")) and not turned
    size = stated_size(io.BytesIO(head)) if known else None
    return size or read_image(os.fspath(path)).shape[:2]
