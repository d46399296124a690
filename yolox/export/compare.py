"""The answers of an exported file beside those of the detector: images to compare on, and the largest difference."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from mindspore import Tensor

from yolox.config import InputSpec
from yolox.data.letterbox import letterbox
from yolox.data.pixels import convert_channels, to_pixel_type, with_axis
from yolox.decode import decode_predictions, make_points
from yolox.eval.postprocess import postprocess as select
from yolox.export.runner import open_exported, to_planes


def comparison_images(spec: InputSpec, count: int, image: np.ndarray | None) -> np.ndarray:
    """Returns images that fill the network's input: the letterboxed image, upside down, mirrored, and copies of it.

    Args:
        spec: size and letterbox.
        count: how many.
        image: uint8 BGR [H,W,3], or as `spec` says; None draws one.

    Returns:
        [count,H,W,channels], as `spec` says.
    """
    kind = {"channels": spec.channels, "max_value": spec.max_value}
    shown = test_image(spec.input_size, **kind) if image is None else convert_channels(image, **kind)
    canvas, _ = letterbox(shown, spec.input_size, spec=spec)
    return np.stack([canvas, canvas[::-1], canvas[:, ::-1], *[canvas] * count])[:count]


def compare_file(detector, draft: Path, count: int, image: np.ndarray | None) -> float:
    """Runs a file and the detector on the same images.

    Args:
        detector: Cell that returns raw maps.
        draft: the file.
        count: images at a time.
        image: as for `comparison_images`.

    Returns:
        Their `largest_difference`.
    """
    exported = open_exported(draft, trusted=True)  # may have layers of the user's own
    spec = exported.metadata.input
    images = comparison_images(spec, count, image)
    return largest_difference(exported(images), _wanted(detector, images, spec))


def compare_selected(draft: Path, images: np.ndarray, rows: np.ndarray) -> float:
    """Compares the detections of a file with NMS with those that the host selects from the same predictions.

    Args:
        draft: the file.
        images: [B,H,W,3] uint8.
        rows: [B,P,5+C] decoded predictions of these images.

    Returns:
        Largest difference of boxes, scores and classes; infinite where the numbers of detections differ.
    """
    exported = open_exported(draft, trusted=True)
    config = exported.metadata.postprocess
    pairs = zip(exported(images), rows, strict=True)
    return max(_apart(select(a, config=config), select(b, config=config)) for a, b in pairs)


def _wanted(detector, images, spec) -> np.ndarray:
    points = [Tensor(part) for part in make_points(spec.input_size, detector.strides)]
    detector.set_train(False)
    return decode_predictions(detector(Tensor(to_planes(images, spec=spec))), *points).asnumpy()


def _apart(found, wanted) -> float:
    """Returns the difference of detections, infinite where their numbers differ."""
    if len(found) != len(wanted):
        return float("inf")
    rows = [np.column_stack([d.boxes, d.scores, d.classes])[None] for d in (found, wanted)]
    return largest_difference(*rows)


def largest_difference(rows: np.ndarray, wanted: np.ndarray) -> float:  # [B,P,5+C],[B,P,5+C]
    """Returns the largest difference between two sets of predictions.

    Args:
        rows: [B,P,5+C] of the one.
        wanted: [B,P,5+C] of the other, finite; cx, cy, w, h px and probabilities.

    Returns:
        The largest difference: of probabilities as it is, of box numbers as a share of the largest of the four
        (rounding grows with the numbers), but at least of one pixel. Infinite where shapes differ or a
        number is not finite.

    Example:
        >>> one = np.array([[[400.0, 20, 10, 10, 0.5, 0.5]]])
        >>> round(largest_difference(one + np.array([0, 0.4, 0, 0, 0, 0.0001]), one), 6)
        0.001
    """
    if rows.shape != wanted.shape or not np.isfinite(rows).all():
        return float("inf")
    scale = np.ones_like(wanted)
    scale[..., :4] = np.maximum(np.abs(wanted[..., :4]).max(-1, keepdims=True), 1)
    return float((np.abs(rows - wanted) / scale).max(initial=0.0))


def test_image(size: tuple[int, int], *, channels: int = 3, max_value: int = 255) -> np.ndarray:  # -> [H,W,channels]
    """Returns an image of smooth colours, always the same: every layer sees edges and flat parts.

    Args:
        size: (height, width) px.
        channels: of the image.
        max_value: above 255 the image has 16 bits.

    Returns:
        [H,W,channels] uint8 or uint16.
    """
    coarse = np.random.default_rng(0).integers(0, 256, (9, 9, channels), np.uint8)
    return to_pixel_type(with_axis(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)), max_value)


test_image.__test__ = False  # a name that pytest would collect
