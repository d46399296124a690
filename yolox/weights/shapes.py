"""What the names and shapes of weights show: the scale, the channels of the images, and whether they fit a detector."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from yolox.errors import WeightsError
from yolox.weights.foreign import system_of

CLASS_PREDICTIONS = "head.cls_preds."
MOST_LINES = 20
SOME_LINES = 3  # of a file that is of another scale: more would add nothing
STEM = "backbone.stem.conv.conv.weight"
DARKNET_STEM = "backbone.stem.2.layer1.conv.weight"
DARKNET_STEM_INPUT = "backbone.stem.0.conv.weight"
STEM_WIDTHS = {24: "tiny", 32: "s", 48: "m", 64: "l", 80: "x"}
NANO_WIDTH = 16


def scale_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Returns the scale whose first layer these weights have.

    Args:
        shapes: this library's names to shapes.

    Returns:
        One of nano, tiny, s, m, l, x, darknet53; None where the names do not decide. Layers of one's own may look the same.

    Example:
        >>> scale_of({"backbone.stem.conv.conv.weight": (32, 12, 3, 3)}), scale_of({})
        ('s', None)
    """
    if DARKNET_STEM in shapes:
        return "darknet53"
    width = next(iter(shapes.get(STEM, ())), None)
    if any(".dconv." in name for name in shapes):
        return "nano" if width == NANO_WIDTH else None
    return STEM_WIDTHS.get(width)


def channels_of(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Returns the channels of the images that weights take.

    Args:
        shapes: this library's names to shapes.

    Returns:
        The number; 3 where the first layer is not one of the published detectors.

    Example:
        >>> channels_of({"backbone.stem.conv.conv.weight": (32, 20, 3, 3)}), channels_of({})
        (5, 3)
    """
    if STEM in shapes and len(shapes[STEM]) == 4:
        return max(shapes[STEM][1] // 4, 1)
    return shapes[DARKNET_STEM_INPUT][1] if len(shapes.get(DARKNET_STEM_INPUT, ())) == 4 else 3


def check_fit(
    weights: Mapping[str, np.ndarray],
    wanted: Mapping[str, tuple[int, ...]],
    *,
    path: str | os.PathLike = "weights",
) -> tuple[str, ...]:
    """Compares names and shapes of weights and detector.

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
    """Returns the end of a message about a file that differs in nearly every tensor: the scale or the system that it is of."""
    file, detector = scale_of(came), scale_of(wanted)
    if system := system_of(came):
        return f" its names look like those of {system}"
    if file is None or file == detector:
        return " it is of another scale or another detector"
    own = f"; the detector is {detector}" if detector else ""
    return f" it looks like scale {file}{own}"


def _other_classes(name: str, came: tuple | None, wanted: tuple | None) -> bool:
    return name.startswith(CLASS_PREDICTIONS) and bool(came and wanted) and came[1:] == wanted[1:]


def _difference(name: str, came: tuple | None, wanted: tuple | None) -> str:
    file = "not in the file" if came is None else f"file has {came}"
    return f"{name[:120]}: {file}, " + ("detector has none" if wanted is None else f"detector wants {wanted}")
