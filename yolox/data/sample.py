"""An image with its ground truths, as augmentations take and return it."""

from __future__ import annotations

import attrs
import numpy as np


@attrs.frozen(eq=False)
class Sample:
    """An image and its boxes. Augmentations return new samples and leave the pixels of their input alone.

    Args:
        image: [H,W,3] uint8, BGR; or [H,W,C], uint8 or uint16, where the input has other channels or 16 bits.
        boxes: [N,4] float32, xyxy in pixels of this image; pixel column i covers x from i to i + 1.
        classes: [N] int32, index into the dataset's class names.

    Raises:
        ValueError: when boxes and classes do not fit each other or have other shapes.

    Example:
        >>> empty_sample(np.zeros((4, 6, 3), np.uint8)).boxes.shape
        (0, 4)
    """

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray

    def __attrs_post_init__(self) -> None:
        if self.image.ndim != 3:
            raise ValueError(f"Sample: image has shape {self.image.shape}, want [H,W,C]")
        if self.boxes.shape != (len(self.classes), 4):
            raise ValueError(
                f"Sample: boxes {self.boxes.shape}, want ({len(self.classes)}, 4), a row for each class"
            )


def empty_sample(image: np.ndarray) -> Sample:  # [H,W,3] uint8
    """Makes a sample without objects from an image.

    Args:
        image: [H,W,3] uint8.

    Returns:
        Sample with no rows.
    """
    return Sample(image, np.zeros((0, 4), np.float32), np.zeros(0, np.int32))


def keep_boxes(sample: Sample, keep: np.ndarray) -> Sample:  # keep [N] bool or indices
    """Keeps some boxes of a sample, with their classes.

    Args:
        sample: of N boxes.
        keep: [N] bool, or indices.

    Returns:
        Sample with the same image.
    """
    return Sample(sample.image, sample.boxes[keep], sample.classes[keep])


def clip_boxes(boxes: np.ndarray, *, height: float, width: float) -> np.ndarray:  # [N,4] xyxy
    """Clips boxes to an image.

    Args:
        boxes: [N,4] xyxy px.
        height: of the image, px.
        width: of the image, px.

    Returns:
        [N,4] float32; a box outside the image becomes one without area on its edge.

    Example:
        >>> clip_boxes(np.array([[-3.0, 2.0, 50.0, 60.0]]), height=40, width=30).tolist()
        [[0.0, 2.0, 30.0, 40.0]]
    """
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(boxes, 0, limit).astype(np.float32)
