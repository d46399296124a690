"""Left-right flip."""

from __future__ import annotations

import cv2
import numpy as np

from yolox.data.sample import Sample


def flip_horizontal(sample: Sample) -> Sample:
    """Mirror a sample left to right, boxes included.

    Args:
        sample: boxes xyxy px.

    Returns:
        A new Sample of the same size and order of boxes.

    Example:
        >>> boxes = np.array([[1, 0, 3, 2]], np.float32)
        >>> sample = Sample(np.zeros((4, 10, 3), np.uint8), boxes, np.zeros(1, np.int32))
        >>> flip_horizontal(sample).boxes.tolist()
        [[7.0, 0.0, 9.0, 2.0]]
    """
    return Sample(
        cv2.flip(sample.image, 1), flip_boxes(sample.boxes, width=sample.image.shape[1]), sample.classes
    )


def flip_boxes(boxes: np.ndarray, *, width: float) -> np.ndarray:  # [N,4] xyxy
    """Mirror boxes [N,4] xyxy px in an image of the given width px.

    Args:
        boxes: [N,4] xyxy px.
        width: of the image, px.

    Returns:
        [N,4], a copy, left still left of right.
    """
    flipped = boxes.copy()
    flipped[:, 0], flipped[:, 2] = width - boxes[:, 2], width - boxes[:, 0]
    return flipped


def random_flip(sample: Sample, *, rng: np.random.Generator, prob: float = 0.5) -> Sample:
    """Mirror a sample with a probability; draws one number whatever the probability.

    Args:
        sample: boxes xyxy px.
        rng: source of randomness.
        prob: of being mirrored.

    Returns:
        The mirrored sample, or the sample itself.
    """
    return flip_horizontal(sample) if rng.random() < prob else sample
