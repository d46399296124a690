"""Sizes from headers against what OpenCV decodes, and claims that are never decoded."""

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolox.data import image as module
from yolox.data.errors import DataError
from yolox.data.image import read_image
from yolox.data.stated import stated_size

RNG = np.random.default_rng(0)


def encoded(suffix, shape, *options):
    image = cv2.resize(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8), shape[::-1])
    return cv2.imencode(suffix, image, list(options))[1].tobytes()


WRITERS = [
    (".jpg",), (".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (".png",), (".bmp",), (".tif",),
    (".webp", cv2.IMWRITE_WEBP_QUALITY, 50), (".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
]  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 1), (37, 300), (300, 37)])
@pytest.mark.parametrize("writer", WRITERS)
def test_the_header_says_what_is_decoded(writer, shape):
    data = encoded(writer[0], shape, *writer[1:])
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2] == shape
    assert stated_size(io.BytesIO(data)) == shape


def test_jpeg_with_metadata_fill_bytes_and_garbage_between_segments():
    data = encoded(".jpg", (37, 300))
    exif = b"\xff\xe1" + struct.pack(">H", 60_002) + encoded(".jpg", (9, 9)).ljust(60_000, b"\0")
    for between in (exif, exif * 6, b"\xff\xff\xff", b"\0\1\2", b"\xff\x01"):
        assert stated_size(io.BytesIO(data[:2] + between + data[2:])) == (37, 300)


def tiff(order, big, height, width, kind):
    """A TIFF of a header and a directory, by its specification."""
    mark = b"II" if order == "<" else b"MM"
    entries = [(254, kind, 0), (256, kind, width), (257, kind, height)]
    if big:
        head = mark + struct.pack(order + "HHHQ", 43, 8, 0, 16) + struct.pack(order + "Q", 3)
        return head + b"".join(struct.pack(order + "HHQ", t, k, 1) + _value(order, k, v, 8) for t, k, v in entries)
    head = mark + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", 3)
    return head + b"".join(struct.pack(order + "HHI", t, k, 1) + _value(order, k, v, 4) for t, k, v in entries)


def _value(order, kind, value, room):
    return struct.pack(order + {3: "H", 4: "I", 16: "Q"}[kind], value).ljust(room, b"\0")


@pytest.mark.parametrize("order", "<>")
def test_tiff_in_both_orders_and_sizes(order):
    for big, kind in ((False, 3), (False, 4), (True, 4), (True, 16)):
        assert stated_size(io.BytesIO(tiff(order, big, 700, 65_000, kind))) == (700, 65_000)


def jpeg_claim(height, width):
    data = bytearray(encoded(".jpg", (8, 8)))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def png_claim(height, width):
    data = bytearray(encoded(".png", (8, 8)))
    data[16:24] = struct.pack(">II", width, height)
    return bytes(data)


def bmp_claim(height, width):
    data = bytearray(encoded(".bmp", (8, 8)))
    data[18:26] = struct.pack("<ii", width, -height)
    return bytes(data)


def webp_claim(height, width):
    data = bytearray(encoded(".webp", (8, 8), cv2.IMWRITE_WEBP_QUALITY, 50))
    data[26:30] = struct.pack("<HH", width, height)
    return bytes(data)


CLAIMS = {
    "jpeg": jpeg_claim(65_000, 65_000),
    "png": png_claim(1_000_000, 1_000_000),
    "png one row": png_claim(1, 2**31 - 1),
    "bmp": bmp_claim(100_000, 100_000),
    "webp": webp_claim(16_383, 16_383),
    "tiff": tiff("<", False, 10**6, 10**6, 4),
    "big tiff": tiff(">", True, 2**63, 2**63, 16),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_enormous_claims_are_refused_before_decoding(tmp_path, monkeypatch, case):
    def decoded(*_arguments):
        raise AssertionError("was decoded")

    monkeypatch.setattr(module.cv2, "imread", decoded)
    (tmp_path / "a.jpg").write_bytes(CLAIMS[case])
    with pytest.raises(DataError, match="a.jpg: states .* pixels, more than max_pixels=134217728; not decoded"):
        read_image(str(tmp_path / "a.jpg"))


def test_the_limit_is_a_field(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(".png", (10, 10)))
    assert read_image(str(tmp_path / "a.png"), max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(DataError, match="states 10x10 pixels, more than max_pixels=99"):
        read_image(str(tmp_path / "a.png"), max_pixels=99)


@pytest.mark.parametrize("name", ["a.pbm", "a.hdr", "a.jp2", "a.gif"])
def test_formats_whose_size_is_not_read_are_refused(tmp_path, name):
    """They would be decoded by their content whatever their name is, so that any size could hide in them."""
    image = np.zeros((8, 8, 3), np.float32 if name == "a.hdr" else np.uint8)
    made = name == "a.gif" or cv2.imwrite(str(tmp_path / name), image)
    data = b"GIF89a" + bytes(40) if name == "a.gif" else (tmp_path / name).read_bytes() if made else b""
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(DataError, match="no header of JPEG, PNG, BMP, TIFF or WebP"):
        read_image(str(tmp_path / "a.jpg"))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(CLAIMS)), st.binary(max_size=40), st.integers(0, 60), st.integers(0, 20))
def test_any_bytes_give_a_size_or_none(case, noise, start, length):
    data = CLAIMS[case]
    size = stated_size(io.BytesIO(data[:start] + noise + data[start + length :]))
    assert size is None or (len(size) == 2 and min(size) > 0)


def test_every_truncation_gives_a_size_or_none():
    for data in CLAIMS.values():
        sizes = {stated_size(io.BytesIO(data[:length])) for length in range(min(len(data), 700))}
        assert len(sizes) <= 2 and None in sizes
