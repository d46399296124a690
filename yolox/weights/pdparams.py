"""Reads PaddlePaddle's `.pdparams` files, pickles of numpy arrays, without pickle and without paddle."""

from __future__ import annotations

import os

import numpy as np

from yolox.errors import WeightsError
from yolox.weights.pickle_reader import ArrayRef, evaluate_arrays
from yolox.wire import read_file

MAX_BYTES = 640 << 20  # the largest published file has 0.4 GB
_NAME_TABLE = "StructuredToParameterName@@"


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
