"""Charts of what `yolox.eval.analysis.analyse` gives: precision and recall, F1 by score, the confusion matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from yolox.plot.figures import SEVERAL, chart_names, color_of, new_figure

MOST_NUMBERS = 15  # classes up to which the cells of the matrix have room for large numbers


def precision_recall_chart(analysis: dict):
    """Draw precision by recall: a line for the mean, and one for each class.

    Up to ten classes are named with their area under the curve; of more, the three best and the three worst.

    Args:
        analysis: from `analyse`.

    Returns:
        matplotlib Figure.

    Raises:
        PlotError: matplotlib is not installed.
    """
    figure, axes = _axes("recall", f"precision at IoU {analysis['iou_threshold']:g}")
    _lines(axes, analysis, "recall", "precision", np.mean, "AP", "lower left")
    return figure


def f1_chart(analysis: dict):
    """Draw F1 by score, to choose the score threshold of an application: the mean's best is marked.

    Args:
        analysis: from `analyse`.

    Returns:
        matplotlib Figure.

    Raises:
        PlotError: matplotlib is not installed.
    """
    figure, axes = _axes("score threshold", f"F1 at IoU {analysis['iou_threshold']:g}")
    _lines(axes, analysis, "score", "f1", np.max, "best F1", "upper right")
    if _present(analysis, "f1"):
        mean = np.mean([curve for _, curve in _present(analysis, "f1")], axis=0)
        place = analysis["score"][int(mean.argmax())]
        axes.axvline(place, color="0.3", linestyle=":", linewidth=1)
        axes.set_title(f"the mean is best at a score of {place:.2f}: F1 {mean.max():.3f}", fontsize=11)
    return figure


def confusion_chart(analysis: dict, *, normalised: bool = False):
    """Draw the confusion matrix: true classes down, predicted ones across.

    Args:
        analysis: from `analyse`.
        normalised: True shows shares of the truths of a class (of all wrong detections in the last row).

    Returns:
        matplotlib Figure, larger for more classes, with a number in every cell that is not 0: of more than 15 classes
        small ones, and shares in percent. Classes that neither occur nor are predicted are left out.

    Raises:
        PlotError: matplotlib is not installed.
    """
    table, names = _seen(analysis)
    if normalised:
        table = table / np.maximum(table.sum(1, keepdims=True), 1)
    count, few = len(table), len(table) <= MOST_NUMBERS + 1
    side = float(np.clip(0.55 * count + 2.5, 6, 0.15 * count + 5.0)) if few else 0.115 * count + 4.6
    figure = new_figure(side, side)
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


def _seen(analysis: dict):
    """The matrix without classes that neither occur nor are predicted, and the names of the others."""
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
            room = 1 if size > 7 else min(1, 2.3 / len(text))  # small cells hold two digits of this size
            axes.text(column, row, text, ha="center", va="center", fontsize=room * size, color="w" if dark else "k")


def _axes(across: str, up: str):
    figure = new_figure(8, 5.5)
    axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1.02), xlabel=across, ylabel=up)
    axes.grid(color="0.9")
    return figure, axes


def _present(analysis: dict, kind: str):
    return [(index, curve) for index, curve in enumerate(analysis[kind]) if curve is not None]


def _lines(axes, analysis: dict, across: str, kind: str, summary: Callable, label: str, corner: str) -> None:
    """The lines of all classes; names and summaries for all of a few, and for both ends of many."""
    curves = dict(_present(analysis, kind))
    ranked = sorted(curves, key=lambda index: float(summary(curves[index])), reverse=True)
    styles = {index: {"color": color_of(index)} for index in ranked} if len(ranked) <= SEVERAL else _end_styles(ranked)
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
    """Colours that differ for the three best, and dashed for the three worst; those of the classes may be alike."""
    best = {index: {"color": f"C{place}"} for place, index in enumerate(ranked[:3])}
    return best | {index: {"color": f"C{place}", "linestyle": "--"} for place, index in enumerate(ranked[-3:], start=3)}
