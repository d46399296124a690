"""Statistics of a dataset's labels as a chart."""

from __future__ import annotations

import numpy as np

from yolox.plot.figures import chart_names, color_of, new_figure

TICKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def label_chart(statistics: dict, *, title: str = ""):
    """Draw how many objects there are of each class, how large, how many in an image, and where.

    Args:
        statistics: from `yolox.data.statistics.label_statistics`.
        title: which images they are of.

    Returns:
        matplotlib Figure, taller for more classes.

    Raises:
        PlotError: matplotlib is not installed.
    """
    count = len(statistics["class_names"])
    figure = new_figure(11, max(6.5, 0.13 * count + 1.2))
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


def _class_bars(axes, statistics: dict) -> None:
    numbers, names = statistics["per_class"], chart_names(statistics["class_names"])
    count, most = len(names), max(numbers, default=0)
    axes.barh(range(count), numbers, color=[color_of(i) for i in range(count)])
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
    axes.set_xlim(TICKS[0], TICKS[-1])
    axes.set_xticks(TICKS, [str(side) for side in TICKS])
    axes.minorticks_off()
    axes.axvspan(TICKS[0], 8, color="r", alpha=0.08)
    axes.set_title(f"{statistics['small_share']:.1%} below 8 px", fontsize=10)
    height, width = statistics["input_size"]
    axes.set_xlabel(f"side of an object in an input of {height} x {width}, px")
    axes.set_ylabel("objects")


def _per_image(axes, images_with) -> None:
    """Images by their number of objects; `images_with[n]` have n."""
    most = max(len(images_with) - 1, 0)
    axes.hist(range(len(images_with)), np.linspace(-0.5, most + 0.5, min(most + 2, 31)), weights=images_with, color="0.55")
    axes.set_title(f"{sum(images_with[:1])} without objects, at most {most}", fontsize=10)
    axes.set_xlabel("objects in an image"), axes.set_ylabel("images")


def _places(axes, table) -> None:
    axes.imshow(table, cmap="Blues", extent=(0, 1, 1, 0), aspect="auto")
    axes.set_xticks([0, 1]), axes.set_yticks([0, 1])
    axes.set_title("centres of objects", fontsize=10)
    axes.set_xlabel("share of the width"), axes.set_ylabel("of the height")
