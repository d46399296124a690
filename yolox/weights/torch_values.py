"""What the pickle of a torch file may name, and the inert values that the names become.

A closed list: tensors are described, not built, and nothing else is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen

from yolox.errors import WeightsError

MAX_NAME = 1000  # characters of a key; equal long strings take long to compare
STORAGES = {
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.DoubleStorage": "float64",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}
# Training checkpoints carry numpy scalars beside the weights, such as the best AP. They are not evaluated.
IGNORED = {
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
}


@frozen
class StorageRef:
    """A run of numbers in the archive: entry `data/<key>`, `numel` elements of `dtype`."""

    dtype: str
    key: str
    numel: int


@frozen
class TensorRef:
    """A tensor as a view of a storage: offset, size and strides in elements."""

    storage: StorageRef
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@frozen
class Name:
    """A global of the file (`known_name` makes it); it is compared, never imported or called."""

    name: str


class _Ignored:
    """Stands for a value that is not evaluated."""


def known_name(name: str) -> Name:
    """Return the name if a weights file may have it.

    Args:
        name: module and name, with a dot between.

    Returns:
        A value that carries the name and does nothing.

    Raises:
        WeightsError: any other name; it is told.
    """
    if name not in STORAGES and name not in IGNORED and name not in _CALLS:
        raise WeightsError(f"pickle names {name[:200]!r}, no part of a weights file; nothing was run")
    return Name(name)


def value_of_call(name: str, arguments: tuple) -> Any:
    """Return what the call of a known name stands for.

    Args:
        name: of a `Name`.
        arguments: of the file.

    Returns:
        A dict, a size as a tuple, a TensorRef, or a value that stands for one that is not evaluated.

    Raises:
        WeightsError: the name is no function, or the arguments are not those that torch writes.
    """
    if name in IGNORED:
        return _Ignored()
    if name not in _CALLS:
        raise WeightsError(f"pickle calls {name}; nothing was run")
    return _CALLS[name](*arguments)


def is_open(value: Any) -> bool:
    """Tell whether the file may set attributes of a value; they are dropped.

    Args:
        value: on top of the stack.

    Returns:
        True for dicts and for values that are not evaluated.
    """
    return type(value) in (dict, _Ignored)


def checked_pairs(pairs: Iterable[tuple[Any, Any]]) -> dict:
    """Return a dict of pairs whose keys cost little to compare.

    Args:
        pairs: keys and values; a key is a string of at most MAX_NAME characters or a small integer.

    Returns:
        The dict; of equal keys the last counts.

    Raises:
        WeightsError: any other key.
    """
    result = {}
    for key, value in pairs:
        small = type(key) is int and abs(key) < 2**31  # large integers can be made to collide
        if type(key) is not str and not small:  # and the hash of nested tuples can take for ever
            raise WeightsError(f"a dict key is a {type(key).__name__}, want a string or a small integer")
        if not small and len(key) > MAX_NAME:
            raise WeightsError(f"a dict key has {len(key)} characters, more than the limit of {MAX_NAME}")
        result[key] = value
    return result


def _sizes(value: Any, what: str) -> tuple[int, ...]:
    if type(value) is not tuple or any(type(v) is not int or v < 0 for v in value) or len(value) > 8:
        raise WeightsError(f"tensor {what} is not a short tuple of non-negative integers")
    return value


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_flags: Any) -> TensorRef:
    if type(storage) is not StorageRef:
        raise WeightsError("a tensor without a storage")
    (start,) = _sizes((offset,), "offset")
    return TensorRef(storage, start, _sizes(size, "size"), _sizes(stride, "stride"))


def _rebuild_parameter(tensor: Any, *_flags: Any) -> TensorRef:
    if type(tensor) is not TensorRef:
        raise WeightsError("a parameter without a tensor")
    return tensor


def as_storage(identifier: Any) -> StorageRef:
    """Return the storage that a persistent id describes.

    Args:
        identifier: ("storage", type, key, location, elements), as torch writes it.

    Returns:
        Its type as numpy's name, its key and its length.

    Raises:
        WeightsError: anything else.
    """
    if type(identifier) is not tuple or len(identifier) != 5 or identifier[0] != "storage":
        raise WeightsError("a persistent id that is not a torch storage")
    _, kind, key, _location, numel = identifier
    if type(kind) is not Name or kind.name not in STORAGES or type(key) is not str or len(key) > MAX_NAME:
        raise WeightsError("a storage of unknown type, or without a short name")
    (count,) = _sizes((numel,), "storage length")
    return StorageRef(STORAGES[kind.name], key, count)


_CALLS: dict[str, Callable] = {
    "collections.OrderedDict": lambda items=(): checked_pairs(items),
    "torch.Size": lambda items: _sizes(tuple(items), "size"),
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
}
