"""Order and size of the images of training steps, as functions of seed, epoch and step alone."""

from __future__ import annotations

import numpy as np

from yolox.config import LoaderConfig, Size
from yolox.data.dataset import DetectionDataset
from yolox.errors import DataError

ORDER, SCALE = 1, 3  # first numbers of the seeds, so that no two streams are the same


def steps_per_epoch(dataset: DetectionDataset, *, batch_size: int, world: int = 1, last_batch: str = "drop") -> int:
    """Counts the batches of an epoch.

    Args:
        dataset: the dataset.
        batch_size: images per device and step.
        world: number of devices.
        last_batch: as `LoaderConfig.last_batch`: "fill" counts a last batch that the images of the epoch do not
            fill, "drop" does not.

    Returns:
        At least 1.

    Raises:
        DataError: the dataset has no image, or, with "drop", fewer images than one step takes.

    Source: with "fill" the length of Megvii's batch sampler, ceil(floor(images / devices) / batch_size).
    """
    count = len(dataset)
    if last_batch == "fill" and count:
        return max(-(-(count // world) // batch_size), 1)
    if count < batch_size * world:
        raise DataError(
            f"{dataset.image_dir}: {count} images make no batch of {batch_size} on {world} device(s); "
            f"set the batch size to at most {count // world}, or add images"
        )
    return count // (batch_size * world)


def epoch_order(count: int, *, seed: int, epoch: int) -> np.ndarray:  # [count] int64
    """Returns a permutation of all images, equal in every process.

    Args:
        count: number of images.
        seed: of the run.
        epoch: counted from 0.

    Returns:
        [count] int64, each index once.
    """
    return np.random.default_rng((ORDER, seed, epoch)).permutation(count)


def endless_order(count: int, *, seed: int, start: int, length: int) -> np.ndarray:  # [length] int64
    """Returns a section of the endless sequence of permutations of all images.

    Epochs cut from it one after the other leave no image out, however their length fits the number of images.

    Args:
        count: number of images, positive.
        seed: of the run.
        start: position of the first image, counted from the start of training.
        length: number of images, positive.

    Returns:
        [length] int64; the k-th `count` positions of the whole are `epoch_order` of epoch k.

    Source: Megvii's InfiniteSampler.

    Example:
        >>> whole = [*epoch_order(3, seed=0, epoch=0), *epoch_order(3, seed=0, epoch=1)]
        >>> endless_order(3, seed=0, start=2, length=4).tolist() == whole[2:]
        True
    """
    first, last = start // count, (start + length - 1) // count
    shuffles = [epoch_order(count, seed=seed, epoch=turn) for turn in range(first, last + 1)]
    return np.concatenate(shuffles)[start - first * count :][:length]


def train_size(step: int, *, input_size: Size, config: LoaderConfig) -> Size:
    """Returns the image size of a training step.

    Args:
        step: counted from the start of training.
        input_size: (height, width) px of the recipe.
        config: `multiscale_sizes` are heights, of which one is drawn every `multiscale_interval` steps from
            the seed and the step alone, so that every device draws the same.

    Returns:
        (height, width) px; the width follows from the input's shape as a multiple of 32.

    Source: Megvii's `random_resize`, which cuts the width's count of 32 px to a whole number.

    Example:
        >>> train_size(7, input_size=(416, 416), config=LoaderConfig())
        (416, 416)
    """
    if not config.multiscale_sizes:
        return input_size
    rng = np.random.default_rng((SCALE, config.seed, step // config.multiscale_interval))
    height = int(rng.choice(config.multiscale_sizes))
    return height, max(int(height // 32 * input_size[1] / input_size[0]), 1) * 32
