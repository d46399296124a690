"""A detection dataset in memory, and its cache of images that were read before.

Flat arrays: a million boxes cost little, and workers share them.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np

from yolox.config import InputSpec, first_names, one_screen
from yolox.data.image import MAX_PIXELS, read_image
from yolox.data.pixels import shrink_image
from yolox.data.sample import Sample, clip_boxes
from yolox.errors import DataError


@attrs.frozen(eq=False, kw_only=True, repr=False)
class DetectionDataset:
    """Images and boxes of a dataset, whichever format they came from. N images, M boxes, C classes.

    Args:
        image_dir: folder that `file_names` are relative to.
        file_names: N names, sub-folders allowed.
        image_ids: [N] int64, as in the annotation file.
        sizes: [N,2] int32, height and width px.
        offsets: [N+1] int64; the boxes of image i are rows offsets[i] to offsets[i+1].
        boxes: [M,4] float32 xyxy px as annotated (not clipped to the image).
        classes: [M] int32, index into `class_names`.
        crowd: [M] bool; regions of many objects, left out of training.
        areas: [M] float64 px**2, which evaluation sorts into small, medium and large.
        annotation_ids: [M] int64.
        class_names: C names.
        category_ids: C ids, as in the annotation file.
        left_out: [F,2] int64, for each box without area that the reader left out: index of its image, and its id.
        max_pixels: image files whose header states more are refused before they are decoded.
        channels: as which image files are read; `with_pixels` sets it and `max_value` for an input.
        max_value: above 255, image files are read with 16 bits, as `InputSpec` tells.
        source: the file or folder that the annotations were read from, for messages; empty where there is none.
        notes: lines about what the reader left out, guessed or replaced, with counts and names.

    Raises:
        ValueError: lengths that do not fit each other.
    """

    image_dir: str
    file_names: tuple[str, ...]
    image_ids: np.ndarray
    sizes: np.ndarray
    offsets: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    annotation_ids: np.ndarray
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    left_out: np.ndarray = attrs.Factory(lambda: np.zeros((0, 2), np.int64))
    max_pixels: int = MAX_PIXELS
    channels: int = 3
    max_value: int = 255
    source: str = ""
    notes: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        images = {len(self.file_names), len(self.image_ids), len(self.sizes), len(self.offsets) - 1}
        boxes = {len(x) for x in (self.boxes, self.classes, self.crowd, self.areas, self.annotation_ids)}
        if len(images) != 1 or boxes != {int(self.offsets[-1])}:
            raise ValueError(
                f"DetectionDataset: fields for {sorted(images)} images and {sorted(boxes)} boxes do not fit"
            )

    def __len__(self) -> int:
        return len(self.file_names)

    def __repr__(self) -> str:
        counts = f"{len(self)} images, {len(self.boxes)} boxes, {len(self.class_names)} classes"
        return one_screen(
            f"DetectionDataset({counts},\n    class_names={first_names(self.class_names)},\n"
            f"    image_dir={self.image_dir!r}, source={self.source!r}, notes={first_names(self.notes, 2)})"
        )


def with_pixels(dataset: DetectionDataset, spec: InputSpec) -> DetectionDataset:
    """Returns the dataset whose images are read with the channels and the bits of an input.

    Args:
        dataset: any.
        spec: its `channels` and `max_value` count.

    Returns:
        The dataset itself where it reads so already.
    """
    kind = {"channels": spec.channels, "max_value": spec.max_value}
    same = all(getattr(dataset, name) == value for name, value in kind.items())
    return dataset if same else attrs.evolve(dataset, **kind)


def select_images(dataset: DetectionDataset, indices: Sequence[int]) -> DetectionDataset:
    """Returns the dataset of some of the images, with their boxes.

    Args:
        dataset: any.
        indices: of the images, in the order of the result; each at most once.

    Returns:
        DetectionDataset with the same classes and notes.

    Raises:
        IndexError: no image has an index.
    """
    chosen = np.asarray(indices, np.int64)
    counts = np.diff(dataset.offsets)[chosen]
    ends = np.cumsum(counts)
    rows = np.repeat(dataset.offsets[:-1][chosen] - (ends - counts), counts) + np.arange(int(counts.sum()))
    position = {int(image): new for new, image in enumerate(chosen)}
    left_out = [(position[image], box) for image, box in dataset.left_out.tolist() if image in position]
    return attrs.evolve(
        dataset,
        file_names=tuple(dataset.file_names[i] for i in chosen),
        image_ids=dataset.image_ids[chosen],
        sizes=dataset.sizes[chosen],
        offsets=np.concatenate([[0], ends]).astype(np.int64),
        left_out=np.array(left_out, np.int64).reshape(-1, 2),
        **{name: getattr(dataset, name)[rows] for name in ("boxes", "classes", "crowd", "areas", "annotation_ids")},
    )


def image_path(dataset: DetectionDataset, index: int) -> str:
    """Returns the path of an image file.

    Args:
        dataset: the dataset.
        index: of the image.

    Returns:
        `image_dir` and the name, joined.
    """
    return os.path.join(dataset.image_dir, dataset.file_names[index])


def load_image(
    dataset: DetectionDataset, index: int, *, reduce: int = 1, complaints: list[str] | None = None
) -> np.ndarray:  # [H,W,C]
    """Reads an image of the dataset, at full size or decoded at 1/2, 1/4 or 1/8 of it (`read_image`).

    Args:
        dataset: the dataset.
        index: of the image.
        reduce: 1, 2, 4 or 8.
        complaints: as in `read_image`.

    Returns:
        [H,W,3] uint8 BGR, or as `with_pixels` says; sides divided by `reduce`, rounded up or down.

    Raises:
        DataError: the file is missing, cannot be decoded, or has another size than annotated.
    """
    height, width = dataset.sizes[index].tolist()
    limits = {"size": (height, width), "max_pixels": dataset.max_pixels, "channels": dataset.channels}
    return read_image(image_path(dataset, index), reduce=reduce, complaints=complaints, max_value=dataset.max_value, **limits)


def image_labels(dataset: DetectionDataset, index: int, *, keep_crowd: bool = False):  # -> [n,4] float32, [n] int32
    """Returns the boxes and classes of an image for training: clipped, with an area, without crowds.

    Args:
        dataset: the dataset.
        index: of the image.
        keep_crowd: True keeps crowd regions too.

    Returns:
        boxes [n,4] float32 xyxy px and classes [n] int32.
    """
    rows = slice(dataset.offsets[index], dataset.offsets[index + 1])
    height, width = dataset.sizes[index].tolist()
    boxes = clip_boxes(dataset.boxes[rows], height=height, width=width)
    keep = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    if not keep_crowd:
        keep &= ~dataset.crowd[rows]
    return boxes[keep], dataset.classes[rows][keep]


def trainable(dataset: DetectionDataset) -> np.ndarray:  # -> [M] bool
    """Returns for every box whether `image_labels` returns it.

    Args:
        dataset: the dataset.

    Returns:
        [M] bool; False for crowd regions and for boxes without area inside their image.
    """
    limits = np.repeat(dataset.sizes[:, ::-1], np.diff(dataset.offsets), axis=0).astype(np.float32)
    ends = np.minimum(dataset.boxes[:, 2:], limits) > np.maximum(dataset.boxes[:, :2], 0)
    return ends.all(axis=1) & ~dataset.crowd


def crowded_images(dataset: DetectionDataset, *, limit: int = 100) -> list[int]:
    """Finds the images that have more objects of one class than an evaluation counts detections.

    Args:
        dataset: the dataset; crowd regions do not count.
        limit: COCO's evaluation takes the 100 best detections of each image and class.

    Returns:
        Positions of the images, rising.
    """
    image_indices = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))[~dataset.crowd]
    pairs = image_indices * max(len(dataset.class_names), 1) + dataset.classes[~dataset.crowd]
    found, counts = np.unique(pairs, return_counts=True)
    return np.unique(found[counts > limit] // max(len(dataset.class_names), 1)).tolist()


def load_sample(dataset: DetectionDataset, index: int, *, keep_crowd: bool = False) -> Sample:
    """Reads an image of the dataset with its boxes.

    Args:
        dataset: the dataset.
        index: of the image.
        keep_crowd: True keeps crowd regions, which training leaves out.

    Returns:
        Sample with boxes clipped to the image; boxes without area are left out.

    Raises:
        DataError: the image is missing, cannot be decoded, or has another size than annotated.
    """
    return Sample(load_image(dataset, index), *image_labels(dataset, index, keep_crowd=keep_crowd))


def ground_truth(dataset: DetectionDataset) -> dict:
    """Builds COCO ground truth in memory, so that pycocotools evaluates any format without a JSON on disk.

    Args:
        dataset: the dataset.

    Returns:
        dict with `images`, `annotations` (all boxes as annotated, crowds and boxes without area too),
        `categories`.
    """
    images = [
        {"id": int(i), "file_name": name, "height": int(h), "width": int(w)}
        for i, name, (h, w) in zip(dataset.image_ids, dataset.file_names, dataset.sizes, strict=True)
    ]
    image_ids = np.repeat(dataset.image_ids, np.diff(dataset.offsets))
    corner_size = np.concatenate([dataset.boxes[:, :2], dataset.boxes[:, 2:] - dataset.boxes[:, :2]], axis=1)
    annotations = [
        {
            "id": ident,
            "image_id": image,
            "category_id": dataset.category_ids[c],
            "bbox": box,
            "area": area,
            "iscrowd": crowd,
        }
        for ident, image, c, box, area, crowd in zip(
            dataset.annotation_ids.tolist(),
            image_ids.tolist(),
            dataset.classes.tolist(),
            corner_size.astype(float).tolist(),
            dataset.areas.tolist(),
            dataset.crowd.astype(int).tolist(),
            strict=True,
        )
    ]
    categories = [
        {"id": i, "name": n} for i, n in zip(dataset.category_ids, dataset.class_names, strict=True)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


MAX_SHARE = 0.8  # of what is free; the rest is for everything else


@attrs.frozen(eq=False)
class ImageCache:
    """All images of a dataset at full size, in one flat array that worker processes share.

    Calling it reads an image, so that it stands wherever a `read` is asked for (`train_sample`,
    `train_batches`).

    Args:
        pixels: [total] uint8 or uint16, in memory or mapped from a file.
        offsets: [N+1] int64; image i is pixels[offsets[i]:offsets[i+1]].
        sizes: [N,2] int32, height and width px.
        channels: of each image.
    """

    pixels: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    channels: int = 3

    def __call__(self, index: int, reduce: int = 1) -> np.ndarray:  # [H,W,C]
        """Returns an image, reduced by averaging blocks of pixels where `reduce` is 2, 4 or 8."""
        height, width = self.sizes[index].tolist()
        flat = self.pixels[self.offsets[index] : self.offsets[index + 1]]
        return shrink_image(flat.reshape(height, width, self.channels), reduce)


def cache_bytes(dataset: DetectionDataset) -> int:
    """Computes the size in bytes of a cache of the dataset, before any image is read.

    Args:
        dataset: whose sizes count.

    Returns:
        Bytes, of colour three a pixel.
    """
    return int(dataset.sizes.astype(np.int64).prod(axis=1).sum()) * dataset.channels * _pixel_type(dataset).itemsize


def _pixel_type(dataset: DetectionDataset) -> np.dtype:
    return np.dtype(np.uint8 if dataset.max_value == 255 else np.uint16)


def cache_images(dataset: DetectionDataset, *, max_bytes: int, path: str | None = None) -> ImageCache:
    """Decodes all images of a dataset and stores them in an `ImageCache`.

    Pixels are those of the files. Only where a tile shrinks to half or less do samples differ by a few grey
    levels from those without a cache: there the file's decoder averages pixels in its own way.

    Args:
        dataset: the dataset.
        max_bytes: the most that the cache may take; see `cache_bytes`.
        path: a file that holds the pixels (overwritten); None keeps them in memory.

    Returns:
        ImageCache.

    Raises:
        DataError: the cache would be larger than `max_bytes`; an image cannot be read.
    """
    need = cache_bytes(dataset)
    if need > max_bytes:
        raise DataError(
            f"{dataset.image_dir}: a cache of {len(dataset)} images takes {need / 1e9:.2f} GB, "
            f"more than the {max_bytes / 1e9:.2f} GB allowed"
        )
    counts = dataset.sizes.astype(np.int64).prod(axis=1) * dataset.channels
    offsets = np.concatenate([[0], np.cumsum(counts)])
    if path is None or need == 0:
        pixels = np.empty(offsets[-1], _pixel_type(dataset))
    else:
        pixels = np.memmap(path, _pixel_type(dataset), mode="w+", shape=(int(offsets[-1]),))
    for index in range(len(dataset)):
        pixels[offsets[index] : offsets[index + 1]] = load_image(dataset, index).reshape(-1)
    return ImageCache(pixels, offsets, dataset.sizes, dataset.channels)


def open_cache(
    dataset: DetectionDataset, kind: str, folder: Path, *, name: str = "images.cache", sharers: int = 1
) -> ImageCache | None:
    """Opens the cache of a training run: decodes the images once, unless `kind` is ``none``.

    Args:
        dataset: the training images.
        kind: ``none``, ``ram`` or ``disk``.
        folder: of the run, for the file.
        name: of the file; each process of a run has its own.
        sharers: processes that each make a cache from what is free.

    Returns:
        The cache; None for ``none``. Its size and what is free go to stderr before the first image is read.

    Raises:
        DataError: it would take more than `MAX_SHARE` of what is free; an image cannot be read.
    """
    if kind == "none":
        return None
    free = _available_memory() if kind == "ram" else shutil.disk_usage(folder).free
    free //= sharers
    place = "memory" if kind == "ram" else str(folder / name)
    need, each = cache_bytes(dataset), " for each process" if sharers > 1 else ""
    text = f"cache: {len(dataset)} images take {need / 1e9:.2f} GB in {place}; {free / 1e9:.1f} GB are free{each}"
    print(text, file=sys.stderr, flush=True)
    path = None if kind == "ram" else str(folder / name)
    try:
        return cache_images(dataset, max_bytes=int(MAX_SHARE * free), path=path)
    except BaseException:  # an interrupt too: a half-made cache is of no use
        (folder / name).unlink(missing_ok=True)
        raise


def _available_memory() -> int:
    """Returns the bytes of memory that can be used without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # another system than Linux
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
