"""Class names: those of COCO, and datasets with the classes of a detector."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from yolox.data.content import counted, name_some, note_names
from yolox.data.dataset import DetectionDataset, trainable
from yolox.errors import DataError

log = logging.getLogger("yolox.data")


def with_classes(dataset: DetectionDataset, names: Sequence[str]) -> DetectionDataset:
    """Returns a dataset with the classes of a detector, found by their names, whichever format it came from.

    Args:
        dataset: the dataset; may lack some of the classes. Classes that are not among `names` and have no box are left
            out, and named in `notes`, unless they may be another spelling of one that the dataset lacks.
        names: the classes wanted, in their order.

    Returns:
        DetectionDataset whose `class_names` are `names`. Category ids stay; classes that the dataset lacks get new ones.

    Raises:
        DataError: the dataset has boxes of a class that is none of those, or one that is spelt otherwise. The
            message lists the names that differ on both sides, and spellings that are close.
    """
    place = {name: i for i, name in enumerate(names)}
    counts = np.bincount(dataset.classes, minlength=len(dataset.class_names)).tolist()
    unknown = [name for name in dataset.class_names if name not in place]
    missing = [name for name in names if name not in set(dataset.class_names)]
    used = [  # without a box too where it may be another spelling of a class wanted: images would be judged without it
        name
        for name, count in zip(dataset.class_names, counts, strict=True)
        if name not in place and (count or close_names(name, missing))
    ]
    if used:
        raise DataError(_difference(dataset, used, missing, wanted=len(names)))
    if unknown:
        dataset = _noted(
            dataset,
            note_names(
                f"left out {counted(len(unknown), 'class', 'classes')} without a box, none of the {len(names)} wanted", unknown
            ),
        )
    ids = {name: i for name, i in zip(dataset.class_names, dataset.category_ids, strict=True) if name in place}
    unused = max(dataset.category_ids, default=0) + 1
    index = np.array([place.get(name, -1) for name in dataset.class_names], np.int32)
    return attrs.evolve(
        dataset,
        classes=index[dataset.classes] if len(index) else dataset.classes,
        class_names=tuple(names),
        category_ids=tuple(ids.get(name, unused + i) for i, name in enumerate(names)),
    )


def _difference(dataset: DetectionDataset, used: Sequence[str], missing: Sequence[str], *, wanted: int) -> str:
    """Describes classes with boxes that a detector lacks: both sides' names without a partner, and close spellings."""
    total = len(dataset.class_names)
    return (
        f"{_name(dataset)}: classes that are none of the {wanted} wanted: {len(used)} of {total} "
        f"({name_some(_with_close_names(used, missing), most=5)})\n"
        f"wanted and not in the dataset: {name_some(missing, most=5) or 'none'}; "
        "want the same names, or a file of `class_map` with lines such as NAME HERE: NAME WANTED"
    )


def close_names(name: str, among: Sequence[str]) -> list[str]:
    """Returns the spellings that a class name may stand for: without case, spaces and marks, contained, or alike.

    Args:
        name: that has no partner.
        among: names that have none either.

    Returns:
        At most two, the most alike first.

    Example:
        >>> close_names("tvmonitor", ["tv", "cat"]), close_names("Traffic-Light", ["traffic light"])
        (['tv'], ['traffic light'])
    """
    plain = {other: _plain(other) for other in among}
    wanted = _plain(name)
    same = [other for other, text in plain.items() if text and text == wanted]
    within = [o for o, text in plain.items() if min(len(text), len(wanted)) > 1 and (text in wanted or wanted in text)]
    alike = [o for text in difflib.get_close_matches(wanted, list(plain.values()), 2) for o in among if plain[o] == text]
    return list(dict.fromkeys([*same, *alike, *within]))[:2]


def _with_close_names(names: Sequence[str], among: Sequence[str]) -> list[str]:
    """Returns names for a message, each with the spellings that it may stand for."""
    return [f"{name} ({' or '.join(found)}?)" if (found := close_names(name, among)) else name for name in names]


def _name(dataset: DetectionDataset) -> str:
    return dataset.source or dataset.image_dir


