"""Charts: a run's history, precision and recall, F1 by score, the confusion matrix, and the labels of a dataset.

Every function returns a matplotlib Figure of its own: pyplot, its global state and the user's backend are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from yolox.visualize.draw import class_color, drawn_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_NUMBERED = 15  # classes up to which the cells of the confusion matrix take large numbers
MAX_NAMED = 10  # classes up to which each has a colour and a name in the legend
MAX_NAME = 22
MAX_MARKED = 40  # epochs up to which each value has a marker
SIDE_TICKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def history_chart(history: Sequence[Mapping[str, float | None]]) -> Figure:
    """Draws the losses and the AP of a run over its epochs.

    Args:
        history: rows of history.csv as numbers, at least one. The columns between `lr` and `images_per_second` are losses;
            a cell without a number is None.

    Returns:
        Figure of 960 x 320 pixels with one line for each loss, and one for AP and AP50.

    Raises:
        KeyError, ValueError: a column is missing.

    Example:
        >>> row = {"epoch": 1, "lr": 0.1, "total": 3.0, "images_per_second": 9.0, "AP": None, "AP50": None}
        >>> [line.get_label() for line in history_chart([row]).axes[0].get_lines()]
        ['total']
    """
    columns, epochs = list(history[0]), [row["epoch"] for row in history]
    losses = columns[columns.index("lr") + 1 : columns.index("images_per_second")]
    figure = _figure(9.6, 3.2)
    # AP lies on a wider AP50, so that both are visible where they are the same
    panels = (("training loss", losses, 1e-3, {}, "upper right"), ("validation", ("AP", "AP50"), 0.1, {"AP50": 5}, "lower right"))
    for axes, (title, names, least, widths, corner) in zip(figure.subplots(1, 2), panels, strict=True):
        highest = least
        for number, name in enumerate(names):
            values = [np.nan if row[name] is None else row[name] for row in history]
            known = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if np.isfinite(value)]
            style = {"color": "0.2" if number == 0 else f"C{number - 1}", "linewidth": widths.get(name, 2)}
            style |= {"marker": "o" if len(known) < MAX_MARKED else None, "markersize": style["linewidth"] + 2}
            # the first line lies on top; markers at the edge of the axes are drawn whole
            axes.plot(*np.reshape(known, (-1, 2)).T, label=name, zorder=20 - number, clip_on=False, **style)
            highest = max([highest, *(value for _, value in known)])
        axes.set(title=title, xlabel="epoch", ylim=(0, 1.05 * highest), xlim=(min(epochs), max(max(epochs), min(epochs) + 1)))
        axes.locator_params(axis="x", integer=True)
        axes.grid(color="0.9")
        axes.legend(loc=corner, fontsize=9).set_zorder(30)
    return figure


def precision_recall_chart(analysis: dict) -> Figure:
    """Draws precision by recall: a line for the mean, and one for each class.

    Up to ten classes are named with their area under the curve; of more, the three best and the three worst.

    Args:
        analysis: from `analyse`.

    Returns:
        Figure.
    """
    figure, axes = _axes("recall", f"precision at IoU {analysis['iou_threshold']:g}")
    _lines(axes, analysis, "recall", "precision", np.mean, "AP", "lower left")
    return figure


def f1_chart(analysis: dict) -> Figure:
    """Draws F1 by score and marks the best score of the mean, to choose the score threshold of an application.

    Args:
        analysis: from `analyse`.

    Returns:
        Figure.
    """
    figure, axes = _axes("score threshold", f"F1 at IoU {analysis['iou_threshold']:g}")
    _lines(axes, analysis, "score", "f1", np.max, "best F1", "upper right")
    if _curves(analysis, "f1"):
        mean = np.mean([curve for _, curve in _curves(analysis, "f1")], axis=0)
        place = analysis["score"][int(mean.argmax())]
        axes.axvline(place, color="0.3", linestyle=":", linewidth=1)
        axes.set_title(f"the mean is best at a score of {place:.2f}: F1 {mean.max():.3f}", fontsize=11)
    return figure


def confusion_chart(analysis: dict, *, normalised: bool = False) -> Figure:
    """Draws the confusion matrix: rows are true classes, columns predicted ones.

    Args:
        analysis: from `analyse`.
        normalised: True shows shares of the objects of a class (of all wrong detections in the last row).

    Returns:
        Figure, larger for more classes, with a number in every cell that is not 0: of more than 15 classes
        small ones, and shares in percent. Classes that neither occur nor are predicted are left out.
    """
    table, names = _seen(analysis)
    if normalised:
        table = table / np.maximum(table.sum(1, keepdims=True), 1)
    count, few = len(table), len(table) <= MAX_NUMBERED + 1
    side = float(np.clip(0.55 * count + 2.5, 6, 0.15 * count + 5.0)) if few else 0.115 * count + 4.6
    figure = _figure(side, side)
    axes = figure.add_subplot()
    shades = axes.imshow(np.sqrt(table / max(table.max(), 1e-9)), cmap="Blues", vmin=0, vmax=1, aspect="equal")
    size = 9 if few else 7
    axes.set_xticks(range(count), [*names, "not found"], rotation=90, fontsize=size)
    axes.set_yticks(range(count), [*names, "nothing there"], fontsize=size)
    axes.set_xlabel("predicted"), axes.set_ylabel("true")
    shown, form = (table, "{:.2f}") if normalised and few else (100 * table if normalised else table, "{:.0f}")
    _numbers(axes, shown, shades, form, size=9 if few else 7)
    what = f"share of each row{'' if few else ', percent'}" if normalised else "count"
    scored = f"scores above {analysis['score_threshold']:g}, IoU from {analysis['iou_threshold']:g}"
    axes.set_title(f"{what}; {scored}", fontsize=10)
    return figure


def label_chart(statistics: dict, *, title: str = "") -> Figure:
    """Draws how many objects there are of each class, how large, how many in an image, and where.

    Args:
        statistics: from `yolox.data.check.label_statistics`.
        title: which images they are of.

    Returns:
        Figure, taller for more classes.
    """
    count = len(statistics["class_names"])
    figure = _figure(11, max(6.5, 0.13 * count + 1.2))
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    _class_bars(left.add_subplot(), statistics)
    top, bottom = right.subfigures(2, 1)
    _sizes(top.add_subplot(), statistics)
    crowded, places = bottom.subplots(1, 2)
    _per_image(crowded, statistics["per_image"])
    _places(places, statistics["places"])
    text = f"{statistics['images']} images, {statistics['objects']} objects, {count} classes"
    figure.suptitle(f"{title}: {text}".removeprefix(": "), fontsize=12)
    return figure


def chart_names(names: Sequence[str]) -> list[str]:
    """Returns class names that a chart can show, all different.

    Args:
        names: of all classes, in their order.

    Returns:
        As many texts of at most `MAX_NAME` characters; letters that matplotlib's own font has are kept.

    Example:
        >>> chart_names(["café", "猫", "vehicle on two wheels, red", "vehicle on two wheels, blue"])
        ['café', 'class 1', 'vehicle on …heels, red', 'vehicle on …eels, blue']
    """
    from matplotlib.font_manager import findfont, get_font  # here, as in _figure: a second that `import yolox` need not take

    font = get_font(findfont("DejaVu Sans"))

    def has(text: str) -> bool:
        return all(font.get_char_index(ord(letter)) for letter in text)

    return drawn_names(names, most=MAX_NAME, gap="…", has=has)


def _figure(width: float, height: float) -> Figure:
    """Returns an empty figure; width and height in inches of 100 pixels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _seen(analysis: dict):
    """Returns the matrix without classes that neither occur nor are predicted, and the names of the others."""
    table = np.array(analysis["confusion"], float)
    seen = (table.sum(0) + table.sum(1)) > 0
    seen[-1] = True
    names = [name for name, kept in zip(chart_names(analysis["class_names"]), seen, strict=False) if kept]
    return table[seen][:, seen], names


