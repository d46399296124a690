"""Splits a dataset into parts for training, validation and test: stratified by class, with groups of images kept together."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np

from yolox.data.content import name_some
from yolox.data.dataset import DetectionDataset, image_path, select_images
from yolox.data.duplicates import group_similar, hash_images
from yolox.data.parts import PARTS, DataPart
from yolox.data.write import OriginalFile, write_annotations, write_yolo_yaml
from yolox.data.written_folder import new_folder, with_same_classes
from yolox.data.yolo import find_labelled
from yolox.data.yolo_labels import listed_label
from yolox.errors import DataError

MOST_SWEEPS = 10
log = logging.getLogger("yolox.data")


def split_data(
    dataset: DetectionDataset,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, DetectionDataset]:
    """Splits a dataset so that every class is divided as the images are, as far as its groups of images allow.

    Args:
        dataset: the dataset.
        fractions: of the images and of the boxes of each class for train, val and, where there are three, test; their sum
            is 1. A part of 0 is left out.
        groups: [N] int, images of one number stay together (`group_by_name`, `group_similar`); None divides all.
        seed: of the order of groups that are equally good; same seed, same parts.

    Returns:
        The parts by name, with images in the order of the dataset.

    Raises:
        DataError: fractions that are negative or do not add up to 1; fewer groups than parts.

    Source:
        Iterative stratification, Sechidis, Tsoumakas and Vlahavas 2011, over groups in place of images, with the boxes of a
        class in place of its presence, the images as a last class, large groups first, and moves afterwards.
    """
    wanted, dataset = _shares(fractions), _without_notes(dataset)
    groups = np.arange(len(dataset)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(groups.max(initial=-1)) + 1
    if count < len(wanted):
        raise DataError(f"{count} groups of images cannot be divided into {', '.join(wanted)}: want one or more for each part")
    image_indices = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))
    table = np.zeros((count, len(dataset.class_names) + 1))
    np.add.at(table, (groups[image_indices], dataset.classes), 1)
    np.add.at(table[:, -1], groups, 1)
    place = stratify(table, np.array(list(wanted.values())), rng=np.random.default_rng(seed))
    return {part: select_images(dataset, np.flatnonzero(place[groups] == i)) for i, part in enumerate(wanted)}


def _without_notes(dataset: DetectionDataset) -> DetectionDataset:
    """Returns the dataset without what its reader said of all of its images."""
    return attrs.evolve(dataset, notes=(), left_out=np.zeros((0, 2), np.int64))


def _shares(fractions: Sequence[float]) -> dict[str, float]:
    if len(fractions) not in (2, 3) or not all(0 <= f <= 1 for f in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(f"`fractions` {' '.join(f'{f:g}' for f in fractions)}: want two or three from 0 to 1 with a sum of 1")
    return {part: share for part, share in zip(PARTS, fractions, strict=False) if share > 0}


def stratify(table: np.ndarray, shares: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:  # [K,C],[P] -> [K] int
    """Divides groups among parts so that each column is divided by the shares.

    The class with the fewest boxes left is divided first. Each of its groups, the largest first, goes to the part that still
    lacks most of the class, of equal ones to the one that lacks most images. A part that would get nothing gets the smallest
    group of the largest part. Then single groups move while that lowers the squared deviations of all columns. Over 400 random
    tables the largest deviation of a class was 11 times its largest group before these moves, and .92 of it after them.

    Args:
        table: [K,C] numbers of each group: boxes of each class, and in the last column images, 1 or more.
        shares: [P] of each part, above 0, with a sum of 1; P is at most K.
        rng: decides between groups of one size.

    Returns:
        [K] part of each group; every part has one.

    Example:
        >>> table = np.array([[4, 1], [4, 1], [0, 1], [0, 1]])
        >>> sorted(stratify(table, np.array([0.5, 0.5]), rng=np.random.default_rng(0))[:2].tolist())
        [0, 1]
    """
    order = rng.permutation(len(table))
    place, lacking, left = np.full(len(table), -1), np.outer(shares, table.sum(axis=0)), table.sum(axis=0).astype(float)
    while (place < 0).any():
        classes = np.flatnonzero(left[:-1] > 0)
        column = classes[left[classes].argmin()] if len(classes) else -1
        waiting = order[(place[order] < 0) & (table[order, column] > 0)]
        for group in waiting[np.argsort(-table[waiting, column], kind="stable")]:
            place[group] = np.lexsort((lacking[:, -1], lacking[:, column]))[-1]
            lacking[place[group]] -= table[group]
            left -= table[group]
    for part in np.flatnonzero(np.bincount(place, minlength=len(shares)) == 0):
        rich = np.bincount(place, minlength=len(shares)).argmax()
        members = np.flatnonzero(place == rich)
        place[members[table[members, -1].argmin()]] = part
    return _improved(table / np.sqrt(np.maximum(table.sum(axis=0), 1)), place, shares, rng=rng)


def _improved(rows: np.ndarray, place: np.ndarray, shares: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Moves groups while the sum over parts and columns of (wanted - given)**2 / wanted falls."""
    place, sizes = place.copy(), np.bincount(place, minlength=len(shares))
    lacking = np.stack([share * rows.sum(axis=0) - rows[place == part].sum(axis=0) for part, share in enumerate(shares)])
    for _ in range(MOST_SWEEPS):
        before = place.copy()
        for group in rng.permutation(len(rows)).tolist():
            old, row = place[group], rows[group]
            products, square = lacking @ row, row @ row
            change = (square - 2 * products) / shares + (square + 2 * products[old]) / shares[old]
            change[old] = 0
            new = change.argmin()
            if change[new] < -1e-12 and sizes[old] > 1:
                place[group] = new
                lacking[old] += row
                lacking[new] -= row
                sizes[old] -= 1
                sizes[new] += 1
        if (place == before).all():
            break
    return place


