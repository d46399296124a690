"""Decoded images kept in memory or in one file on disk, so that an epoch costs no decoding."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import attrs
import numpy as np

from yolox.data.dataset import DetectionDataset, load_image
from yolox.data.image import shrink_image
from yolox.errors import DataError

MAX_SHARE = 0.8  # of what is free; the rest is for everything else


@attrs.frozen(eq=False)
class ImageCache:
    """All images of a dataset at full size, in one flat array that worker processes share.

    Calling it reads an image, so that it stands wherever a `read` is asked for (`train_sample`,
    `train_batches`).

    Args:
        pixels: [total] uint8, in memory or mapped from a file.
        offsets: [N+1] int64; image i is pixels[offsets[i]:offsets[i+1]].
        sizes: [N,2] int32, height and width px.
    """

    pixels: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray

    def __call__(self, index: int, reduce: int = 1) -> np.ndarray:  # [H,W,3] uint8
        """Returns an image, reduced by averaging blocks of pixels where `reduce` is 2, 4 or 8."""
        height, width = self.sizes[index].tolist()
        flat = self.pixels[self.offsets[index] : self.offsets[index + 1]]
        return shrink_image(flat.reshape(height, width, 3), reduce)


def cache_bytes(dataset: DetectionDataset) -> int:
    """Computes the size in bytes of a cache of the dataset, before any image is read.

    Args:
        dataset: whose sizes count.

    Returns:
        Bytes, three a pixel.
    """
    return int(dataset.sizes.astype(np.int64).prod(axis=1).sum()) * 3


def cache_images(dataset: DetectionDataset, *, max_bytes: int, path: str | None = None) -> ImageCache:
    """Decodes all images of a dataset and stores them in an `ImageCache`.

    Pixels are those of the files. Only where a tile shrinks to half or less do samples differ by a few grey
    levels from those without a cache: there the file's decoder averages pixels in its own way.

    Args:
        dataset: the dataset.
        max_bytes: the most that the cache may take; see `cache_bytes`.
        path: a file that holds the pixels (overwritten); None keeps them in memory.

    Returns:
        ImageCache.

    Raises:
        DataError: the cache would be larger than `max_bytes`; an image cannot be read.
    """
    need = cache_bytes(dataset)
    if need > max_bytes:
        raise DataError(
            f"{dataset.image_dir}: a cache of {len(dataset)} images takes {need / 1e9:.2f} GB, "
            f"more than the {max_bytes / 1e9:.2f} GB allowed"
        )
    counts = dataset.sizes.astype(np.int64).prod(axis=1) * 3
    offsets = np.concatenate([[0], np.cumsum(counts)])
    if path is None or need == 0:
        pixels = np.empty(need, np.uint8)
    else:
        pixels = np.memmap(path, np.uint8, mode="w+", shape=(need,))
    for index in range(len(dataset)):
        pixels[offsets[index] : offsets[index + 1]] = load_image(dataset, index).reshape(-1)
    return ImageCache(pixels, offsets, dataset.sizes)


def open_cache(
    dataset: DetectionDataset, kind: str, folder: Path, *, name: str = "images.cache", sharers: int = 1
) -> ImageCache | None:
    """Opens the cache of a training run: decodes the images once, unless `kind` is ``none``.

    Args:
        dataset: the training images.
        kind: ``none``, ``ram`` or ``disk``.
        folder: of the run, for the file.
        name: of the file; each process of a run has its own.
        sharers: processes that each make a cache from what is free.

    Returns:
        The cache; None for ``none``. Its size and what is free go to stderr before the first image is read.

    Raises:
        DataError: it would take more than `MAX_SHARE` of what is free; an image cannot be read.
    """
    if kind == "none":
        return None
    free = _available_memory() if kind == "ram" else shutil.disk_usage(folder).free
    free //= sharers
    place = "memory" if kind == "ram" else str(folder / name)
    need, each = cache_bytes(dataset), " for each process" if sharers > 1 else ""
    text = f"cache: {len(dataset)} images take {need / 1e9:.2f} GB in {place}; {free / 1e9:.1f} GB are free{each}"
    print(text, file=sys.stderr, flush=True)
    path = None if kind == "ram" else str(folder / name)
    try:
        return cache_images(dataset, max_bytes=int(MAX_SHARE * free), path=path)
    except BaseException:  # an interrupt too: a half-made cache is of no use
        (folder / name).unlink(missing_ok=True)
        raise


def _available_memory() -> int:
    """Returns the bytes of memory that can be used without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # another system than Linux
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
