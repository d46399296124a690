"""Batches of fixed shape from samples, and the order of an epoch: functions of seed, epoch and step alone.

Each batch is computable by itself, so that any worker can make any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import attrs
import numpy as np
from einops import rearrange

from yolox.config import InputSpec, LoaderConfig, Recipe, Size
from yolox.data.dataset import DetectionDataset, load_image
from yolox.data.letterbox import letterbox
from yolox.data.pipeline import Read, no_aug_sample, train_sample
from yolox.data.pixels import pad_level
from yolox.data.sample import Sample, keep_boxes
from yolox.errors import DataError

SAMPLE = 2  # first number of the seeds of samples; `order` has others
PARTNER_WINDOW = 1000


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
        loader = self.recipe.loader
        return steps_per_epoch(
            self.dataset, batch_size=loader.step_images, world=self.world, last_batch=loader.last_batch
        )

    @cached_property
    def order(self) -> np.ndarray:
        """Indices of the images of the epoch over all devices, int64, at least as many as its steps take.

        Made once: the shuffles of 118,000 images take 4 ms, which every step would pay.
        """
        loader, count = self.recipe.loader, len(self.dataset)
        if loader.last_batch == "drop":
            return epoch_order(count, seed=loader.seed, epoch=self.epoch)
        length = len(self) * loader.step_images * self.world
        return endless_order(count, seed=loader.seed, start=self.epoch * length, length=length)

    def samples(self, step: int) -> list[Sample]:
        """Makes the samples of one step of the epoch.

        Args:
            step: of this epoch, counted from 0.

        Returns:
            Samples of this device, all of one size.

        Raises:
            DataError: an image cannot be used.
        """
        loader, order = self.recipe.loader, self.order
        size = train_size(
            self.epoch * len(self) + step, input_size=self.recipe.input.input_size, config=loader
        )
        first = (step * self.world + self.rank) * loader.step_images
        return [self._sample(order, position, size) for position in range(first, first + loader.step_images)]

    def _sample(self, order: np.ndarray, position: int, size: Size) -> Sample:
        rng = np.random.default_rng((SAMPLE, self.recipe.loader.seed, self.epoch, position))
        index, augment = int(order[position]), self.recipe.augment
        if not self.augment:
            return no_aug_sample(
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
        sizes = (*(loader.gt_paddings if self.world == 1 else ()), loader.max_gt)
        batch = collate(samples, max_gt=padding_size(samples, sizes))
        return *batch, np.int32(count_dropped(samples, max_gt=loader.max_gt))


def evaluated_images(count: int, *, rank: int = 0, world: int = 1) -> np.ndarray:  # [n] int64
    """Returns the indices of the images that one device evaluates: rank, rank + world, ...

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
        spec = self.spec
        images = np.full((self.batch_size, *spec.input_size, spec.channels), pad_level(spec), spec.pixel_type)
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


class Batch(NamedTuple):
    """A batch of a training step. B images, G rows for ground truths.

    Args:
        images: [B,H,W,3] uint8, BGR.
        gt_boxes: [B,G,4] float32 xyxy px of the network's input; padding rows are zero.
        gt_classes: [B,G] int32; padding is zero.
        valid: [B,G] bool; False for padding.
    """

    images: np.ndarray
    gt_boxes: np.ndarray
    gt_classes: np.ndarray
    valid: np.ndarray


def collate(samples: Sequence[Sample], *, max_gt: int) -> Batch:
    """Stacks samples of one size and pads their ground truths to a fixed number of rows.

    Args:
        samples: B samples whose images have one size.
        max_gt: G. Of an image with more ground truths the smallest boxes are left out; `count_dropped` counts them.

    Returns:
        Batch; ground truths keep their order.

    Raises:
        ValueError: no samples, or images of several sizes.

    Example:
        >>> boxes = np.array([[0, 0, 4, 4], [0, 0, 1, 1]], np.float32)
        >>> one = Sample(np.zeros((8, 8, 3), np.uint8), boxes, np.array([5, 6], np.int32))
        >>> collate([one], max_gt=1).gt_classes.tolist()
        [[5]]
    """
    sizes = {s.image.shape for s in samples}
    if len(sizes) != 1:
        raise ValueError(f"collate: images have shapes {sorted(sizes)}, want one shape")
    count = len(samples)
    batch = Batch(
        rearrange([s.image for s in samples], "b h w c -> b h w c"),
        np.zeros((count, max_gt, 4), np.float32),
        np.zeros((count, max_gt), np.int32),
        np.zeros((count, max_gt), bool),
    )
    for row, sample in enumerate(samples):
        kept = keep_largest(sample, max_gt)
        filled = slice(len(kept.classes))
        batch.gt_boxes[row, filled], batch.gt_classes[row, filled], batch.valid[row, filled] = (
            kept.boxes,
            kept.classes,
            True,
        )
    return batch


def padding_size(samples: Sequence[Sample], sizes: Sequence[int]) -> int:
    """Returns the least of the padding sizes that holds the ground truths of every sample, or else the largest.

    Fewer rows make the assignment cheaper; a finite number of sizes keeps the number of compiled steps finite.

    Args:
        samples: of one batch.
        sizes: rising numbers of rows.

    Returns:
        One of `sizes`.

    Example:
        >>> boxes = np.zeros((5, 4), np.float32)
        >>> padding_size([Sample(np.zeros((8, 8, 3), np.uint8), boxes, np.zeros(5, np.int32))], (4, 16, 120))
        16
    """
    most = max(len(sample.classes) for sample in samples)
    return next((size for size in sizes if size >= most), sizes[-1])


def keep_largest(sample: Sample, count: int) -> Sample:
    """Keeps the `count` boxes of largest area, in their order.

    Args:
        sample: boxes xyxy px.
        count: of boxes to keep.

    Returns:
        Sample with at most `count` boxes; of equal areas the first stays.
    """
    if len(sample.classes) <= count:
        return sample
    areas = (sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1)
    return keep_boxes(sample, np.sort(np.argsort(-areas, kind="stable")[:count]))


def count_dropped(samples: Sequence[Sample], *, max_gt: int) -> int:
    """Counts the boxes that `collate` leaves out.

    Args:
        samples: of one batch.
        max_gt: rows of the batch.

    Returns:
        The number over all samples.
    """
    return sum(max(len(s.classes) - max_gt, 0) for s in samples)


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
