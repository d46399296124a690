"""Reader of COCO annotation files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from numbers import Integral, Real

from .build import Columns, build_dataset
from .dataset import DetectionDataset
from .errors import DataError, raise_offenders
from .textfile import read_text


def read_coco(
    json_path: str, image_dir: str, *, class_names: Sequence[str] | None = None
) -> DetectionDataset:
    """Read a COCO annotation file of any category ids and any file names.

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
            an unknown image or category, a box that is not four finite numbers, has a negative size or lies
            wholly outside its image.
    """
    content = _read_json(json_path)
    image_entries, annotation_entries, category_entries = (
        _entries(content, key, json_path) for key in ("images", "annotations", "categories")
    )
    offenders: list[str] = []
    names, ids = _categories(category_entries, class_names, offenders)
    raise_offenders(json_path, offenders)
    columns = Columns()
    _read_images(image_entries, columns, offenders)
    _read_annotations(annotation_entries, columns, {c: i for i, c in enumerate(ids)}, offenders)
    return build_dataset(
        json_path, columns, image_dir=image_dir, class_names=names, category_ids=ids, offenders=offenders
    )


def _read_json(path: str) -> dict:
    text = read_text(path)
    try:
        content = json.loads(text, object_hook=_without_polygons)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not a JSON file ({error})") from None
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: holds a {type(content).__name__}, want an object with three lists"
        )
    return content


def _without_polygons(entry: dict) -> dict:
    """Drop, while the file is read, what takes most of its memory and no box needs."""
    entry.pop("segmentation", None)
    return entry


def _entries(content: dict, key: str, path: str) -> list[dict]:
    entries = content.get(key)
    if not isinstance(entries, list):
        raise DataError(f"{path}: has no list '{key}', want images, annotations and categories")
    raise_offenders(
        path,
        [
            f"{key}[{i}] is a {type(e).__name__}, want an object"
            for i, e in enumerate(entries)
            if not isinstance(e, dict)
        ],
    )
    return entries


def _categories(
    entries: list[dict], wanted: Sequence[str] | None, offenders: list[str]
) -> tuple[list[str], list[int]]:
    by_name: dict[str, int] = {}
    for position, entry in enumerate(entries):
        name, ident = entry.get("name"), entry.get("id")
        if not isinstance(name, str) or not _is_id(ident):
            offenders.append(
                f"categories[{position}]: id {ident!r} and name {name!r}, want an integer and a text"
            )
        elif name in by_name or ident in by_name.values():
            offenders.append(f"category {ident} ({name}): its id or its name occurs twice")
        else:
            by_name[name] = ident
    if wanted is None:
        names = sorted(by_name, key=by_name.__getitem__)
        return names, [by_name[n] for n in names]
    offenders.extend(
        f"category {by_name[n]} ({n}) is none of the {len(wanted)} classes wanted"
        for n in by_name
        if n not in wanted
    )
    unused = max(by_name.values(), default=0) + 1
    return list(wanted), [by_name.get(n, unused + i) for i, n in enumerate(wanted)]


def _read_images(entries: list[dict], columns: Columns, offenders: list[str]) -> None:
    for position, entry in enumerate(entries):
        name, ident, size = entry.get("file_name"), entry.get("id"), (entry.get("height"), entry.get("width"))
        if not isinstance(name, str) or not name or "\0" in name:
            offenders.append(f"images[{position}]: file_name {name!r}, want a text")
        elif not _is_id(ident):
            offenders.append(f"image {name}: id {ident!r}, want an integer")
        elif not all(_is_id(v) and 0 < v < 2**20 for v in size):
            offenders.append(
                f"image {name}: height {size[0]!r} and width {size[1]!r}, want positive integers"
            )
        else:
            columns.file_names.append(os.path.normpath(name))
            columns.image_ids.append(int(ident))
            columns.sizes.append(size)


def _read_annotations(
    entries: list[dict], columns: Columns, class_of: dict[int, int], offenders: list[str]
) -> None:
    position_of = {ident: i for i, ident in enumerate(columns.image_ids)}
    for position, entry in enumerate(entries):
        ident = entry.get("id", position + 1)
        owner = position_of.get(entry.get("image_id")) if _is_id(entry.get("image_id")) else None
        category = class_of.get(entry.get("category_id")) if _is_id(entry.get("category_id")) else None
        complaint = _complaint(entry, ident, owner, category)
        if complaint:
            offenders.append(f"annotation {ident!r}: {complaint}")
            continue
        x, y, w, h = map(float, entry["bbox"])
        area = entry.get("area")
        columns.owners.append(owner)
        columns.boxes.append((x, y, x + w, y + h))
        columns.classes.append(category)
        columns.crowd.append(bool(entry.get("iscrowd", 0)))
        columns.areas.append(float(area) if _is_number(area) and area >= 0 else w * h)
        columns.annotation_ids.append(ident)


def _complaint(entry: dict, ident, owner: int | None, category: int | None) -> str | None:
    box = entry.get("bbox")
    if not _is_id(ident):
        return f"id {ident!r}, want an integer"
    if owner is None:
        return f"image_id {entry.get('image_id')!r} is none of the images"
    if category is None:
        return f"category_id {entry.get('category_id')!r} is none of the categories"
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(v) for v in box):
        return f"bbox {box!r}, want four finite numbers x, y, width, height"
    return None


def _is_id(value) -> bool:
    return isinstance(value, Integral) and abs(value) < 2**63


def _is_number(value) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    return (
        isinstance(value, Integral)
        and abs(value) < 2**63
        or isinstance(value, float)
        and math.isfinite(value)
    )
