"""Reads COCO annotation files, with every value checked."""

from __future__ import annotations

import math
import os
import re
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import attrs
import numpy as np

from yolox.data.build import Columns, build_dataset, relative_name
from yolox.data.classes import rename_classes
from yolox.data.content import Note, counted, name_some, note_names
from yolox.data.dataset import DetectionDataset
from yolox.data.json_lists import read_lists
from yolox.errors import MAX_PROBLEMS, DataError, raise_problems, stop_at_many_problems


def read_coco(
    json_path: str,
    image_dir: str,
    *,
    class_names: Sequence[str] | None = None,
    class_map: Mapping[str, str] | None = None,
    follow_links: bool = False,
) -> DetectionDataset:
    """Reads a COCO annotation file with any category ids and file names.

    Args:
        json_path: the annotation file, with `images`, `annotations` and `categories`.
        image_dir: folder that the file names are relative to; sub-folders are allowed.
        class_names: the classes wanted and their order (those of a checkpoint, or of the training set); the
            file's categories are mapped to them by name. None takes the file's categories by rising id; a category without
            a box that is the supercategory of others (the root that Roboflow writes) is left out and noted.
        class_map: other names for the classes of the file, as in `rename_classes`.
        follow_links: True accepts links within the image folder that lead out of it.

    Returns:
        DetectionDataset with images in the order of the file. Boxes partly outside their image are kept as
        annotated and clipped where training reads them; boxes without area are kept for evaluation and left
        out of training.

    Raises:
        DataError: no readable JSON; or, all listed together up to 20: a missing image file, an annotation of
            an unknown image or category, an `iscrowd` other than 0 and 1, a box that is not four finite numbers,
            has a negative size or lies wholly outside its image.
    """
    read = _Reading(image_dir=os.fspath(image_dir))
    adders = {"images": read.add_image, "annotations": read.add_annotation, "categories": read.add_category}
    lists = {"categories": read.category_problems}
    handlers = {key: partial(_add_object, key, add, lists.get(key, read.problems)) for key, add in adders.items()}
    lengths = read_lists(json_path, handlers)
    missing = [key for key in handlers if key not in lengths]
    if missing:
        raise DataError(f"{json_path}: has no list {missing[0]!r}, want images, annotations and categories")
    names, ids = _classes(read, class_names)
    raise_problems(json_path, read.category_problems)
    _resolve(read, ids)
    dataset = build_dataset(
        json_path, read.columns, image_dir=image_dir, class_names=names, category_ids=ids,
        problems=[*read.problems, *read.counted_problems()], notes=read.notes(), follow_links=follow_links,
    )  # fmt: skip
    return rename_classes(dataset, class_map)


@attrs.frozen(kw_only=True)
class CocoIds:
    """The ids of a COCO file, for results.

    Args:
        source: the file.
        images: file name and id of each image.
        categories: id of each category, by name.
    """

    source: str
    images: tuple[tuple[str, int], ...]
    categories: dict[str, int]


def read_coco_ids(json_path: str) -> CocoIds:
    """Reads the ids of a COCO file's images and categories; the images need not be there, nor annotations.

    Args:
        json_path: the annotation file.

    Returns:
        CocoIds.

    Raises:
        DataError: no readable JSON, or no images or categories with integer ids and names.
    """
    images: list[tuple[str, int]] = []
    categories: dict[str, int] = {}

    def add(key: str, name_key: str, position: int, entry) -> None:
        name, ident = (entry.get(name_key), as_id(entry.get("id"))) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or ident is None:
            raise DataError(f"{key}[{position}]: want an object with an integer id and a {name_key}")
        if key == "images":
            images.append((name.replace("\\", "/"), ident))
        else:
            categories[name] = ident

    read_lists(json_path, {"images": partial(add, "images", "file_name"), "categories": partial(add, "categories", "name")})
    if not images or not categories:
        raise DataError(f"{json_path}: has no images or no categories, want COCO annotations")
    return CocoIds(source=str(json_path), images=tuple(images), categories=categories)