def group_by_name(dataset: DetectionDataset, pattern: str) -> np.ndarray:  # -> [N] int64
    """Groups images by their file names, such as the frames of a video.

    Args:
        dataset: the dataset.
        pattern: ``folder`` for the folder that an image lies in, else a regular expression that is searched for in the name
            with its folders; images with the same text in its first group, or in all of it, are together.

    Returns:
        [N] int64 numbers of groups. An image without a match is a group of its own.

    Raises:
        DataError: no regular expression, or one that no name matches.

    Example:
        >>> group_by_name(dataset, r"(clip\\d+)_frame")  # doctest: +SKIP
        array([0, 0, 0, 3, 3])
    """
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise DataError(f"`group_by` {pattern!r}: is no regular expression ({error})") from None
    keys: list[object] = []
    for index, name in enumerate(dataset.file_names):
        found = None if pattern == "folder" else search(name)
        text = os.path.dirname(name) if pattern == "folder" else found and found[1 if found.re.groups else 0]
        keys.append(index if text is None else text)
    if not any(isinstance(key, str) for key in keys):
        raise DataError(f"`group_by` {pattern!r}: matches no file name, such as {name_some(dataset.file_names)}")
    firsts: dict[object, int] = {}
    return np.array([firsts.setdefault(key, index) for index, key in enumerate(keys)], np.int64)


def join_groups(*groups: np.ndarray) -> np.ndarray:  # [N], [N], ... -> [N] int64
    """Joins groupings: images are together that are together in one of them, or through others.

    Args:
        groups: [N] int each, the same number for images of one group.

    Returns:
        [N] int64, the smallest index of the group.

    Example:
        >>> join_groups(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])).tolist()
        [0, 0, 0, 3]
    """
    joined = np.arange(len(groups[0]))
    while True:
        before = joined
        for grouping in groups:
            number = np.unique(grouping, return_inverse=True)[1]
            least = np.full(number.max(initial=-1) + 1, len(joined))
            np.minimum.at(least, number, joined)
            joined = least[number]
        if (joined == before).all():
            return joined


