"""Charts: a run's history, precision and recall, F1 by score, the confusion matrix, errors by kind, and the labels of a dataset.

Every function returns a matplotlib Figure of its own: pyplot, its global state and the user's backend are not touched. All have
one style, whose colours colour-blind people can tell apart; legends lie beside the data. Where there is nothing to draw, a
sentence says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING

import numpy as np

from yolox.eval.error_kinds import KINDS
from yolox.visualize.draw import COLORS, drawn_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_NUMBERED = 15  # classes up to which the cells of the confusion matrix take large numbers
MAX_NAMED = 10  # classes up to which each has a colour and a name in the legend
MAX_NAME = 22
MAX_MARKED = 40  # epochs up to which each value has a marker
NO_OBJECTS = "no image has an object"
FILL, ALERT = "#56B4E9", "#D55E00"
SIDE_TICKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Gives a function the style of all charts while it draws.

    Args:
        draw: returns a figure.

    Returns:
        A function with the same arguments.
    """

    @wraps(draw)
    def drawn(*arguments, **options) -> Figure:
        from matplotlib import cycler, rc_context

        style = {
            "axes.axisbelow": True, "axes.edgecolor": "0.4", "axes.grid": False, "axes.prop_cycle": cycler(color=COLORS),
            "axes.spines.right": False, "axes.spines.top": False, "axes.titlesize": 11,
            "font.family": "DejaVu Sans", "font.size": 10, "grid.color": "0.9", "legend.fontsize": 9, "legend.frameon": False,
            "text.parse_math": False,  # a class may be named $x$
        }  # fmt: skip
        with rc_context(style):
            return draw(*arguments, **options)

    return drawn


@styled
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
    panels = (("training loss", losses, 1e-3, {}), ("validation", ("AP", "AP50"), 0.1, {"AP50": 5}))
    for axes, (title, names, least, widths) in zip(figure.subplots(1, 2), panels, strict=True):
        axes.set_title(title)
        points_of = {name: _known(epochs, [row[name] for row in history]) for name in names}
        if not any(map(len, points_of.values())):
            _say(axes, "no epoch was evaluated" if title == "validation" else "no epoch has a finite loss")
            continue
        highest = max([least, *(value for points in points_of.values() for value in points[:, 1])])
        for number, (name, points) in enumerate(points_of.items()):
            if not len(points):
                continue
            style = {"color": "0.2" if number == 0 else COLORS[(number - 1) % len(COLORS)], "linewidth": widths.get(name, 2)}
            style |= {"linestyle": "-" if number <= len(COLORS) else "--"}
            style |= {"marker": "o" if len(points) < MAX_MARKED else None, "markersize": style["linewidth"] + 2}
            # the first line lies on top; markers at the edge of the axes are drawn whole
            axes.plot(*points.T, label=name, zorder=20 - number, clip_on=False, **style)
        axes.set(xlabel="epoch", ylim=(0, 1.05 * highest), xlim=(min(epochs), max(max(epochs), min(epochs) + 1)))
        axes.locator_params(axis="x", integer=True)
        axes.grid()
        _legend(axes)
    return figure


def _known(epochs, values) -> np.ndarray:  # -> [N,2]
    points = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if value is not None and np.isfinite(value)]
    return np.reshape(points, (-1, 2))


@styled
def precision_recall_chart(analysis: dict) -> Figure:
    """Draws precision by recall: a line for the mean, and one for each class.

    Up to ten classes are named with their area under the curve; of more, the three best and the three worst.

    Args:
        analysis: from `analyse`.

    Returns:
        Figure.
    """
    if why := _why_no_curves(analysis, "precision"):
        return _nothing(why)
    figure, axes = _axes("recall", f"precision at IoU {analysis['iou_threshold']:g}")
    _lines(axes, analysis, "recall", "precision", np.mean, "AP")
    return figure


@styled
def f1_chart(analysis: dict) -> Figure:
    """Draws F1 by score and marks the best score of the mean, to choose the score threshold of an application.

    Args:
        analysis: from `analyse`.

    Returns:
        Figure.
    """
    if why := _why_no_curves(analysis, "f1"):
        return _nothing(why)
    figure, axes = _axes("score threshold", f"F1 at IoU {analysis['iou_threshold']:g}")
    _lines(axes, analysis, "score", "f1", np.max, "best F1")
    mean = np.mean([curve for _, curve in _curves(analysis, "f1")], axis=0)
    place = analysis["score"][int(mean.argmax())]
    axes.axvline(place, color="0.3", linestyle=":", linewidth=1)
    axes.set_title(f"the mean is best at a score of {place:.2f}: F1 {mean.max():.3f}")
    return figure


