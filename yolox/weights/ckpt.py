"""Read MindSpore's `.ckpt` files."""

from __future__ import annotations

import math
import os
import zlib
from pathlib import Path

import numpy as np

from yolox.weights.errors import WeightsError

_CRC_MARK = b"crc_num"  # mindspore.save_checkpoint(crc_check=True) appends this and ten bytes
_DTYPES = {
    "Float32": "<f4", "Float16": "<f2", "Float64": "<f8", "BFloat16": "<u2", "Bool": "|b1",
    "Int8": "|i1", "Int16": "<i2", "Int32": "<i4", "Int64": "<i8",
    "UInt8": "|u1", "UInt16": "<u2", "UInt32": "<u4", "UInt64": "<u8",
}  # fmt: skip


def read_ckpt(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the tensors of a MindSpore checkpoint and check each against the bytes that the file holds.

    The file is parsed with MindSpore's own message type. `mindspore.load_checkpoint` is not used, because it
    trusts the declared shape: a damaged file with 16 bytes of data can ask for a tensor of any size.

    Args:
        path: a file written by `mindspore.save_checkpoint`, such as MindYOLO's.

    Returns:
        Name to array, in the file's order and dtype (bfloat16 becomes float32). Arrays own their memory. Text
        that was saved beside the tensors is left out.

    Raises:
        WeightsError: not a checkpoint, truncated or damaged (the checksum is compared where there is one), or
            a tensor whose shape and type do not match its bytes. Flipped bits inside of tensor data are found
            by the checksum only, which MindYOLO's files do not have.
    """
    try:
        parts = _parse(Path(path).read_bytes())
        return {name: _array(name, *part) for name, part in parts.items() if part[0] != "str"}
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except Exception as error:  # the parser's own error types differ between its versions
        message = f"{path}: no MindSpore checkpoint, or damaged ({type(error).__name__}: {str(error)[:200]})"
        raise WeightsError(message) from error


def _parse(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Name to (type, shape, bytes); a large tensor is stored as several values of the same name in a row."""
    from mindspore.train.checkpoint_pb2 import Checkpoint  # here, so that other formats need no MindSpore

    message = Checkpoint()
    message.ParseFromString(_without_checksum(data))
    parts: dict[str, tuple[str, tuple[int, ...], list[bytes]]] = {}
    for value in message.value:
        if not value.HasField("tensor"):
            raise WeightsError(f"entry {value.tag[:100]!r} is no tensor")
        tensor = value.tensor
        data = parts[value.tag][2] if value.tag in parts else []
        data.append(tensor.tensor_content)
        parts[value.tag] = (tensor.tensor_type, tuple(tensor.dims), data)
    if not parts:
        raise WeightsError("holds no tensors")
    return {name: (kind, shape, b"".join(data)) for name, (kind, shape, data) in parts.items()}


def _without_checksum(data: bytes) -> bytes:
    if data[-17:-10] != _CRC_MARK:
        return data
    if zlib.crc32(data[:-17]) != int.from_bytes(data[-10:], "big"):
        raise WeightsError("checksum does not match: the file is damaged")
    return data[:-17]


def _array(name: str, kind: str, shape: tuple[int, ...], data: bytes) -> np.ndarray:
    if kind not in _DTYPES:
        raise WeightsError(f"tensor {name[:100]!r} is of unknown type {kind[:40]!r}")
    dtype = np.dtype(_DTYPES[kind])
    if shape == (0,) and len(data) == dtype.itemsize:
        shape = ()  # MindSpore's way to store a scalar
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise WeightsError(f"tensor {name[:100]!r}: shape {shape} of {kind} in {len(data)} bytes")
    numbers = np.frombuffer(data, dtype).reshape(shape)
    if kind == "BFloat16":
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers.copy()
