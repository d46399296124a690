"""Evaluate the pickle of a torch file with a machine that cannot call anything.

Python's unpickler imports what a file names and calls it. This one knows the opcodes that torch writes, and the
names of `torch_values`, all of which become inert values.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

from yolox.errors import WeightsError
from yolox.weights.torch_values import Name, as_storage, checked_pairs, is_open, known_name, value_of_call

MAX_PICKLE_BYTES = 8 << 20  # the pickle of the largest scale with its optimizer state has 0.4 MB
MAX_STEPS = 1 << 20  # opcodes, and items that calls copy; a tensor takes about 30, the largest file has some 3,000


def evaluate_pickle(data: bytes) -> Any:
    """Return the value of a pickle, made of dicts, lists, tuples, numbers, strings and TensorRefs.

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
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
        return machine.stack.pop()
    except WeightsError:
        raise
    except Exception as error:  # a broken pickle raises whatever its bytes happen to cause
        raise WeightsError(f"broken pickle ({type(error).__name__}: {str(error)[:200]})") from error


class _Machine:
    """Stack, marks and memo of the pickle language."""

    def __init__(self) -> None:
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
        self.stack.append(known_name(f"{module}.{name}"))

    def reduce(self, _argument: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not Name or type(arguments) is not tuple:
            raise WeightsError(f"pickle calls a {type(function).__name__}; nothing was run")
        # one list of the memo can be copied at every call: a small file could ask for any memory and time
        self.spend(sum(len(value) for value in arguments if type(value) in (list, tuple, dict, str)))
        self.stack.append(value_of_call(function.name, arguments))

    def build(self, _argument: Any) -> None:
        self.stack.pop()  # attributes of an OrderedDict (torch's module versions) or of an ignored value
        if not is_open(self.stack[-1]):
            target = type(self.stack[-1]).__name__
            raise WeightsError(f"pickle sets attributes of a {target}; nothing was run")

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]


_INTEGERS = {"BININT", "BININT1", "BININT2", "LONG1"}
_PUSH_ARGUMENT = _INTEGERS | {"BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"}
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
    "GLOBAL": lambda m, a: m.stack.append(known_name(a.replace(" ", "."))),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "BINPERSID": lambda m, a: m.stack.append(as_storage(m.stack.pop())),
}
