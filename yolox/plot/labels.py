"""Statistics of a dataset's labels as a chart."""

from __future__ import annotations

import numpy as np

from yolox.config import Size
from yolox.data.dataset import DetectionDataset
from yolox.plot.figures import color_of, new_figure, short

SIDES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def label_chart(dataset: DetectionDataset, *, input_size: Size):
    """Draw how many objects there are of each class, how large, how many in an image, and where.

    Call it before training: a class without objects, objects below 8 px, or images with hundreds of objects
    call for another input size or recipe.

    Args:
        dataset: the dataset; crowd regions are left out.
        input_size: height and width of the network's input; sizes are shown as the network sees them.

    Returns:
        matplotlib Figure, taller for more classes.

    Raises:
        PlotError: matplotlib is not installed.
    """
    count = len(dataset.class_names)
    figure = new_figure(11, max(6.5, 0.16 * count + 1.5))
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    keep = ~dataset.crowd
    _class_bars(left.add_subplot(), dataset, keep)
    top, bottom = right.subfigures(2, 1)
    _sizes(top.add_subplot(), dataset, keep, input_size)
    crowded, places = bottom.subplots(1, 2)
    _per_image(crowded, dataset, keep)
    _places(places, dataset, keep)
    figure.suptitle(f"{len(dataset)} images, {int(keep.sum())} objects, {count} classes", fontsize=12)
    return figure


def _class_bars(axes, dataset, keep) -> None:
    count = len(dataset.class_names)
    numbers = np.bincount(dataset.classes[keep], minlength=count)
    axes.barh(range(count), numbers, color=[color_of(i) for i in range(count)])
    size = 9 if count <= 30 else 7
    names = [short(name) for name in dataset.class_names]
    axes.set_yticks(range(count), names, fontsize=size)
    axes.set_ylim(count - 0.4, -0.6)
    for index, number in enumerate(numbers):
        axes.text(number, index, f" {number}", va="center", fontsize=size, color="k" if number else "r")
    axes.set_xlim(0, max(numbers.max(initial=1) * 1.15, 1))
    axes.set_xlabel("objects")


def _sizes(axes, dataset, keep, input_size) -> None:
    height, width = dataset.sizes.T.astype(float)
    ratio = np.minimum(input_size[0] / height, input_size[1] / width)
    owners = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))[keep]
    boxes = dataset.boxes[keep]
    sides = np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)) * ratio[owners]
    axes.hist(np.clip(sides, SIDES[0], SIDES[-1]), bins=np.geomspace(SIDES[0], SIDES[-1], 41), color="0.55")
    axes.set_xscale("log")
    axes.set_xticks(SIDES, [str(side) for side in SIDES])
    axes.minorticks_off()
    axes.axvspan(SIDES[0], 8, color="r", alpha=0.08)
    small = float(np.mean(sides < 8)) if len(sides) else 0.0
    axes.set_title(f"{small:.1%} below 8 px", fontsize=10)
    axes.set_xlabel(f"side of an object in an input of {input_size[0]} x {input_size[1]}, px")
    axes.set_ylabel("objects")


def _per_image(axes, dataset, keep) -> None:
    owners = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))[keep]
    numbers = np.bincount(owners, minlength=len(dataset))
    most = int(numbers.max(initial=0))
    axes.hist(numbers, bins=np.linspace(-0.5, most + 0.5, min(most + 2, 31)), color="0.55")
    axes.set_title(f"{int((numbers == 0).sum())} without objects, at most {most}", fontsize=10)
    axes.set_xlabel("objects in an image"), axes.set_ylabel("images")


def _places(axes, dataset, keep) -> None:
    owners = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))[keep]
    boxes, sizes = dataset.boxes[keep], dataset.sizes[owners]
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2 / sizes[:, ::-1]).T
    axes.hist2d(x, y, bins=25, range=((0, 1), (0, 1)), cmap="Blues")
    axes.invert_yaxis()
    axes.set_xticks([0, 1]), axes.set_yticks([0, 1])
    axes.set_title("centres of objects", fontsize=10)
    axes.set_xlabel("share of the width"), axes.set_ylabel("of the height")
