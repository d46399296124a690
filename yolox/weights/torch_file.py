"""Reads files of torch (`torch.save`, torch 1.6 and later) and PaddlePaddle (`.pdparams`) without torch, paddle and pickle."""

from __future__ import annotations

import logging
import math
import os
import zipfile
from typing import Any

import numpy as np

from yolox.errors import WeightsError
from yolox.weights.archive import MAX_ARRAY_BYTES, open_archive, read_entry, widen_bfloat16
from yolox.weights.pickle_reader import MAX_PICKLE_BYTES, ArrayRef, StorageRef, TensorRef, evaluate_arrays, evaluate_pickle
from yolox.wire import read_file

log = logging.getLogger("yolox.weights")
MAX_BYTES = 512 << 20  # of a `.pdparams` file; the largest published one has 0.4 GB
_NAME_TABLE = "StructuredToParameterName@@"  # entry of `.pdparams` files that holds names, no array
# MMEngine stores the averaged weights under `state_dict`, and those of the optimizer under `ema_state_dict`
_STATE_KEYS = ("model", "state_dict", "ema_state_dict", "model_state_dict", "state_dict_ema", "ema", "model_ema", "module", "net")


def read_pth(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the network's tensors from a torch checkpoint, as `read_named_pth` does.

    Args:
        path: a file written by `torch.save`.

    Returns:
        Name to array.

    Raises:
        WeightsError: as for `read_named_pth`.
    """
    return read_named_pth(path)[0]


def read_named_pth(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None]:
    """Reads the network's tensors from a torch checkpoint, and its class names, running nothing that the file names.

    Megvii's checkpoints are a dict with the weights under `model`; a bare state dict is read too, and one under another of
    `_STATE_KEYS`. Where several of these keys hold weights, those of the first are taken, which is logged. Whatever else the
    file carries (optimizer, epoch) is not unpacked.

    Args:
        path: a file written by `torch.save`.

    Returns:
        Name to array, in the file's order and dtype (bfloat16 becomes float32); arrays own their memory. And the class names
        that MMDetection and mmyolo (`meta`) or LibreYOLO (`names`) write beside the weights, as they are; None without any.

    Raises:
        WeightsError: not a torch zip file; a global or an opcode that weights files do not have; a size, an
            offset or a stride that leaves its storage; tensors that share memory; a storage not as long as it
            declares.

    Source: the format of torch 1.6 to 2.13: `<name>/data.pkl` and `<name>/data/<key>`, not compressed.
    """
    with open_archive(path) as archive:
        prefix = _prefix(archive)
        root = evaluate_pickle(_read(archive, f"{prefix}data.pkl", most=MAX_PICKLE_BYTES))
        state = _find_state(root)
        _check_apart(state)
        return _read_tensors(archive, prefix, state), _find_names(root)


def _prefix(archive: zipfile.ZipFile) -> str:
    names = archive.namelist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
        raise WeightsError("entries are compressed; torch stores them as they are")
    found = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(found) != 1:
        raise WeightsError(f"{len(found)} entries <name>/data.pkl, want one: no file of torch 1.6 or later")
    prefix = found[0].removesuffix("data.pkl")
    if f"{prefix}byteorder" in names and _read(archive, f"{prefix}byteorder", most=100) != b"little":
        raise WeightsError("numbers are not in little-endian byte order")
    return prefix


def _read(archive: zipfile.ZipFile, name: str, *, most: int) -> bytes:
    return read_entry(archive, archive.getinfo(name), most=most)


def _find_state(root: Any) -> dict[str, TensorRef]:
    if type(root) is not dict:
        raise WeightsError(f"holds a {type(root).__name__}, want a dict of tensors")
    keys = [key for key in _STATE_KEYS if type(root.get(key)) is dict]
    if keys:
        if len(keys) > 1:
            log.warning("the file has weights under %s; those under %s are taken", ", ".join(keys), keys[0])
        return _find_state(root[keys[0]])  # a wrapper may hold another one
    state = root
    fits = {name: type(name) is str and type(value) is TensorRef for name, value in state.items()}
    if not state or not all(fits.values()):
        wrong = [str(name)[:100] for name, good in fits.items() if not good]
        raise WeightsError(f"no state dict found: entries {wrong[:10]} are not tensors")
    return state


def _find_names(root: dict) -> tuple[str, ...] | None:
    """Returns the class names of a checkpoint: texts in a list, or by index."""
    meta = root.get("meta") if type(root.get("meta")) is dict else {}
    inner = meta.get("dataset_meta") if type(meta.get("dataset_meta")) is dict else {}
    places = [(inner, "classes"), (inner, "CLASSES"), (meta, "CLASSES"), (root, "names"), (root, "class_names")]
    for place, key in places:
        names = place.get(key)
        if type(names) is str:  # of a single class
            names = [names]
        if type(names) is dict:
            by_index = {str(index): name for index, name in names.items()}
            names = [by_index.get(str(i)) for i in range(len(by_index))]
        if type(names) in (list, tuple) and names and all(type(name) is str for name in names):
            return tuple(names)
    return None


def _check_apart(state: dict[str, TensorRef]) -> None:
    """Refuses tensors that share memory: a small file could claim any amount, and no detector has them."""
    spans = sorted(
        (tensor.storage.key, tensor.offset, last, name)
        for name, tensor in state.items()
        if (last := _last_element(name, tensor)) is not None
    )
    for (key, _, last, name), (next_key, start, _, next_name) in zip(spans, spans[1:], strict=False):
        if key == next_key and start <= last:
            raise WeightsError(f"tensors {name[:100]!r} and {next_name[:100]!r} share memory")


def _last_element(name: str, tensor: TensorRef) -> int | None:
    """Returns the index of the last element in the storage, None for an empty tensor; checks that the view is contiguous."""
    label = f"tensor {name[:100]!r}: size {tensor.size} with stride {tensor.stride}"
    if len(tensor.size) != len(tensor.stride):
        raise WeightsError(f"{label} differ in length")
    if 0 in tensor.size:
        return None
    reach = 0
    for stride, size in sorted(zip(tensor.stride, tensor.size, strict=True)):
        if size > 1 and stride <= reach:
            raise WeightsError(f"{label} overlaps itself")
        reach += (size - 1) * stride
    if tensor.offset + reach >= tensor.storage.numel:
        limit = tensor.storage.numel
        raise WeightsError(f"{label} at {tensor.offset} leaves its storage of {limit} elements")
    return tensor.offset + reach


def _read_tensors(archive: zipfile.ZipFile, prefix: str, state: dict[str, TensorRef]) -> dict:
    users: dict[StorageRef, list[str]] = {}
    for name, tensor in state.items():
        users.setdefault(tensor.storage, []).append(name)
    total = sum(math.prod(tensor.size) * (4 if "float" in tensor.storage.dtype else 8) for tensor in state.values())
    if total > MAX_ARRAY_BYTES:
        raise WeightsError(f"the tensors take about {total} bytes, more than the limit of {MAX_ARRAY_BYTES}")
    arrays = {}
    for storage, names in users.items():
        numbers = _read_storage(archive, prefix, storage)
        arrays.update({name: _view(numbers, state[name]) for name in names})
    return {name: arrays[name] for name in state}


def _read_storage(archive: zipfile.ZipFile, prefix: str, storage: StorageRef) -> np.ndarray:
    entry = archive.getinfo(f"{prefix}data/{storage.key}")
    kind = np.dtype("uint16" if storage.dtype == "bfloat16" else storage.dtype).newbyteorder("<")
    if entry.file_size != storage.numel * kind.itemsize:
        raise WeightsError(
            f"storage {storage.key[:100]!r} declares {storage.numel} elements of {storage.dtype}, "
            f"the archive holds {entry.file_size} bytes"
        )
    data = read_entry(archive, entry)
    if storage.dtype != "bfloat16":
        return np.frombuffer(data, kind)
    return widen_bfloat16(np.frombuffer(data, kind))


def _view(numbers: np.ndarray, tensor: TensorRef) -> np.ndarray:
    if math.prod(tensor.size) == 0:
        return np.zeros(tensor.size, numbers.dtype)
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.size, tensor.stride, strict=True))
    if last >= numbers.size:  # checked against the numbers that are there: a view beyond them would read other memory
        raise WeightsError(f"a tensor of size {tensor.size} leaves its storage of {numbers.size} elements")
    strides = tuple(stride * numbers.itemsize for stride in tensor.stride)
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.size, strides).copy()


def read_pdparams(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the arrays of a `.pdparams` file, running nothing that the file names.

    Args:
        path: a file written by `paddle.save` of a state dict: a dict of arrays, or of pairs of a name and an array.

    Returns:
        Name to array, in the file's order and dtype. Arrays own their memory.

    Raises:
        WeightsError: a global or an opcode that such files do not have; an array whose shape and type do not match its
            bytes; a value that is no array; more than MAX_BYTES.
    """
    try:
        root = evaluate_arrays(read_file(path, most=MAX_BYTES))
        if type(root) is not dict:
            raise WeightsError(f"holds a {type(root).__name__}, want a dict of arrays")
        entries = {name: value for name, value in root.items() if name != _NAME_TABLE}
        if not entries:
            raise WeightsError("holds no arrays")
        return {str(name): _array(name, value) for name, value in entries.items()}
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None


def _array(name, value) -> np.ndarray:
    if type(value) is tuple and len(value) == 2:  # the name that the static graph gives, and the array
        value = value[1]
    if type(value) is not ArrayRef:
        raise WeightsError(f"{str(name)[:100]!r} is a {type(value).__name__}, want an array")
    return value.numbers()
