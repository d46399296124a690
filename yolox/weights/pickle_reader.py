"""Evaluates the pickle of a torch file with a machine that imports, calls and runs nothing.

Python's unpickler imports what a file names and calls it. This machine knows the opcodes that torch writes and a closed
list of names, which become inert values: tensors are described, not built.
"""

from __future__ import annotations

import io
import math
import pickletools
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from attrs import frozen

from yolox.errors import WeightsError
from yolox.wire import LimitedReader

MAX_PICKLE_BYTES = 8 << 20  # the pickle of the largest scale with its optimizer state has 0.4 MB
MAX_STEPS = 1 << 20  # opcodes, and items that calls copy; a tensor takes about 30, the largest file has some 3,000
MAX_NAME = 1000  # characters of a key; equal long strings take long to compare
MAX_ARGUMENT = 128 << 20  # bytes of a text or of an array; the largest array has 59 MB, and half as much more as text
_LONG_ARGUMENT = "has an argument of more than {most} bytes, the limit"
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
# Training checkpoints carry numpy scalars beside the weights, such as the best AP, and those of MMEngine the values that it
# logged. They are not evaluated.
IGNORED = {
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
    "_codecs.encode",
    "mmengine.logging.history_buffer.HistoryBuffer",
}


ARRAY_NAMES = {
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
    "_codecs.encode",
    "builtins.tuple",
    "__builtin__.tuple",
}
"""Names that pickled arrays have; `builtins.tuple` is paddle's pair of a name and an array."""
ARRAY_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1")


def evaluate_pickle(data: bytes) -> Any:
    """Returns the value of a pickle, made of dicts, lists, tuples, numbers, strings and TensorRefs.

    Args:
        data: the bytes of `data.pkl` of a torch archive.

    Returns:
        The value. Dict keys are strings and small integers; `collections.OrderedDict` becomes a dict.

    Raises:
        WeightsError: an opcode or a global that weights files do not have (the global is named); a broken
            pickle, one larger than MAX_PICKLE_BYTES, or one that takes more than MAX_STEPS.

    Example:
        >>> import pickle
        >>> evaluate_pickle(pickle.dumps({"epoch": 3}, protocol=2))
        {'epoch': 3}
    """
    if len(data) > MAX_PICKLE_BYTES:
        raise WeightsError(f"pickle has {len(data)} bytes, more than the limit of {MAX_PICKLE_BYTES}")
    return _evaluate(data, _Machine())


def evaluate_arrays(data: bytes) -> Any:
    """Returns the value of a pickle of numpy arrays, as paddle writes it: arrays are described, not built.

    Args:
        data: the bytes of a `.pdparams` file.

    Returns:
        The value as `evaluate_pickle` returns it, with an `ArrayRef` for each array.

    Raises:
        WeightsError: as for `evaluate_pickle`, without a limit of the bytes.
    """
    return _evaluate(data, _Machine(arrays_in=len(data)))


def _evaluate(data: bytes, machine: _Machine) -> Any:
    try:
        stream = LimitedReader(io.BytesIO(data), most=MAX_ARGUMENT, message=_LONG_ARGUMENT)
        for opcode, argument, _ in pickletools.genops(stream):
            if type(argument) is str and len(argument) > MAX_NAME and sys.getsizeof(argument) > len(argument) + MAX_NAME:
                raise WeightsError("a long text has characters beyond Latin-1, which take up to four times its bytes")
            machine.step(opcode.name, argument)
        return machine.stack.pop()
    except WeightsError:
        raise
    except Exception as error:  # a broken pickle raises whatever its bytes happen to cause
        raise WeightsError(f"broken pickle ({type(error).__name__}: {str(error)[:200]})") from error


