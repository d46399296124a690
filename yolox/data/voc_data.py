"""The folders of a Pascal VOC dataset: annotations, images and lists."""

from __future__ import annotations

import os

from yolox.data.dataset import DetectionDataset
from yolox.data.voc import read_voc
from yolox.errors import DataError

LISTS = os.path.join("ImageSets", "Main")


def read_voc_data(
    folder: str,
    *,
    split: str,
    image_dir: str | None = None,
    all_without_lists: bool = True,
    first_pixel: int = 0,
    difficult_as_crowd: bool = False,
) -> DetectionDataset:
    """Read one part of a VOC folder.

    Args:
        folder: one with ``Annotations`` and ``JPEGImages``, and perhaps ``ImageSets/Main``; or any folder of XML
            files, with the images beside them.
        split: name of a list in ``ImageSets/Main``, such as ``train``; or the path of a text file (``.txt``) with the
            name of an image on each line.
        image_dir: folder of the images, in place of the usual one.
        all_without_lists: where the folder has no lists, take every XML file; False makes that an error.
        first_pixel: 1 where coordinates count from 1 (VOC2007 to VOC2012 themselves), 0 where from 0 (most tools).
        difficult_as_crowd: True leaves objects marked difficult out of training and ignores them in evaluation.

    Returns:
        DetectionDataset as `read_voc` gives it, with the classes that occur, by name.

    Raises:
        DataError: no such list; or as `read_voc`.
    """
    within = os.path.join(folder, "Annotations")
    whole = os.path.isdir(within)
    annotations = within if whole else folder
    images = image_dir or (os.path.join(folder, "JPEGImages") if whole else folder)
    image_set = _list_of(folder, split, all_without_lists)
    reading = {"first_pixel": first_pixel, "difficult_as_crowd": difficult_as_crowd}
    return read_voc(annotations, images, image_set=image_set, **reading)


def _list_of(folder: str, split: str, all_without_lists: bool) -> str | None:
    if split.lower().endswith(".txt"):
        return split
    lists = os.path.join(folder, LISTS)
    if not os.path.isdir(lists):
        if all_without_lists:
            return None
        raise DataError(f"{folder}: has no {LISTS}, so no list {split!r}; leave the split out, or give a .txt file")
    path = os.path.join(lists, f"{split}.txt")
    if not os.path.isfile(path):
        known = sorted(name[:-4] for name in os.listdir(lists) if name.endswith(".txt") and "_" not in name)
        raise DataError(f"{path}: no such list; there are {', '.join(known[:12]) or 'none'}")
    return path
