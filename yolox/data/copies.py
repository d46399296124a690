"""Image files with the same content, within a dataset and across two."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence

from yolox.data.dataset import DetectionDataset, image_path


def copied_images(*datasets: DetectionDataset) -> list[tuple[str, ...]]:
    """Find image files that are the same, byte for byte.

    Call it to find photos that were saved twice, and images for validation that training sees too. Only files of
    equal length are read.

    Args:
        datasets: one or more datasets.

    Returns:
        Groups of two or more paths of equal files, in order; a file that two datasets share is there twice.
    """
    paths = [image_path(dataset, i) for dataset in datasets for i in range(len(dataset))]
    groups = [same for alike in _grouped(paths, os.path.getsize) for same in _grouped(alike, _digest)]
    return sorted(tuple(group) for group in groups)


def _grouped(paths: Sequence[str], key) -> list[list[str]]:
    groups = defaultdict(list)
    for path in paths:
        groups[key(path)].append(path)
    return [group for group in groups.values() if len(group) > 1]


def _digest(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.blake2b(file.read()).digest()
