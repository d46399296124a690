"""Loss and AP over the epochs as a picture, drawn with OpenCV so that no plotting package is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

PANEL = (320, 480)  # height, width in pixels
MARGIN = (44, 24, 48, 64)  # top, right, bottom, left
COLOURS = ((60, 60, 60), (180, 119, 31), (14, 127, 255), (44, 160, 44), (40, 39, 214))  # BGR
GREY = (208, 208, 208)


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Choose round numbers that cover a range.

    Args:
        low: lower end.
        high: upper end, above `low`.
        most: largest number of intervals.

    Returns:
        Ascending ticks at 1, 2 or 5 times a power of ten, from at most `low` to at least `high`.

    Example:
        >>> nice_ticks(0.0, 0.74)
        [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    rough = (high - low) / most
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    return [round(float(i * step), 10) for i in np.arange(first, last + 1)]


def draw_curves(
    title: str,
    epochs: Sequence[float],
    curves: Mapping[str, Sequence[float | None]],
    *,
    least: float = 1e-3,
    widths: Sequence[int] = (2,),
) -> np.ndarray:
    """Draw curves over epochs in one panel.

    Args:
        title: written above.
        epochs: x of the values.
        curves: name and values of each curve, as long as `epochs`; None leaves a point out. The first lies on top.
        least: the axis reaches at least up to this.
        widths: px of the lines in the order of the curves, from the start again where there are more curves.

    Returns:
        [H,W,3] uint8 BGR image of the size PANEL.

    Raises:
        ValueError: if a curve is not as long as `epochs`.

    Example:
        >>> draw_curves("loss", [1, 2], {"total": [4.0, 3.0]}).shape
        (320, 480, 3)
    """
    for name, values in curves.items():
        if len(values) != len(epochs):
            raise ValueError(f"draw_curves: {name} has {len(values)} values for {len(epochs)} epochs")
    panel = np.full((*PANEL, 3), 255, np.uint8)
    known = [v for values in curves.values() for v in values if v is not None and np.isfinite(v)] or [1.0]
    ticks = nice_ticks(0.0, max(*known, least))
    place = _placer(epochs, ticks)
    _draw_axes(panel, title, epochs, ticks, place)
    for number, (name, values) in reversed(list(enumerate(curves.items()))):
        colour = COLOURS[number % len(COLOURS)]
        _draw_line(panel, epochs, values, place, colour, widths[number % len(widths)])
        _write(panel, name, (PANEL[1] - MARGIN[1] + 50 * (number - len(curves)), 26), colour)
    return panel


def draw_history(history: Sequence[Mapping[str, float | None]]) -> np.ndarray:
    """Draw the losses and the AP of a run side by side.

    Args:
        history: rows of history.csv, as `yolox.training.run_folder.read_history` gives them.

    Returns:
        [H,2W,3] uint8 BGR image.
    """
    epochs = [row["epoch"] for row in history]
    losses = {name: [row[name] for row in history] for name in ("total", "iou", "obj", "cls", "l1")}
    metrics = {name: [row[name] for row in history] for name in ("AP", "AP50")}
    # AP lies within a wider AP50, so that both are seen where they are the same
    return np.hstack(
        [draw_curves("training loss", epochs, losses), draw_curves("validation", epochs, metrics, least=0.1, widths=(2, 5))]
    )


def _placer(epochs, ticks):
    top, right, bottom, left = MARGIN
    low, high = min(epochs), max(max(epochs), min(epochs) + 1)

    def place(x, y) -> tuple[int, int]:
        across = left + (x - low) / (high - low) * (PANEL[1] - left - right)
        down = PANEL[0] - bottom - y / ticks[-1] * (PANEL[0] - top - bottom)
        return round(across), round(down)

    return place


def _draw_axes(panel, title, epochs, ticks, place) -> None:
    low, high = min(epochs), max(max(epochs), min(epochs) + 1)
    for tick in ticks:
        cv2.line(panel, place(low, tick), place(high, tick), GREY, 1)
        _write(panel, f"{tick:g}", (8, place(low, tick)[1] + 4), COLOURS[0])
    for tick in (t for t in nice_ticks(low, high) if t == int(t) and low <= t <= high):
        _write(panel, f"{tick:g}", (place(tick, 0)[0] - 6, PANEL[0] - 28), COLOURS[0])
    _write(panel, title, (MARGIN[3], 26), COLOURS[0], scale=0.55)
    _write(panel, "epoch", (PANEL[1] // 2, PANEL[0] - 8), COLOURS[0])


def _draw_line(panel, epochs, values, place, colour, width) -> None:
    known = [(x, y) for x, y in zip(epochs, values, strict=True) if y is not None and np.isfinite(y)]
    points = np.array([place(x, y) for x, y in known], np.int32).reshape(-1, 1, 2)
    cv2.polylines(panel, [points], False, colour, width, cv2.LINE_AA)
    if len(known) < 40:
        for x, y in points[:, 0].tolist():
            cv2.circle(panel, (x, y), width + 1, colour, -1, cv2.LINE_AA)


def _write(panel, text, origin, colour, *, scale: float = 0.42) -> None:
    cv2.putText(panel, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
