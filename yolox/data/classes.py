"""Class names: those of COCO, and datasets with the classes of a detector."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from yolox.data.dataset import DetectionDataset
from yolox.errors import DataError


def with_classes(dataset: DetectionDataset, names: Sequence[str]) -> DetectionDataset:
    """Returns a dataset with the classes of a detector, matched by name.

    Args:
        dataset: the dataset; may lack some of the classes.
        names: the classes wanted, in their order.

    Returns:
        DetectionDataset whose `class_names` are `names`. Category ids stay; classes that the dataset has not get
        new ones.

    Raises:
        DataError: the dataset has a class that is none of those.
    """
    unknown = [name for name in dataset.class_names if name not in set(names)]
    if unknown:
        raise DataError(f"{dataset.image_dir}: classes {', '.join(unknown[:5])} are none of the {len(names)} wanted")
    ids = dict(zip(dataset.class_names, dataset.category_ids, strict=True))
    unused = max(dataset.category_ids, default=0) + 1
    place = np.array([list(names).index(name) for name in dataset.class_names], np.int32)
    return attrs.evolve(
        dataset,
        classes=place[dataset.classes] if len(place) else dataset.classes,
        class_names=tuple(names),
        category_ids=tuple(ids.get(name, unused + i) for i, name in enumerate(names)),
    )


_TEXT = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe,
backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat,
baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon,
bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch,
potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave,
oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush
"""
COCO_NAMES = tuple(name.strip() for name in _TEXT.split(","))
"""The 80 names in the order of rising category ids, which is the order of the networks' class outputs."""


def names_of_classes(num_classes: int, known: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Returns the class names of a detector: the known ones, COCO's for 80 classes, else numbered ones.

    Args:
        num_classes: C, used where no names are known.
        known: C names; None where there are none.

    Returns:
        C names.

    Example:
        >>> names_of_classes(2), names_of_classes(80)[16]
        (('class 0', 'class 1'), 'dog')
    """
    if known is not None:
        return tuple(known)
    return COCO_NAMES if num_classes == len(COCO_NAMES) else tuple(f"class {i}" for i in range(num_classes))
