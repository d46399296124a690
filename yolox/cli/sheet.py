"""A picture of training images with their boxes, as the network will see them."""

from __future__ import annotations

import attrs
import cv2
import numpy as np

from yolox.config import Recipe
from yolox.data.batches import TrainSource
from yolox.data.dataset import DetectionDataset
from yolox.eval.draw import draw_detections
from yolox.eval.postprocess import Detections

COLUMNS, AUGMENTED, PLAIN = 4, 8, 4
CELL = 320  # longest side of one image, px


def label_sheet(dataset: DetectionDataset, recipe: Recipe) -> np.ndarray:  # -> [H,W,3]
    """Draw the first images of a run: augmented ones, and below them those of the last epochs.

    Pixels and boxes are those of the batches, after padding; colours are as in the files, whatever order the network
    takes.

    Args:
        dataset: the training images.
        recipe: augmentations, input, seed.

    Returns:
        [H,W,3] uint8 BGR.

    Raises:
        DataError: an image cannot be read.
    """
    return np.vstack([_rows(dataset, recipe, augment, count) for augment, count in ((True, AUGMENTED), (False, PLAIN))])


def _rows(dataset: DetectionDataset, recipe: Recipe, augment: bool, count: int) -> np.ndarray:
    count = min(count, len(dataset))
    loader = attrs.evolve(recipe.loader, batch_size=count, multiscale_sizes=(), truth_paddings=())
    recipe = attrs.evolve(recipe, loader=loader)
    images, *truths, _ = TrainSource(dataset=dataset, recipe=recipe, epoch=0, augment=augment)[0]
    cells = [_cell(*parts, dataset.class_names) for parts in zip(images, *truths, strict=True)]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % COLUMNS)
    return np.vstack([np.hstack(cells[i : i + COLUMNS]) for i in range(0, len(cells), COLUMNS)])


def _cell(image, boxes, classes, valid, class_names) -> np.ndarray:
    ratio = CELL / max(image.shape[:2])
    size = (round(image.shape[1] * ratio), round(image.shape[0] * ratio))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR)
    found = Detections(boxes[valid] * ratio, np.ones(int(valid.sum())), classes[valid])
    drawn = draw_detections(small, found, class_names, show_scores=False)
    return cv2.copyMakeBorder(drawn, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
