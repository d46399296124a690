"""Tiles of large images: where they lie, and one list of detections from those of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from yolox.config import Size
from yolox.eval.nms import batched_nms
from yolox.eval.postprocess import Detections

NEAR_BORDER = 0.02  # of a tile: a box that ends so near to an inner border may be cut by it
LEAST_PART = 0.25  # of what a tile shows of an object: a smaller box within it is that of another object


@frozen
class Tiles:
    """Squares of one size that overlap, into which large images are divided.

    An object that is smaller than the overlap lies in some tile as a whole.

    Args:
        size: of a side, in pixels of the image.
        overlap: of neighbours, at least, as a share of their size; at most 0.9.

    Raises:
        ValueError: a value is out of its range.
    """

    size: int = 640
    overlap: float = 0.2

    def __attrs_post_init__(self) -> None:
        if not self.size >= 1:
            raise ValueError(f"`tiles`: got a side of {self.size} px, want at least 1")
        if not 0 <= self.overlap <= 0.9:
            raise ValueError(f"`overlap`: got {self.overlap:g}, want a share from 0 to 0.9")


def tile_grid(image_size: Size, tiles: Tiles) -> np.ndarray:  # -> [T,4] int
    """Computes the tiles of an image: as few as have the overlap, evenly spread.

    Args:
        image_size: (height, width) px.
        tiles: their size and overlap.

    Returns:
        [T,4] int64 xyxy px, row by row. All are of the full size, but where the image is smaller. Together they cover it.

    Example:
        >>> tile_grid((4, 10), Tiles(4, overlap=0.25)).tolist()
        [[0, 0, 4, 4], [3, 0, 7, 4], [6, 0, 10, 4]]
    """
    rows, columns = (_spans(length, tiles) for length in image_size)
    return np.array([(left, top, right, bottom) for top, bottom in rows for left, right in columns])


def _spans(length: int, tiles: Tiles) -> list[tuple[int, int]]:
    if length <= tiles.size:
        return [(0, length)]
    step = max(tiles.size - int(np.ceil(tiles.size * tiles.overlap - 1e-9)), 1)
    last = length - tiles.size
    count = -(-last // step) + 1
    return [(start, start + tiles.size) for start in (last * i // (count - 1) for i in range(count))]


def image_views(image_size: Size, tiles: Tiles | None) -> np.ndarray:  # -> [T,4] int
    """Computes the parts of an image in which objects are looked for: all of it, and its tiles if there are several.

    Objects that are too large for a tile are found in the whole image.

    Args:
        image_size: (height, width) px.
        tiles: their size and overlap; None for the whole image alone.

    Returns:
        [T,4] int64 xyxy px, the whole image first.

    Example:
        >>> image_views((4, 10), Tiles(10)).tolist(), len(image_views((4, 10), Tiles(4, overlap=0.25)))
        ([[0, 0, 10, 4]], 4)
    """
    whole = np.array([[0, 0, image_size[1], image_size[0]]])
    grid = whole if tiles is None else tile_grid(image_size, tiles)
    return whole if len(grid) == 1 else np.concatenate([whole, grid])


def merge_tiles(
    found: Sequence[Detections],
    tiles: np.ndarray,  # [T,4]
    *,
    image_size: Size,
    iou_threshold: float,
    max_detections: int | None = None,
) -> Detections:
    """Merges the detections of the tiles of an image by NMS within each class.

    A box that ends at the border of its tile, inside the image, may be a part of an object. Such a box suppresses no whole
    one. It is left out where a whole one covers more of it than the threshold, since the IoU of an object and its part is
    small, and where it is not much smaller than what its tile shows of that object: else it is an object in front of it.

    Args:
        found: of each tile, boxes in pixels of the tile.
        tiles: [T,4] int xyxy px of the image.
        image_size: (height, width) px.
        iou_threshold: of NMS.
        max_detections: the best-scored that are kept; None keeps all.

    Returns:
        Detections in pixels of the image, by falling score, without names.

    Raises:
        ValueError: as many tiles as lists of detections are wanted.

    Source:
        Slicing as in Akyon et al. 2022, "Slicing aided hyper inference" (arXiv 2202.06934), whose whole image and NMS it
        takes. The rule for boxes at the borders is ours; it replaces their intersection over the smaller box.

    Example:
        >>> left = Detections(np.array([[3, 0, 6, 4.0]]), np.array([0.9]), np.zeros(1, int))  # a part, with the better score
        >>> right = Detections(np.array([[1, 0, 7, 4.0]]), np.array([0.8]), np.zeros(1, int))
        >>> tiles = np.array([[0, 0, 6, 6], [2, 0, 12, 6]])
        >>> merge_tiles([left, right], tiles, image_size=(6, 12), iou_threshold=0.65).boxes.tolist()
        [[3.0, 0.0, 9.0, 4.0]]
    """
    if len(found) != len(tiles):
        raise ValueError(f"merge_tiles: detections of {len(found)} tiles for {len(tiles)} tiles, want as many")
    boxes = np.concatenate([each.boxes + tile[[0, 1, 0, 1]] for each, tile in zip(found, tiles, strict=True)])
    scores, classes = (np.concatenate([getattr(each, name) for each in found]) for name in ("scores", "classes"))
    cut = np.concatenate([_touches_inner_border(each.boxes, tile, image_size) for each, tile in zip(found, tiles, strict=True)])
    shown = np.repeat(tiles, [len(each) for each in found], axis=0)  # the tile of each box

    def kept(rows: np.ndarray) -> np.ndarray:
        return rows[batched_nms(boxes[rows], scores[rows], classes[rows], iou_threshold)]

    whole, parts = kept(np.flatnonzero(~cut)), np.flatnonzero(cut)
    same = [boxes[whole[classes[whole] == classes[i]]] for i in parts]
    covered = np.array([_is_part(boxes[i], w, shown[i], iou_threshold) for i, w in zip(parts, same, strict=True)], bool)
    rows = np.concatenate([whole, kept(parts[~covered])])
    rows = rows[np.argsort(-scores[rows], kind="stable")][:max_detections]
    return Detections(boxes[rows].astype(np.float32), scores[rows], classes[rows])


def _touches_inner_border(boxes, tile, image_size) -> np.ndarray:  # [N,4] px of the tile -> [N] bool
    left, top, right, bottom = tile
    near = NEAR_BORDER * max(right - left, bottom - top)
    inner = np.array([left > 0, top > 0, right < image_size[1], bottom < image_size[0]])
    distance = np.concatenate([boxes[:, :2], np.array([right - left, bottom - top]) - boxes[:, 2:]], axis=1)
    return ((distance <= near) & inner).any(axis=1)


def _is_part(box, wholes, tile, share) -> bool:  # [4],[M,4],[4]
    """Returns whether a box is a part of one of the wholes, as a tile shows it."""
    area, shared = (box[2:] - box[:2]).prod(), _intersections(box, wholes)
    return bool(((shared > share * area) & (area >= LEAST_PART * _intersections(tile, wholes))).any())


def _intersections(box, others) -> np.ndarray:  # [4],[M,4] -> [M] px**2
    return np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0).prod(axis=1)
