"""Converts datasets between COCO, Pascal VOC and YOLO, and counts what the new files do not keep."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

import attrs

from yolox.data.json_lists import read_lists
from yolox.data.layout import find_layout, read_part
from yolox.data.parts import DataLayout
from yolox.data.voc import parse_annotation
from yolox.data.voc_layout import voc_files
from yolox.data.write import WRITERS, OriginalFile, write_coco
from yolox.data.written_folder import Images, WrittenData
from yolox.errors import DataError


def convert_data(
    path: str | os.PathLike | DataLayout,
    output: str | os.PathLike,
    *,
    to: Literal["coco", "voc", "yolo"],
    images: Images = "copy",
    **conventions: Any,
) -> WrittenData:
    """Writes all parts of a dataset in another format.

    Args:
        path: the dataset, as for `find_layout`, or what that has found.
        output: a folder that is not there yet, or empty.
        to: format that is written. From COCO to COCO every entry keeps all its keys.
        images: whether image files are copied or linked.
        conventions: as for `read_part`, such as ``first_pixel=1``.

    Returns:
        What was written, and what was not kept: what the reader does not read, and what the format does not hold. What the
        reader left out is logged.

    Raises:
        DataError: the dataset cannot be read, or not be written in this format; the output is there already. Then nothing
            is left of it.

    Example:
        >>> convert_data("VOC2007", "coco", to="coco", first_pixel=1)  # doctest: +SKIP
        WrittenData(output='coco', images={'train': 2501, 'val': 2510}, boxes={'train': 6301, 'val': 6307}, ...
    """
    if to not in WRITERS:
        raise DataError(f"`to` {to!r}: want one of {', '.join(WRITERS)}")
    layout = path if isinstance(path, DataLayout) else find_layout(path)
    datasets = {name: read_part(part, name=name, **conventions) for name, part in layout.parts.items()}
    if to == "coco" and not conventions.get("class_map"):
        originals = {name: [OriginalFile(path=part.path)] for name, part in layout.parts.items() if part.format == "json"}
        written = write_coco(datasets, output, images=images, originals=originals)
    else:
        originals = {}
        written = WRITERS[to](datasets, output, images=images)
    marks = {key: conventions.get(key, False) for key in ("difficult_as_crowd", "follow_links")}
    unread = [] if originals else unread_attributes(layout, **marks)
    return attrs.evolve(written, notes=(*unread, *written.notes))


def unread_attributes(layout: DataLayout, *, difficult_as_crowd: bool = False, follow_links: bool = False) -> list[str]:
    """Counts what the files of a dataset hold beside what a `DetectionDataset` keeps, such as segments.

    Args:
        layout: the dataset.
        difficult_as_crowd: whether its reader keeps the mark `difficult` of VOC.
        follow_links: as for its reader.

    Returns:
        One line that names each attribute with its count; nothing where there are none.

    Raises:
        DataError: a COCO file cannot be read.
    """
    counts: Counter[tuple[str, str]] = Counter()
    files: dict[str, None] = {}  # of VOC, each once
    for name, part in layout.parts.items():
        if part.format == "json":
            _count_coco(part.path, counts)
        elif part.format == "voc":
            choice = {"all_without_lists": part.split is None, "follow_links": follow_links}
            files |= dict.fromkeys(voc_files(part.path, split=part.split or name, **choice))
    _count_voc(files, counts, read={"name", "bndbox"} | ({"difficult"} if difficult_as_crowd else set()))
    found = [f"{key} of {count} {what}" for (key, what), count in counts.most_common()]
    return [f"not read, and so not kept: {', '.join(found)}"] if found else []


_COCO_KEYS = {
    "images": {"id", "file_name", "height", "width"},
    "annotations": {"id", "image_id", "category_id", "bbox", "area", "iscrowd"},
    "categories": {"id", "name"},
}
_NOTHING = ("", "0", "unspecified", "unknown", "none", "false")


def _count_coco(path: str, counts: Counter) -> None:
    def count(kind: str, _position: int, entry: Any) -> None:
        for key in entry.keys() - _COCO_KEYS[kind] if isinstance(entry, dict) else ():
            if entry[key] not in (None, [], {}) and str(entry[key]).lower() not in _NOTHING:
                counts[key, kind] += 1

    others: dict[str, object] = {}
    lengths = read_lists(path, {kind: partial(count, kind) for kind in _COCO_KEYS}, others=others)
    for key in (key for key, value in {**others, **lengths}.items() if key not in _COCO_KEYS and value):
        counts[key, "files"] += 1


def _count_voc(files: Iterable[str], counts: Counter, *, read: set[str]) -> None:
    for path in files:
        try:
            root = parse_annotation(path)
        except ValueError:  # the reader has named it
            continue
        for what, entries, known in (
            ("images", [root], {"filename", "folder", "path", "size", "object"}),
            ("objects", root.iter("object"), read),
        ):
            for entry in entries:
                tags = {child.tag for child in entry if child.tag not in known and _says_something(child)}
                counts.update((tag, what) for tag in tags)


def _says_something(element: ElementTree.Element) -> bool:
    return any(text.strip().lower() not in _NOTHING for text in element.itertext())
