"""Decoded images kept in memory or in one file on disk, so that an epoch costs no decoding."""

from __future__ import annotations

import attrs
import numpy as np

from yolox.data.dataset import DetectionDataset, load_image
from yolox.data.image import shrink_image
from yolox.errors import DataError


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
        """Give an image, reduced by averaging blocks of pixels where `reduce` is 2, 4 or 8."""
        height, width = self.sizes[index].tolist()
        flat = self.pixels[self.offsets[index] : self.offsets[index + 1]]
        return shrink_image(flat.reshape(height, width, 3), reduce)


def cache_bytes(dataset: DetectionDataset) -> int:
    """Tell how many bytes a cache of the dataset will take, before any image is read.

    Args:
        dataset: whose sizes count.

    Returns:
        Bytes, three a pixel.
    """
    return int(dataset.sizes.astype(np.int64).prod(axis=1).sum()) * 3


def cache_images(dataset: DetectionDataset, *, max_bytes: int, path: str | None = None) -> ImageCache:
    """Decode all images of a dataset once and keep them.

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
