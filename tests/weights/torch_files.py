"""Write torch's zip format without torch: a pickle of the opcodes that it uses, and raw storages."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {"float32": "Float", "float16": "Half", "float64": "Double", "int64": "Long", "bool": "Bool"}


class Call:
    """A global called with arguments: GLOBAL, arguments, REDUCE."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.name, self.arguments = name, arguments


class Global:
    """A global on its own."""

    def __init__(self, name: str) -> None:
        self.name = name


class Storage:
    """A persistent id of a storage."""

    def __init__(self, kind: str, key: str, numel: int) -> None:
        self.id = ("storage", Global(f"torch.{kind}Storage"), key, "cpu", numel)


def tensor(kind: str, key: str, numel: int, size: tuple, stride: tuple, offset: int = 0) -> Call:
    """Describe a tensor as torch does: a view of the storage `key`."""
    hooks = Call("collections.OrderedDict")
    parts = (Storage(kind, key, numel), offset, size, stride, False, hooks)
    return Call("torch._utils._rebuild_tensor_v2", *parts)


def pickled(value: Any) -> bytes:
    """Pickle dicts, tuples, numbers, strings, Calls and Storages with protocol 2."""
    return b"\x80\x02" + _encode(value) + b"."


def _encode(value: Any) -> bytes:
    if isinstance(value, Global):
        module, _, name = value.name.rpartition(".")
        return f"c{module}\n{name}\n".encode()
    if isinstance(value, Call):
        return _encode(Global(value.name)) + _encode(value.arguments) + b"R"
    if isinstance(value, Storage):
        return _encode(value.id) + b"Q"
    if isinstance(value, dict):
        return b"}(" + b"".join(_encode(k) + _encode(v) for k, v in value.items()) + b"u"
    if isinstance(value, tuple | list):
        start, end = (b"(", b"t") if isinstance(value, tuple) else (b"](", b"e")
        return start + b"".join(map(_encode, value)) + end
    return _encode_scalar(value)


def _encode_scalar(value: Any) -> bytes:
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def contiguous(arrays: dict[str, np.ndarray]) -> tuple[dict[str, Call], dict[str, bytes]]:
    """Describe arrays as contiguous tensors, each with a storage of its own; give them and the storages."""
    state, storages = {}, {}
    for number, (name, array) in enumerate(arrays.items()):
        strides = tuple(s // array.itemsize for s in np.ascontiguousarray(array).strides[: array.ndim])
        kind = KINDS[str(array.dtype)]
        state[name] = tensor(kind, str(number), array.size, array.shape, strides)
        storages[str(number)] = array.tobytes()
    return state, storages


def write(
    path: Path, root: Any, storages: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED
) -> Path:
    """Write the archive; `root` may be ready pickled."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", root if isinstance(root, bytes) else pickled(root))
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", "3\n")
    return path


def write_state(path: Path, arrays: dict[str, np.ndarray], *, key: str = "model") -> Path:
    """Write a checkpoint as Megvii's trainer does: weights under `model` or another key, beside other things."""
    state, storages = contiguous(arrays)
    root = {"start_epoch": 3, key: state, "optimizer": {"state": {0: {"lr": 0.1}}, "param_groups": [{}]}}
    return write(path, root, storages)
