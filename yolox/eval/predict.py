"""From a detector and images to detections in the pixels of the images."""

import os
from collections.abc import Callable, Iterable, Iterator

import mindspore as ms
import numpy as np
from attrs import evolve
from mindspore import Tensor, nn

from yolox.config import InputSpec, PostprocessConfig
from yolox.data.dataset import DetectionDataset
from yolox.data.image import read_image
from yolox.data.loader import eval_batches
from yolox.data.resize import boxes_from_letterbox, letterbox
from yolox.decode import decode_predictions
from yolox.eval.postprocess import Detections, postprocess
from yolox.normalize import normalize_images
from yolox.points import make_points


def make_eval_step(detector: nn.Cell, *, spec: InputSpec) -> Callable:
    """Build the jitted inference step: normalise, forward, decode.

    Call it once for a detector and use the step for every batch: it is compiled once for each shape of its
    images. It follows the detector's parameters where they are written in place: by a training step, or by
    ``ops.assign``. ``Parameter.set_data`` after the first call gives a parameter new memory that no compiled
    graph sees.

    Args:
        detector: Cell from float32 images [B,3,H,W] to raw maps, with the attribute ``strides``.
        spec: pixels that the detector takes, and the size of its input.

    Returns:
        step(images uint8 [B,H,W,3] BGR, of size ``spec.input_size``, numpy or Tensor) -> Tensor [B,P,5+C]
        float32: boxes cxcywh in pixels of the input, objectness, class probabilities. It puts the detector
        into inference mode, in which it stays.

    Raises:
        ValueError: from the step, when the images are not of the size of ``spec``.

    Example:
        >>> from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector
        >>> tiny = Detector(CSPDarknet(0.33, 0.125), PAFPN(0.33, 0.125), DecoupledHead(3, 0.125))
        >>> step = make_eval_step(tiny, spec=InputSpec(input_size=(32, 64)))
        >>> step(np.zeros((2, 32, 64, 3), np.uint8)).shape
        (2, 42, 8)
    """
    points, point_strides = (Tensor(x) for x in make_points(spec.input_size, detector.strides))

    @ms.jit
    def step(images):  # [B,H,W,3] -> [B,P,5+C]
        maps = detector(normalize_images(images, spec=spec))
        return decode_predictions(maps, points, point_strides)

    def run(images):
        if tuple(images.shape[1:]) != (*spec.input_size, 3):
            raise ValueError(f"eval step: images are {tuple(images.shape)}, want [B,{spec.input_size},3]")
        detector.set_train(False)
        return step(images if isinstance(images, Tensor) else Tensor(images))

    return run


def predict_dataset(
    eval_step: Callable,
    dataset: DetectionDataset,
    *,
    spec: InputSpec,
    config: PostprocessConfig,
    batch_size: int = 8,
    workers: int = 0,
    clip: bool = False,
    rank: int = 0,
    world: int = 1,
    on_batch: Callable[[int], None] | None = None,
) -> list[Detections]:
    """Detect the objects in every image of a dataset, or in this device's share of them.

    Call it to evaluate: hand its answer to ``detections_to_coco``.

    Args:
        eval_step: from ``make_eval_step``, or from ``open_exported``.
        dataset: images to read; their truths are not looked at.
        spec: the same as that of ``eval_step``.
        config: from decoded predictions to detections.
        batch_size: images of a step.
        workers: processes that read images; 0 reads them here.
        clip: True cuts boxes at the edge of their image. Both published systems evaluate uncut boxes, and
            AP moves when they are cut.
        rank: of this device, which takes images rank, rank + world, ...
        world: number of devices.
        on_batch: is called with the number of images done after each batch, to show progress.

    Returns:
        One Detections per image taken, in the order of the dataset; boxes xyxy in pixels of the original image.

    Raises:
        DataError: an image is missing or cannot be decoded.
    """
    found = []
    for batch in eval_batches(dataset, spec=spec, batch_size=batch_size, workers=workers, rank=rank, world=world):
        sizes = [tuple(dataset.sizes[i].tolist()) if clip else None for i in batch.indices]
        decoded = as_array(eval_step(batch.images))
        found += _in_images(decoded, batch.transforms, sizes, config)
        if on_batch is not None:
            on_batch(len(found))
    return found


def predict_images(
    eval_step: Callable,
    images: Iterable,
    *,
    spec: InputSpec,
    config: PostprocessConfig,
    batch_size: int = 1,
    clip: bool = True,
) -> Iterator[Detections]:
    """Detect the objects in images or image files, as they come.

    Call it to use a detector; it holds one batch in memory, so that the images may be an endless stream.

    Args:
        eval_step: from ``make_eval_step``, or from ``open_exported``.
        images: uint8 [H,W,3] BGR arrays of any size, or paths of image files, or both.
        spec: the same as that of ``eval_step``.
        config: from decoded predictions to detections.
        batch_size: images of a step; the last step is filled up.
        clip: True cuts boxes at the edge of their image.

    Returns:
        An iterator of one Detections per image, in order; boxes xyxy in pixels of the original image.

    Raises:
        DataError: a file is missing or cannot be decoded.
        ValueError: an array is not uint8 [H,W,3], or one image comes and no list.
    """
    _check_several(images)
    for group in _groups(images, batch_size):
        pixels = [_pixels(image) for image in group]
        canvases, transforms = zip(*(letterbox(p, spec.input_size, spec=spec) for p in pixels), strict=True)
        filled = np.stack(canvases + canvases[-1:] * (batch_size - len(group)))
        sizes = [p.shape[:2] if clip else None for p in pixels]
        yield from _in_images(as_array(eval_step(filled)), transforms, sizes, config)


def _in_images(decoded, transforms, sizes, config) -> list[Detections]:  # [B,P,5+C], n <= B transforms
    found = [postprocess(rows, config=config) for rows in decoded[: len(transforms)]]
    return [
        evolve(f, boxes=boxes_from_letterbox(f.boxes, transform, size))
        for f, transform, size in zip(found, transforms, sizes, strict=True)
    ]


def as_array(decoded) -> np.ndarray:
    """Give what a step returns as numpy: steps of detectors return a Tensor, those of exported files an array.

    Args:
        decoded: Tensor or array.

    Returns:
        The same numbers.
    """
    return decoded.asnumpy() if isinstance(decoded, Tensor) else decoded


def _groups(items, count) -> Iterator[list]:
    group = []
    for item in items:
        group.append(item)
        if len(group) == count:
            yield group
            group = []
    if group:
        yield group


def _check_several(images) -> None:
    """Refuse one path or one array: Python would take its letters or its rows for images."""
    if isinstance(images, (str, bytes, os.PathLike)):
        raise ValueError(f"images is the path {os.fspath(images)!r}, want a list: [path, ...] of image files")
    if isinstance(images, np.ndarray) and images.ndim != 4:
        raise ValueError(f"images is one array of shape {images.shape}, want a list: [image, ...], or [N,H,W,3]")


def _pixels(image) -> np.ndarray:  # [H,W,3] uint8
    if isinstance(image, (str, os.PathLike)):
        return read_image(os.fspath(image))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"predict_images: an image is {what}, want uint8 [H,W,3] in BGR or a path")
    return image
