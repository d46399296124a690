"""Finds images that are equal or look alike: duplicates within a dataset, and leaks between its parts.

Files are compared byte for byte, and pixels by a perceptual hash (pHash: the signs of the 255 lowest frequencies of a cosine
transform against their median). On 396 photographs (32 of COCO, 364 of blood cells) a copy of another size, JPEG quality 20 to
90, other brightness or contrast, blur or noise differs from its original in at most 26 bits, and one with 2 % cut off at each
edge in at most 44. Of the 66,562 pairs of different photographs the nearest differ in 86 bits; one pair differs in 24, two shots
of the same cells. The usual hash of 64 bits leaves no room between the two: up to 8 bits for copies, from 14 for others.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import cv2
import numpy as np
from attrs import frozen

from yolox.data.dataset import DetectionDataset, image_path, load_image
from yolox.data.pixels import viewable
from yolox.errors import DataError

MAX_DISTANCE = 40
"""Most bits of 255 in which two images that look alike differ."""
BITS = 255
_SIDE, _FREQUENCIES = 64, 16  # of the grey image, and of the corner of its cosine transform
_LEAST_SIDE = 96  # px that a reduced decoding leaves
_LEAST_CONTRAST = 2.0  # grey levels; below, only noise decides about the bits
_HEAD = 1 << 16  # bytes of a file that are compared first
_CELLS = 1 << 24  # pairs of images that are compared at a time: 64 MB


def image_hash(image: np.ndarray) -> np.ndarray:  # [H,W,3] -> [255] int8
    """Computes the perceptual hash of an image.

    Args:
        image: [H,W,3] uint8 BGR, or of other channels or 16 bits, as `viewable` shows them.

    Returns:
        [255] int8, 1 and -1; all 0 for an image of hardly any contrast, which then is like no other.

    Source:
        pHash, Zauner 2010, with 16 x 16 frequencies of 64 x 64 pixels in place of 8 x 8 of 32 x 32, without the mean.

    Example:
        >>> image = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
        >>> int(hash_distance(image_hash(image), image_hash(image // 2))) <= 4
        True
    """
    grey = cv2.cvtColor(viewable(image), cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if small.std() < _LEAST_CONTRAST:
        return np.zeros(BITS, np.int8)
    waves = cv2.dct(small)[:_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    return np.where(waves > np.median(waves), 1, -1).astype(np.int8)


def hash_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # [...,255],[...,255] -> [...] int
    """Counts the bits in which hashes differ.

    Args:
        a: [...,255] int8, of `image_hash`.
        b: likewise.

    Returns:
        Number of bits; half of them where one of the two is all 0.
    """
    return (BITS - (a.astype(np.int32) * b).sum(axis=-1)) // 2


def hash_images(dataset: DetectionDataset) -> np.ndarray:  # -> [N,255] int8
    """Computes the perceptual hash of every image of a dataset, decoded at a reduced size where it is large.

    Args:
        dataset: the dataset.

    Returns:
        [N,255] int8 as `image_hash`; all 0 for a file that cannot be read, which a check names.
    """
    hashes = np.zeros((len(dataset), BITS), np.int8)
    for index in range(len(dataset)):
        side = int(dataset.sizes[index].min())
        reduce = next((r for r in (8, 4, 2) if side // r >= _LEAST_SIDE), 1)
        try:
            hashes[index] = image_hash(load_image(dataset, index, reduce=reduce))
        except DataError:
            continue
    return hashes


def nearest_images(hashes: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # [N,255],[M,255] -> [N],[N]
    """Finds the most alike of other images for each image.

    All pairs are compared, as a product of matrices: 10,000 images with 10,000 in 2 s on two cores.

    Args:
        hashes: [N,255] int8, of `hash_images`.
        others: [M,255] int8; M is 1 or more.

    Returns:
        index [N] of the first nearest one among the others, and the number of bits [N] in which it differs.
    """
    index, distance = np.zeros(len(hashes), np.int64), np.zeros(len(hashes), np.int64)
    for start, closeness in _products(hashes, others):
        rows = slice(start, start + len(closeness))
        index[rows] = closeness.argmax(axis=1)
        distance[rows] = (BITS - closeness.max(axis=1)) // 2
    return index, distance


def group_similar(hashes: np.ndarray, *, max_distance: int = MAX_DISTANCE) -> np.ndarray:  # [N,255] -> [N] int64
    """Groups images that look alike: two are in one group where they are alike or both like a third one.

    Args:
        hashes: [N,255] int8, of `hash_images`.
        max_distance: most bits in which two images that are alike differ.

    Returns:
        [N] int64, the smallest index of the image's group.
    """
    groups = np.arange(len(hashes))
    for start, closeness in _products(hashes, hashes, later=True):
        alike = closeness >= BITS - 2 * max_distance
        for row in np.flatnonzero(alike.sum(axis=1) > 1).tolist():
            merged = np.unique(groups[start:][alike[row]])
            if len(merged) > 1:
                groups[np.isin(groups, merged)] = merged[0]
    return groups


def _products(hashes: np.ndarray, others: np.ndarray, *, later: bool = False) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the scalar products of some rows with all others, or with those from them on, and the first of these rows."""
    columns, rows = others.astype(np.float32).T, max(_CELLS // max(len(others), 1), 1)
    for start in range(0, len(hashes), rows):
        yield start, hashes[start : start + rows].astype(np.float32) @ columns[:, start if later else 0 :]


@frozen(kw_only=True)
class Leak:
    """An image of one part of a dataset that is in an earlier part, too."""

    part: str
    index: int
    """Of the image in its part."""
    other: str
    """The earlier part."""
    other_index: int
    distance: int
    """Bits of 255 in which the hashes differ."""
    is_equal: bool
    """Whether the two files are equal byte for byte, or one file."""


def find_leaks(
    datasets: Mapping[str, DetectionDataset],
    hashes: Mapping[str, np.ndarray] | None = None,
    *,
    max_distance: int = MAX_DISTANCE,
) -> list[Leak]:
    """Finds the images of a part that are, equal or nearly equal, in a part before it.

    Mirrored and turned copies are not found, nor copies of which more than 2 % is cut off at an edge.

    Args:
        datasets: by the name of the part, such as train, val and test.
        hashes: of the datasets, where they are known; None computes them.
        max_distance: most bits in which two images that are alike differ.

    Returns:
        One leak for each image and earlier part, that with the nearest image; equal ones first, then by distance.
    """
    hashes = {name: hash_images(data) for name, data in datasets.items()} if hashes is None else hashes
    duplicates = {path: group[0] for group in duplicate_images(*datasets.values()) for path in group}
    paths = {name: [image_path(data, i) for i in range(len(data))] for name, data in datasets.items()}
    names = [name for name, data in datasets.items() if len(data)]
    found: list[Leak] = []
    for place, part in enumerate(names):
        for other in names[:place]:
            places = {duplicates[path]: i for i, path in reversed(list(enumerate(paths[other]))) if path in duplicates}
            nearest, distances = nearest_images(hashes[part], hashes[other])
            for index, path in enumerate(paths[part]):
                equal = places.get(duplicates.get(path))
                if equal is not None or distances[index] <= max_distance:
                    match = int(nearest[index]) if equal is None else equal
                    distance = int(distances[index]) if equal is None else 0
                    found.append(Leak(part=part, index=index, other=other, other_index=match, distance=distance,
                                      is_equal=equal is not None))  # fmt: skip
    return sorted(found, key=lambda leak: (not leak.is_equal, leak.distance))


def duplicate_images(*datasets: DetectionDataset) -> list[tuple[str, ...]]:
    """Finds image files that are equal byte for byte.

    Call it to find photos that were saved twice, and images for validation that training sees too. Only files of
    equal length are read, and as a whole only those of equal first 65,536 bytes.

    Args:
        datasets: one or more datasets.

    Returns:
        Groups of two or more paths of equal files, in order; a file that two datasets share is there twice.
    """
    paths = [image_path(dataset, i) for dataset in datasets for i in range(len(dataset))]
    paths = [path for path in paths if os.path.isfile(path)]  # a check names those that are missing
    groups = [paths]
    for key in (os.path.getsize, partial(_digest, most=_HEAD), _digest):  # the cheapest first
        groups = [same for group in groups for same in _grouped(group, key)]
    return sorted(tuple(group) for group in groups)


def _grouped(paths: Sequence[str], key) -> list[list[str]]:
    groups = defaultdict(list)
    for path in paths:
        groups[key(path)].append(path)
    return [group for group in groups.values() if len(group) > 1]


def _digest(path: str, most: int = -1) -> bytes:
    with open(path, "rb") as file:
        return hashlib.blake2b(file.read(most)).digest()
