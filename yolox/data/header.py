"""Sizes, orientations and ends of image files from their headers, without decoding."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from attrs import frozen

from yolox.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp",
                  ".heic", ".heif", ".avif", ".npy")  # fmt: skip
_MOST_PARTS = 100_000  # chunks that are walked over
_BLOCK, _MOST_BLOCKS = 1 << 20, 128  # bytes read at a time, and how often: a sparse file declares any size
_TAIL = 1024  # bytes at the end in which a JPEG's last marker is looked for; cameras add some of their own


@frozen
class ImageHeader:
    """Size, orientation and completeness of a JPEG or PNG file, by its header.

    Args:
        size: height and width in pixels as stored.
        orientation: 1 (as stored) to 8, the orientation by EXIF; None where only decoding shows it.
        whole: whether the end of the file is there; a file that was cut off decodes to a picture with a grey rest.
    """

    size: tuple[int, int]
    orientation: int | None
    whole: bool

    @property
    def shown(self) -> tuple[int, int] | None:
        """Height and width after applying the orientation; None where only decoding shows it."""
        if self.orientation is None:
            return None
        return self.size[::-1] if self.orientation in QUARTER_TURNS else self.size


def is_image_name(name: str) -> bool:
    """Returns whether a file name has the suffix of an image, in upper or lower case.

    Args:
        name: of a file, with or without folders.

    Returns:
        True for one of `IMAGE_SUFFIXES`.
    """
    return name.lower().endswith(IMAGE_SUFFIXES)


def without_array_copies(names: Sequence[str]) -> list[str]:
    """Leaves out NumPy arrays beside an image file of the same name: other programs keep decoded copies there.

    Args:
        names: of image files.

    Returns:
        The others, in their order.

    Example:
        >>> without_array_copies(["a.jpg", "a.npy", "b.npy"])
        ['a.jpg', 'b.npy']
    """
    stems = {os.path.splitext(name)[0] for name in names if not name.lower().endswith(".npy")}
    return [name for name in names if not name.lower().endswith(".npy") or os.path.splitext(name)[0] not in stems]


def read_header(path: str) -> ImageHeader | None:
    """Reads the header of a JPEG or PNG file: a few hundred bytes, wherever in the file they are.

    Args:
        path: the file.

    Returns:
        ImageHeader, or None where the file is of another format or states no size.

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
    """Looks for the last marker at the end of the file, else behind the first pixels.

    Motion photos and trailers of cameras and scanners stand behind a whole JPEG. Among the pixels 0xFF is followed by a
    zero byte, so the marker found there is none of them.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _TAIL, 0))
    if b"\xff\xd9" in file.read():
        return True
    start = 2
    for _, length in jpeg_segments(file):
        start = file.tell() + length
    file.seek(start)
    last = b""
    for _ in range(_MOST_BLOCKS):
        block = file.read(_BLOCK)
        if not block or b"\xff\xd9" in last + block:
            return bool(block)
        last = block[-1:]
    return False


def _png_parts(file: BinaryIO) -> tuple[bool, bool]:
    """Returns whether a PNG has EXIF data and an end. All chunks are visited: EXIF may follow the pixels."""
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


_FRAME_MARKERS = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_LARGE_TILE = 4096  # px


def stated_size(file: BinaryIO) -> tuple[int, int] | None:
    """Reads the height and width that the header of an image file states.

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
    """Returns whether tiles are not much larger than the image: a decoder allocates a whole tile."""
    tiles = ((found.get(TILE_WIDTH, 1), width), (found.get(TILE_HEIGHT, 1), height))
    return all(tile is not None and tile <= max(side, _LARGE_TILE) for tile, side in tiles)


UPRIGHT = 1
QUARTER_TURNS = (5, 6, 7, 8)
"""Orientations that swap height and width."""
_APP1 = 0xE1
_PREFIX = 6  # "Exif" and two zero bytes, which OpenCV does not look at
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_EXIF_ENTRY_BYTES = 12  # bytes
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes, by TIFF's specification


def jpeg_orientation(file: BinaryIO) -> int | None:
    """Reads the orientation that OpenCV applies when it decodes a JPEG.

    OpenCV takes the first segment APP1 alone, whatever it is called: EXIF behind another such segment (XMP) is not seen.

    Args:
        file: opened for reading bytes.

    Returns:
        1 (as stored) to 8; None for EXIF so broken that only decoding shows it.
    """
    for marker, length in jpeg_segments(file):
        if marker == _APP1:
            content = file.read(length)
            return exif_orientation(content[_PREFIX:]) if len(content) == length else None
    return UPRIGHT


