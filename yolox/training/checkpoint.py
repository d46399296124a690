"""The library's own checkpoints: safetensors with recipe, class names and input convention in the header."""

from __future__ import annotations

import json
import os
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors
from attrs import field, frozen
from safetensors.numpy import save_file

from yolox.config import InputSpec, Recipe
from yolox.config_io import recipe_from_dict, recipe_to_dict
from yolox.errors import CheckpointError

FORMAT_VERSION = 1
MAX_BYTES = 2_000_000_000  # X with averages and AdamW's two moments has 1.6 GB; a sparse file may declare any size
MAX_HEADER_BYTES = 16 << 20  # shapes, recipe, class names and history have less than 1 MB
HEADER_OBJECTS = 24  # bytes of memory that a byte of a header takes at most, read as objects
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U64": "<u8",
          "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1"}  # fmt: skip
_KEY = "yolox"  # one entry only: the order of several is not the same in every process


@frozen(kw_only=True)
class Checkpoint:
    """Content of a checkpoint.

    Tensors are named `params.<name>`, `ema.<name>` (moving averages) and `momentum.<name>`, where `<name>` is the
    detector's; a file for inference may have only one of the first two. AdamW has `exp_avg.<name>`, `exp_avg_sq.<name>` and
    `optimizer_updates` in place of the momenta.
    """

    tensors: dict[str, np.ndarray] = field(repr=lambda tensors: f"<{len(tensors)} tensors>")
    recipe: Recipe
    class_names: tuple[str, ...]
    extra: dict[str, Any]
    history: dict[str, list] | None = None
    """`columns` and `rows` of history.csv up to the checkpoint; None in files without it."""

    @property
    def input(self) -> InputSpec:
        """The pixels that the weights were trained on."""
        return self.recipe.input


def save_checkpoint(
    path: str | os.PathLike,
    tensors: Mapping[str, np.ndarray],
    *,
    recipe: Recipe,
    class_names: Sequence[str],
    extra: Mapping[str, Any] | None = None,
    history: Mapping[str, list] | None = None,
) -> None:
    """Writes a checkpoint whole or not at all.

    The file is written under a temporary name beside `path`, synced and renamed: whenever the process or the
    machine stops, `path` is the one before or the new one. A checksum over header and tensors is stored in
    it.

    Args:
        path: the file; one that exists is replaced.
        tensors: name to array of numbers or booleans, see `Checkpoint`.
        recipe: the recipe of the run, with the input convention.
        class_names: names of the classes in the order of the network's outputs.
        extra: values that JSON can hold, such as counters.

    Raises:
        CheckpointError: the disk is full or not writable (the file before is untouched), `extra` is no
            JSON, or the file would be larger than `load_checkpoint` reads (2 GB).

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
        >>> save_checkpoint(path, {"params.w": np.ones(2)}, recipe=Recipe(), class_names=["cat"])
        >>> load_checkpoint(path).class_names
        ('cat',)
    """
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    header = {
        "format": FORMAT_VERSION,
        "recipe": recipe_to_dict(recipe),
        "class_names": list(class_names),
        "extra": dict(extra or {}),
        **({} if history is None else {"history": history}),
    }
    try:
        text = json.dumps(header, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"save_checkpoint: header is no JSON ({error})") from error
    metadata = json.dumps({"checksum": _checksum(text, arrays), "header": text})
    size = sum(array.nbytes for array in arrays.values()) + HEADER_OBJECTS * len(metadata)
    if size > MAX_BYTES or len(metadata) > MAX_HEADER_BYTES // 2:  # its text is written as JSON once more
        raise CheckpointError(f"{path}: not written, takes {size} bytes, more than the {MAX_BYTES} that can be read again")
    with atomic_path(path) as temporary:
        save_file(arrays, temporary, metadata={_KEY: metadata})


