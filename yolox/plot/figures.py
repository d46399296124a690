"""Figures without global state: one size of letters, long names cut, colours of the drawn boxes."""

from __future__ import annotations

from collections.abc import Sequence

from yolox.errors import PlotError
from yolox.eval.draw import class_color
from yolox.eval.names import drawn_names

LONGEST_NAME = 22
NEEDED = "charts need one more package: pip install -c constraints.txt -e '.[plot]' in the repository"
SEVERAL = 10  # up to here every class has a colour and a name in the legend


def new_figure(width: float, height: float):
    """Make an empty figure.

    Args:
        width: inches; 100 pixels each.
        height: inches.

    Returns:
        matplotlib Figure, `savefig(path)` writes it.

    Raises:
        PlotError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise PlotError(NEEDED) from None
    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def chart_names(names: Sequence[str]) -> list[str]:
    """Write class names so that a chart can show them and they can be told apart.

    Args:
        names: of all classes, in their order.

    Returns:
        As many texts of at most `LONGEST_NAME` characters; letters that matplotlib's own font has are kept.

    Raises:
        PlotError: matplotlib is not installed.

    Example:
        >>> chart_names(["café", "猫", "vehicle on two wheels, red", "vehicle on two wheels, blue"])
        ['café', 'class 1', 'vehicle on …heels, red', 'vehicle on …eels, blue']
    """
    try:
        from matplotlib.font_manager import findfont, get_font
    except ImportError:
        raise PlotError(NEEDED) from None
    font = get_font(findfont("DejaVu Sans"))

    def has(text: str) -> bool:
        return all(font.get_char_index(ord(letter)) for letter in text)

    return drawn_names(names, most=LONGEST_NAME, gap="…", has=has)


def color_of(index: int) -> tuple[float, float, float]:
    """Give the colour of a class as in pictures, a little darker, as matplotlib takes it.

    Args:
        index: of the class.

    Returns:
        Red, green, blue in 0..1.
    """
    blue, green, red = class_color(index)
    return tuple(0.85 * part / 255 for part in (red, green, blue))
