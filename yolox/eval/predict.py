"""Detections of images: in one call, of a stream, or of a dataset."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Literal

import numpy as np
from attrs import define, evolve
from mindspore import Tensor, nn

from yolox.config import InputSpec, PostprocessConfig, one_line
from yolox.data.dataset import DetectionDataset, with_pixels
from yolox.data.image import to_pixels
from yolox.data.letterbox import boxes_from_letterbox, letterbox
from yolox.data.loader import eval_batches
from yolox.data.pixels import is_pil_image
from yolox.decode import decode_predictions, make_points
from yolox.eval.postprocess import Detections, postprocess
from yolox.eval.tiles import Tiles, image_views, merge_tiles
from yolox.graph import compile_function
from yolox.nn.functional import normalize_images, planes_function

VIEWER = PostprocessConfig(score_threshold=0.25, iou_threshold=0.45)
"""Thresholds of Megvii's README for pictures that people look at."""


def make_eval_step(detector: nn.Cell, *, spec: InputSpec) -> Callable:
    """Returns the compiled inference step: normalise, forward, decode.

    Call it once for a detector and use the step for every batch: it is compiled once for each shape of its
    images. It follows the detector's parameters where they are written in place: by a training step, or by
    ``ops.assign``. ``Parameter.set_data`` after the first call gives a parameter new memory that no compiled
    graph sees.

    Args:
        detector: Cell from float32 images [B,3,H,W] to raw maps, with the attribute ``strides``.
        spec: pixels that the detector takes, and the size of its input.

    Returns:
        step(images uint8 [B,H,W,3] BGR, or as `spec` says, of size ``spec.input_size``, numpy or Tensor) -> Tensor [B,P,5+C]
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

    planes_of = planes_function(spec)

    @compile_function
    def step(images):  # [B,H,W,channels] -> [B,P,5+C]
        maps = detector(normalize_images(images, spec=spec, planes_of=planes_of))
        return decode_predictions(maps, points, point_strides)

    def run(images):
        if tuple(images.shape[1:]) != (*spec.input_size, spec.channels):
            raise ValueError(f"eval step: images are {tuple(images.shape)}, want [B,{spec.input_size},{spec.channels}]")
        detector.set_train(False)
        return step(images if isinstance(images, Tensor) else Tensor(images))

    return run


def detector_step(detector: nn.Cell | Callable, spec: InputSpec | None = None) -> tuple[InputSpec, Callable]:
    """Returns the pixels that a detector takes and its inference step.

    Args:
        detector: Cell, or an exported file, which is a step itself and has its InputSpec as `metadata.input`.
        spec: None takes that of the detector, or Megvii's convention at 640 x 640 where a Cell has no attribute `spec`.

    Returns:
        The InputSpec, and a step as `make_eval_step` returns it.

    Raises:
        ValueError: `spec` differs from that of an exported file.
    """
    if isinstance(detector, nn.Cell):
        spec = spec or getattr(detector, "spec", None) or InputSpec()
        return spec, make_eval_step(detector, spec=spec)
    if spec not in (None, detector.metadata.input):
        taken = one_line(detector.metadata.input)
        raise ValueError(f"spec is {one_line(spec)}, but the exported file takes {taken}")
    return detector.metadata.input, detector


def detector_class_names(detector: nn.Cell | Callable) -> Sequence[str] | None:
    """Returns the class names of a detector.

    Args:
        detector: Cell, whose attribute `class_names` a training run sets, or an exported file.

    Returns:
        Names in the order of the outputs; None where the detector has none.
    """
    return getattr(detector if isinstance(detector, nn.Cell) else detector.metadata, "class_names", None)


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
    stall_seconds: float = 0,
) -> list[Detections]:
    """Returns the objects in every image of a dataset, or in the share of one device.

    Call it to evaluate: `detections_to_coco` takes the result.

    Args:
        eval_step: from ``make_eval_step``, or from ``open_exported``.
        dataset: images to read; its ground truth is not used.
        spec: the same as that of ``eval_step``.
        config: from decoded predictions to detections.
        batch_size: images of a step; an exported file for a fixed number takes that number.
        workers: processes that read images, threads beside an exported file, which runs in a thread of its own meanwhile;
            0 reads them in this process.
        clip: True clips boxes to their image. Both published systems evaluate boxes that are not clipped, and AP
            changes when they are.
        rank: of this device, which takes images rank, rank + world, ...
        world: number of devices.
        on_batch: called with the number of images done after each batch, to show progress.
        stall_seconds: as in `train_batches`.

    Returns:
        One Detections per image taken, in the order of the dataset; boxes xyxy in pixels of the original image.

    Raises:
        DataError: an image is missing or cannot be decoded.
    """
    found, dataset = [], with_pixels(dataset, spec)
    share = {"rank": rank, "world": world, "stall_seconds": stall_seconds}
    exported = hasattr(eval_step, "metadata")
    size = getattr(eval_step, "batch", None) or batch_size
    batches = eval_batches(dataset, spec=spec, batch_size=size, workers=workers, threads=exported, **share)

    def run(batch) -> np.ndarray:
        return as_array(eval_step(batch.images))

    with closing(batches), closing(_run_steps(run, batches, ahead=exported and workers > 0)) as steps:
        for batch, decoded in steps:
            sizes = [tuple(dataset.sizes[i].tolist()) if clip else None for i in batch.indices]
            found += _in_images(decoded, batch.transforms, sizes, config)
            if on_batch is not None:
                on_batch(len(found))
    return found


def _run_steps(run: Callable, batches: Iterable, *, ahead: bool) -> Iterator[tuple]:
    """Yields batches and their decoded predictions, `run(batch)`.

    With `ahead` the step of a batch runs in a thread while the batch before it is used and the next one is made.
    MindSpore's steps stay in the thread of the caller.
    """
    if not ahead:
        yield from ((batch, run(batch)) for batch in batches)
        return
    before = None
    with ThreadPoolExecutor(1, thread_name_prefix="engine") as engine:
        for batch in batches:
            after = batch, engine.submit(run, batch)
            if before is not None:
                yield before[0], before[1].result()
            before = after
        if before is not None:
            yield before[0], before[1].result()


def predict_images(
    eval_step: Callable,
    images: Iterable,
    *,
    spec: InputSpec,
    config: PostprocessConfig,
    batch_size: int = 1,
    clip: bool = True,
    channels: Literal["bgr", "rgb"] = "bgr",
    tiles: Tiles | int | None = None,
    classes: Sequence[int] | None = None,
    speed: Speed | None = None,
    ahead: bool = False,
) -> Iterator[Detections]:
    """Yields the objects in images or image files, as these come.

    Call it for streams: it holds one batch in memory, so that the images may be endless.

    Args:
        eval_step: from ``make_eval_step``, or from ``open_exported``.
        images: uint8 [H,W,3] arrays of any size, or as `to_pixels` takes them, paths of image files, PIL images, or some of
            each.
        spec: the same as that of ``eval_step``.
        config: from decoded predictions to detections.
        batch_size: images, or tiles of images, of a step; the last step is filled up.
        clip: True clips boxes to their image, or their tile.
        channels: order of the channels of arrays; files and PIL images state theirs.
        tiles: divides large images into tiles of this size in pixels, or of these `Tiles`, and looks for objects in each and
            in the whole image; None takes the whole image alone.
        classes: indices of the classes that are wanted; None takes all.
        speed: adds the time of each part to it.
        ahead: runs the steps of an exported file in a thread, while the images before are used and the next are read. The
            detections of an image then come when the next step has been prepared.

    Returns:
        Iterator of one Detections per image, in their order; boxes xyxy in pixels of the original image.

    Raises:
        DataError: a file is missing or cannot be decoded.
        ValueError: an array is not uint8 [H,W,3], or `images` is one path, one image or nothing that can be iterated over.
    """
    _check_several(images)
    tiles = Tiles(tiles) if isinstance(tiles, int) else tiles
    speed = Speed() if speed is None else speed
    waiting: deque[tuple[tuple[int, int], np.ndarray]] = deque()  # size and views of images that have no detections yet

    def pixels_of_views() -> Iterator[np.ndarray]:
        for pixels in speed.reading(to_pixels(image, spec=spec, channels=channels) for image in images):
            views = image_views(pixels.shape[:2], tiles)
            waiting.append((pixels.shape[:2], views))
            yield from (pixels[top:bottom, left:right] for left, top, right, bottom in views)

    def prepared() -> Iterator[tuple]:
        for group in _groups(pixels_of_views(), batch_size):
            with speed.part("prepare"):
                canvases, transforms = zip(*(letterbox(p, spec.input_size, spec=spec) for p in group), strict=True)
                filled = np.stack(canvases + canvases[-1:] * (batch_size - len(group)))
                sizes = [p.shape[:2] if clip else None for p in group]
            yield filled, transforms, sizes

    def run(group) -> np.ndarray:
        with speed.network(len(group[1])):
            return as_array(eval_step(group[0]))

    found: list[Detections] = []
    for (_, transforms, sizes), decoded in _run_steps(run, prepared(), ahead=ahead and hasattr(eval_step, "metadata")):
        with speed.part("nms"):
            found += _in_images(decoded, transforms, sizes, config, classes)
        while waiting and len(found) >= len(waiting[0][1]):
            size, views = waiting.popleft()
            of_views, found = found[: len(views)], found[len(views) :]
            with speed.part("nms"):
                merged = of_views[0] if len(views) == 1 else _merged(of_views, views, size, config)
            speed.images += 1
            yield merged


def _merged(found: Sequence[Detections], views: np.ndarray, size: tuple[int, int], config: PostprocessConfig) -> Detections:
    limits = {"iou_threshold": config.iou_threshold, "max_detections": config.max_detections}
    return merge_tiles(found, views, image_size=size, **limits)


def _check_several(images) -> None:
    # Python would iterate over the letters of one path and the rows of one array
    if isinstance(images, (str, bytes, os.PathLike)):
        raise ValueError(f"images is the path {os.fspath(images)!r}, want a list: [path, ...] of image files")
    if is_pil_image(images):
        raise ValueError("images is one PIL image, want a list: [image, ...]")
    if isinstance(images, np.ndarray) and images.ndim != 4:
        raise ValueError(f"images is one array of shape {images.shape}, want a list: [image, ...], or [N,H,W,3]")
    if not isinstance(images, Iterable):
        raise ValueError(f"images is {images!r}, want a list of images, or a generator of them")


@define
class Speed:
    """Seconds that the parts of prediction took, in all.

    The first step of a detector compiles it; its time is kept apart.
    """

    images: int = 0
    read: float = 0.0
    """Read and decode files."""
    prepare: float = 0.0
    """Letterbox."""
    steps: float = 0.0
    """Steps of the network, without the first one."""
    first: float = 0.0
    """The first step of the network."""
    nms: float = 0.0
    """From decoded predictions to detections, NMS and the merging of tiles included."""
    inputs: int = 0
    """Images and tiles that the network was given, without those of the first step."""
    first_inputs: int = 0
    """Images and tiles of the first step."""

    def __str__(self) -> str:
        if not self.images:
            return "no images"
        read, prepare, nms = (f"{1e3 * seconds / self.images:.1f}" for seconds in (self.read, self.prepare, self.nms))
        first = f"the first step, {self.first:.1f} s"
        if not self.inputs:
            return f"read {read}, prepare {prepare}, NMS {nms} ms an image; {first}"
        network = 1e3 * self.steps / self.inputs * (self.inputs + self.first_inputs) / self.images
        return f"read {read}, prepare {prepare}, network {network:.1f}, NMS {nms} ms an image; {first}, is not counted"

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Adds the time of the body to a part."""
        start = time.perf_counter()
        yield
        setattr(self, name, getattr(self, name) + time.perf_counter() - start)

    @contextmanager
    def network(self, inputs: int) -> Iterator[None]:
        """Adds the time of the body as a step of the network with so many inputs."""
        is_first = not self.first_inputs
        with self.part("first" if is_first else "steps"):
            yield
        setattr(self, "first_inputs" if is_first else "inputs", inputs if is_first else self.inputs + inputs)

    def reading(self, images: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the images and adds the time that each takes to come."""
        end = object()
        while True:
            with self.part("read"):
                image = next(images, end)
            if image is end:
                return
            yield image


def as_array(decoded) -> np.ndarray:
    """Returns the result of a step as numpy: that of a detector is a Tensor, that of an exported file an array.

    Args:
        decoded: Tensor or array.

    Returns:
        The same numbers.
    """
    return decoded.asnumpy() if isinstance(decoded, Tensor) else decoded


def _in_images(decoded, transforms, sizes, config, classes=None) -> list[Detections]:  # [B,P,5+C], n <= B transforms
    found = [postprocess(rows, config=config, classes=classes) for rows in decoded[: len(transforms)]]
    return [
        evolve(f, boxes=boxes_from_letterbox(f.boxes, transform, size))
        for f, transform, size in zip(found, transforms, sizes, strict=True)
    ]


def _groups(items, count) -> Iterator[list]:
    group = []
    for item in items:
        group.append(item)
        if len(group) == count:
            yield group
            group = []
    if group:
        yield group
