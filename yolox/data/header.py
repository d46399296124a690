"""What the headers of image files tell, without decoding."""

from __future__ import annotations

import os
from typing import BinaryIO

from attrs import frozen

from .errors import DataError
from .image import read_image
from .stated import stated_size

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_MOST_PARTS = 100_000  # segments or chunks that are walked over
_TAIL = 1024  # bytes at the end in which a JPEG's last marker is looked for; cameras add some of their own


@frozen
class ImageHeader:
    """What the header of a JPEG or PNG file tells.

    Args:
        size: height and width in pixels as stored.
        exif: whether the file may have EXIF data, which may turn the image.
        whole: whether the end of the file is there; a file that was cut off decodes to a picture with a grey rest.
    """

    size: tuple[int, int]
    exif: bool
    whole: bool


def is_image_name(name: str) -> bool:
    """Tell whether a file name has the suffix of an image, in upper or lower case.

    Args:
        name: of a file, with or without folders.

    Returns:
        True for one of `IMAGE_SUFFIXES`.
    """
    return name.lower().endswith(IMAGE_SUFFIXES)


def read_header(path: str) -> ImageHeader | None:
    """Read the header of a JPEG or PNG file: a few hundred bytes, wherever in the file they stand.

    Args:
        path: the file.

    Returns:
        ImageHeader, or None where the file is of another format or tells no size.

    Raises:
        DataError: the file is missing or cannot be read.
    """
    if not os.path.isfile(path):  # a pipe or a device would never end
        raise DataError(f"{path}: no such image file")
    try:
        with open(path, "rb") as file:
            return _header(file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


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
    header = read_header(path)
    return header.size if header is not None and not header.exif else read_image(os.fspath(path)).shape[:2]


def _header(file: BinaryIO) -> ImageHeader | None:
    size = stated_size(file)
    file.seek(0)
    start = file.read(2)
    if size is None or start not in (b"\xff\xd8", b"\x89P"):
        return None
    exif, whole = (_jpeg_has_exif(file), _jpeg_has_end(file)) if start == b"\xff\xd8" else _png_parts(file)
    return ImageHeader(size, exif, whole)


def _jpeg_has_exif(file: BinaryIO) -> bool:
    """Walk over the segments of applications and comments; a file that does not begin with such may have any."""
    place = 2
    for _ in range(_MOST_PARTS):
        file.seek(place)
        head = file.read(10)
        if len(head) < 10 or head[0] != 0xFF or head[4:8] == b"Exif":
            return True
        if not (0xE0 <= head[1] <= 0xEF or head[1] == 0xFE):
            return False
        place += 2 + int.from_bytes(head[2:4], "big")
    return True


def _jpeg_has_end(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _TAIL, 0))
    return b"\xff\xd9" in file.read()


def _png_parts(file: BinaryIO) -> tuple[bool, bool]:
    """Walk over the chunks to the end, since EXIF may stand before or after the pixels; tell of EXIF, and of the end."""
    exif, place = False, 8
    for _ in range(_MOST_PARTS):
        file.seek(place)
        chunk = file.read(8)
        if len(chunk) < 8:
            return exif, False
        if chunk[4:] == b"IEND":
            return exif, True
        exif |= chunk[4:] == b"eXIf"
        place += 12 + int.from_bytes(chunk[:4], "big")
    return True, True
