"""A detection dataset in memory: flat arrays, so that a million boxes cost little and workers share them."""

from __future__ import annotations

import os

import attrs
import numpy as np

from yolox.data.image import MAX_PIXELS, read_image
from yolox.data.sample import Sample, clip_boxes


@attrs.frozen(eq=False, kw_only=True)
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
) -> np.ndarray:  # [H,W,3] uint8 BGR
    """Reads an image of the dataset, at full size or decoded at 1/2, 1/4 or 1/8 of it (`read_image`).

    Args:
        dataset: the dataset.
        index: of the image.
        reduce: 1, 2, 4 or 8.
        complaints: as in `read_image`.

    Returns:
        [H,W,3] uint8 BGR; sides divided by `reduce`, rounded up or down.

    Raises:
        DataError: the file is missing, cannot be decoded, or has another size than annotated.
    """
    height, width = dataset.sizes[index].tolist()
    limits = {"size": (height, width), "max_pixels": dataset.max_pixels}
    return read_image(image_path(dataset, index), reduce=reduce, complaints=complaints, **limits)


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
