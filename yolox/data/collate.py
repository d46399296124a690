"""Samples of one size to one batch of fixed shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yolox.data.sample import Sample, keep_boxes


class Batch(NamedTuple):
    """What a training step takes. B images, G rows for truths.

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


def collate(samples: Sequence[Sample], *, max_truths: int) -> Batch:
    """Stack samples of one size and pad their truths to a fixed number of rows.

    Args:
        samples: B samples whose images have one size.
        max_truths: G. Of an image with more truths the smallest boxes go; `count_surplus` tells how many.

    Returns:
        Batch; truths keep their order.

    Raises:
        ValueError: no samples, or images of several sizes.

    Example:
        >>> boxes = np.array([[0, 0, 4, 4], [0, 0, 1, 1]], np.float32)
        >>> one = Sample(np.zeros((8, 8, 3), np.uint8), boxes, np.array([5, 6], np.int32))
        >>> collate([one], max_truths=1).gt_classes.tolist()
        [[5]]
    """
    sizes = {s.image.shape for s in samples}
    if len(sizes) != 1:
        raise ValueError(f"collate: images have shapes {sorted(sizes)}, want one shape")
    count = len(samples)
    batch = Batch(
        np.stack([s.image for s in samples]),
        np.zeros((count, max_truths, 4), np.float32),
        np.zeros((count, max_truths), np.int32),
        np.zeros((count, max_truths), bool),
    )
    for row, sample in enumerate(samples):
        kept = keep_largest(sample, max_truths)
        filled = slice(len(kept.classes))
        batch.gt_boxes[row, filled], batch.gt_classes[row, filled], batch.valid[row, filled] = (
            kept.boxes,
            kept.classes,
            True,
        )
    return batch


def padding_size(samples: Sequence[Sample], sizes: Sequence[int]) -> int:
    """Choose the least of the padding sizes that holds the truths of every sample, or else the largest.

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
    """Keep the `count` boxes of largest area, in the order in which they stand.

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


def count_surplus(samples: Sequence[Sample], *, max_truths: int) -> int:
    """Count the boxes that `collate` would leave out.

    Args:
        samples: of one batch.
        max_truths: rows of the batch.

    Returns:
        The number over all samples.
    """
    return sum(max(len(s.classes) - max_truths, 0) for s in samples)
