"""What image files hold that is not read: further pages or frames, the lower half of 16 bits, the orientation of a WebP."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from attrs import frozen

from yolox.data.header import STARTS, UPRIGHT, exif_orientation

PAGES = "image files of several pages or frames, of which the first is read"
BITS = "image files of 16 bits a channel, of which the upper 8 are read"
TURNED = "WebP files whose EXIF orientation is not applied"

_NUMPY_16_BITS = re.compile(rb"'descr': *'[<>]u2'")
_SUBFILE, _BITS = 254, 258  # tags of TIFF
_THUMBNAIL, _MASK = 1, 4  # of a subfile: no page of its own
_MOST_PARTS = 10_000


@frozen
class Unread:
    """A part of an image file that is not read.

    Args:
        kind: `PAGES`, `BITS` or `TURNED`.
        what: the content of this file, such as ``has 3 pages``.
    """

    kind: str
    what: str


def unread_content(file: BinaryIO, *, channels: int = 3, max_value: int = 255) -> Unread | None:
    """Finds what `read_image` leaves out of an image file, by its headers.

    Args:
        file: opened for reading bytes.
        channels: that are read; where it is neither 1 nor 3, the pages of a TIFF are channels, and all are read.
        max_value: as in `InputSpec`; above 255, all 16 bits are read.

    Returns:
        The first of what is left out; None where all is read, and for files of other formats than TIFF, WebP, PNG
        and `.npy`.

    Example:
        >>> import io
        >>> unread_content(io.BytesIO(b"II*\\0" + struct.pack("<IHIHI", 8, 0, 14, 0, 0)))
        Unread(kind='image files of several pages or frames, of which the first is read', what='has 2 pages')
    """
    file.seek(0)
    head, found = file.read(32), None
    try:
        if head.startswith(STARTS):
            found = _of_tiff(file, head, pages_are_read=channels not in (1, 3))
        if head.startswith(b"RIFF") and head[8:16] == b"WEBPVP8X":  # the simple forms have one frame and no EXIF data
            found = _of_webp(file)
    except struct.error:  # the file ends too early, which decoding tells
        return None
    if head.startswith(b"\x89PNG") and head[12:16] == b"IHDR" and head[24:25] == b"\x10":
        found = Unread(BITS, "has 16 bits a channel")
    if head.startswith(b"\x93NUMPY") and _NUMPY_16_BITS.search(head + file.read(96)):
        found = Unread(BITS, "has 16 bits a channel")
    return None if found is not None and found.kind == BITS and max_value > 255 else found


def _of_tiff(file: BinaryIO, head: bytes, *, pages_are_read: bool) -> Unread | None:
    pages, bits = 0, 8
    for kind, depth in _tiff_directories(file, head):
        bits = bits if pages else depth
        pages += not kind & (_THUMBNAIL | _MASK)
    if pages > 1 and not pages_are_read:
        return Unread(PAGES, f"has {pages} pages")
    return Unread(BITS, "has 16 bits a channel") if bits == 16 else None


def _tiff_directories(file: BinaryIO, head: bytes) -> Iterator[tuple[int, int]]:
    """Yields the kind and the bits of a channel of each directory of a TIFF or BigTIFF."""
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", head, 2)[0] == 43
    entry, count, place = ("HHQ8s", "Q", "Q") if big else ("HHI4s", "H", "I")
    (offset,), seen = struct.unpack_from(order + place, head, 8 if big else 4), set()
    while offset and offset < 1 << 62 and offset not in seen and len(seen) < _MOST_PARTS:
        seen.add(offset)
        file.seek(offset)
        try:
            (entries,) = _read(file, order + count)
            found = dict.fromkeys((_SUBFILE, _BITS))
            for _ in range(min(entries, _MOST_PARTS)):
                tag, kind, values, data = _read(file, order + entry)
                if tag in found:
                    found[tag] = kind, values, data
            (offset,) = _read(file, order + place)
            yield tuple(_first_value(file, order, each) or 0 for each in found.values())
        except struct.error:  # of a later directory: libtiff reads those before it
            return


def _read(file: BinaryIO, form: str) -> tuple:
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _first_value(file: BinaryIO, order: str, entry: tuple[int, int, bytes] | None) -> int | None:
    """Returns the first number of an entry of TIFF's SHORT or LONG, which stands elsewhere where several do not fit."""
    if entry is None or entry[0] not in (3, 4):
        return None
    form, (kind, count, data) = order + ("H" if entry[0] == 3 else "I"), entry
    if count * (2 if kind == 3 else 4) > len(data):
        file.seek(struct.unpack(order + ("Q" if len(data) == 8 else "I"), data)[0])
        return _read(file, form)[0]
    return struct.unpack_from(form, data)[0]


def _of_webp(file: BinaryIO) -> Unread | None:
    frames, turned, place = 0, UPRIGHT, 12
    for _ in range(_MOST_PARTS):
        file.seek(place)
        chunk = file.read(8)
        if len(chunk) < 8:
            break
        size = int.from_bytes(chunk[4:], "little")
        frames += chunk[:4] == b"ANMF"
        if chunk[:4] == b"EXIF":
            turned = exif_orientation(file.read(min(size, 1 << 16)).removeprefix(b"Exif\0\0")) or UPRIGHT
        place += 8 + size + size % 2
    if frames > 1:
        return Unread(PAGES, f"has {frames} frames")
    return None if turned == UPRIGHT else Unread(TURNED, f"has the orientation {turned}")


def unread_of(path: str, *, channels: int = 3, max_value: int = 255) -> Unread | None:
    """Finds what `read_image` leaves out of the image file at a path; as `unread_content`.

    Args:
        path: of the file.
        channels, max_value: as in `unread_content`.

    Returns:
        What is left out; None also where the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return unread_content(file, channels=channels, max_value=max_value)
    except OSError:
        return None