def _numbers(axes, table, shades, form, *, size: int) -> None:
    for (row, column), value in np.ndenumerate(table):
        if value > 0:
            dark = shades.get_array()[row, column] > 0.6
            text = form.format(value)
            fit = 1 if size > 7 else min(1, 2.3 / len(text))  # small cells hold two digits of this size
            axes.text(column, row, text, ha="center", va="center", fontsize=fit * size, color="w" if dark else "k")


def _axes(across: str, up: str):
    figure = _figure(8, 5.5)
    axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1.02), xlabel=across, ylabel=up)
    axes.grid(color="0.9")
    return figure, axes


def _curves(analysis: dict, kind: str):
    return [(index, curve) for index, curve in enumerate(analysis[kind]) if curve is not None]


def _lines(axes, analysis: dict, across: str, kind: str, summary: Callable, label: str, corner: str) -> None:
    """Draws the lines of all classes, with names and summaries for all of a few, and for both ends of many."""
    curves = dict(_curves(analysis, kind))
    ranked = sorted(curves, key=lambda index: float(summary(curves[index])), reverse=True)
    styles = {index: {"color": _class_rgb(index)} for index in ranked} if len(ranked) <= MAX_NAMED else _end_styles(ranked)
    for index, curve in curves.items():
        if index not in styles:
            axes.plot(analysis[across], curve, color="0.85", linewidth=0.8, zorder=1)
    names = chart_names(analysis["class_names"])
    for index, style in styles.items():
        text = f"{names[index]}, {label} {summary(curves[index]):.3f}"
        axes.plot(analysis[across], curves[index], linewidth=1.3, label=text, **style)
    if curves:
        mean = np.mean(list(curves.values()), axis=0)
        text = f"mean of {len(curves)} classes, {label} {summary(mean):.3f}"
        axes.plot(analysis[across], mean, color="k", linewidth=2.5, label=text)
        axes.legend(loc=corner, fontsize=9)


