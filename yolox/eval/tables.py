"""Detections of many images as one table of numbers, to send or to store, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolox.eval.postprocess import Detections

COLUMNS = 7  # image, x1, y1, x2, y2, score, class


def detections_to_table(found: Sequence[Detections], images: Sequence[int]) -> np.ndarray:
    """Write detections as rows.

    Args:
        found: one Detections per image.
        images: the number of each image, as many.

    Returns:
        [N,7] float64: number of the image, xyxy, score, class; every float32 keeps its value.

    Raises:
        ValueError: if the counts differ.

    Example:
        >>> one = Detections(np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32), np.array([2], np.int32))
        >>> detections_to_table([one], [7]).tolist()
        [[7.0, 1.0, 2.0, 3.0, 4.0, 0.5, 2.0]]
    """
    if len(found) != len(images):
        raise ValueError(f"detections_to_table: got {len(found)} detections for {len(images)} images")
    if not found:
        return np.zeros((0, COLUMNS))
    numbers = np.repeat(np.asarray(images, np.float64), [len(each) for each in found])
    columns = [np.concatenate([getattr(each, name) for each in found]) for name in ("boxes", "scores", "classes")]
    return np.column_stack([numbers, *columns]).astype(np.float64)


def table_to_detections(table: np.ndarray, count: int) -> list[Detections]:
    """Read the rows of `detections_to_table`, in any order of the images.

    Args:
        table: [N,7] float64; rows of one image stay in their order.
        count: images are numbered from 0 to below it.

    Returns:
        One Detections per image, without names; empty ones for images without rows.

    Raises:
        ValueError: if a row is of another image.
    """
    numbers = table[:, 0].astype(np.int64)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < count:
        raise ValueError(f"table_to_detections: has image {numbers.max()} or below 0, want 0 to {count - 1}")
    rows = table[np.argsort(numbers, kind="stable")]
    ends = np.cumsum(np.bincount(numbers, minlength=count))[:-1]
    return [
        Detections(part[:, 1:5].astype(np.float32), part[:, 5].astype(np.float32), part[:, 6].astype(np.int32))
        for part in np.split(rows, ends)
    ]