def similar_groups(dataset: DetectionDataset) -> np.ndarray:  # -> [N] int64
    """Groups images of a dataset that are equal or look alike (`yolox.data.duplicates`).

    Args:
        dataset: the dataset; every image is decoded.

    Returns:
        [N] int64, the smallest index of the group.
    """
    return group_similar(hash_images(dataset))


def merge_parts(datasets: Mapping[str, DetectionDataset]) -> DetectionDataset:
    """Returns the images of all parts of a dataset as one.

    Args:
        datasets: by part, one or more. An image that several parts have is kept once, from the first, and logged.

    Returns:
        DetectionDataset with the classes of all and names relative to the folder that holds all images. Where two images or
        boxes have the same id, those of each part are shifted behind those of the part before.
    """
    if len(datasets) == 1:
        return next(iter(datasets.values()))
    parts, repeated = list(with_same_classes(datasets).values()), []
    seen: set[str] = set()
    for place, data in enumerate(parts):
        paths = [os.path.abspath(image_path(data, i)) for i in range(len(data))]
        repeated += [path for path in paths if path in seen]
        parts[place] = select_images(data, np.array([i for i, path in enumerate(paths) if path not in seen], np.int64))
        seen.update(paths)
    if repeated:
        note = "images are in several parts; each was taken once, with the labels of the first"
        log.warning("%s: %d %s (%s)", parts[0].source, len(repeated), note, name_some(map(os.path.basename, repeated)))
    root = os.path.commonpath([os.path.abspath(data.image_dir) for data in parts])
    names = [os.path.relpath(image_path(data, i), root) for data in parts for i in range(len(data))]
    fields = ("image_ids", "sizes", "boxes", "classes", "crowd", "areas", "annotation_ids")
    joined = {name: np.concatenate([getattr(data, name) for data in parts]) for name in fields}
    for name in ("image_ids", "annotation_ids"):
        shifts = _id_shifts([getattr(data, name) for data in datasets.values()])
        joined[name] = np.concatenate([getattr(data, name) + shift for data, shift in zip(parts, shifts, strict=True)])
    counts = np.concatenate([np.diff(data.offsets) for data in parts])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return attrs.evolve(_without_notes(parts[0]), image_dir=root, file_names=tuple(names), offsets=offsets, **joined)


def _id_shifts(ids: Sequence[np.ndarray]) -> list[int]:
    """Returns what is added to the ids of each part so that all differ."""
    if len(np.unique(np.concatenate(ids))) == sum(map(len, ids)):
        return [0] * len(ids)
    shifts, end = [], None
    for array in ids:
        shifts.append(0 if end is None or not len(array) else int(end - array.min()))
        end = int(array.max()) + shifts[-1] + 1 if len(array) else end
    return shifts


def original_files(sources: Mapping[str, DataPart], datasets: Mapping[str, DetectionDataset]) -> list[OriginalFile]:
    """Returns the COCO files of the parts that `merge_parts` merges, for `write_json_split` and `write_coco`.

    Args:
        sources: by part, where it is.
        datasets: by part, as read, without other names for the classes.

    Returns:
        The files; none for other formats, and where the files give a class different ids.
    """
    pairs = {pair for data in datasets.values() for pair in zip(data.class_names, data.category_ids, strict=True)}
    is_one = all(len({pair[side] for pair in pairs}) == len(pairs) for side in (0, 1))
    if not is_one or len({d.class_names for d in datasets.values()}) > 1 or any(p.format != "json" for p in sources.values()):
        return []
    shifts = [_id_shifts([getattr(d, name) for d in datasets.values()]) for name in ("image_ids", "annotation_ids")]
    rows = zip(sources.values(), *shifts, strict=True)
    return [OriginalFile(path=part.path, image_shift=i, annotation_shift=a) for part, i, a in rows]