def load_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """Reads a checkpoint and checks it against its checksum.

    Args:
        path: a file of `save_checkpoint`.

    Returns:
        The checkpoint; arrays own their memory.

    Raises:
        CheckpointError: no such file, truncated, damaged (every flipped bit is found), not written by this
            library, or written by a newer version of it.
    """
    try:
        text, checksum, tensors = _read(path)
        if checksum != _checksum(text, tensors):
            raise CheckpointError("checksum does not match: the file is damaged")
        return _checkpoint(json.loads(text), tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except Exception as error:  # the parsers raise their own types, and ValueError, KeyError, TypeError
        cause = f"{type(error).__name__}: {str(error)[:300]}"
        raise CheckpointError(f"{path}: damaged or no checkpoint ({cause})") from error


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path to write to, which becomes `path` when the body ends without an error.

    The file may be read and written by whom the umask says, whatever the body made of that.

    Args:
        path: the file to write or replace.

    Returns:
        A context manager that gives the temporary path, in the same folder.

    Raises:
        CheckpointError: writing failed; `path` is as it was and the temporary file is gone.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")  # always the same: a killed process leaves one at most
    try:
        temporary.unlink(missing_ok=True)
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        with suppress(OSError):  # some file systems know no modes
            temporary.chmod(mode)  # safetensors makes files that only their owner may read
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: not written, the file before is untouched ({error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checksum(text: str, tensors: Mapping[str, np.ndarray]) -> int:
    value = zlib.crc32(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        value = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), value)
        value = zlib.crc32(array.reshape(-1).view(np.uint8), value)
    return value


def _read(path: str | os.PathLike) -> tuple[str, int, dict[str, np.ndarray]]:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        raise CheckpointError(f"no regular file of at most {MAX_BYTES} bytes")
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES or status.st_size + HEADER_OBJECTS * length > MAX_BYTES:
            raise CheckpointError(f"has a header of {length} bytes, want at most {MAX_HEADER_BYTES}")
        with safetensors.safe_open(path, "np") as checked:  # raises where the entries do not fit the file
            metadata = checked.metadata() or {}
        if _KEY not in metadata:
            raise CheckpointError(f"safetensors without the entry {_KEY!r}: not written by this library")
        outer = json.loads(metadata[_KEY])
        entries = json.loads(file.read(length))
        entries.pop("__metadata__")
        # not by safetensors, which maps the file: its pages would count as memory beside the arrays
        tensors = {name: _read_tensor(file, 8 + length, **entry) for name, entry in entries.items()}
    return outer["header"], outer["checksum"], tensors


def _read_tensor(file: BinaryIO, begin: int, *, dtype: str, shape: list[int], data_offsets: list[int]) -> np.ndarray:
    """Reads one tensor of a safetensors file whose data begins at the byte `begin`."""
    first, end = data_offsets
    array = np.empty(shape, DTYPES[dtype])
    if array.nbytes != end - first:
        raise CheckpointError(f"a tensor of {shape} {dtype} has {end - first} bytes, want {array.nbytes}")
    file.seek(begin + first)
    if file.readinto(memoryview(array.reshape(-1)).cast("B") if array.nbytes else bytearray()) != array.nbytes:
        raise CheckpointError("ends within a tensor")
    return array


def _checkpoint(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> Checkpoint:
    if header["format"] > FORMAT_VERSION:
        raise CheckpointError(f"format {header['format']}, this version reads up to {FORMAT_VERSION}")
    names, extra, history = header["class_names"], header["extra"], header.get("history")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"class_names: got {_shown(names)}, want a list of texts")
    if not isinstance(extra, dict):
        raise CheckpointError(f"extra: got {_shown(extra)}, want an object")
    if history is not None and not _is_history(history):
        raise CheckpointError(f"history: got {_shown(history)}, want columns and rows of as many texts or numbers")
    recipe = recipe_from_dict(header["recipe"])
    return Checkpoint(tensors=tensors, recipe=recipe, class_names=tuple(names), extra=extra, history=history)


def _is_history(value: Any) -> bool:
    if not isinstance(value, dict) or not all(isinstance(value.get(key), list) for key in ("columns", "rows")):
        return False
    return all(
        isinstance(row, list)
        and len(row) == len(value["columns"])
        and all(cell is None or isinstance(cell, str | int | float) for cell in row)
        for row in [value["columns"], *value["rows"]]
    )


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
