"""EXIF orientations read from headers: what OpenCV's decoder makes of the same bytes, without decoding."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_image import smooth
from yolox.data import image as module
from yolox.data.header import QUARTER_TURNS, exif_orientation, jpeg_orientation, read_header, tiff_orientation
from yolox.data.image import image_size, read_image
from yolox.errors import DataError

JPEG = cv2.imencode(".jpg", smooth(20, 30))[1].tobytes()
MAKE = (0x010F, 2, 6, 0)  # text that lies behind the directory


def exif(*entries, order="<", behind=b""):
    """EXIF data of one directory; entries are tag, type, count, value. A short value stands first in its four bytes."""
    rows = b"".join(struct.pack(order + "HHI", *entry[:3]) + _value(entry, order) for entry in entries)
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries)) + rows + b"\0" * 4 + behind


def _value(entry, order):
    return struct.pack(order + ("HH" if entry[1] == 3 else "I"), *((entry[3], 0) if entry[1] == 3 else (entry[3],)))


def orientation(value, kind=3):
    return (0x0112, kind, 1, value)


def segment(content, marker=0xE1):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg_of(*contents, before=b"\xff\xe0"):
    """The JPEG with segments APP1 in front of the first segment of a kind."""
    place = JPEG.index(before)
    return JPEG[:place] + b"".join(segment(content) for content in contents) + JPEG[place:]


def decoded_shape(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2]


def turns(data):
    """Returns whether header and decoder agree on the sides; True where the sides are swapped."""
    found = jpeg_orientation(io.BytesIO(data))
    shape = (30, 20) if found in QUARTER_TURNS else (20, 30)
    assert found is not None and decoded_shape(data) == shape
    return shape == (30, 20)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("value", range(1, 9))
def test_all_eight_are_read_without_decoding(tmp_path, monkeypatch, order, value):
    data = jpeg_of(b"Exif\0\0" + exif(MAKE[:3] + (38,), orientation(value), order=order, behind=b"maker\0"))
    (tmp_path / "a.jpg").write_bytes(data)
    shape = decoded_shape(data)
    assert shape == ((30, 20) if value > 4 else (20, 30))
    monkeypatch.setattr(module, "read_image", lambda *_: pytest.fail("decoded"))
    header = read_header(str(tmp_path / "a.jpg"))
    assert (header.orientation, header.size, header.shown) == (value, (20, 30), shape)
    assert image_size(str(tmp_path / "a.jpg")) == shape


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_values_without_a_meaning_turn_nothing(value):
    assert not turns(jpeg_of(b"Exif\0\0" + exif(orientation(value))))


@pytest.mark.parametrize(("order", "turned"), [("<", True), (">", False)])
def test_an_orientation_of_four_bytes_is_read_as_two(order, turned):
    assert turns(jpeg_of(b"Exif\0\0" + exif(orientation(6, kind=4), order=order))) is turned


@pytest.mark.parametrize("before", [b"\xff\xe0", b"\xff\xdb", b"\xff\xc0", b"\xff\xc4", b"\xff\xda"])
def test_exif_may_stand_anywhere_before_the_pixels(before):
    assert turns(jpeg_of(b"Exif\0\0" + exif(orientation(8)), before=before))


def test_the_first_segment_of_its_kind_counts():
    one, six = (b"Exif\0\0" + exif(orientation(value)) for value in (1, 6))
    text = b"http://ns.adobe.com/xap/1.0/\0<x/>"
    assert turns(jpeg_of(six, text)) and turns(jpeg_of(six, one))
    assert not turns(jpeg_of(text, six)) and not turns(jpeg_of(one, six)) and not turns(jpeg_of(b"Exif", six))
    assert not turns(JPEG)


def test_the_first_of_two_entries_counts_and_a_count_too_large_does_no_harm():
    assert turns(jpeg_of(b"Exif\0\0" + exif(orientation(6), orientation(1))))
    data = exif(orientation(6))
    assert turns(jpeg_of(b"Exif\0\0" + data[:8] + struct.pack("<H", 60_000) + data[10:]))
    assert turns(jpeg_of(b"Exif\0\0" + exif(orientation(6), MAKE[:2] + (99, 10**9))))


@pytest.mark.parametrize(
    "data",
    [
        exif(MAKE[:2] + (99, 10**9), orientation(6)),  # a text that is not there, before the orientation
        exif()[:4] + struct.pack("<I", 2**32 - 1) + exif(orientation(6))[8:],  # a directory that is not there
        exif(MAKE)[:8] + struct.pack("<H", 60_000) + exif(MAKE[:3] + (14,))[10:],  # and one that does not end
        exif(orientation(6))[:18],
        b"IM*\0" + exif(orientation(6))[4:],
    ],
)
def test_what_is_broken_before_the_orientation_is_left_to_the_decoder(tmp_path, data):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_of(b"Exif\0\0" + data))
    assert exif_orientation(data) is None and read_header(str(path)).shown is None
    assert image_size(str(path)) == decoded_shape(path.read_bytes())


def test_a_directory_that_points_to_itself_ends():
    data = exif(orientation(6))
    assert exif_orientation(data[:-4] + struct.pack("<I", 8)) == 6


WHOLE = exif((0x010E, 2, 4, 0), MAKE[:3] + (62,), orientation(6), (0x011A, 5, 1, 62), behind=b"maker\0\0\0\0\0")


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.sampled_from("<>"),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=4),
    st.integers(0, 90),
)
def test_any_damage_gives_what_the_decoder_does_or_leaves_it_to_it(order, changes, length):
    data = bytearray(WHOLE if order == "<" else exif(MAKE, orientation(6), orientation(1, kind=4), order=">"))
    for place, byte in changes:
        data[place % len(data)] = byte
    data = jpeg_of(b"Exif\0\0" + bytes(data[:length]))
    found = jpeg_orientation(io.BytesIO(data))
    assert found is None or decoded_shape(data) == ((30, 20) if found in QUARTER_TURNS else (20, 30))


def test_every_truncation_of_the_file_gives_an_orientation_or_none():
    data = jpeg_of(b"Exif\0\0" + WHOLE)
    found = [jpeg_orientation(io.BytesIO(data[:length])) for length in range(len(data))]
    assert set(found) == {1, 6, None}


def tiff_of(value, order="<"):
    """A grey TIFF of 2x3 (height, width) pixels with an orientation, written by TIFF's specification."""
    pixels, start = bytes(range(0, 120, 20)), 8
    tags = [(256, 3, 3), (257, 3, 2), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, start), (274, 3, value), (277, 3, 1),
            (278, 3, 2), (279, 4, 6)]  # fmt: skip
    entries = [(tag, kind, 1, content) for tag, kind, content in tags]
    rows = b"".join(struct.pack(order + "HHI", *entry[:3]) + _value(entry, order) for entry in entries)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start + len(pixels))
    return head + pixels + struct.pack(order + "H", len(tags)) + rows + b"\0" * 4


@pytest.mark.parametrize("order", "<>")
def test_a_tiff_turned_by_a_quarter_is_refused_with_the_reason(tmp_path, capfd, order):
    path, stored = tmp_path / "a.tif", np.arange(0, 120, 20).reshape(2, 3)
    for value, want in {1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 0: stored, 9: stored}.items():
        path.write_bytes(tiff_of(value, order))
        np.testing.assert_array_equal(read_image(str(path))[..., 0], want)
    for value in QUARTER_TURNS:
        path.write_bytes(tiff_of(value, order))
        with pytest.raises(DataError, match=f"a.tif: is a TIFF of orientation {value}, turned by a quarter, .*; save it upright"):
            read_image(str(path))
    assert "ERROR" not in capfd.readouterr().err


@pytest.mark.parametrize("entry", [(0x0112, 3, 2, 6), (0x0112, 9, 1, 6), orientation(0), orientation(9)])
def test_an_orientation_that_is_none_leaves_a_tiff_upright(entry):
    assert tiff_orientation(io.BytesIO(exif(entry))) == 1


def test_the_orientation_of_a_tiff_is_read_from_its_header():
    assert tiff_orientation(io.BytesIO(exif(orientation(6)))) == 6
