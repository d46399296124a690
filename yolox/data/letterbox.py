"""Letterbox: fits an image into the network's input, keeping its shape, and maps boxes there and back."""

from __future__ import annotations

import attrs
import cv2
import numpy as np

from yolox.config import InputSpec, Size
from yolox.data.pixels import pad_level, with_axis
from yolox.data.sample import Sample, clip_boxes

MARGIN = 32
"""Least padding left on each padded side, px: with it the AP of official nano on 31 images of COCO stays within .001."""


@attrs.frozen
class LetterboxTransform:
    """Scale and offset of an image in its letterbox.

    Args:
        ratio: pixels of the letterbox per pixel of the image.
        pad_x: pixels left of the image.
        pad_y: pixels above the image.
    """

    ratio: float
    pad_x: int = 0
    pad_y: int = 0


def fit_ratio(image_size: Size, size: Size) -> float:
    """Computes the largest factor at which an image fits into a size; both are (height, width) in pixels.

    Args:
        image_size: of the image.
        size: to fit into.

    Returns:
        The factor; above 1 enlarges.
    """
    return min(size[0] / image_size[0], size[1] / image_size[1])


def fitted_size(image_size: Size, size: Size) -> Size:
    """Computes the size in whole pixels, at least one, of an image that is fitted into a size.

    Args:
        image_size: (height, width) px of the image.
        size: (height, width) px to fit into.

    Returns:
        (height, width) px, rounded down.
    """
    ratio = fit_ratio(image_size, size)
    return max(int(image_size[0] * ratio), 1), max(int(image_size[1] * ratio), 1)


def rectangular_size(image_size: Size, size: Size, *, center: bool = False) -> Size:
    """Computes the smaller input for an image in which `letterbox` scales it as in `size`, with less padding.

    Args:
        image_size: (height, width) px of the image.
        size: (height, width) px to fit into, multiples of 32.
        center: whether the image lies in the centre, with padding on both sides.

    Returns:
        (height, width) px, multiples of 32. One side is that of `size`; the other one is shorter by up to four equal steps, as
        far as the image and `MARGIN` on each padded side fit in. There are at most nine such inputs. A step is the multiple of
        64 px next to an eighth of the side: half of it is cut off on each side of a centred image, so that the image lies at
        the same place of the grids of all strides.

    Example:
        >>> rectangular_size((480, 640), (416, 416)), rectangular_size((640, 100), (640, 640))
        ((352, 416), (640, 384))
    """
    fitted, margin = fitted_size(image_size, size), MARGIN * (1 + center)
    return tuple(_shorter_side(side + margin, whole) for side, whole in zip(fitted, size, strict=True))


def _shorter_side(least: int, whole: int) -> int:
    step = 64 * max(round(whole / 512), 1)
    return whole - step * min(max(whole - least, 0) // step, 4)


def resize_to_fit(
    image: np.ndarray, size: Size, *, shrink: str = "linear"
) -> np.ndarray:  # [H,W,3] -> [h,w,3]
    """Resizes an image as large as fits into a size, keeping its shape.

    Args:
        image: [H,W,3] uint8.
        size: (height, width) px to fit into.
        shrink: interpolation when the image becomes smaller, "linear" or "area"; growing is always linear.

    Returns:
        [h,w,3] uint8; the input itself where nothing changes.
    """
    height, width = fitted_size(image.shape[:2], size)
    if (height, width) == image.shape[:2]:
        return image
    area = shrink == "area" and height <= image.shape[0] and width <= image.shape[1]
    return with_axis(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if area else cv2.INTER_LINEAR))


def pad_to(
    image: np.ndarray, size: Size, *, spec: InputSpec
) -> tuple[np.ndarray, int, int]:  # [h,w,3] -> [H,W,3]
    """Places an image on a grey canvas, at the top left or centred, as the input convention says.

    Args:
        image: [h,w,3] uint8, not larger than `size`.
        size: (height, width) px of the canvas.
        spec: placement and grey level.

    Returns:
        canvas [H,W,3] uint8, and the columns left of the image and rows above it.
    """
    canvas = np.full((*size, image.shape[2]), pad_level(spec), image.dtype)
    height, width = image.shape[:2]
    centred = spec.letterbox == "center"
    top, left = ((size[0] - height) // 2, (size[1] - width) // 2) if centred else (0, 0)
    canvas[top : top + height, left : left + width] = image
    return canvas, left, top


def letterbox(image: np.ndarray, size: Size, *, spec: InputSpec) -> tuple[np.ndarray, LetterboxTransform]:
    """Fits an image into the network's input: resizes it with its shape kept, and pads the rest with grey.

    Evaluation and prediction feed the network with this; the no-augmentation epochs of training use its two parts.

    Args:
        image: [H,W,3] uint8 BGR.
        size: (height, width) px of the result.
        spec: placement (top left, centre), interpolation when shrinking (linear, area), grey level.

    Returns:
        canvas [size[0],size[1],3] uint8 and the transform that `boxes_from_letterbox` undoes.

    Source:
        Megvii's test preprocessing (top left, linear) and MindYOLO's (centre, area). The centred pad is
        rounded down.

    Example:
        >>> canvas, transform = letterbox(np.zeros((50, 100, 3), np.uint8), (64, 64), spec=InputSpec())
        >>> canvas.shape, transform.ratio, int(canvas[31, 0, 0]), int(canvas[32, 0, 0])
        ((64, 64, 3), 0.64, 0, 114)
    """
    resized = resize_to_fit(image, size, shrink=spec.shrink_interpolation)
    canvas, left, top = pad_to(resized, size, spec=spec)
    return canvas, LetterboxTransform(fit_ratio(image.shape[:2], size), left, top)


def boxes_to_letterbox(boxes: np.ndarray, transform: LetterboxTransform) -> np.ndarray:  # [N,4] -> [N,4] xyxy
    """Maps boxes of an image into its letterbox.

    Args:
        boxes: [N,4] xyxy px of the image.
        transform: from `letterbox`.

    Returns:
        [N,4] float32 xyxy px of the letterbox.
    """
    pad = np.array([transform.pad_x, transform.pad_y] * 2, np.float32)
    return (boxes * transform.ratio + pad).astype(np.float32)


def boxes_from_letterbox(
    boxes: np.ndarray, transform: LetterboxTransform, image_size: Size | None = None
) -> np.ndarray:
    """Maps boxes of a letterbox back to its image, as predictions need it.

    Args:
        boxes: [N,4] xyxy px of the letterbox.
        transform: from `letterbox`.
        image_size: (height, width) px to clip to; None does not clip.

    Returns:
        [N,4] float32 xyxy px of the image.

    Example:
        >>> boxes_from_letterbox(np.array([[8.0, 4, 16, 8]]), LetterboxTransform(0.5, 4, 0)).tolist()
        [[8.0, 8.0, 24.0, 16.0]]
    """
    pad = np.array([transform.pad_x, transform.pad_y] * 2, np.float32)
    moved = ((boxes - pad) / transform.ratio).astype(np.float32)
    return moved if image_size is None else clip_boxes(moved, height=image_size[0], width=image_size[1])


def letterbox_sample(sample: Sample, size: Size, *, spec: InputSpec) -> Sample:
    """Fits a sample into the network's input, with its boxes.

    Args:
        sample: boxes xyxy px of the image.
        size: (height, width) px of the input.
        spec: place of the image, grey level, interpolation.

    Returns:
        Sample of that size, boxes in its pixels.
    """
    canvas, transform = letterbox(sample.image, size, spec=spec)
    return Sample(canvas, boxes_to_letterbox(sample.boxes, transform), sample.classes)
