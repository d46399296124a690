"""Reads COCO annotation files, with every value checked."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import numpy as np

from yolox.data.build import Columns, build_dataset
from yolox.data.dataset import DetectionDataset
from yolox.data.json_lists import read_lists
from yolox.errors import DataError, raise_problems


def read_coco(
    json_path: str, image_dir: str, *, class_names: Sequence[str] | None = None
) -> DetectionDataset:
    """Reads a COCO annotation file with any category ids and file names.

    Args:
        json_path: the annotation file, with `images`, `annotations` and `categories`.
        image_dir: folder that the file names are relative to; sub-folders are allowed.
        class_names: the classes wanted and their order (those of a checkpoint, or of the training set); the
            file's categories are mapped to them by name. None takes the file's categories by rising id.

    Returns:
        DetectionDataset with images in the order of the file. Boxes partly outside their image are kept as
        annotated and clipped where training reads them; boxes without area are kept for evaluation and left
        out of training.

    Raises:
        DataError: no readable JSON; or, all listed together up to 20: a missing image file, an annotation of
            an unknown image or category, an `iscrowd` other than 0 and 1, a box that is not four finite numbers,
            has a negative size or lies wholly outside its image.
    """
    columns, marks, problems = Columns(), _Marks(), []
    categories, in_categories = [], []
    adders = {
        "images": (partial(_add_image, columns=columns), problems),
        "annotations": (partial(_add_annotation, columns=columns, marks=marks), problems),
        "categories": (partial(_add_category, categories=categories), in_categories),
    }
    handlers = {key: partial(_add_object, key, add, wrong) for key, (add, wrong) in adders.items()}
    lengths = read_lists(json_path, handlers)
    missing = [key for key in handlers if key not in lengths]
    if missing:
        raise DataError(f"{json_path}: has no list {missing[0]!r}, want images, annotations and categories")
    names, ids = _classes(categories, class_names, in_categories)
    raise_problems(json_path, in_categories)
    _resolve(columns, marks, ids, problems)
    return build_dataset(
        json_path, columns, image_dir=image_dir, class_names=names, category_ids=ids, problems=problems
    )


@attrs.define
class _Marks:
    """Ids of the image and of the category of each box, which may come before the images and the categories do."""

    images: array = attrs.Factory(lambda: array("q"))
    categories: array = attrs.Factory(lambda: array("q"))


def _add_object(key: str, add: Callable, problems: list[str], position: int, entry) -> None:
    """Calls `add` for an element that is an object, and notes a problem for any other."""
    if isinstance(entry, dict):
        add(position, entry, problems)
    else:
        problems.append(f"{key}[{position}] is a {type(entry).__name__}, want an object")


def _add_category(
    position: int, entry: dict, problems: list[str], *, categories: list[tuple[str, int]]
) -> None:
    name, ident = entry.get("name"), as_id(entry.get("id"))
    if not isinstance(name, str) or ident is None:
        what = f"id {short(entry.get('id'))} and name {short(name)}"
        problems.append(f"categories[{position}]: {what}, want an integer and a text")
    else:
        categories.append((name, ident))


def _add_image(position: int, entry: dict, problems: list[str], *, columns: Columns) -> None:
    name, ident = entry.get("file_name"), as_id(entry.get("id"))
    sides = [as_id(entry.get(side)) for side in ("height", "width")]
    if not isinstance(name, str) or not name or "\0" in name:
        problems.append(f"images[{position}]: file_name {short(name)}, want a text")
    elif ident is None:
        problems.append(f"image {name}: id {short(entry.get('id'))}, want an integer")
    elif not all(side is not None and 0 < side < 2**20 for side in sides):
        height, width = (short(entry.get(side)) for side in ("height", "width"))
        problems.append(f"image {name}: height {height} and width {width}, want positive integers")
    else:
        columns.file_names.append(os.path.normpath(name))
        columns.image_ids.append(ident)
        columns.sizes.extend(sides)


def _add_annotation(position: int, entry: dict, problems: list[str], *, columns: Columns, marks: _Marks) -> None:
    ident = entry.get("id", position + 1)
    complaint = _complaint(entry, ident)
    if complaint:
        problems.append(f"annotation {short(ident)}: {complaint}")
        return
    x, y, w, h = map(float, entry["bbox"])
    area = entry.get("area")
    marks.images.append(as_id(entry["image_id"]))
    marks.categories.append(as_id(entry["category_id"]))
    columns.boxes.extend((x, y, x + w, y + h))
    columns.crowd.append(as_crowd(entry.get("iscrowd", 0)))
    columns.areas.append(float(area) if is_number(area) and area >= 0 else w * h)
    columns.annotation_ids.append(as_id(ident))


def _complaint(entry: dict, ident: object) -> str | None:
    box = entry.get("bbox")
    if as_id(ident) is None:
        return f"id {short(ident)}, want an integer"
    if as_id(entry.get("image_id")) is None:
        return f"image_id {short(entry.get('image_id'))} is none of the images"
    if as_id(entry.get("category_id")) is None:
        return f"category_id {short(entry.get('category_id'))} is none of the categories"
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(v) for v in box):
        return f"bbox {short(box)}, want four finite numbers x, y, width, height"
    if as_crowd(entry.get("iscrowd", 0)) is None:
        return f"iscrowd {short(entry['iscrowd'])}, want 0 or 1"
    return None


def _resolve(columns: Columns, marks: _Marks, category_ids: Sequence[int], problems: list[str]) -> None:
    """Replaces ids of images and classes by indices; notes boxes of unknown ids and leaves them out."""
    image_indices = _places(columns.image_ids, marks.images)
    classes = _places(array("q", category_ids), marks.categories)
    for kind, many, place, ids in (
        ("image", "images", image_indices, marks.images),
        ("category", "categories", classes, marks.categories),
    ):
        problems += [
            f"annotation {columns.annotation_ids[i]}: {kind}_id {ids[i]} is none of the {many}"
            for i in np.flatnonzero(place < 0).tolist()
        ]
    columns.image_indices, columns.classes = image_indices, classes
    known = (image_indices >= 0) & (classes >= 0)
    if not known.all():
        columns.boxes = np.asarray(columns.boxes).reshape(-1, 4)[known]
        for name in ("image_indices", "classes", "crowd", "areas", "annotation_ids"):
            setattr(columns, name, np.asarray(getattr(columns, name))[known])


def _places(known: array, wanted: array) -> np.ndarray:  # -> [len(wanted)] int32
    """Returns the index of each wanted id among the known ones; -1 for one that is not there."""
    known, wanted = np.asarray(known), np.asarray(wanted)
    order = np.argsort(known, kind="stable").astype(np.int32)
    if not len(order):
        return np.full(len(wanted), -1, np.int32)
    place = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(order) - 1)]
    return np.where(known[place] == wanted, place, np.int32(-1))


def _classes(
    categories: list[tuple[str, int]], wanted: Sequence[str] | None, problems: list[str]
) -> tuple[list[str], list[int]]:
    by_name: dict[str, int] = {}
    ids: set[int] = set()
    for name, ident in categories:
        if name in by_name or ident in ids:
            problems.append(f"category {ident} ({name}): its id or its name occurs twice")
        by_name.setdefault(name, ident)
        ids.add(ident)
    if wanted is None:
        names = sorted(by_name, key=by_name.__getitem__)
        return names, [by_name[n] for n in names]
    problems.extend(
        f"category {by_name[n]} ({n}) is none of the {len(wanted)} classes wanted"
        for n in by_name
        if n not in wanted
    )
    unused = max(by_name.values(), default=0) + 1
    return list(wanted), [by_name.get(n, unused + i) for i, n in enumerate(wanted)]


_MOST = 2**62  # half of int64: classes without an id get one beside these
_EXACT = 2**53  # from here on a float stands for several integers


def as_id(value: object) -> int | None:
    """Returns a value as an integer, also where a tool wrote it as 1.0.

    Args:
        value: as it came from the file.

    Returns:
        The integer; None for anything else, true and false included.

    Example:
        >>> as_id(7), as_id(7.0), as_id(7.5), as_id(True), as_id("7")
        (7, 7, None, None, None)
    """
    if isinstance(value, float) and abs(value) < _EXACT and value == int(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MOST else None


def as_crowd(value: object) -> bool | None:
    """Returns `iscrowd` as a bool: 0 or 1, or false or true.

    A text such as "0" is refused, not guessed at: taken for a crowd, a box would silently be left out of training.

    Args:
        value: as it came from the file.

    Returns:
        Whether the box is a crowd region; None for anything else.

    Example:
        >>> as_crowd(1), as_crowd(False), as_crowd(0.0), as_crowd("0"), as_crowd(2)
        (True, False, False, None, None)
    """
    return bool(value) if isinstance(value, (int, float)) and value in (0, 1) else None


def is_number(value: object) -> bool:
    """Returns whether a value is a finite number within int64; true and false are none.

    Args:
        value: as it came from the file.

    Returns:
        Whether it is.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)


def short(value: object) -> str:
    """Returns the text of a value for a message, cut after 200 characters.

    Args:
        value: as it came from the file.

    Returns:
        Its text, of at most 203 characters.
    """
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
