"""The parts of a dataset, train, val and test: their names, where they lie, and the folders that are looked through for them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from attrs import field, frozen

from yolox.data.content import is_left_behind, name_some
from yolox.data.header import is_image_name
from yolox.errors import DataError

PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
"""The parts of a dataset, and the names that files and folders of each have."""
_PART = re.compile(r"(?:^|[^a-z])(" + "|".join(name for names in PARTS.values() for name in names) + r")(?:[-_]?\d{4})?$")


@frozen(kw_only=True)
class DataPart:
    """Where one part of a dataset is."""

    format: str
    """`json` (COCO), `voc` or `yolo`."""
    path: str
    """COCO's file, the VOC folder, or what describes a YOLO dataset."""
    image_dir: str | None = None
    """Folder of the images, where the format does not say it."""
    split: str | None = None
    """Name of the part in the file or the folder."""


@frozen(kw_only=True)
class DataLayout:
    """A dataset on disk: what it was recognised by, and its parts."""

    name: str
    """Format and file, such as ``COCO, annotations/instances_train.json``."""
    parts: Mapping[str, DataPart] = field(factory=dict)
    """By name: `train`, and perhaps `val` and `test`."""
    others: tuple[str, ...] = ()
    """Files of annotations in the folder that belong to no part."""

    def __str__(self) -> str:
        *first, last = self.parts
        text = f"{self.name}: {', '.join(first)} and {last}" if first else f"{self.name}: {last} only"
        return text + (f" (not taken: {name_some(self.others)})" if self.others else "")


def part_of(layout: DataLayout, part: str) -> DataPart:
    """Returns a part of a dataset.

    Args:
        layout: the dataset.
        part: name of the part.

    Returns:
        Where the part is.

    Raises:
        DataError: the dataset has no such part; those that it has are named.
    """
    if part not in layout.parts:
        raise DataError(f"{layout.name}: has no part {part!r}; it has {', '.join(layout.parts)}")
    return layout.parts[part]


def part_name(name: str) -> str | None:
    """Returns which part of a dataset a file or a folder is called after.

    Args:
        name: without path and suffix.

    Returns:
        `train`, `val` or `test`; None for other names.

    Example:
        >>> part_name("instances_train2017"), part_name("valid"), part_name("retrain")
        ('train', 'val', None)
    """
    found = _PART.search(name.lower())
    return next((part for part, names in PARTS.items() if found[1] in names), None) if found else None


def list_files(folder: str) -> list[str]:
    """Lists the files of a folder, without those that systems leave behind.

    Args:
        folder: path; need not be there.

    Returns:
        Names, sorted.
    """
    return [name for name in list_entries(folder) if os.path.isfile(os.path.join(folder, name))]


def list_folders(folder: str) -> list[str]:
    """Lists the sub-folders of a folder, without those that systems leave behind.

    Args:
        folder: path; need not be there.

    Returns:
        Names, sorted.
    """
    return [name for name in list_entries(folder) if os.path.isdir(os.path.join(folder, name))]


def list_images(folder: str) -> list[str]:
    """Lists what has the suffix of an image in a folder, without what systems leave behind.

    Args:
        folder: path; need not be there.

    Returns:
        Names, sorted.
    """
    return [name for name in list_entries(folder) if is_image_name(name)]


def list_entries(folder: str) -> list[str]:
    """Lists files and sub-folders of a folder, without those that systems leave behind.

    Args:
        folder: path; need not be there.

    Returns:
        Names, sorted.
    """
    return sorted(name for name in os.listdir(folder) if not is_left_behind(name)) if os.path.isdir(folder) else []


def has_labels_beside(folder: str) -> bool:
    """Returns whether an image of a folder has a text file of its name beside it, as labelImg and Darknet write labels.

    Args:
        folder: path; need not be there.

    Returns:
        True where one has.
    """
    texts = {os.path.splitext(name)[0] for name in list_entries(folder) if name.lower().endswith(".txt")}
    return any(os.path.splitext(name)[0] in texts for name in list_images(folder))
