"""Put weights into a detector: all of them, or nothing and an error that says what differs."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from mindspore import Tensor, nn, ops

from yolox.errors import WeightsError
from yolox.weights.scale import scale_of

CLASS_PREDICTIONS = "head.cls_preds."
MOST_LINES = 20
SOME_LINES = 3  # of a file that is of another scale: more would say the same


def fill_parameters(
    detector: nn.Cell, weights: Mapping[str, np.ndarray], *, path: str | os.PathLike = "weights"
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Fill a detector's parameters with arrays, where all fit.

    Call it with what `read_weights` gave, when the file was read before the detector was built; `load_weights` does both.

    Args:
        detector: its parameters are written only after every name, shape and number was checked.
        weights: name to array of floating point.
        path: names the file in the error.

    Returns:
        Names of the parameters that were filled, and of the class predictions that keep their values because the file
        is for another number of classes.

    Raises:
        WeightsError: names or shapes differ, or numbers are not finite.
    """
    parameters = list(detector.get_parameters())
    wanted = {p.name: tuple(p.shape) for p in parameters}
    skipped = check_fit(weights, wanted, path=path)
    values = {name: _float32(name, weights[name], path) for name in wanted if name not in skipped}
    for parameter in parameters:
        if parameter.name in values:
            # in place: compiled steps do not see the memory that set_data would give the parameter
            ops.assign(parameter, Tensor(values[parameter.name]))
    return tuple(values), skipped


def check_fit(
    weights: Mapping[str, np.ndarray],
    wanted: Mapping[str, tuple[int, ...]],
    *,
    path: str | os.PathLike = "weights",
) -> tuple[str, ...]:
    """Compare names and shapes of weights and detector.

    Args:
        weights: name to array.
        wanted: name to shape.
        path: names the file in the error.

    Returns:
        Names of class predictions to leave as they are, because only the number of classes differs.

    Raises:
        WeightsError: any other difference, with up to 20 names and their shapes; of more, three, and which scale the
            file looks like.

    Example:
        >>> check_fit({"a": np.zeros(2)}, {"a": (3,), "b": (1,)}, path="w.pth")
        Traceback (most recent call last):
        yolox.errors.WeightsError: w.pth does not fit the detector, 2 of 2 tensors differ:
          a: file has (2,), detector wants (3,)
          b: not in the file, detector wants (1,)
    """
    came = {name: tuple(array.shape) for name, array in weights.items()}
    names = [*wanted, *(name for name in came if name not in wanted)]
    differ = [name for name in names if came.get(name) != wanted.get(name)]
    classes = tuple(name for name in differ if _other_classes(name, came.get(name), wanted.get(name)))
    wrong = [name for name in differ if name not in classes]
    if wrong:
        shown = wrong if len(wrong) <= MOST_LINES else wrong[:SOME_LINES]
        lines = [_difference(name, came.get(name), wanted.get(name)) for name in shown]
        rest = [f"and {len(wrong) - len(shown)} more"] if len(wrong) > len(shown) else []
        head = f"{path} does not fit the detector, {len(wrong)} of {len(names)} tensors differ:"
        raise WeightsError("\n  ".join([head + _whose(came, wanted) * bool(rest), *lines, *rest]))
    return classes


def _whose(came: Mapping[str, tuple], wanted: Mapping[str, tuple]) -> str:
    """Say in a few words that a file in which nearly all differs is of another scale."""
    file, detector = scale_of(came), scale_of(wanted)
    if file is None or file == detector:
        return " it is of another scale or another detector"
    own = f"; the detector is {detector}" if detector else ""
    return f" it looks like scale {file}{own}"


def _other_classes(name: str, came: tuple | None, wanted: tuple | None) -> bool:
    return name.startswith(CLASS_PREDICTIONS) and bool(came and wanted) and came[1:] == wanted[1:]


def _difference(name: str, came: tuple | None, wanted: tuple | None) -> str:
    file = "not in the file" if came is None else f"file has {came}"
    return f"{name[:120]}: {file}, " + ("detector has none" if wanted is None else f"detector wants {wanted}")


def _float32(name: str, array: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    if array.dtype.kind != "f":
        raise WeightsError(f"{path}: {name} is of type {array.dtype}, want floating point")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: {name} has numbers that are not finite: damaged, or training diverged")
    return array
