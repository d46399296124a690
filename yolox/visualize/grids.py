"""Images side by side: predictions beside ground truth, and the first samples of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import cv2
import numpy as np
from einops import rearrange

from yolox.config import Recipe
from yolox.data.batches import TrainSource
from yolox.data.content import counted
from yolox.data.dataset import DetectionDataset, load_image, load_sample, with_pixels
from yolox.data.duplicates import Leak
from yolox.data.pixels import viewable
from yolox.eval.postprocess import Detections
from yolox.visualize.draw import ascii_text, draw_detections

SIDE = 640  # longest side of one picture beside another, px
BAR = 26  # height of the title, px
LEAKS, GAP = 12, 6  # pairs of a picture, and px between the two images of a pair
COLUMNS, AUGMENTED, NO_AUG = 4, 8, 4  # of the sample grid
CELL = 320  # longest side of one image of the sample grid, px


def draw_beside_ground_truth(
    image: np.ndarray, ground_truth: Detections, found: Detections, class_names: Sequence[str], *, title: str = ""
) -> np.ndarray:  # [H,W,3] -> [h,w,3]
    """Draws an image twice: with its ground truth on the left, with detections on the right.

    Args:
        image: [H,W,3] uint8 BGR, or of other channels or 16 bits, as `viewable` shows them.
        ground_truth: boxes and classes of the objects; scores are not shown.
        found: the detections.
        class_names: names of the classes.
        title: written above, such as the file's name.

    Returns:
        [h,w,3] uint8 BGR; small images are enlarged and large ones shrunk, so that labels can be read.

    Raises:
        ValueError: when the image is not [H,W,C] uint8 or uint16.

    Example:
        >>> draw_beside_ground_truth(np.zeros((480, 640, 3), np.uint8), Detections(), Detections(), ["cat"]).shape
        (506, 1284, 3)
    """
    canvas = _scaled(image, SIDE / max(image.shape[:2]))
    height, width = canvas.shape[:2]
    scale = np.array([width / image.shape[1], height / image.shape[0]] * 2)
    pictures = []
    for which, scored in ((ground_truth, False), (found, True)):
        moved = Detections(which.boxes * scale, which.scores, which.classes)
        pictures.append(draw_detections(canvas, moved, class_names, show_scores=scored))
    gap = np.full((height, 4, 3), 255, np.uint8)
    row = np.hstack([pictures[0], gap, pictures[1]])
    bar = np.full((BAR, row.shape[1], 3), 255, np.uint8)
    left = ascii_text(f"{title}: {counted(len(ground_truth), 'object')}".removeprefix(": "))
    for text, x in ((left, 6), (counted(len(found), "detection"), width + 10)):
        cv2.putText(bar, text, (x, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    return np.vstack([bar, row])


def draw_comparison(
    dataset: DetectionDataset, index: int, found: Detections, *, threshold: float, title: str = ""
) -> np.ndarray:  # -> [h,w,3]
    """Draws an image of a dataset with its ground truth on the left and its detections on the right.

    Args:
        dataset: the dataset.
        index: of the image.
        found: its detections, in pixels of the image.
        threshold: detections with a score above it are drawn.
        title: written above.

    Returns:
        As `draw_beside_ground_truth`.

    Raises:
        DataError: the image cannot be read.
    """
    sample = load_sample(dataset, index)
    objects = Detections(sample.boxes, np.ones(len(sample.boxes), np.float32), sample.classes)
    return draw_beside_ground_truth(sample.image, objects, found.above(threshold), dataset.class_names, title=title)


def sample_grid(dataset: DetectionDataset, recipe: Recipe) -> np.ndarray:  # -> [H,W,3]
    """Draws the first images of a run: augmented ones, and below them those of the no-augmentation epochs.

    Pixels and boxes are those of the batches, after padding. Colours are as in the files, whatever channel order the
    network takes.

    Args:
        dataset: the training images.
        recipe: augmentations, input, seed.

    Returns:
        [H,W,3] uint8 BGR.

    Raises:
        DataError: an image cannot be read.
    """
    rows, dataset = [], with_pixels(dataset, recipe.input)
    for augment, count in ((True, AUGMENTED), (False, NO_AUG)):
        count = min(count, len(dataset))
        loader = attrs.evolve(recipe.loader, batch_size=count, accumulate=1, multiscale_sizes=(), gt_paddings=())
        source = TrainSource(dataset=dataset, recipe=attrs.evolve(recipe, loader=loader), epoch=0, augment=augment)
        images, *labels, _ = source[0]
        cells = [_cell(*parts, dataset.class_names) for parts in zip(images, *labels, strict=True)]
        rows.append(tile_images(cells, columns=COLUMNS))
    return np.vstack(rows)


def leak_grid(datasets: Mapping[str, DetectionDataset], leaks: Sequence[Leak]) -> np.ndarray:  # -> [H,W,3]
    """Draws the first images that two parts of a dataset have, equal or nearly equal, side by side.

    Args:
        datasets: by part, as for `find_leaks`.
        leaks: of `find_leaks`, one or more; the first 12 are drawn, two in a row.

    Returns:
        [H,W,3] uint8 BGR.

    Raises:
        DataError: an image cannot be read.
    """
    pairs = []
    for leak in leaks[:LEAKS]:
        how = "equal files" if leak.is_equal else f"{leak.distance} of 255 bits differ"
        cells = []
        for part, index, more in ((leak.part, leak.index, ""), (leak.other, leak.other_index, f" ({how})")):
            data = datasets[part]
            cells.append(_titled(load_image(data, index), f"{part}: ", data.file_names[index], more))
        row = np.hstack([cells[0], np.full((len(cells[0]), GAP, 3), 255, np.uint8), cells[1]])
        pairs.append(cv2.copyMakeBorder(row, 4, 4, 8, 8, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    return tile_images(pairs, columns=min(len(pairs), 2))


def _titled(image: np.ndarray, part: str, name: str, more: str) -> np.ndarray:  # [H,W,3] -> [BAR + CELL * 3 / 4, CELL, 3]
    """Returns an image within a cell, with a title above it whose name is cut at its start where it is too long."""
    height = CELL * 3 // 4
    small = _scaled(image, min(CELL / image.shape[1], height / image.shape[0]))
    cell = np.full((BAR + height, CELL, 3), 255, np.uint8)
    left, top = (CELL - small.shape[1]) // 2, BAR + (height - small.shape[0]) // 2
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small
    name = ascii_text(name)
    while cv2.getTextSize(text := part + name + more, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)[0][0] > CELL - 8 and len(name) > 4:
        name = f"...{name[4:]}"
    cv2.putText(cell, text, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
    return cell


def tile_images(images: Sequence[np.ndarray], *, columns: int) -> np.ndarray:  # N x [H,W,3] -> [R*H,columns*W,3]
    """Arranges images of one size in a grid, row by row; missing cells of the last row are white.

    Args:
        images: uint8 [H,W,3], at least one.
        columns: images of a row.

    Returns:
        uint8, as many rows as needed.

    Example:
        >>> tile_images([np.zeros((2, 3, 3), np.uint8)] * 3, columns=2).shape
        (4, 6, 3)
    """
    blank = [np.full_like(images[0], 255)] * (-len(images) % columns)
    return rearrange([*images, *blank], "(row column) h w c -> (row h) (column w) c", column=columns)


def _scaled(image: np.ndarray, ratio: float) -> np.ndarray:  # [H,W,C] -> [h,w,3] uint8
    """Returns an image as a picture of another size, of at least one pixel a side."""
    size = max(round(image.shape[1] * ratio), 1), max(round(image.shape[0] * ratio), 1)
    return cv2.resize(viewable(image), size, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR)


def _cell(image, boxes, classes, valid, class_names) -> np.ndarray:
    """Returns an image of a batch with its boxes, framed by white pixels."""
    ratio = CELL / max(image.shape[:2])
    small = _scaled(image, ratio)
    found = Detections(boxes[valid] * ratio, np.ones(int(valid.sum())), classes[valid])
    drawn = draw_detections(small, found, class_names, show_scores=False)
    return cv2.copyMakeBorder(drawn, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
