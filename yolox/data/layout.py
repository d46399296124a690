"""Recognises a dataset by what a folder holds: its format, its parts for training, validation and test, and their images."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from yolox.data.coco import read_coco
from yolox.data.content import describe_labels, name_some, read_head
from yolox.data.dataset import DetectionDataset
from yolox.data.image import MAX_PIXELS
from yolox.data.json_lists import read_lists
from yolox.data.parts import (
    PARTS,
    DataLayout,
    DataPart,
    has_labels_beside,
    list_entries,
    list_files,
    list_folders,
    list_images,
    part_name,
    part_of,
)
from yolox.data.voc import read_voc_data
from yolox.data.voc_layout import find_voc
from yolox.data.yolo import ScoredLabels, read_yolo_data
from yolox.data.yolo_layout import (
    CLASS_FILES,
    YAML_SUFFIXES,
    describe_yolo,
    first_difference,
    folder_of_names,
)
from yolox.errors import DataError


def find_layout(path: str | os.PathLike) -> DataLayout:
    """Recognises a dataset by its content.

    Args:
        path: a YOLO dataset's ``data.yaml``, ``obj.data`` or file of class names; a file of COCO annotations; or a folder
            with one of these, with COCO annotations as COCO, CVAT, Roboflow, FiftyOne or Label Studio lay them out, with
            VOC's ``Annotations``, or with XML files beside images, in sub-folders such as ``train`` and ``valid`` or not.

    Returns:
        The layout. A folder whose files have no names of parts is all training images.

    Raises:
        DataError: there is no such file or folder, nothing was recognised, or more than one dataset was.

    Example:
        >>> find_layout("shapes")  # doctest: +SKIP
        DataLayout(name='YOLO, data.yaml', parts={'train': DataPart(format='yolo', path='shapes/data.yaml', ...
    """
    path = os.path.normpath(os.fspath(path))
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file or folder")
    if os.path.isfile(path):
        return _coco_file(path) if path.lower().endswith(".json") else _yolo(path)
    found = [layout for find in _FINDERS for layout in find(path)]
    if len(found) > 1:
        raise DataError(f"{path}: holds {len(found)} datasets ({'; '.join(each.name for each in found)}); name one of them")
    if not found and has_labels_beside(path):
        raise DataError(
            f"{path}: has text files beside its images, as YOLO labels lie, but no class names; want a classes.txt with a name "
            "on each line, or a data.yaml"
        )
    if not found:
        raise DataError(
            f"{path}: no dataset was recognised; want a data.yaml, COCO annotations (annotations/instances_train.json, "
            f"train/_annotations.coco.json), or VOC's folder Annotations; it holds {_content(path)}{_other_labels(path)}"
        )
    return found[0]


def read_data(path: str | os.PathLike | DataLayout, part: str = "train", **conventions: Any) -> DetectionDataset:
    """Reads one part of a dataset in any format, recognised by its content.

    Args:
        path: as for `find_layout`, or what that has found.
        part: `train`, `val` or `test`.
        conventions: as for `read_part`, such as ``max_pixels=10**7``.

    Returns:
        DetectionDataset.

    Raises:
        DataError: as `find_layout`; the dataset has no such part; or as the reader of its format.
    """
    layout = path if isinstance(path, DataLayout) else find_layout(path)
    return read_part(part_of(layout, part), name=part, **conventions)


def read_part(
    part: DataPart,
    *,
    name: str = "train",
    class_map: Mapping[str, str] | None = None,
    follow_links: bool = False,
    max_pixels: int = MAX_PIXELS,
    first_pixel: int = 0,
    difficult_as_crowd: bool = False,
    scored_labels: ScoredLabels = "refuse",
) -> DetectionDataset:
    """Reads one part of a dataset with the reader of its format.

    Args:
        part: where it is.
        name: the split of a VOC or YOLO dataset where `part` has none; without lists all of a VOC folder is read.
        class_map: other names for the classes, as in `rename_classes`.
        follow_links: True accepts images that are links out of the folder that holds them.
        max_pixels: images that state more are refused.
        first_pixel: as for `read_voc_data`; the other formats do not look at it.
        difficult_as_crowd: likewise.
        scored_labels: as for `read_yolo_data`; the other formats do not look at it.

    Returns:
        DetectionDataset.

    Raises:
        DataError: as `read_coco`, `read_voc_data` or `read_yolo_data`.
    """
    split, common = part.split or name, {"class_map": class_map, "follow_links": follow_links}
    if part.format == "json":
        dataset = read_coco(part.path, part.image_dir, **common)
    elif part.format == "voc":
        conventions = {"first_pixel": first_pixel, "difficult_as_crowd": difficult_as_crowd, "max_pixels": max_pixels}
        everything = {"all_without_lists": part.split is None}
        dataset = read_voc_data(part.path, split=split, image_dir=part.image_dir, **everything, **conventions, **common)
    else:
        conventions = {"scored_labels": scored_labels, "max_pixels": max_pixels}
        dataset = read_yolo_data(part.path, split=split, image_dir=part.image_dir, **conventions, **common)
    return evolve(dataset, max_pixels=max_pixels)


# --- YOLO


def _yolo_folder(folder: str) -> list[DataLayout]:
    """Finds a description of a YOLO dataset in a folder: a YAML with class names, Darknet's file, or a file of class names.

    Raises:
        DataError: two of them state different classes.
    """
    names = list_files(folder)
    yamls = [name for name in names if name.lower().endswith(YAML_SUFFIXES) and _describes(os.path.join(folder, name))]
    darknet = [name for name in names if name.lower() in ("obj.data", "dataset.data")]
    listed = [name for name in names if name.lower() in CLASS_FILES]
    subs = [os.path.join(folder, sub) for sub in list_folders(folder) if part_name(sub)]
    is_yolo = "labels" in list_folders(folder) or any(has_labels_beside(place) for place in (folder, *subs))
    is_yolo = is_yolo or any({"images", "labels"} <= set(list_folders(sub)) for sub in subs)
    found = yamls or darknet or (listed[:1] if is_yolo else [])
    if len(found) == 1:
        others = [name for name in (*darknet, *listed) if name not in found and _describes(os.path.join(folder, name))]
        _check_same_classes([os.path.join(folder, name) for name in (*found, *others)])
    return [_yolo(os.path.join(folder, name)) for name in found] or _named_among_labels(folder)


def _named_among_labels(folder: str) -> list[DataLayout]:
    """Finds labelImg's files of class names among the labels: in ``labels``, or beside the images of each part."""
    inside = next((name for name in list_files(os.path.join(folder, "labels")) if name.lower() in CLASS_FILES), None)
    if inside is not None:
        return [_yolo(os.path.join(folder, "labels", inside))]
    parts = {}
    for sub in list_folders(folder):
        names = [name for name in list_files(os.path.join(folder, sub)) if name.lower() in CLASS_FILES]
        if part_name(sub) and names and has_labels_beside(os.path.join(folder, sub)):
            path = os.path.join(folder, sub, names[0])
            parts[part_name(sub)] = DataPart(format="yolo", path=path, image_dir=os.path.join(folder, sub), split=sub)
    first = next(iter(parts.values()), None)
    parts = {part: parts[part] for part in PARTS if part in parts}
    return [DataLayout(name=f"YOLO, {os.path.relpath(first.path, folder)}", parts=parts)] if parts else []


def _check_same_classes(paths: list[str]) -> None:
    """Raises DataError where a file states other class names than the first one."""
    first, *others = ((path, describe_yolo(path)[1]) for path in paths)
    for path, names in others:
        if names != first[1]:
            raise DataError(
                f"{first[0]} and {os.path.basename(path)} state different classes ({first_difference(first[1], names)}); "
                "name one of the files, or take one away"
            )


def _describes(path: str) -> bool:
    """Returns whether a file names classes.

    Raises:
        DataError: it was meant to, by its name or its key `names`, and cannot be read.
    """
    try:
        return bool(describe_yolo(path)[1])
    except DataError:
        meant = os.path.splitext(os.path.basename(path))[0].lower() in ("data", "dataset")
        if meant or re.search(rb"^names[ \t]*:", read_head(path), re.MULTILINE):
            raise
        return False  # a YAML of something else, such as a pipeline


def _yolo(path: str) -> DataLayout:
    content, _ = describe_yolo(path)
    found = {part: next((key for key in names if content.get(key)), None) for part, names in PARTS.items()}
    for keys in ([key for key in names if content.get(key)] for names in PARTS.values()):
        if any(content[key] != content[keys[0]] for key in keys):
            raise DataError(f"{path}: {' and '.join(keys)} name different images for one part; want one of the keys")
    if not content:  # a file of class names
        folder = folder_of_names(path)
        images = [name for name in list_folders(os.path.join(folder, "images")) if part_name(name)]
        images = images or [name for name in list_folders(folder) if part_name(name) and _has_images(os.path.join(folder, name))]
        found = {part: next((name for name in images if part_name(name) == part), None) for part in PARTS}
        found = found if any(found.values()) else {"train": "train"}
    parts = {part: DataPart(format="yolo", path=path, split=key) for part, key in found.items() if key is not None}
    if not parts:
        raise DataError(f"{path}: names no images for train, val or test")
    return DataLayout(name=f"YOLO, {os.path.basename(path)}", parts=parts)


def _has_images(folder: str) -> bool:
    return any(list_images(place) for place in (folder, os.path.join(folder, "images")))


# --- COCO


def _coco_folder(folder: str) -> list[DataLayout]:
    """Finds files of COCO annotations: in the folder, in its sub-folder annotations, or in one sub-folder a part."""
    inside = os.path.join(folder, "annotations")
    for place in (inside, folder):
        files = [name for name in list_files(place) if name.lower().endswith(".json")]
        others = [name for name in files if not name.startswith(("instances", *_OF_OTHER_TASKS))]
        files = [name for name in files if name.startswith("instances")] or files
        parts = _coco_parts(_first_images(place, files), folder)
        if parts:
            others = [path for name in others if name not in files and _first_image(path := os.path.join(place, name))]
            return [_coco_layout(parts, folder, others)]
    files, others = {}, []
    for sub in list_folders(folder):
        place = os.path.join(folder, sub)
        firsts = _first_images(place, [name for name in list_files(place) if name.lower().endswith(".json")])
        files |= firsts if part_name(sub) else {}
        others += [] if part_name(sub) else firsts
    parts = _coco_parts(files, folder, by_folder=True)
    return [_coco_layout(parts, folder, others)] if parts else []


_OF_OTHER_TASKS = ("captions", "person_keypoints", "panoptic", "stuff", "image_info")  # files of COCO's own folder


def _coco_layout(parts: Mapping[str, DataPart], folder: str, others: Sequence[str]) -> DataLayout:
    name = os.path.relpath(next(iter(parts.values())).path, folder)
    return DataLayout(name=f"COCO, {name}", parts=parts, others=tuple(os.path.relpath(path, folder) for path in others))


def _coco_file(path: str) -> DataLayout:
    first = _first_image(path, named=True)
    if first is None:
        what = describe_labels(path)
        told = f"is {what}; want COCO annotations" if what else "has no list of images, so no COCO annotations"
        raise DataError(f"{path}: {told}")
    folder = os.path.dirname(path)
    root = os.path.dirname(folder) if os.path.basename(folder).lower() == "annotations" else folder
    part = DataPart(format="json", path=path, image_dir=_image_folder(path, first, root))
    name = os.path.basename(path)
    return DataLayout(name=f"COCO, {name}", parts={part_name(os.path.splitext(name)[0]) or "train": part})


def _coco_parts(files: Mapping[str, str], root: str, *, by_folder: bool = False) -> dict[str, DataPart]:
    """Returns the parts that files of COCO annotations are, by the names of the files or of their folders."""
    named: dict[str, list[str]] = {}
    for path in files:
        stem = os.path.basename(os.path.dirname(path)) if by_folder else os.path.splitext(os.path.basename(path))[0]
        named.setdefault(part_name(stem) or "", []).append(path)
    if "" in named and len(files) == 1:
        named["train"] = named.pop("")
    nameless, doubled = named.get("", []), [path for paths in named.values() if len(paths) > 1 for path in paths]
    if nameless or doubled:
        problem = "files with no name of a part" if nameless else "more than one file for a part"
        shown = name_some(os.path.relpath(path, root) for path in nameless or doubled)
        raise DataError(f"{root}: holds COCO annotations, {problem} ({shown}); name the files of train and val")
    found = {part: named[part][0] for part in PARTS if part in named}
    return {
        part: DataPart(format="json", path=path, image_dir=_image_folder(path, files[path], root))
        for part, path in found.items()
    }


def _first_images(folder: str, names: Sequence[str]) -> dict[str, str]:
    """Returns the first image of each file of COCO annotations, by path; other files are left out."""
    paths = [os.path.join(folder, name) for name in names]
    return {path: first for path in paths if (first := _first_image(path))}


class _FoundError(Exception):
    """Ends the reading of a file at its first image."""


def _first_image(path: str, *, named: bool = False) -> str | None:
    """Returns the name of the first image of a file of COCO annotations; None for other JSON files.

    Raises:
        DataError: the file cannot be read, and its name says that it has COCO annotations, or it was `named` as such.
    """
    names: list[str] = []

    def keep(_position: int, entry: object) -> None:
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str):
            names.append(entry["file_name"])
        raise _FoundError

    try:
        read_lists(path, {"images": keep})
    except _FoundError:
        pass
    except DataError:
        if os.path.basename(path).startswith(("instances", "_annotations.coco")) or (named and not describe_labels(path)):
            raise
    return names[0] if names else None


def _image_folder(path: str, first: str, root: str) -> str:
    """Returns the folder where the first image of a file of COCO annotations is.

    Raises:
        DataError: it is in none of the usual places.
    """
    folder, stem = os.path.dirname(path), os.path.splitext(os.path.basename(path))[0]
    name = re.sub(r"^(instances|annotations)[-_.]?", "", stem)
    names = [each for each in (name, part_name(name)) if each]
    below = [*names, *(os.path.join("images", each) for each in names), "images", "data"]
    places = [folder, *(os.path.join(base, sub) for base in (folder, root) for sub in below), root]
    first = first.replace("\\", "/")
    found = next((place for place in places if os.path.isfile(os.path.join(place, first))), None)
    if found is None:
        tried = name_some(dict.fromkeys(os.path.relpath(place, root) for place in places if os.path.isdir(place)))
        raise DataError(f"{path}: its first image, {first}, is in none of the folders beside it ({tried}); name the folder")
    return found


_FINDERS = (_yolo_folder, _coco_folder, find_voc)


# --- what is no dataset


def _other_labels(folder: str) -> str:
    """Returns what the labels of a folder are that are not read, for a message."""
    for place in (folder, *(os.path.join(folder, sub) for sub in list_folders(folder))):
        for name in list_files(place):
            suffix = os.path.splitext(name)[1].lower()
            what = describe_labels(os.path.join(place, name)) if suffix == ".json" else _TABLES.get(suffix)
            if what:
                return f". {os.path.relpath(os.path.join(place, name), folder)} is {what}, which is not read: convert it to COCO"
    return ""


_TABLES = {".csv": "a table", ".tfrecord": "a file of TensorFlow", ".parquet": "a table", ".jsonl": "a list of JSON lines"}


def _content(folder: str) -> str:
    return name_some(name + "/" * os.path.isdir(os.path.join(folder, name)) for name in list_entries(folder)) or "nothing"
