"""Figures without global state: one size of letters, long names cut, colours of the drawn boxes."""

from __future__ import annotations

from yolox.eval.draw import class_color

LONGEST_NAME = 22
SEVERAL = 10  # up to here every class has a colour and a name in the legend


class PlotError(ValueError):
    """A chart that cannot be drawn."""


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
        raise PlotError("charts need one more package: pip install -c constraints.txt -e '.[plot]' in the repository") from None
    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def short(name: str) -> str:
    """Cut a long name.

    Args:
        name: any text.

    Returns:
        At most `LONGEST_NAME` characters.

    Example:
        >>> short("a"), short("international space station module")
        ('a', 'international space s…')
    """
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def color_of(index: int) -> tuple[float, float, float]:
    """Give the colour of a class as in pictures, a little darker, as matplotlib takes it.

    Args:
        index: of the class.

    Returns:
        Red, green, blue in 0..1.
    """
    blue, green, red = class_color(index)
    return tuple(0.85 * part / 255 for part in (red, green, blue))