@attrs.define(kw_only=True)
class _Reading:
    """What is collected while the file is read; boxes may come before the images and categories that they name."""

    image_dir: str
    columns: Columns = attrs.Factory(Columns)
    box_images: array = attrs.Factory(lambda: array("q"))
    box_categories: array = attrs.Factory(lambda: array("q"))
    categories: list[tuple[str, int, str]] = attrs.Factory(list)  # name, id, supercategory
    problems: list[str] = attrs.Factory(list)
    category_problems: list[str] = attrs.Factory(list)
    refused_images: set[int] = attrs.Factory(set)  # their boxes are no problems of their own
    without_size: list[str] = attrs.Factory(list)
    urls: list[str] = attrs.Factory(list)
    text_ids: list[str] = attrs.Factory(list)
    without_box: list[str] = attrs.Factory(list)
    backslashes: list[str] = attrs.Factory(list)
    scored: list[int] = attrs.Factory(list)  # ids of annotations, like the next five
    bad_areas: list[int] = attrs.Factory(list)
    strange_areas: list[int] = attrs.Factory(list)
    ignored: list[int] = attrs.Factory(list)
    turned: list[int] = attrs.Factory(list)
    corners: list[int] = attrs.Factory(list)
    left_out: list[str] = attrs.Factory(list)

    def add_category(self, position: int, entry: dict) -> None:
        name, ident, parent = entry.get("name"), as_id(entry.get("id")), entry.get("supercategory")
        if not isinstance(name, str) or ident is None:
            what = f"id {short(entry.get('id'))} and name {short(name)}"
            self.category_problems.append(f"categories[{position}]: {what}, want an integer and a text")
        else:
            self.categories.append((name, ident, parent if isinstance(parent, str) else ""))

    def add_image(self, position: int, entry: dict) -> None:
        name, ident = entry.get("file_name"), as_id(entry.get("id"))
        sides = [as_id(entry.get(side)) for side in ("height", "width")]
        if not isinstance(name, str) or not name or "\0" in name:
            self.problems.append(f"images[{position}]: file_name {short(name)}, want a text")
        elif isinstance(entry.get("id"), str):
            self.text_ids.append(f"image {name}: id {short(entry['id'])}")
            ident = int(entry["id"]) if re.fullmatch(r"\d{1,15}", entry["id"]) else None
        elif ident is None:
            self.problems.append(f"image {name}: id {short(entry.get('id'))}, want an integer")
        elif _URL.match(name):
            self.urls.append(short(name))
        elif not all(side is not None and 0 < side < 2**20 for side in sides):
            height, width = (short(entry.get(side)) for side in ("height", "width"))
            self.without_size.append(f"{name}: height {height} and width {width}")
        else:
            self.columns.file_names.append(self._relative(name))
            self.columns.image_ids.append(ident)
            self.columns.sizes.extend(sides)
            return
        if ident is not None:
            self.refused_images.add(ident)

    def _relative(self, name: str) -> str:
        """Returns the name within the image folder; a name that leads elsewhere stays, and is refused later."""
        if "\\" in name and not os.path.isfile(os.path.join(self.image_dir, name)):
            other = name.replace("\\", "/")
            if os.path.isfile(os.path.join(self.image_dir, other)):
                self.backslashes.append(name)
                name = other
        return relative_name(name, self.image_dir)

    def add_annotation(self, position: int, entry: dict) -> None:
        ident = entry.get("id", position + 1)
        texts = [key for key in ("id", "image_id", "category_id") if isinstance(entry.get(key), str)]
        if texts:
            self.text_ids.append(f"annotation {short(ident)}: {texts[0]} {short(entry[texts[0]])}")
            return
        if entry.get("bbox") in (None, []) and entry.get("segmentation"):
            self.without_box.append(f"annotation {short(ident)}")
            return
        complaint = _complaint(entry, ident)
        if complaint:
            self.problems.append(f"annotation {short(ident)}: {complaint}")
            return
        x, y, w, h = map(float, entry["bbox"])
        area, columns = entry.get("area"), self.columns
        self.box_images.append(as_id(entry["image_id"]))
        self.box_categories.append(as_id(entry["category_id"]))
        columns.boxes.extend((x, y, x + w, y + h))
        columns.crowd.append(as_crowd(entry.get("iscrowd", 0)))
        has_area = is_number(area) and area >= 0
        columns.areas.append(float(area) if has_area else w * h)
        columns.annotation_ids.append(as_id(ident))
        self.bad_areas += [ident] * (not has_area and "area" in entry)
        self.scored += [ident] * ("score" in entry)
        self.ignored += [ident] * (as_crowd(entry.get("ignore", 0)) is True and not columns.crowd[-1])
        is_corners = has_area and w > x and h > y and abs(area - (w - x) * (h - y)) <= 1 < abs(area - w * h)
        self.corners += [ident] * (is_corners and not entry.get("segmentation"))
        self.turned += [ident] * _is_turned(entry)
        self.strange_areas += [ident] * (has_area and w * h > 0 and not 0 < area <= 1.01 * w * h + 1)

    def counted_problems(self) -> list[str]:
        kinds = (
            (self.without_size, "images without a whole positive height and width", "the pixels of each file as integers"),
            (self.urls, "file names that are URLs", "the names of files in the image folder"),
            (self.text_ids, "ids that are texts", "integers"),
            (self.without_box, "annotations with a segmentation and no bbox", "bbox x, y, width, height of each"),
        )
        return [f"{what}: {len(found)} ({name_some(found)}); want {wanted}" for found, what, wanted in kinds if found]

    def notes(self) -> list[str]:
        notes = [f"left out the {text}" for text in self.left_out]
        if self.backslashes:
            names = counted(len(self.backslashes), "file name has", "file names have")
            notes.append(note_names(f"{names} the backslashes of Windows, read as /", self.backslashes))
        of_annotations = (
            (self.bad_areas, "an area that is no number of 0 or more; that of the box was taken"),
            (self.strange_areas,
             "an area of 0 or larger than the box: evaluation sorts by it into small, medium and large"),
            (self.ignored, "`ignore`, which pycocotools does not follow either: read as ordinary boxes"),
            (self.turned, "a rotation, which is not applied: the box of the file was taken as it is"),
            (self.corners,
             "the area of a box whose last two numbers are its far corner: is bbox x1, y1, x2, y2? it is read as x, y, w, h"),
            (self.scored, "a score: predictions are taken as labels, without their scores"),
        )  # fmt: skip
        for ids, text in of_annotations:
            what = f"{counted(len(ids), 'annotation has', 'annotations have')} {text}"
            notes += [Note(what, (f"annotation {ident}" for ident in ids))] if ids else []
        return notes


