"""Statistics of a dataset's labels, as numbers that a file can keep."""

from __future__ import annotations

import numpy as np

from yolox.config import Size
from yolox.data.dataset import DetectionDataset

SIDE_EDGES = np.geomspace(1, 1024, 41)  # px of the network's input
PLACES = 25  # cells across and down an image
SMALL_SIDE = 8  # px, the finest stride


def label_statistics(dataset: DetectionDataset, *, input_size: Size) -> dict:
    """Counts objects by class, by size, by image and by place, as values for `json.dumps`.

    Call it before training: a class without objects, objects below 8 px, or images with hundreds of objects
    call for another input size or recipe.

    Args:
        dataset: the dataset; crowd regions are left out.
        input_size: height and width of the network's input; sizes are counted as the network sees them.

    Returns:
        dict with `class_names`, `images`, `objects`, `input_size`; `per_class`, a number for each class; `side_edges`
        (41 px) and `sides`, the objects between two of them; `small_share`, the share below 8 px; `per_image`, the
        number of images with 0, 1, 2, ... objects; `places` [25][25], the objects whose centre lies in a cell, rows from
        the top down.
    """
    image_indices = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))[~dataset.crowd]
    boxes, classes = dataset.boxes[~dataset.crowd], dataset.classes[~dataset.crowd]
    sides = _sides(boxes, dataset.sizes[image_indices], input_size)
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2 / dataset.sizes[image_indices][:, ::-1]).T
    counts = {
        "per_class": np.bincount(classes, minlength=len(dataset.class_names)),
        "sides": np.histogram(np.clip(sides, SIDE_EDGES[0], SIDE_EDGES[-1]), SIDE_EDGES)[0],
        "per_image": np.bincount(np.bincount(image_indices, minlength=len(dataset))),
        "places": np.histogram2d(y, x, bins=PLACES, range=((0, 1), (0, 1)))[0].astype(int),
    }
    return {
        "class_names": list(dataset.class_names),
        "images": len(dataset),
        "objects": len(boxes),
        "input_size": list(input_size),
        "side_edges": SIDE_EDGES.round(4).tolist(),
        "small_share": float(np.mean(sides < SMALL_SIDE)) if len(sides) else 0.0,
        **{name: table.tolist() for name, table in counts.items()},
    }


def _sides(boxes, sizes, input_size: Size) -> np.ndarray:  # [M,4],[M,2] -> [M] px of the input
    ratio = np.minimum(*(wanted / having for wanted, having in zip(input_size, sizes.T.astype(float), strict=True)))
    return np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)) * ratio
