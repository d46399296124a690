"""The walk over a JPEG's segments, as libjpeg does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
_LAST = (0xD9, 0xDA)  # the end, and the pixels
_MOST_SEGMENTS = 10_000


def jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Walk over the segments before the pixels; bytes between two segments are skipped.

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
    while byte := file.read(1):
        if byte != b"\xff":
            continue
        while byte == b"\xff":
            byte = file.read(1)
        if byte and byte != b"\0":
            return byte[0]
    return None