@styled
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
    if not table.any():
        return _nothing(f"no objects, and no detections with a score above {analysis['score_threshold']:g}")
    if normalised:
        table = table / np.maximum(table.sum(1, keepdims=True), 1)
    count, few = len(table), len(table) <= MAX_NUMBERED + 1
    side = float(np.clip(0.55 * count + 2.5, 6, 0.15 * count + 5.0)) if few else 0.115 * count + 4.6
    figure = _figure(side, side)
    axes = figure.add_subplot()
    axes.spines[["right", "top"]].set_visible(True)
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


@styled
def error_chart(errors: dict) -> Figure:
    """Draws what fixing each kind of error would add to AP50.

    Args:
        errors: from `yolox.eval.error_kinds.analyse_errors`.

    Returns:
        Figure of 960 x 320 pixels; beside each bar are what it adds, and the number of such errors.
    """
    if errors["AP"] is None:
        return _nothing(NO_OBJECTS)
    figure = _figure(9.6, 3.2)
    axes = figure.add_subplot()
    added = [errors["dAP"][kind] for kind in KINDS]
    axes.barh(range(len(KINDS)), added, color=FILL)
    axes.set_yticks(range(len(KINDS)), KINDS)
    axes.invert_yaxis()
    for place, (kind, value) in enumerate(zip(KINDS, added, strict=True)):
        axes.text(value, place, f" +{value:.3f}  ({sum(errors['counts'][kind])})", va="center")
    axes.set_xlim(0, 1.2 * max(*added, 0.01))
    counted = f"in brackets: number at scores above {errors['score_threshold']:g}"
    axes.set_xlabel(f"added by fixing these errors alone ({counted})")
    axes.set_title("AP at IoU {iou_threshold:g} is {AP:.3f}".format(**errors))
    return figure


@styled
def label_chart(statistics: dict, *, title: str = "") -> Figure:
    """Draws how many objects there are of each class, how large, how many in an image, and where.

    Args:
        statistics: from `yolox.data.check.label_statistics`.
        title: which images they are of.

    Returns:
        Figure, taller for more classes.
    """
    count = len(statistics["class_names"])
    if not statistics["objects"]:
        return _nothing(f"{title}: {statistics['images']} images without any object".removeprefix(": "))
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


@styled
def benchmark_chart(report: dict) -> Figure:
    """Draws time, size and AP of a detector by runtime and precision.

    Args:
        report: `BenchmarkReport` as a dict.

    Returns:
        Figure with a row of bars for each runtime and precision; of AP only where it was evaluated.
    """
    rows, given = report["rows"], report["conditions"]
    panels = [("milliseconds", "ms an image", "{:.1f}"), ("megabytes", "MB", "{:.1f}")]
    panels += [("ap", "AP", "{:.4f}")] if any(row["ap"] is not None for row in rows) else []
    figure = _figure(3.4 * len(panels) + 1.6, 0.36 * len(rows) + 1.3)
    runtimes = list(dict.fromkeys(row["runtime"] for row in rows))
    colors = [COLORS[runtimes.index(row["runtime"])] for row in rows]
    every = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    for axes, (key, label, form) in zip(every, panels, strict=True):
        values = [row[key] or 0 for row in rows]
        axes.barh(range(len(rows)), values, color=colors)
        for index, row in enumerate(rows):
            text = "not evaluated" if row[key] is None else form.format(row[key])
            axes.text(values[index], index, f" {text}", va="center", fontsize=9)
        axes.set(xlabel=label, xlim=(0, max(*values, 1e-9) * 1.3))
        axes.grid(axis="x")
    every[0].set_yticks(range(len(rows)), [f"{row['runtime']} {row['precision']}" for row in rows])
    every[0].set_ylim(len(rows) - 0.4, -0.6)
    size = " x ".join(map(str, given["input_size"]))
    figure.suptitle(f"{size} px, median of {given['rounds']} runs, {given['processor']}, {given['cores']} cores", fontsize=10)
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


def _nothing(why: str) -> Figure:
    """Returns a figure without axes, whose only text says why there is nothing to draw."""
    figure = _figure(9.6, 1.2)
    figure.text(0.02, 0.5, f"Nothing to draw: {why}.", va="center")
    return figure


