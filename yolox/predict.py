"""Detect objects in images with one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mindspore import nn

from yolox.config import InputSpec, PostprocessConfig
from yolox.eval.postprocess import Detections, with_names
from yolox.eval.predict import make_eval_step, predict_images
from yolox.export.runner import ExportedDetector

VIEWER = PostprocessConfig(score_threshold=0.25, iou_threshold=0.45)
"""Thresholds of Megvii's README for pictures that people look at."""


def predict(
    detector: nn.Cell | ExportedDetector,
    images: Iterable,
    *,
    spec: InputSpec | None = None,
    config: PostprocessConfig = VIEWER,
    class_names: Sequence[str] | None = None,
    batch_size: int = 1,
) -> list[Detections]:
    """Detect the objects in images or image files.

    Call it to use a detector in a program. It is no more than ``make_eval_step``, ``predict_images`` and
    ``with_names``: in a loop, call those, so that the step is compiled once and a stream needs no list.

    Args:
        detector: a detector with its weights, or an exported file from `open_exported`.
        images: a list of uint8 [H,W,3] BGR arrays of any size, or paths of image files, or both.
        spec: pixels that the detector takes: `load_weights` tells; an exported file knows its own.
        config: thresholds.
        class_names: names of the classes; an exported file knows its own, else none are set.
        batch_size: images at a time.

    Returns:
        One Detections per image, in order: boxes xyxy in pixels of the original image, clipped to it.

    Raises:
        DataError: a file is missing or cannot be decoded.
        ValueError: one path or array comes and no list, an array is not uint8 [H,W,3], or a detector comes without `spec`.

    Example:
        >>> import numpy as np
        >>> from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector, initialise
        >>> tiny = Detector(CSPDarknet(0.33, 0.125), PAFPN(0.33, 0.125), DecoupledHead(3, 0.125))
        >>> initialise(tiny, seed=0)
        >>> spec = InputSpec(input_size=(32, 64))
        >>> [len(found) for found in predict(tiny, [np.zeros((40, 40, 3), np.uint8)] * 2, spec=spec)]
        [0, 0]
    """
    if isinstance(detector, ExportedDetector):
        step, spec, class_names = detector, detector.metadata.input, class_names or detector.metadata.class_names
    elif spec is None:
        raise ValueError("predict: no spec, want the InputSpec that the weights were trained on")
    else:
        step = make_eval_step(detector, spec=spec)
    found = predict_images(step, images, spec=spec, config=config, batch_size=batch_size)
    return list(found) if class_names is None else [with_names(each, class_names) for each in found]
