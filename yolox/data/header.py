"""What the headers of image files tell, without decoding."""

from __future__ import annotations

import os
from typing import BinaryIO

from attrs import frozen

from yolox.data.image import read_image
from yolox.data.orientation import QUARTER_TURNS, UPRIGHT, jpeg_orientation
from yolox.data.stated import stated_size
from yolox.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_MOST_PARTS = 100_000  # chunks that are walked over
_TAIL = 1024  # bytes at the end in which a JPEG's last marker is looked for; cameras add some of their own


@frozen
class ImageHeader:
    """What the header of a JPEG or PNG file tells.

    Args:
        size: height and width in pixels as stored.
        orientation: 1 (as stored) to 8, as EXIF says that the stored pixels are turned; None where only decoding tells.
        whole: whether the end of the file is there; a file that was cut off decodes to a picture with a grey rest.
    """

    size: tuple[int, int]
    orientation: int | None
    whole: bool

    @property
    def shown(self) -> tuple[int, int] | None:
        """Height and width after turning; None where only decoding tells."""
        if self.orientation is None:
            return None
        return self.size[::-1] if self.orientation in QUARTER_TURNS else self.size


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

    Headers of JPEG and PNG files are read, the orientation in a JPEG's EXIF too; a JPEG with broken EXIF, a PNG with
    any, and any other format are decoded.

    Args:
        path: the file.

    Returns:
        height and width in pixels.

    Raises:
        DataError: the file is missing or is no image.
    """
    header = read_header(path)
    shown = None if header is None else header.shown
    return read_image(os.fspath(path)).shape[:2] if shown is None else shown


def _header(file: BinaryIO) -> ImageHeader | None:
    size = stated_size(file)
    file.seek(0)
    start = file.read(2)
    if size is None or start not in (b"\xff\xd8", b"\x89P"):
        return None
    if start == b"\xff\xd8":
        return ImageHeader(size, jpeg_orientation(file), _jpeg_has_end(file))
    exif, whole = _png_parts(file)
    return ImageHeader(size, None if exif else UPRIGHT, whole)


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
