"""The training sample: which augmentations, in which order, of which images.

Megvii's order: mosaic and its affine map, mixup, colour, flip. Images that get no mosaic, and all images of
the last epochs, are fitted into the input and get colour and flip only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
import cv2
import numpy as np

from yolox.config import AugmentConfig, InputSpec, Size
from yolox.data.affine import min_side_above, random_flip
from yolox.data.dataset import DetectionDataset, image_labels, load_image
from yolox.data.letterbox import LetterboxTransform, boxes_to_letterbox, fit_ratio, pad_to, resize_to_fit
from yolox.data.mosaic import blend, draw_partner_plan, draw_plan, render_mosaic, render_partner
from yolox.data.pixels import pad_level, with_axis
from yolox.data.sample import Sample, keep_boxes

Read = Callable[..., np.ndarray]  # (index, reduce=1) -> [H,W,C]

PARTNER_DRAWS = 20


@attrs.frozen(eq=False, kw_only=True)
class Source:
    """Pixels and labels of a dataset, and the images that mosaics draw from.

    Args:
        dataset: images and boxes.
        read: function of an index and `reduce` to pixels [H,W,3] uint8; files by default, or a cache.
        partners: [n] indices that mosaic partners are drawn from; None draws from the whole dataset.
    """

    dataset: DetectionDataset
    read: Read
    partners: np.ndarray | None = None


def make_source(
    dataset: DetectionDataset, *, read: Read | None = None, partners: np.ndarray | None = None
) -> Source:
    """Makes a source that reads files unless another `read` is given.

    Args:
        dataset: images and boxes.
        read: function of an index and `reduce` to pixels; None reads files.
        partners: [n] indices that mosaic partners are drawn from; None for all.

    Returns:
        Source.
    """
    return Source(dataset=dataset, read=read or partial(load_image, dataset), partners=partners)


def train_sample(
    dataset: DetectionDataset,
    index: int,
    *,
    rng: np.random.Generator,
    config: AugmentConfig,
    spec: InputSpec,
    size: Size | None = None,
    partners: np.ndarray | None = None,
    read: Read | None = None,
) -> Sample:
    """Makes one augmented training sample.

    Args:
        dataset: images and boxes.
        index: the image that the sample is about; mosaic and mixup draw their partners.
        rng: source of randomness; the same state gives the same sample.
        config: augmentations.
        spec: input convention; its size is the default size.
        size: (height, width) px of the sample. With `config.canvas_size` it is drawn at that size, and then resized.
        partners: [n] indices that mosaic partners are drawn from; None draws from the whole dataset.
        read: function of an index and `reduce` to pixels; None reads the files (see `yolox.data.dataset`).

    Returns:
        Sample of the size. Boxes are clipped to it; under Megvii's filter both sides exceed 1 px. Changes of colour are left out
        where `spec` has other than three channels of 8 bits.

    Raises:
        DataError: an image is missing, cannot be decoded, or has another size than annotated.

    Source:
        YOLOX, section 2.1; Megvii's and MindYOLO's recipes by `config`. Where no box survives, the sample
        counts as an image without objects; Megvii goes back to the image before colour and flip and keeps its
        boxes.
    """
    source, size = make_source(dataset, read=read, partners=partners), size or spec.input_size
    if config.canvas_size is None:
        return _train_sample(source, index, size, rng, config, spec)
    return resize_sample(_train_sample(source, index, config.canvas_size, rng, config, spec), size)


def _train_sample(
    source: Source, index: int, size: Size, rng: np.random.Generator, config: AugmentConfig, spec: InputSpec
) -> Sample:
    if rng.random() >= config.mosaic_prob:
        return _no_aug(source, index, size, rng, config, spec)
    sample, mixed = _mosaic(source, index, size, rng, config, spec), rng.random() < config.mixup_prob
    if mixed and config.mixup_partner == "mosaic":
        other = _mosaic(source, _any_index(source, rng), size, rng, config, spec)
        sample = blend(sample, other, weight=rng.beta(8.0, 8.0))
    elif mixed and len(sample.classes):
        sample = _mix_raw(source, sample, rng, config, spec)
    recoloured = attrs.evolve(sample, image=_recolored(sample.image, rng, config, spec))
    return _drop_small(random_flip(recoloured, rng=rng, prob=config.flip_prob), config)


def no_aug_sample(
    dataset: DetectionDataset,
    index: int,
    *,
    rng: np.random.Generator,
    config: AugmentConfig,
    spec: InputSpec,
    size: Size | None = None,
    read: Read | None = None,
) -> Sample:
    """Makes a training sample without mosaic and mixup: the image fitted into the input, colour, flip.

    Arguments, result and errors as in `train_sample`. The colour change leaves the padding alone, and the
    flipped image keeps its place at the top left (or in the middle, as `spec` says).
    """
    size = size or spec.input_size
    sample = _no_aug(make_source(dataset, read=read), index, config.canvas_size or size, rng, config, spec)
    return sample if config.canvas_size is None else resize_sample(sample, size)


def resize_sample(sample: Sample, size: Size) -> Sample:
    """Resizes image and boxes, each axis by its own factor.

    Args:
        sample: of any size.
        size: (height, width) px of the result.

    Returns:
        Sample of the size, with all boxes.

    Source: the interpolation of whole batches in Megvii's `preprocess`, mmyolo and PaddleDetection (bilinear).

    Example:
        >>> sample = Sample(np.zeros((4, 8, 3), np.uint8), np.array([[2, 1, 6, 3]], np.float32), np.array([0], np.int32))
        >>> resize_sample(sample, (8, 4)).boxes.tolist()
        [[1.0, 2.0, 3.0, 6.0]]
    """
    height, width = sample.image.shape[:2]
    if (height, width) == tuple(size):
        return sample
    factors = np.array([size[1] / width, size[0] / height] * 2, np.float32)
    image = with_axis(cv2.resize(sample.image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR))
    return Sample(image, sample.boxes * factors, sample.classes)


def _no_aug(
    source: Source, index: int, size: Size, rng: np.random.Generator, config: AugmentConfig, spec: InputSpec
) -> Sample:
    original = source.read(index)
    boxes, classes = image_labels(source.dataset, index)
    ratio = fit_ratio(original.shape[:2], size)
    image = _recolored(resize_to_fit(original, size), rng, config, spec)
    sample = random_flip(Sample(image, boxes * np.float32(ratio), classes), rng=rng, prob=config.flip_prob)
    canvas, left, top = pad_to(sample.image, size, spec=spec)
    placed = boxes_to_letterbox(sample.boxes, LetterboxTransform(1.0, left, top))
    return _drop_small(Sample(canvas, placed, classes), config)


def _mosaic(
    source: Source, index: int, size: Size, rng: np.random.Generator, config: AugmentConfig, spec: InputSpec
) -> Sample:
    pool = len(source.dataset) if source.partners is None else source.partners
    indices = [index, *rng.choice(pool, 3).tolist()]
    plan = draw_plan([source.dataset.sizes[i].tolist() for i in indices], size=size, rng=rng, config=config)
    labels = [image_labels(source.dataset, i) for i in indices]
    return render_mosaic(
        plan,
        lambda position, reduce: source.read(indices[position], reduce=reduce),
        labels,
        _blank(size, spec),
        config=config,
    )


def _mix_raw(
    source: Source, sample: Sample, rng: np.random.Generator, config: AugmentConfig, spec: InputSpec
) -> Sample:
    """Blends with a raw image that has objects; after `PARTNER_DRAWS` images without any, the sample stays as it is."""
    for _ in range(PARTNER_DRAWS):
        index = int(rng.integers(len(source.dataset)))
        boxes, classes = image_labels(source.dataset, index)
        if len(classes):
            break
    else:
        return sample
    size = sample.image.shape[:2]
    plan = draw_partner_plan(source.dataset.sizes[index].tolist(), size=size, rng=rng, config=config)
    partner = render_partner(plan, partial(_read_reduced, source, index), boxes, classes, _blank(size, spec))
    return blend(sample, partner)


def _blank(size: Size, spec: InputSpec) -> np.ndarray:
    return np.full((*size, spec.channels), pad_level(spec), spec.pixel_type)


def _recolored(image: np.ndarray, rng: np.random.Generator, config: AugmentConfig, spec: InputSpec) -> np.ndarray:
    """Changes colours where there are colours of 8 bits; other images stay as they are, and draw the same random numbers."""
    changed = random_hsv(image if spec.is_color else np.zeros((1, 1, 3), np.uint8), rng=rng, config=config)
    return changed if spec.is_color else image


def _read_reduced(source: Source, index: int, reduce: int) -> np.ndarray:
    return source.read(index, reduce=reduce)


def _any_index(source: Source, rng: np.random.Generator) -> int:
    return int(rng.choice(len(source.dataset) if source.partners is None else source.partners))


def _drop_small(sample: Sample, config: AugmentConfig) -> Sample:
    return keep_boxes(sample, min_side_above(sample.boxes, 1.0 if config.box_filter == "min_side" else 0.0))


LEVELS = np.arange(256)


def random_hsv(
    image: np.ndarray, *, rng: np.random.Generator, config: AugmentConfig
) -> np.ndarray:  # [H,W,3] uint8 BGR
    """Changes the colours of an image at random, with probability `config.hsv_prob`.

    Args:
        image: [H,W,3] uint8 BGR.
        rng: source of randomness.
        config: `hsv_mode` additive (whole shifts, each channel with probability one half) or multiplicative
            (gains).

    Returns:
        [H,W,3] uint8 BGR; the input itself where nothing changes.
    """
    draws, gates, chosen = rng.uniform(-1, 1, 3), rng.integers(0, 2, 3), rng.random() < config.hsv_prob
    if not chosen:
        return image
    if config.hsv_mode == "additive":
        return shift_hsv(image, (draws * config.hsv_gains * gates).astype(np.int64))
    return scale_hsv(image, 1 + draws * config.hsv_gains)


def shift_hsv(image: np.ndarray, shifts) -> np.ndarray:  # [H,W,3] uint8 BGR
    """Adds whole numbers to hue, saturation and value.

    Args:
        image: [H,W,3] uint8 BGR.
        shifts: three integers; hue runs in a circle of 180 steps, saturation and value stop at 0 and 255.

    Returns:
        [H,W,3] uint8 BGR.

    Source:
        Megvii's recipe.

    Example:
        >>> shift_hsv(np.full((1, 1, 3), 100, np.uint8), (0, 0, 20))[0, 0].tolist()
        [120, 120, 120]
    """
    hue, saturation, value = (int(s) for s in shifts)
    if hue == saturation == value == 0:
        return image
    hues = LEVELS if hue == 0 else (LEVELS + hue) % 180
    return _apply(image, hues, np.clip(LEVELS + saturation, 0, 255), np.clip(LEVELS + value, 0, 255))


def scale_hsv(image: np.ndarray, gains) -> np.ndarray:  # [H,W,3] uint8 BGR
    """Multiplies hue, saturation and value.

    Args:
        image: [H,W,3] uint8 BGR.
        gains: three factors; hue runs in a circle of 180 steps, saturation and value stop at 255.

    Returns:
        [H,W,3] uint8 BGR.

    Source:
        MindYOLO's recipe.
    """
    hue, saturation, value = (LEVELS * float(g) for g in gains)
    return _apply(image, hue % 180, np.clip(saturation, 0, 255), np.clip(value, 0, 255))


def _apply(image: np.ndarray, *tables: np.ndarray) -> np.ndarray:
    """Applies a table of 256 levels to each channel of the image's HSV; unchanged channels cost nothing."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    for channel, table in enumerate(tables):
        if (table != LEVELS).any():
            changed = cv2.LUT(cv2.extractChannel(hsv, channel), table.astype(np.uint8))
            cv2.insertChannel(changed, hsv, channel)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