class _Machine:
    """Stack, marks and memo of the pickle language."""

    def __init__(self, arrays_in: int = 0) -> None:
        # with arrays: bytes of all texts that `_codecs.encode` may turn into bytes; an honest file has each once
        self.arrays, self.text_left = arrays_in > 0, arrays_in
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.spent = 0

    def spend(self, steps: int) -> None:
        self.spent += steps
        if self.spent > MAX_STEPS:
            raise WeightsError(f"pickle takes more than {MAX_STEPS} steps, far beyond a weights file")

    def step(self, opcode: str, argument: Any) -> None:
        self.spend(1)
        if opcode in _PUSH_ARGUMENT:
            self.stack.append(argument)
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        else:
            raise WeightsError(f"pickle opcode {opcode} is no part of a weights file; nothing was run")

    def pop_mark(self) -> list[Any]:
        start = self.marks.pop()
        if start > len(self.stack):
            raise WeightsError("broken pickle: a mark above the stack")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def tuple_of(self, count: int) -> None:
        items = [self.stack.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise WeightsError("broken pickle: items for something that is not a dict")
        target.update(checked_pairs(zip(items[::2], items[1::2], strict=True)))

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise WeightsError("broken pickle: values for something that is not a list")
        self.stack[-1].extend(items)

    def stack_global(self, _argument: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise WeightsError("broken pickle: a global whose name is not a string")
        self.global_name(f"{module}.{name}")

    def global_name(self, name: str) -> None:
        self.stack.append(Name(name) if self.arrays and name in ARRAY_NAMES else known_name(name))

    def reduce(self, _argument: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not Name or type(arguments) is not tuple:
            raise WeightsError(f"pickle calls a {type(function).__name__}; nothing was run")
        if self.arrays and function.name in ARRAY_NAMES:
            self.stack.append(self.array_call(function.name, arguments))
            return
        # one list of the memo can be copied at every call: a small file could ask for any memory and time
        self.spend(sum(len(value) for value in arguments if type(value) in (list, tuple, dict, str)))
        self.stack.append(value_of_call(function.name, arguments))

    def array_call(self, name: str, arguments: tuple) -> Any:
        if name == "_codecs.encode" and len(arguments) == 2 and type(arguments[0]) is str and arguments[1] == "latin1":
            self.text_left -= len(arguments[0])
            if self.text_left < 0:
                raise WeightsError("pickle makes more bytes than the file has")
            return arguments[0].encode("latin1")  # how protocol 2 stores bytes
        if name.endswith("_reconstruct"):
            return ArrayRef()
        if name == "numpy.dtype" and arguments and type(arguments[0]) is str:
            return DtypeRef(arguments[0][:10])
        if name.endswith("tuple") and len(arguments) == 1 and type(arguments[0]) is tuple:
            return arguments[0]
        raise WeightsError(f"pickle calls {name}; nothing was run")

    def new_object(self, _argument: Any) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if type(kind) is not Name or kind.name not in IGNORED or arguments != ():
            raise WeightsError("pickle opcode NEWOBJ is no part of a weights file; nothing was run")
        self.stack.append(_Ignored())

    def build(self, _argument: Any) -> None:
        if type(self.stack[-2]) in (ArrayRef, DtypeRef):
            state = self.stack.pop()
            self.stack[-1].state = state
            return
        self.stack.pop()  # attributes of an OrderedDict (torch's module versions) or of an ignored value
        if not is_open(self.stack[-1]):
            target = type(self.stack[-1]).__name__
            raise WeightsError(f"pickle sets attributes of a {target}; nothing was run")

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]


_INTEGERS = {"BININT", "BININT1", "BININT2", "LONG1"}
_PUSH_ARGUMENT = _INTEGERS | {"BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_ACTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda m, a: None),
    "NONE": lambda m, a: m.stack.append(None),
    "NEWTRUE": lambda m, a: m.stack.append(True),
    "NEWFALSE": lambda m, a: m.stack.append(False),
    "EMPTY_DICT": lambda m, a: m.stack.append({}),
    "EMPTY_LIST": lambda m, a: m.stack.append([]),
    "EMPTY_TUPLE": lambda m, a: m.stack.append(()),
    "MARK": lambda m, a: m.marks.append(len(m.stack)),
    "TUPLE": lambda m, a: m.stack.append(tuple(m.pop_mark())),
    "TUPLE1": lambda m, a: m.tuple_of(1),
    "TUPLE2": lambda m, a: m.tuple_of(2),
    "TUPLE3": lambda m, a: m.tuple_of(3),
    "APPEND": lambda m, a: m.extend([m.stack.pop()]),
    "APPENDS": lambda m, a: m.extend(m.pop_mark()),
    "SETITEM": lambda m, a: m.set_items([m.stack.pop(-2), m.stack.pop()]),
    "SETITEMS": lambda m, a: m.set_items(m.pop_mark()),
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": lambda m, a: m.put(len(m.memo)),
    "BINGET": lambda m, a: m.stack.append(m.memo[a]),
    "LONG_BINGET": lambda m, a: m.stack.append(m.memo[a]),
    "GLOBAL": lambda m, a: m.global_name(a.replace(" ", ".")),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.new_object,
    "BUILD": _Machine.build,
    "BINPERSID": lambda m, a: m.stack.append(as_storage(m.stack.pop())),
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


class DtypeRef:
    """A numpy type of numbers, as the file describes it."""

    def __init__(self, code: str) -> None:
        self.code, self.state = code, None

    def numpy(self) -> np.dtype:
        """Returns the type; WeightsError for others than plain numbers in little-endian byte order."""
        order = self.state[1] if type(self.state) is tuple and len(self.state) > 1 else "<"
        if self.code not in ARRAY_DTYPES or order not in ("<", "|", "="):
            raise WeightsError(f"an array is of the type {self.code!r} in the byte order {str(order)[:10]!r}, want plain numbers")
        return np.dtype(self.code).newbyteorder("<")


class ArrayRef:
    """A numpy array, as the file describes it."""

    def __init__(self) -> None:
        self.state: Any = None

    def numbers(self) -> np.ndarray:
        """Returns the array, a copy; WeightsError where shape, type and bytes do not fit together."""
        state = self.state
        kinds = (int, tuple, DtypeRef, bool, bytes)
        if type(state) is not tuple or len(state) != 5 or any(type(s) is not k for s, k in zip(state, kinds, strict=True)):
            raise WeightsError("an array without shape, type and bytes")
        _, shape, dtype, fortran_order, data = state
        shape, dtype = _sizes(shape, "size"), dtype.numpy()
        if math.prod(shape) * dtype.itemsize != len(data):
            raise WeightsError(f"an array of the shape {shape} and type {dtype} has {len(data)} bytes")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C").copy()


class _Ignored:
    """A placeholder for a value that is not evaluated."""


def known_name(name: str) -> Name:
    """Returns the name if a weights file may have it.

    Args:
        name: module and name, with a dot between.

    Returns:
        A value that carries the name and does nothing.

    Raises:
        WeightsError: any other name; the message has it.
    """
    if name not in STORAGES and name not in IGNORED and name not in _CALLS:
        raise WeightsError(f"pickle names {name[:200]!r}, no part of a weights file; nothing was run")
    return Name(name)


def value_of_call(name: str, arguments: tuple) -> Any:
    """Returns what the call of a known name stands for.

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
    """Returns whether the file may set attributes of a value; they are dropped.

    Args:
        value: on top of the stack.

    Returns:
        True for dicts and for values that are not evaluated.
    """
    return type(value) in (dict, _Ignored)


def checked_pairs(pairs: Iterable[tuple[Any, Any]]) -> dict:
    """Returns a dict of pairs whose keys cost little to compare.

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
    """Returns the storage that a persistent id describes.

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
