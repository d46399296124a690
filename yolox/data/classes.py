"""The classes of a dataset put into another order."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from yolox.data.dataset import DetectionDataset
from yolox.errors import DataError


def with_classes(dataset: DetectionDataset, names: Sequence[str]) -> DetectionDataset:
    """Give a dataset the classes of a detector, found by their names, whichever format it came from.

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
