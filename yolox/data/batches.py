"""The batches of an epoch, each computable by itself, so that any worker can make any of them."""

from __future__ import annotations

import attrs
import numpy as np

from yolox.config import InputSpec, LoaderConfig, Recipe, Size

from .collate import collate, count_surplus, padding_size
from .dataset import DetectionDataset, load_image
from .errors import DataError
from .pipeline import Read, plain_sample, train_sample
from .resize import letterbox
from .sample import Sample

ORDER, SAMPLE, SCALE = 1, 2, 3  # first numbers of the seeds, so that no two streams are the same
PARTNER_WINDOW = 1000


def steps_per_epoch(dataset: DetectionDataset, *, batch_size: int, world: int = 1) -> int:
    """Count the full batches of an epoch; the rest of the images waits for another epoch's order.

    Args:
        dataset: the dataset.
        batch_size: images per device and step.
        world: number of devices.

    Returns:
        At least 1.

    Raises:
        DataError: the dataset has fewer images than one step takes.
    """
    steps = len(dataset) // (batch_size * world)
    if steps == 0:
        raise DataError(
            f"{dataset.image_dir}: {len(dataset)} images make no batch of {batch_size} on {world} device(s); "
            f"set the batch size to at most {len(dataset) // world}, or add images"
        )
    return steps


def epoch_order(count: int, *, seed: int, epoch: int) -> np.ndarray:  # [count] int64
    """Shuffle the images of an epoch; every process finds the same order.

    Args:
        count: number of images.
        seed: of the run.
        epoch: counted from 0.

    Returns:
        [count] int64, each index once.
    """
    return np.random.default_rng((ORDER, seed, epoch)).permutation(count)


def train_size(step: int, *, input_size: Size, config: LoaderConfig) -> Size:
    """Give the size of the images of a training step.

    Args:
        step: counted from the start of training.
        input_size: (height, width) px of the recipe.
        config: `multiscale_sizes` are heights, of which one is drawn every `multiscale_interval` steps from
            the seed and the step alone, so that every device draws the same.

    Returns:
        (height, width) px; the width follows from the input's shape as a multiple of 32.

    Example:
        >>> train_size(7, input_size=(416, 416), config=LoaderConfig())
        (416, 416)
    """
    if not config.multiscale_sizes:
        return input_size
    rng = np.random.default_rng((SCALE, config.seed, step // config.multiscale_interval))
    height = int(rng.choice(config.multiscale_sizes))
    return height, max(round(height * input_size[1] / input_size[0] / 32), 1) * 32


@attrs.frozen(eq=False, kw_only=True)
class TrainSource:
    """The batches of one epoch on one device: random access for `mindspore.dataset`.

    Sample `p` of an epoch's global order is drawn from the seed, the epoch and `p`, so that batches depend
    neither on the number of workers nor, taken over all devices, on the number of devices.

    Args:
        dataset: the dataset.
        recipe: augmentations, input and loader.
        epoch: counted from 0.
        augment: False leaves out mosaic and mixup (the last epochs).
        rank: of this device.
        world: number of devices.
        read: cache to read pixels from; None reads files.
    """

    dataset: DetectionDataset
    recipe: Recipe
    epoch: int
    augment: bool
    rank: int = 0
    world: int = 1
    read: Read | None = None

    def __len__(self) -> int:
        return steps_per_epoch(self.dataset, batch_size=self.recipe.loader.batch_size, world=self.world)

    def order(self) -> np.ndarray:
        """Give the epoch's order of images.

        Returns:
            [N] int64 indices of images.
        """
        return epoch_order(len(self.dataset), seed=self.recipe.loader.seed, epoch=self.epoch)

    def samples(self, step: int) -> list[Sample]:
        """Make the samples of one step of the epoch.

        Args:
            step: of this epoch, counted from 0.

        Returns:
            Samples of this device, all of one size.

        Raises:
            DataError: an image cannot be used.
        """
        loader, order = self.recipe.loader, self.order()
        size = train_size(
            self.epoch * len(self) + step, input_size=self.recipe.input.input_size, config=loader
        )
        first = (step * self.world + self.rank) * loader.batch_size
        return [self._sample(order, position, size) for position in range(first, first + loader.batch_size)]

    def _sample(self, order: np.ndarray, position: int, size: Size) -> Sample:
        rng = np.random.default_rng((SAMPLE, self.recipe.loader.seed, self.epoch, position))
        index, augment = int(order[position]), self.recipe.augment
        if not self.augment:
            return plain_sample(
                self.dataset,
                index,
                rng=rng,
                config=augment,
                spec=self.recipe.input,
                size=size,
                read=self.read,
            )
        window = (
            order[max(position + 1 - PARTNER_WINDOW, 0) : position + 1]
            if augment.mosaic_partners == "buffer"
            else None
        )
        return train_sample(
            self.dataset,
            index,
            rng=rng,
            config=augment,
            spec=self.recipe.input,
            size=size,
            partners=window,
            read=self.read,
        )

    def __getitem__(self, step: int) -> tuple:
        samples, loader = self.samples(int(step)), self.recipe.loader
        # a device sees its own batch only, and all devices have to run the same compiled step
        sizes = (*(loader.truth_paddings if self.world == 1 else ()), loader.max_truths)
        batch = collate(samples, max_truths=padding_size(samples, sizes))
        return *batch, np.int32(count_surplus(samples, max_truths=loader.max_truths))


def evaluated_images(count: int, *, rank: int = 0, world: int = 1) -> np.ndarray:  # [n] int64
    """Give the positions of the images that one device evaluates: rank, rank + world, ...

    Args:
        count: number of images.
        rank: of this device.
        world: number of devices.

    Returns:
        [n] int64, rising.

    Example:
        >>> evaluated_images(5, rank=1, world=2).tolist()
        [1, 3]
    """
    return np.arange(rank, count, world)


@attrs.frozen(eq=False, kw_only=True)
class EvalSource:
    """The evaluation batches of one device: random access for `mindspore.dataset`.

    Arguments as in `eval_batches`.
    """

    dataset: DetectionDataset
    spec: InputSpec
    batch_size: int
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return -(-len(self._images()) // self.batch_size)

    def __getitem__(self, step: int) -> tuple:
        indices = self._images()[int(step) * self.batch_size : (int(step) + 1) * self.batch_size]
        images = np.full((self.batch_size, *self.spec.input_size, 3), self.spec.pad_value, np.uint8)
        geometry = np.zeros((self.batch_size, 3))
        for row, index in enumerate(indices):
            images[row], transform = letterbox(
                load_image(self.dataset, index), self.spec.input_size, spec=self.spec
            )
            geometry[row] = attrs.astuple(transform)
        padded = np.full(self.batch_size, -1, np.int64)
        padded[: len(indices)] = indices
        return images, padded, geometry

    def _images(self) -> np.ndarray:
        return evaluated_images(len(self.dataset), rank=self.rank, world=self.world)
