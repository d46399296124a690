"""Predictions beside truths."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from yolox.eval.draw import draw_detections
from yolox.eval.names import ascii_text
from yolox.eval.postprocess import Detections

SIDE = 640  # longest side of one picture, px
BAR = 26


def beside_truths(
    image: np.ndarray, truth: Detections, found: Detections, class_names: Sequence[str], *, title: str = ""
) -> np.ndarray:  # [H,W,3] -> [h,w,3]
    """Draw an image twice: with its truths on the left, with detections on the right.

    Args:
        image: [H,W,3] uint8 BGR.
        truth: boxes and classes of the objects; scores are not shown.
        found: the detections.
        class_names: names of the classes.
        title: written above, such as the file's name.

    Returns:
        [h,w,3] uint8 BGR; small images are enlarged and large ones shrunk, so that labels can be read.

    Raises:
        ValueError: when the image is not [H,W,3] uint8.

    Example:
        >>> beside_truths(np.zeros((480, 640, 3), np.uint8), Detections(), Detections(), ["cat"]).shape
        (506, 1284, 3)
    """
    ratio = SIDE / max(image.shape[:2])
    size = max(round(image.shape[1] * ratio), 1), max(round(image.shape[0] * ratio), 1)
    how = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    canvas = cv2.resize(image, size, interpolation=how)
    pictures = []
    for which, scored in ((truth, False), (found, True)):
        moved = Detections(which.boxes * np.array([size[0] / image.shape[1], size[1] / image.shape[0]] * 2),
                           which.scores, which.classes)  # fmt: skip
        pictures.append(draw_detections(canvas, moved, class_names, show_scores=scored))
    gap = np.full((size[1], 4, 3), 255, np.uint8)
    row = np.hstack([pictures[0], gap, pictures[1]])
    bar = np.full((BAR, row.shape[1], 3), 255, np.uint8)
    left = ascii_text(f"{title}: {len(truth)} objects".removeprefix(": "))
    for text, x in ((left, 6), (f"{len(found)} detections", size[0] + 10)):
        cv2.putText(bar, text, (x, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    return np.vstack([bar, row])
