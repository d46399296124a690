"""MindSpore's checkpoints: agrees with MindSpore's own loader, and refuses what that one believes."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore.train.checkpoint_pb2 import Checkpoint

from yolox.errors import WeightsError
from yolox.weights import ckpt as module
from yolox.weights.ckpt import MAX_DIMS, MAX_FIELDS, read_ckpt


def _message(*tensors) -> bytes:
    message = Checkpoint()
    for name, kind, shape, data in tensors:
        value = message.value.add()
        value.tag, value.tensor.tensor_type, value.tensor.tensor_content = name, kind, data
        value.tensor.dims.extend(shape)
    return message.SerializeToString()


def _written(tmp_path, data):
    path = tmp_path / "w.ckpt"
    path.write_bytes(data)
    return path


def _read(tmp_path, data):
    return read_ckpt(_written(tmp_path, data))


@pytest.mark.parametrize("crc_check", [False, True])
def test_agrees_with_mindspore(tmp_path, crc_check):
    rng = np.random.default_rng(0)
    arrays = {
        "model.model.0.weight": rng.standard_normal((2, 3, 1, 1)).astype(np.float32),
        "half": rng.standard_normal(3).astype(np.float16),
        "step": np.array(5, np.int32),
        "flag": np.array([True, False]),
    }
    path = str(tmp_path / "w.ckpt")
    data = [{"name": name, "data": ms.Tensor(array)} for name, array in arrays.items()]
    ms.save_checkpoint(data, path, crc_check=crc_check, append_dict={"epoch": 3, "text": "hello"})
    found, witness = read_ckpt(path), ms.load_checkpoint(path)
    assert set(arrays) <= set(found) <= set(witness)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], witness[name].asnumpy())


def test_a_tensor_in_several_parts_and_bfloat16(tmp_path):
    numbers = np.arange(6, dtype=np.float32)
    halves = [
        ("w", "Float32", (2, 3), numbers[:3].tobytes()),
        ("w", "Float32", (2, 3), numbers[3:].tobytes()),
    ]
    np.testing.assert_array_equal(_read(tmp_path, _message(*halves))["w"], numbers.reshape(2, 3))
    bits = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    np.testing.assert_array_equal(
        _read(tmp_path, _message(("w", "BFloat16", (6,), bits.tobytes())))["w"], numbers
    )


BAD = {
    "shape too large": ("Float32", (10**9,), bytes(16), r"shape \(1000000000,\) of Float32 in 16 bytes"),
    "shape too small": ("Float32", (3,), bytes(16), "in 16 bytes"),
    "negative": ("Float32", (-2, -2), bytes(16), r"shape \(-2, -2\) of Float32 in 16 bytes"),
    "overflow": ("Float32", (2**62, 4), bytes(16), "in 16 bytes"),
    "other type": ("Float64", (4,), bytes(16), "in 16 bytes"),
    "unknown type": ("Float31", (4,), bytes(16), "unknown type 'Float31'"),
}


@pytest.mark.parametrize("case", BAD)
def test_shapes_that_do_not_match_their_bytes_are_refused(tmp_path, case):
    kind, shape, data, message = BAD[case]
    with pytest.raises(WeightsError, match=f"w.ckpt: tensor 'w'.*{message}"):
        _read(tmp_path, _message(("w", kind, shape, data)))


def test_a_wrong_checksum_is_refused(tmp_path):
    path = tmp_path / "w.ckpt"
    ms.save_checkpoint([{"name": "w", "data": ms.Tensor(np.ones(4, np.float32))}], str(path), crc_check=True)
    data = bytearray(path.read_bytes())
    data[data.index(b"\x00\x00\x80\x3f")] ^= 1  # a bit of a number
    with pytest.raises(WeightsError, match="checksum does not match"):
        _read(tmp_path, bytes(data))


def test_empty_and_foreign_files_are_refused(tmp_path):
    for data in (b"", b"hello world", b"\x0a", b"\x0a\xff\xff\xff\xff\x7f"):
        with pytest.raises(WeightsError, match="w.ckpt: "):
            _read(tmp_path, data)


def _field(number: int, content: bytes) -> bytes:
    length, head = len(content), bytearray([number << 3 | 2])
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes([*head, length]) + content


WHOLE = _message(("a", "Float32", (2, 2), bytes(16)))
TENSOR = _field(2, b"Float32") + _field(3, bytes(4))
MOST = 500
SMALL_ENTRY = _field(1, b"\x0a\x00" + _field(2, TENSOR))
BOMBS = {
    "empty entries": (WHOLE + b"\x0a\x00" * MOST, "an entry without a name"),
    "small entries": (WHOLE + SMALL_ENTRY * (MOST // 5), "more than 500 fields"),
    "unknown fields": (WHOLE + b"\x10\x00" * MOST, "more than 500 fields"),
    "names": (_field(1, b"\x0a\x00" * MOST), "an entry without a name"),
    "tensors": (_field(1, b"\x0a\x00" + b"\x12\x00" * MOST), "is no tensor"),
    "types": (_field(1, _field(1, b"a") + _field(2, TENSOR + b"\x12\x00" * MOST)), "more than 500 fields"),
    "sizes": (_field(1, _field(1, b"a") + _field(2, b"\x08\x01" * MOST + TENSOR)), f"more than {MAX_DIMS} dimensions"),
    "packed sizes": (_field(1, _field(1, b"a") + _field(2, _field(1, b"\x01" * MOST) + TENSOR)), f"more than {MAX_DIMS} dim"),
    "a table beside": (_field(1, _field(1, b"a") + _field(2, TENSOR) + _field(3, b"")), "'a' is no tensor"),
    "groups": (WHOLE + b"\x0b" * MOST, "a field of the form 3"),
}


@pytest.mark.parametrize("case", BOMBS)
def test_many_small_parts_are_counted(tmp_path, monkeypatch, case):
    monkeypatch.setattr(module, "MAX_FIELDS", MOST)
    data, message = BOMBS[case]
    with pytest.raises(WeightsError, match=f"w.ckpt: .*{message}"):
        _read(tmp_path, data)


def test_numbers_of_fields_and_dimensions_far_above_real_ones_are_read(tmp_path):
    many = _message(*((f"layer{i}.weight", "Float32", (1, 1, 1, 1), bytes(4)) for i in range(10_000)))
    assert len(_read(tmp_path, many)) == 10_000 and MAX_FIELDS > 100_000
    assert _read(tmp_path, _message(("a", "Float32", (1,) * MAX_DIMS, bytes(4))))["a"].ndim == MAX_DIMS


def test_packed_sizes_are_read_as_protobuf_reads_them(tmp_path):
    data = _field(1, _field(1, b"a") + _field(2, _field(1, b"\x01\x81\x00") + TENSOR))
    assert _read(tmp_path, data)["a"].shape == tuple(Checkpoint.FromString(data).value[0].tensor.dims) == (1, 1)


def _by_protobuf(data: bytes) -> dict:
    """The tensors that MindSpore's message type finds."""
    values = Checkpoint.FromString(data).value
    return {value.tag: (tuple(value.tensor.dims), value.tensor.tensor_content) for value in values}


def test_every_truncation_and_every_flipped_byte_gives_tensors_or_an_error(tmp_path):
    data = _message(("a", "Float32", (2, 2), bytes(16)), ("b", "Int32", (3,), bytes(12)))
    first = len(_message(("a", "Float32", (2, 2), bytes(16))))
    for length in range(len(data)):
        if length == first:  # the file of one tensor less is whole; load_weights misses the other
            assert list(_read(tmp_path, data[:length])) == ["a"]
        else:
            with pytest.raises(WeightsError):
                _read(tmp_path, data[:length])
    for position in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :]
            try:
                found = _read(tmp_path, damaged)
            except WeightsError:
                continue
            assert sum(array.nbytes for array in found.values()) <= len(data)
            assert {name: (array.shape, array.tobytes()) for name, array in found.items()} == _by_protobuf(damaged)