def _end_styles(ranked: Sequence[int]) -> dict[int, dict]:
    """Returns colours for the three best, and dashed ones for the three worst; those of the classes may be alike."""
    best = {index: {"color": f"C{place}"} for place, index in enumerate(ranked[:3])}
    return best | {index: {"color": f"C{place}", "linestyle": "--"} for place, index in enumerate(ranked[-3:], start=3)}


def _class_bars(axes, statistics: dict) -> None:
    numbers, names = statistics["per_class"], chart_names(statistics["class_names"])
    count, most = len(names), max(numbers, default=0)
    axes.barh(range(count), numbers, color=[_class_rgb(i) for i in range(count)])
    size = 9 if count <= 30 else 7
    axes.set_yticks(range(count), names, fontsize=size)
    axes.set_ylim(count - 0.4, -0.6)
    for index, number in enumerate(numbers):
        axes.text(number, index, f" {number}", va="center", fontsize=size, color="k" if number else "r")
    axes.set_xlim(0, max(most * 1.15, 1))
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("objects")


def _sizes(axes, statistics: dict) -> None:
    axes.stairs(statistics["sides"], statistics["side_edges"], fill=True, color="0.55")
    axes.set_xscale("log")
    axes.set_xlim(SIDE_TICKS[0], SIDE_TICKS[-1])
    axes.set_xticks(SIDE_TICKS, [str(side) for side in SIDE_TICKS])
    axes.minorticks_off()
    axes.axvspan(SIDE_TICKS[0], 8, color="r", alpha=0.08)
    axes.set_title(f"{statistics['small_share']:.1%} below 8 px", fontsize=10)
    height, width = statistics["input_size"]
    axes.set_xlabel(f"side of an object in an input of {height} x {width}, px")
    axes.set_ylabel("objects")


def _per_image(axes, images_with) -> None:
    """Draws images by their number of objects; `images_with[n]` have n."""
    most = max(len(images_with) - 1, 0)
    axes.hist(range(len(images_with)), np.linspace(-0.5, most + 0.5, min(most + 2, 31)), weights=images_with, color="0.55")
    axes.set_title(f"{sum(images_with[:1])} without objects, at most {most}", fontsize=10)
    axes.set_xlabel("objects in an image"), axes.set_ylabel("images")


def _places(axes, table) -> None:
    axes.imshow(table, cmap="Blues", extent=(0, 1, 1, 0), aspect="auto")
    axes.set_xticks([0, 1]), axes.set_yticks([0, 1])
    axes.set_title("centres of objects", fontsize=10)
    axes.set_xlabel("share of the width"), axes.set_ylabel("of the height")


def _class_rgb(index: int) -> tuple[float, float, float]:
    """Returns the colour of a class as in pictures, a little darker, as red, green, blue in 0..1."""
    return tuple(0.85 * part / 255 for part in class_color(index)[::-1])