def _is_turned(entry: dict) -> bool:
    """Returns whether an annotation states an angle, itself or in the attributes that CVAT writes."""
    attributes = entry.get("attributes")
    angles = (entry.get("rotation"), attributes.get("rotation") if isinstance(attributes, dict) else None)
    return any(is_number(angle) and angle % 360 != 0 for angle in angles)


_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # a drive of Windows has one letter


def _add_object(key: str, add: Callable, problems: list[str], position: int, entry) -> None:
    """Passes an element on to what collects the objects of its list; what is no object is a problem."""
    if isinstance(entry, dict):
        add(position, entry)
    else:
        problems.append(f"{key}[{position}] is a {type(entry).__name__}, want an object")
    stop_at_many_problems(key, problems)


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


def _resolve(read: _Reading, category_ids: Sequence[int]) -> None:
    """Puts positions of images and classes in place of their ids; boxes of unknown ones are problems and left out."""
    columns = read.columns
    image_indices = _places(columns.image_ids, read.box_images)
    classes = _places(array("q", category_ids), read.box_categories)
    for kind, many, place, ids, refused in (
        ("image", "images", image_indices, read.box_images, read.refused_images),
        ("category", "categories", classes, read.box_categories, ()),
    ):
        read.problems += [
            f"annotation {columns.annotation_ids[i]}: {kind}_id {ids[i]} is none of the {many}"
            for i in np.flatnonzero(place < 0)[:MAX_PROBLEMS].tolist()
            if ids[i] not in refused
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


def _classes(read: _Reading, wanted: Sequence[str] | None) -> tuple[list[str], list[int]]:
    """Returns names and ids of the classes; categories without a box are judged by their use."""
    used, parents = set(read.box_categories), {}
    for _, ident, parent in read.categories:
        parents.setdefault(parent, set()).add(ident)
    times = Counter(name for name, *_ in read.categories)
    used_names = {name for name, ident, _ in read.categories if ident in used}
    by_name: dict[str, int] = {}
    ids: set[int] = set()
    for name, ident, _ in read.categories:
        if ident in ids:
            read.category_problems.append(f"category {ident} ({name}): its id occurs twice")
        elif ident not in used and name and parents.get(name, set()) - {ident}:
            read.left_out.append(f"category {name} (id {ident}): it has no box and is the supercategory of others")
        elif ident not in used and times[name] > 1 and (name in used_names or name in by_name):
            read.left_out.append(f"category {name} (id {ident}): it has no box, and another of this name is there")
        elif name in by_name:
            read.category_problems.append(f"category {ident} ({name}): its name occurs twice, and both have boxes")
        else:
            by_name[name] = ident
        ids.add(ident)
    if wanted is None:
        names = sorted(by_name, key=by_name.__getitem__)
        return names, [by_name[n] for n in names]
    read.category_problems.extend(
        f"category {by_name[n]} ({n}) is none of the {len(wanted)} classes wanted" for n in by_name if n not in wanted
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
