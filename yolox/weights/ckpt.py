"""Reads MindSpore's `.ckpt` files."""

from __future__ import annotations

import math
import os
import zlib
from itertools import islice

import numpy as np

from yolox.errors import WeightsError
from yolox.weights.archive import widen_bfloat16
from yolox.wire import WireReader, read_file, read_varint

MAX_FIELDS = 1 << 18  # a tensor takes about ten, the largest file has some 1,000 tensors
MAX_DIMS = 32
MAX_BYTES = 640 << 20  # the largest published file has 0.4 GB
_CRC_MARK = b"crc_num"  # mindspore.save_checkpoint(crc_check=True) appends this and ten bytes
_DTYPES = {
    "Float32": "<f4", "Float16": "<f2", "Float64": "<f8", "BFloat16": "<u2", "Bool": "|b1",
    "Int8": "|i1", "Int16": "<i2", "Int32": "<i4", "Int64": "<i8",
    "UInt8": "|u1", "UInt16": "<u2", "UInt32": "<u4", "UInt64": "<u8",
}  # fmt: skip


def read_ckpt(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a MindSpore checkpoint and checks each against the bytes that the file holds.

    `mindspore.load_checkpoint` is not used, because it trusts the declared shape: a damaged file with 16 bytes of data
    can ask for a tensor of any size. Its message type is not used, because it makes objects of any number of entries.

    Args:
        path: a file written by `mindspore.save_checkpoint`, such as MindYOLO's.

    Returns:
        Name to array, in the file's order and dtype (bfloat16 becomes float32). Arrays own their memory. Text
        that was saved beside the tensors is left out.

    Raises:
        WeightsError: not a checkpoint, truncated or damaged (the checksum is compared where there is one), more than
            MAX_FIELDS fields, or a tensor whose shape and type do not match its bytes. Flipped bits inside of tensor
            data are found by the checksum only, which MindYOLO's files do not have.
    """
    try:
        parts = _parse(read_file(path, most=MAX_BYTES))
        return {name: _array(name, *part) for name, part in parts.items() if part[0] != "str"}
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except Exception as error:  # damaged bytes raise whatever they happen to cause
        message = f"{path}: no MindSpore checkpoint, or damaged ({type(error).__name__}: {str(error)[:200]})"
        raise WeightsError(message) from error


def _parse(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes | memoryview]]:
    """Maps names to (type, shape, bytes); a large tensor is stored as several values of the same name in a row."""
    reader = WireReader(most=MAX_FIELDS)
    parts: dict[str, tuple[str, tuple[int, ...], list[memoryview]]] = {}
    for number, entry in reader.fields(_without_checksum(memoryview(data))):
        if number != 1:
            continue
        name, kind, shape, content = _entry(reader, entry)
        contents = parts[name][2] if name in parts else []
        contents.append(content)
        parts[name] = (kind, shape, contents)
    if not parts:
        raise WeightsError("holds no tensors")
    return {
        name: (kind, shape, b"".join(contents) if len(contents) > 1 else contents[0])
        for name, (kind, shape, contents) in parts.items()
    }


def _entry(reader: WireReader, entry: memoryview) -> tuple[str, str, tuple[int, ...], memoryview]:
    """Returns name, type, shape and bytes of an entry: the messages `Checkpoint.Value` and `TensorProto` of MindSpore."""
    fields = list(islice(reader.fields(entry), 3))
    names = [value for number, value in fields if number == 1]
    tensors = [value for number, value in fields if number == 2]
    if len(names) != 1:
        raise WeightsError("an entry without a name")
    name = str(names[0], "utf-8")
    if len(tensors) != 1 or len(fields) > 2:  # such as a table of hashes
        raise WeightsError(f"entry {name[:100]!r} is no tensor")
    dims: list[int] = []
    found: dict[int, memoryview] = {}
    for number, value in reader.fields(tensors[0]):
        if number == 1:
            dims += _dims(value)
        else:
            found[number] = value
        if len(dims) > MAX_DIMS:
            raise WeightsError(f"tensor {name[:100]!r} has more than {MAX_DIMS} dimensions")
    return name, str(found[2], "utf-8"), tuple(dims), found[3]


def _dims(value: int | memoryview) -> list[int]:
    """Returns signed sizes, of which a field has one, or several one after the other."""
    if isinstance(value, int):
        return [value - (1 << 64) if value >> 63 else value]
    sizes, place = [], 0
    while place < len(value) and len(sizes) <= MAX_DIMS:
        size, place = read_varint(value, place)
        sizes += _dims(size)
    return sizes


def _without_checksum(data: memoryview) -> memoryview:
    if data[-17:-10] != _CRC_MARK:
        return data
    if zlib.crc32(data[:-17]) != int.from_bytes(data[-10:], "big"):
        raise WeightsError("checksum does not match: the file is damaged")
    return data[:-17]


def _array(name: str, kind: str, shape: tuple[int, ...], data: bytes | memoryview) -> np.ndarray:
    if kind not in _DTYPES:
        raise WeightsError(f"tensor {name[:100]!r} is of unknown type {kind[:40]!r}")
    dtype = np.dtype(_DTYPES[kind])
    if shape == (0,) and len(data) == dtype.itemsize:
        shape = ()  # MindSpore's way to store a scalar
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise WeightsError(f"tensor {name[:100]!r}: shape {shape} of {kind} in {len(data)} bytes")
    numbers = np.frombuffer(data, dtype).reshape(shape)
    if kind == "BFloat16":
        if len(data) > MAX_BYTES // 2:
            raise WeightsError(f"tensor {name[:100]!r} has {len(data)} bytes of bfloat16, want at most {MAX_BYTES // 2}")
        return widen_bfloat16(numbers)
    return numbers.copy()
