"""The wire format, against the parser of protocol buffers."""

import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mindspore.train.checkpoint_pb2 import TensorProto

from yolox.errors import WeightsError
from yolox.wire import LimitedReader, WireReader, read_file, read_varint


def fields(data, most=100):
    return list(WireReader(most=most).fields(memoryview(data)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8), st.text(max_size=200), st.binary(max_size=200))
def test_fields_of_a_tensor_are_those_that_protobuf_writes(dims, kind, content):
    data = TensorProto(dims=dims, tensor_type=kind, tensor_content=content).SerializeToString()
    sizes = [(1, size % 2**64) for size in dims]
    assert fields(data) == [*sizes, (2, kind.encode()), (3, content)]


def test_an_example_of_the_specification():
    assert fields(bytes([0x08, 0x96, 0x01])) == [(1, 150)]
    assert fields(bytes([0x12, 0x07]) + b"testing") == [(2, b"testing")]


BROKEN = {
    "no value": (b"\x08", "within a number"),
    "number goes on": (b"\x08\xff", "within a number"),
    "number of eleven bytes": (b"\x08" + b"\x80" * 10 + b"\x01", "more than 64 bits"),
    "text cut off": (b"\x12\x07test", "a field of 7 bytes, 4 are there"),
    "text of an exabyte": (b"\x12" + b"\xff" * 8 + b"\x0ftest", "4 are there"),
    "a group": (b"\x0b\x0c", "form 3"),
    "64 bits": (b"\x09" + bytes(8), "form 1"),
    "32 bits": (b"\x0d" + bytes(4), "form 5"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_fields_are_refused(case):
    data, message = BROKEN[case]
    with pytest.raises(WeightsError, match=message):
        fields(data)


def test_fields_of_all_messages_are_counted():
    reader, message = WireReader(most=3), memoryview(b"\x08\x01\x08\x02")
    assert list(reader.fields(message)) == [(1, 1), (1, 2)]
    with pytest.raises(WeightsError, match="more than 3 fields"):
        list(reader.fields(message))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**63, 2**64 - 1])
def test_numbers_end_where_the_next_begins(value):
    data = TensorProto(dims=[value - 2**64 if value >> 63 else value]).SerializePartialToString()
    assert read_varint(memoryview(data), 1) == (value, len(data))


def test_bits_beyond_the_64th_are_dropped_as_protobuf_does():
    data = b"\x08" + b"\xff" * 9 + b"\x7f"
    (size,) = TensorProto.FromString(data + b"\x12\x00\x1a\x00").dims
    assert fields(data) == [(1, size % 2**64)] == [(1, 2**64 - 1)]


def test_forms_of_fields():
    message = bytes([0x08, 0x05, 0x15, 0, 0, 0x80, 0x3F, 0x19, *range(8), 0x22, 2, 7, 9])
    found = [(number, form, value if form == 0 else bytes(value)) for number, form, value in
             WireReader(most=9).typed_fields(memoryview(message))]  # fmt: skip
    assert found == [(1, 0, 5), (2, 5, b"\0\0\x80\x3f"), (3, 1, bytes(range(8))), (4, 2, b"\x07\x09")]
    with pytest.raises(WeightsError, match="form 5"):
        list(WireReader(most=9).fields(memoryview(message)))
    with pytest.raises(WeightsError, match="truncated"):
        list(WireReader(most=9).typed_fields(memoryview(message[:5])))


def test_files_are_regular_and_within_the_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_file(tmp_path / "a", most=5) == b"12345"
    with pytest.raises(WeightsError, match="has 5 bytes, more than the limit of 4"):
        read_file(tmp_path / "a", most=4)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(WeightsError, match="no regular file"):
            read_file(path, most=5)


def test_a_limited_reader_gives_at_most_its_limit_at_once():
    stream = LimitedReader(io.BytesIO(b"0123456789"), most=4, message="over {most}")
    assert stream.read(4) == b"0123" and stream.read(3) == b"456"
    for size in (5, -1, None):
        stream.seek(0)
        with pytest.raises(WeightsError, match="^over 4$"):
            stream.read(size)
    stream.seek(6)
    assert stream.read(1000) == b"6789"  # fewer are there
    stream.seek(0)
    stream.most = None
    assert stream.read() == b"0123456789"
