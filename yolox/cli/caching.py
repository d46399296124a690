"""The cache of decoded training images that ``--cache`` asks for, with its size told first."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import psutil

from yolox.data.cache import ImageCache, cache_bytes, cache_images
from yolox.data.dataset import DetectionDataset

CACHE_FILE = "images.cache"
MOST = 0.8  # of what is free; the rest is for everything else


def open_cache(
    dataset: DetectionDataset, kind: str, folder: Path, *, name: str = CACHE_FILE, sharers: int = 1
) -> ImageCache | None:
    """Decode the images of a dataset once, where a cache is wanted.

    Args:
        dataset: the training images.
        kind: ``none``, ``ram`` or ``disk``.
        folder: of the run, for the file.
        name: of the file; each process of a run has its own.
        sharers: processes that each make a cache from what is free.

    Returns:
        The cache; None for ``none``. Its size and what is free go to stderr before the first image is read.

    Raises:
        DataError: it would take more than `MOST` of what is free; an image cannot be read.
    """
    if kind == "none":
        return None
    free = psutil.virtual_memory().available if kind == "ram" else shutil.disk_usage(folder).free
    free //= sharers
    place = "memory" if kind == "ram" else str(folder / name)
    need, each = cache_bytes(dataset), " for each process" if sharers > 1 else ""
    text = f"cache: {len(dataset)} images take {need / 1e9:.2f} GB in {place}; {free / 1e9:.1f} GB are free{each}"
    print(text, file=sys.stderr, flush=True)
    path = None if kind == "ram" else str(folder / name)
    try:
        return cache_images(dataset, max_bytes=int(MOST * free), path=path)
    except BaseException:  # an interrupt too: a half-made cache is of no use
        (folder / name).unlink(missing_ok=True)
        raise
