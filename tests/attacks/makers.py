"""Small files that are made to harm a reader: each function returns the bytes of one kind, or writes one."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import cv2
import numpy as np


def encoded(height: int, width: int, suffix: str = ".jpg", *, value: int = 90) -> bytes:
    """Returns an image of one grey value as a file."""
    return cv2.imencode(suffix, np.full((height, width, 3), value, np.uint8))[1].tobytes()


def png(height: int, width: int, *chunks: tuple[bytes, bytes, int | None]) -> bytes:
    """Returns a PNG of a header and chunks: name, content, and the length that is stated where it is not the true one."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, content, stated in ((b"IHDR", header, None), *chunks):
        length = len(content) if stated is None else stated
        parts.append(struct.pack(">I", length) + name + content + struct.pack(">I", zlib.crc32(name + content)))
    return b"".join(parts)


def motion_jpeg(frames: Sequence[bytes], height: int, width: int) -> bytes:
    """Returns an AVI file whose header states one size, and whose frames are JPEGs of any."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1)

    main = struct.pack("<14I", 200_000, 0, 0, 0x10, len(frames), 0, 1, 1 << 20, width, height, 0, 0, 0, 0)
    numbers = (0, 0, 0, 0, 1, 5, 0, len(frames), 1 << 20, 0xFFFFFFFF, 0, 0, 0, width, height)
    stream = b"vidsMJPG" + struct.pack("<IHHIIIIIIIIhhhh", *numbers)
    form = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0)
    streams = chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", form))
    head = chunk(b"LIST", b"hdrl" + chunk(b"avih", main) + streams)
    body = chunk(b"LIST", b"movi" + b"".join(chunk(b"00dc", frame) for frame in frames))
    return chunk(b"RIFF", b"AVI " + head + body)


def npy(shape: tuple[int, ...], kind: str) -> bytes:
    """Returns the header of a NumPy array, whose numbers may be missing."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