def _say(axes, why: str) -> None:
    """Writes into a panel why there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0, 0.9, f"Nothing to draw: {why}.", va="top", transform=axes.transAxes).set_in_layout(False)


def _legend(axes) -> None:
    """Writes the legend at the right of the axes, where no data are; names may begin with an underscore."""
    lines = [line for line in axes.get_lines() if line.get_gid() is None]
    axes.legend(lines, [line.get_label() for line in lines], loc="upper left", bbox_to_anchor=(1.01, 1.03))


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
    figure = _figure(9.6, 4.8)
    axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1.02), xlabel=across, ylabel=up)
    axes.grid()
    return figure, axes


def _curves(analysis: dict, kind: str):
    return [(index, curve) for index, curve in enumerate(analysis[kind]) if curve is not None]


def _why_no_curves(analysis: dict, kind: str) -> str:
    """Returns why there is no curve to draw, such as after the first epochs of a run; empty where there is one."""
    curves = _curves(analysis, kind)
    if not curves:
        return NO_OBJECTS
    has_any = any(np.any(curve) for _, curve in curves)
    return "" if has_any else f"no detection fits an object at IoU {analysis['iou_threshold']:g}"


def _lines(axes, analysis: dict, across: str, kind: str, summary: Callable, label: str) -> None:
    """Draws the lines of all classes, with names and summaries for all of a few, and for both ends of many."""
    curves = dict(_curves(analysis, kind))
    ranked = sorted(curves, key=lambda index: float(summary(curves[index])), reverse=True)
    styles = _few_styles(sorted(curves)) if len(curves) <= MAX_NAMED else _end_styles(ranked)
    for index, curve in curves.items():
        if index not in styles:
            axes.plot(analysis[across], curve, color="0.85", linewidth=0.8, zorder=1, gid="unnamed")
    names = chart_names(analysis["class_names"])
    for index, style in styles.items():
        text = f"{names[index]}, {label} {summary(curves[index]):.3f}"
        axes.plot(analysis[across], curves[index], linewidth=1.3, label=text, **style)
    mean = np.mean(list(curves.values()), axis=0)
    text = f"mean of {len(curves)} classes, {label} {summary(mean):.3f}"
    axes.plot(analysis[across], mean, color="k", linewidth=2.5, label=text)
    _legend(axes)


def _few_styles(indices: Sequence[int]) -> dict[int, dict]:
    """Returns a colour for each class, and dashes from the seventh on."""
    return {
        index: {"color": COLORS[place % len(COLORS)], "linestyle": ("-", "--")[place // len(COLORS)]}
        for place, index in enumerate(indices)
    }


def _end_styles(ranked: Sequence[int]) -> dict[int, dict]:
    """Returns colours for the three best, and dashed ones for the three worst; those of the classes may be alike."""
    best = {index: {"color": COLORS[place]} for place, index in enumerate(ranked[:3])}
    return best | {index: {"color": COLORS[place], "linestyle": "--"} for place, index in enumerate(ranked[-3:], start=3)}


def _class_bars(axes, statistics: dict) -> None:
    numbers, names = statistics["per_class"], chart_names(statistics["class_names"])
    count, most = len(names), max(numbers, default=0)
    axes.barh(range(count), numbers, color=FILL)
    size = 9 if count <= 30 else 7
    axes.set_yticks(range(count), names, fontsize=size)
    axes.set_ylim(count - 0.4, -0.6)
    for index, number in enumerate(numbers):
        axes.text(number, index, f" {number}", va="center", fontsize=size, color="k" if number else ALERT)
    axes.set_xlim(0, max(most * 1.15, 1))
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("objects")


def _sizes(axes, statistics: dict) -> None:
    axes.stairs(statistics["sides"], statistics["side_edges"], fill=True, color=FILL)
    axes.set_xscale("log")
    axes.set_xlim(SIDE_TICKS[0], SIDE_TICKS[-1])
    axes.set_xticks(SIDE_TICKS, [str(side) for side in SIDE_TICKS])
    axes.minorticks_off()
    axes.axvspan(SIDE_TICKS[0], 8, color=ALERT, alpha=0.12)
    axes.set_title(f"{statistics['small_share']:.1%} below 8 px", fontsize=10)
    height, width = statistics["input_size"]
    axes.set_xlabel(f"side of an object in an input of {height} x {width}, px")
    axes.set_ylabel("objects")


def _per_image(axes, images_with) -> None:
    """Draws images by their number of objects; `images_with[n]` have n."""
    most = max(len(images_with) - 1, 0)
    axes.hist(range(len(images_with)), np.linspace(-0.5, most + 0.5, min(most + 2, 31)), weights=images_with, color=FILL)
    axes.set_title(f"{sum(images_with[:1])} without objects, at most {most}", fontsize=10)
    axes.set_xlabel("objects in an image"), axes.set_ylabel("images")


def _places(axes, table) -> None:
    axes.imshow(table, cmap="Blues", extent=(0, 1, 1, 0), aspect="auto")
    axes.set_xticks([0, 1]), axes.set_yticks([0, 1])
    axes.set_title("centres of objects", fontsize=10)
    axes.set_xlabel("share of the width"), axes.set_ylabel("of the height")