def write_json_split(
    parts: Mapping[str, DetectionDataset], output: str | os.PathLike, *, originals: Sequence[OriginalFile] = ()
) -> None:
    """Writes ``train.json``, ``val.json`` and ``test.json``: COCO annotations whose names are relative to the image folder.

    Args:
        parts: of `split_data`.
        output: a folder that is not there yet, or empty.
        originals: COCO files that the dataset was read from, whose entries are written with all their keys.

    Raises:
        DataError: the output is there already, or cannot be written; nothing is left of it.
    """
    with new_folder(output) as folder:
        for part, data in parts.items():
            write_annotations(folder / f"{part}.json", data, data.file_names, originals)


def write_list_split(
    parts: Mapping[str, DetectionDataset], output: str | os.PathLike, *, sources: Sequence[DataPart]
) -> None:
    """Writes ``train.txt``, ``val.txt`` and ``test.txt``: lists of names for VOC, of images and a ``data.yaml`` for YOLO.

    Args:
        parts: of `split_data`.
        output: a folder that is not there yet, or empty. Names of images are relative to it, unless links lead to it.
        sources: the parts of one VOC or YOLO dataset that were split.

    Raises:
        DataError: the dataset is of COCO, which has no lists; annotations are not where readers of a list look for them; the
            output is there already, or cannot be written.
    """
    source = sources[0]
    if source.format == "json":
        raise DataError(f"{source.path}: COCO has no lists of images; want JSON files or a folder")
    is_yolo = source.format == "yolo"
    lines = {part: _yolo_lines(data, output) if is_yolo else _voc_lines(data, source) for part, data in parts.items()}
    if is_yolo:
        _check_labels(parts, sources)
    with new_folder(output) as folder:
        for part in parts:
            (folder / f"{part}.txt").write_text("".join(f"{line}\n" for line in lines[part]), encoding="utf-8")
        if is_yolo:
            names = next(iter(parts.values())).class_names
            write_yolo_yaml(folder / "data.yaml", {part: f"{part}.txt" for part in parts}, names)


def _voc_lines(data: DetectionDataset, source: DataPart) -> list[str]:
    within = Path(source.path, "Annotations")
    within = within if within.is_dir() else Path(source.path)
    stems = [os.path.splitext(name)[0] for name in data.file_names]
    missing = [stem for stem in stems if not (within / f"{stem}.xml").is_file()]
    if missing:
        raise DataError(f"{within}: images without an XML file of their own name: {len(missing)} ({name_some(missing)}); "
                        "want JSON files or a folder in place of lists")  # fmt: skip
    return stems


def _yolo_lines(data: DetectionDataset, output: str | os.PathLike) -> list[str]:
    """Returns the paths of images: relative ones, unless a folder above the output is a link, beyond which they lead astray."""
    folder, images = os.path.abspath(output), [os.path.abspath(image_path(data, i)) for i in range(len(data))]
    return [os.path.relpath(image, folder) for image in images] if folder == os.path.realpath(folder) else images


def _check_labels(parts: Mapping[str, DetectionDataset], sources: Sequence[DataPart]) -> None:
    """Raises DataError for images whose labels a list would not find: of images in a folder, the folder decides."""
    labels: dict[str, str | None] = {}
    for source in sources:
        found = find_labelled(source.path, split=source.split or "train", image_dir=source.image_dir)
        labels |= {os.path.abspath(image): label and os.path.abspath(label) for image, label in found.labelled.pairs}
    images = [os.path.abspath(image_path(data, i)) for data in parts.values() for i in range(len(data))]
    moved = [image for image in images if labels.get(image) != listed_label(image)]
    if moved:
        raise DataError(
            f"{sources[0].path}: images whose labels are where lists of images do not look for them: {len(moved)} "
            f"({name_some(moved)}); want JSON files or a folder in place of lists"
        )