def tiff_orientation(file: BinaryIO) -> int:
    """Reads the orientation of a TIFF file.

    Args:
        file: opened for reading bytes.

    Returns:
        1 (as stored) to 8; 1 for what is no TIFF or states none.
    """
    file.seek(0)
    head = file.read(16)
    try:
        stated = tiff_tags(head, file).get(ORIENTATION, UPRIGHT) if head.startswith(STARTS) else UPRIGHT
    except struct.error:
        return UPRIGHT
    return stated if stated in range(UPRIGHT, 9) else UPRIGHT


def exif_orientation(data: bytes) -> int | None:
    """Reads the orientation from EXIF data: a TIFF header and its first directory, no other.

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
        places = range(start + 2, start + 2 + count * _EXIF_ENTRY_BYTES, _EXIF_ENTRY_BYTES)
        return next((found for place in places if (found := _exif_entry(data, place, order)) is not None), UPRIGHT)
    except (struct.error, _Beyond):
        return None


class _Beyond(Exception):
    """A value that reaches beyond the data: OpenCV stops reading there."""


def _exif_entry(data: bytes, place: int, order: str) -> int | None:
    """Returns the orientation of an entry that states one, None of any other."""
    tag, kind, count, value = struct.unpack_from(order + "HHII", data, place)
    if tag == ORIENTATION:
        (stated,) = struct.unpack_from(order + "H", data, place + 8)
        return stated if UPRIGHT <= stated <= 8 else UPRIGHT
    size = count * _TYPE_SIZES.get(kind, 1)
    if size > 4 and value + size > len(data):
        raise _Beyond
    return None


STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # both byte orders, of TIFF and BigTIFF
WIDTH, HEIGHT, ORIENTATION, TILE_WIDTH, TILE_HEIGHT = 256, 257, 274, 322, 323
_MOST_ENTRIES = 10_000
_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, and LONG8 (BigTIFF only)


def tiff_tags(head: bytes, file: BinaryIO) -> dict[int, int | None]:
    """Reads the tags of a TIFF's first directory.

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
        tag, value = _tiff_entry(file.read(20 if big else 12), order, big)
        found.setdefault(tag, value)
    return found


def _tiff_entry(entry: bytes, order: str, big: bool) -> tuple[int, int | None]:
    """Returns an entry's tag and its number.

    libtiff also takes signed types, and in a small TIFF eight bytes that stand elsewhere; writers do not make those.
    """
    tag, kind, count = struct.unpack_from(order + ("HHQ" if big else "HHI"), entry)
    form = _TIFF_TYPES.get(kind)
    if form is None or count != 1:
        return tag, None
    return tag, struct.unpack_from(order + form, entry, 12 if big else 8)[0]


_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
_LAST = (0xD9, 0xDA)  # the end, and the pixels
_MOST_SEGMENTS = 10_000


def jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yields the segments before the pixels; bytes between two segments are skipped.

    Args:
        file: opened for reading bytes.

    Yields:
        marker and stated length in bytes of each segment's content, with the file at the content's first byte; what is
        read of it meanwhile does not matter.
    """
    file.seek(2)
    for _ in range(_MOST_SEGMENTS):
        marker = _next_marker(file)
        if marker is None or marker in _LAST:
            return
        if marker in _ALONE:
            continue
        length = file.read(2)
        if len(length) < 2:
            return
        content, place = max(int.from_bytes(length, "big") - 2, 0), file.tell()
        yield marker, content
        file.seek(place + content)


def _next_marker(file: BinaryIO) -> int | None:
    """Returns the next marker, and sets the file behind it: 0xFF and a byte that is neither that nor zero."""
    size, last = 16, b""
    while block := file.read(size):
        text = last + block
        if text.strip(b"\xff") and (found := re.search(rb"\xff([^\xff\0])", text)):
            file.seek(found.end() - len(text), os.SEEK_CUR)
            return found[1][0]
        last, size = block[-1:], _BLOCK
    return None


_READERS = (
    (b"\xff\xd8", _jpeg), (b"\x89PNG\r\n\x1a\n", _png), (b"BM", _bmp), (b"RIFF", _webp),
    *((start, _tiff) for start in STARTS),
)  # fmt: skip
