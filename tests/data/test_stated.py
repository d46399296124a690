"""Sizes from headers against what OpenCV decodes, and claims that are never decoded."""

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolox.data import image as module
from yolox.data.header import stated_size
from yolox.data.image import read_image
from yolox.errors import DataError

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


def _value(order, kind, value, width):
    return struct.pack(order + {3: "H", 4: "I", 16: "Q"}[kind], value).ljust(width, b"\0")


@pytest.mark.parametrize("order", "<>")
def test_tiff_in_both_orders_and_sizes(order):
    for big, kind in ((False, 3), (False, 4), (True, 4), (True, 16)):
        assert stated_size(io.BytesIO(tiff(order, big, 700, 65_000, kind))) == (700, 65_000)


FORMS = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 10: "q", 11: "f", 13: "I", 16: "Q", 17: "q", 18: "Q"}


def whole_tiff(order, big, kind, *, count=1, more=()):
    """A grey TIFF of 5 x 7 pixels whose sizes are of a type; a number of eight bytes stands behind the directory."""
    sizes = [(256, kind, count, 7), (257, kind, count, 5)]
    rest = [(t, 4, 1, v) for t, v in ((258, 8), (259, 1), (262, 1), (277, 1), (278, 5), (279, 35))]
    entries = sorted([*sizes, (273, 4, 1, 1000), *rest, *more], key=lambda entry: entry[0])
    wide, width = ("Q", 8) if big else ("I", 4)
    head = struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8)
    head = (b"II" if order == "<" else b"MM") + head
    directory, behind = struct.pack(order + ("Q" if big else "H"), len(entries)), b""
    for tag, form, number, value in entries:
        data = struct.pack(order + FORMS[form], value)
        if len(data) > width:
            behind, data = behind + data, struct.pack(order + wide, 500 + len(behind))
        directory += struct.pack(order + "HH" + wide, tag, form, number) + data.ljust(width, b"\0")
    return ((head + directory).ljust(500, b"\0") + behind).ljust(1000, b"\0") + bytes(35)


def decoded_size(data):
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else image.shape[:2]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("kind", FORMS)
def test_numbers_of_every_type_in_a_tiff_are_read_as_they_are_decoded_or_refused(order, big, kind):
    data = whole_tiff(order, big, kind)
    taken = kind in (1, 3, 4) or (big and kind == 16)
    assert stated_size(io.BytesIO(data)) == ((5, 7) if taken else None)
    assert decoded_size(data) == (5, 7) or not taken


@pytest.mark.parametrize("kind", [8, 9, 16, 17])
def test_a_tiff_whose_sizes_only_the_decoder_reads_is_not_decoded(tmp_path, kind):
    """Each was taken for its lowest byte once, while OpenCV decoded all of it."""
    data = whole_tiff("<", False, kind)
    assert decoded_size(data) == (5, 7)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(DataError, match="cannot be decoded as an image .no header"):
        read_image(str(tmp_path / "a.tif"))


@pytest.mark.parametrize("count", [0, 2, 3])
def test_a_tiff_with_other_than_one_number_for_a_side_is_refused(count):
    assert stated_size(io.BytesIO(whole_tiff("<", False, 3, count=count))) is None


@pytest.mark.parametrize("more", [[(256, 3, 1, 3)], [(257, 4, 1, 2), (256, 9, 1, 3)]])
def test_the_first_of_two_entries_counts_as_for_the_decoder(more):
    data = whole_tiff("<", False, 3, more=more)
    assert stated_size(io.BytesIO(data)) == decoded_size(data) == (5, 7)


def test_tiles_much_larger_than_the_image_are_refused():
    """OpenCV allocates a whole tile, up to a gigabyte."""
    for width, height, size in ((4096, 4096, (5, 7)), (4112, 16, None), (16, 4112, None)):
        data = whole_tiff("<", False, 3, more=[(322, 4, 1, width), (323, 4, 1, height)])
        assert stated_size(io.BytesIO(data)) == size


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

    monkeypatch.setattr(module.cv2, "imdecode", decoded)
    (tmp_path / "a.jpg").write_bytes(CLAIMS[case])
    with pytest.raises(DataError, match="a.jpg: states .* pixels, more than `max_pixels` 134217728; not decoded"):
        read_image(str(tmp_path / "a.jpg"))


def test_the_limit_is_a_field(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(".png", (10, 10)))
    assert read_image(str(tmp_path / "a.png"), max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(DataError, match="states 10x10 pixels, more than `max_pixels` 99"):
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