def _noted(dataset: DetectionDataset, note: str) -> DetectionDataset:
    """Returns the dataset with one more note, which is logged."""
    log.warning("%s: %s", _name(dataset), note, extra={"is_note": True})
    return attrs.evolve(dataset, notes=(*dataset.notes, note))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def rename_classes(dataset: DetectionDataset, class_map: Mapping[str, str] | None) -> DetectionDataset:
    """Returns a dataset with other class names; classes that get the same name become one.

    Args:
        dataset: the dataset.
        class_map: from names of the dataset to names wanted; names that it lacks stay. None changes nothing.

    Returns:
        DetectionDataset; of classes that become one, the first keeps its place and category id.

    Raises:
        DataError: the map has a name and the dataset has none like it.
    """
    if not class_map:
        return dataset
    have = set(dataset.class_names)
    strange = [name for name, wanted in class_map.items() if name not in have and wanted not in have]
    if len(strange) == len(class_map):
        raise DataError(
            f"{_name(dataset)}: has none of the classes of `class_map` ({name_some(strange)}); "
            f"it has {name_some(dataset.class_names, most=5)}"
        )
    if strange:
        near = name_some(_with_close_names(strange, dataset.class_names))
        dataset = _noted(dataset, f"{counted(len(strange), 'name')} of `class_map` that no class of the dataset has: {near}")
    renamed = [class_map.get(name, name) for name in dataset.class_names]
    names = list(dict.fromkeys(renamed))
    place = np.array([names.index(name) for name in renamed], np.int32)
    return attrs.evolve(
        dataset,
        classes=place[dataset.classes],
        class_names=tuple(names),
        category_ids=tuple(dataset.category_ids[renamed.index(name)] for name in names),
    )


def as_one_class(dataset: DetectionDataset, name: str = "object") -> DetectionDataset:
    """Returns a dataset whose classes are one, for a detector of things of any kind.

    Args:
        dataset: with any classes.
        name: of the class.

    Returns:
        DetectionDataset with the boxes of all classes.

    Example:
        >>> dataset = DetectionDataset(
        ...     image_dir="", file_names=("a.jpg",), image_ids=np.array([1]), sizes=np.array([[8, 8]]), offsets=np.array([0, 2]),
        ...     boxes=np.array([[0, 0, 4, 4], [2, 2, 8, 8]], np.float32), classes=np.array([1, 0]), crowd=np.zeros(2, bool),
        ...     areas=np.array([16.0, 36.0]), annotation_ids=np.array([1, 2]), class_names=("cat", "dog"), category_ids=(1, 2))
        >>> one = as_one_class(dataset)
        >>> one.class_names, one.classes.tolist()
        (('object',), [0, 0])
    """
    renamed = rename_classes(dataset, dict.fromkeys(dataset.class_names, name))
    return attrs.evolve(renamed, class_names=renamed.class_names or (name,), category_ids=renamed.category_ids or (1,))


def inverse_class_weights(dataset: DetectionDataset) -> tuple[float, ...]:
    """Computes weights that give each class the same share of the class loss.

    Args:
        dataset: training images; boxes that are not trained on (crowds, boxes without area) do not count.

    Returns:
        For each class ``boxes / (classes * boxes of the class)``, as scikit-learn's "balanced" weights: their mean over boxes
        is 1. Classes without a box do not count as classes, and have 1.
    """
    counts = np.bincount(dataset.classes[trainable(dataset)], minlength=len(dataset.class_names))
    used = max(np.count_nonzero(counts), 1)
    weights = np.where(counts > 0, counts.sum() / (used * np.maximum(counts, 1)), 1.0)
    return tuple(weights.tolist())


def match_detector(
    dataset: DetectionDataset, names: Sequence[str] | None, num_classes: int, *, class_map: Mapping[str, str] | None = None
) -> DetectionDataset:
    """Returns a dataset in the classes of a detector, by name wherever names are known.

    Args:
        dataset: the dataset.
        names: class names of the detector; None where its weights have none. The 80 classes of such weights are COCO's
            where the dataset has any name of COCO, in whatever spelling.
        num_classes: classes that the detector predicts.
        class_map: from names of the dataset to names of the detector.

    Returns:
        Dataset of `num_classes` classes. Only where no names are known the dataset's own order counts, and a note says it.

    Raises:
        DataError: as `with_classes`; or no names are known and the numbers of classes differ.
    """
    dataset = rename_classes(dataset, class_map)
    if names is None and num_classes == len(COCO_NAMES):
        known = {_plain(name) for name in COCO_NAMES}
        names = COCO_NAMES if any(_plain(name) in known for name in dataset.class_names) else None
    if names is not None:
        return dataset if tuple(names) == dataset.class_names else with_classes(dataset, names)
    if len(dataset.class_names) != num_classes:
        raise DataError(
            f"{_name(dataset)}: has {counted(len(dataset.class_names), 'class', 'classes')}, the detector predicts "
            f"{num_classes} without names; want a dataset of the same classes"
        )
    what = f"the weights have no class names: the {num_classes} classes were matched by their order in the dataset"
    note = note_names(what, dataset.class_names)
    return dataset if note in dataset.notes else _noted(dataset, note)


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
