"""Affine maps of images and boxes, the crops that spare memory in mosaic tiles, and horizontal flips.

Coordinates are continuous: pixel column i covers x from i to i + 1, so its centre is at i + 0.5.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from yolox.config import AugmentConfig, Size
from yolox.data.image import REDUCTIONS
from yolox.data.pixels import with_axis
from yolox.data.sample import Sample, clip_boxes


def rotation_shear(*, degrees: float, zoom: float, shear_x: float, shear_y: float) -> np.ndarray:  # [2,3]
    """Builds the matrix of a map about the origin: rotation and zoom, then shear.

    Args:
        degrees: rotation, counter-clockwise as seen on the image.
        zoom: factor.
        shear_x: degrees; adds tan(shear_x) of the first row to the second.
        shear_y: degrees; adds tan(shear_y) of the second row to the first.

    Returns:
        [2,3] float64 without shift.

    Source:
        Megvii's recipe.
    """
    angle = math.radians(degrees)
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    rotated = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0]])
    mix = np.array([[1.0, math.tan(math.radians(shear_y))], [math.tan(math.radians(shear_x)), 1.0]])
    return mix @ rotated


def random_affine_matrix(*, canvas_size: Size, size: Size, rng: np.random.Generator, config: AugmentConfig):
    """Draws a random matrix from a mosaic canvas to the network's input.

    Args:
        canvas_size: (height, width) px of what is mapped.
        size: (height, width) px of the result.
        rng: source of randomness.
        config: ranges; `affine_center` False maps about the canvas's origin and shifts by up to `translate`
            of the size (Megvii), True maps the canvas's centre to the centre of the result, shifted likewise
            (MindYOLO).

    Returns:
        matrix [2,3] float64 from canvas px to result px, and the zoom drawn.
    """
    degrees = rng.uniform(-config.degrees, config.degrees)
    zoom = rng.uniform(*config.affine_scale)
    shear_x, shear_y = rng.uniform(-config.shear, config.shear, 2)
    shift_x, shift_y = rng.uniform(-config.translate, config.translate, 2) * (size[1], size[0])
    matrix = rotation_shear(degrees=degrees, zoom=zoom, shear_x=shear_x, shear_y=shear_y)
    if config.affine_center:
        matrix = compose(matrix, scaling(1, 1, -canvas_size[1] / 2, -canvas_size[0] / 2))
        shift_x, shift_y = shift_x + size[1] / 2, shift_y + size[0] / 2
    return compose(scaling(1, 1, shift_x, shift_y), matrix), zoom


def warp_sample(sample: Sample, matrix: np.ndarray, size: Size, *, pad_value: int = 114) -> Sample:
    """Maps a sample by an affine matrix: pixels bilinearly, boxes to the upright box around their corners.

    Args:
        sample: [H,W,3] image and boxes.
        matrix: [2,3] from image px to result px.
        size: (height, width) px of the result.
        pad_value: grey level where there is no image.

    Returns:
        Sample of the size; boxes outside it have no area (see `surviving_boxes`).
    """
    canvas = np.full((*size, sample.image.shape[2]), pad_value, sample.image.dtype)
    height, width = sample.image.shape[:2]
    draw_warped(
        canvas, sample.image, matrix, map_points(box_corners(np.array([[0, 0, width, height]]))[0], matrix)
    )
    boxes = clip_boxes(map_boxes(sample.boxes, matrix), height=size[0], width=size[1])
    return Sample(canvas, boxes, sample.classes)


def min_side_above(boxes: np.ndarray, pixels: float = 1.0) -> np.ndarray:  # [N,4] xyxy -> [N] bool
    """Returns which boxes have both sides above a number of pixels: Megvii's filter, with 1.

    Args:
        boxes: [N,4] xyxy px.
        pixels: a box with a side of just so many is left out.

    Returns:
        [N] bool.

    Example:
        >>> min_side_above(np.array([[0.0, 0, 1, 9], [0, 0, 2, 9]])).tolist()
        [False, True]
    """
    return (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) > pixels


def are_candidates(
    before: np.ndarray,
    after: np.ndarray,
    *,
    zoom: float,
    min_side: float = 2.0,
    min_area_ratio: float = 0.1,
    max_aspect: float = 20.0,
) -> np.ndarray:  # [N,4],[N,4] xyxy -> [N] bool
    """Returns which boxes an affine map left large enough and not too elongated: MindYOLO's filter.

    Args:
        before: [N,4] xyxy px on the mosaic canvas.
        after: [N,4] xyxy px after mapping and clipping.
        zoom: of the map; areas before are taken at this zoom.
        min_side: both sides must exceed it, px.
        min_area_ratio: the share of the area that must be left.
        max_aspect: the long side must be shorter than this many short sides.

    Returns:
        [N] bool.

    Source:
        Values of MindYOLO's recipe for boxes without polygons.
    """
    old, new = (before[:, 2:] - before[:, :2]) * zoom, after[:, 2:] - after[:, :2]
    width, height = new.T
    aspect = np.maximum(width, height) / np.maximum(np.minimum(width, height), 1e-9)
    share = width * height / np.maximum(old.prod(axis=1), 1e-9)
    return (new > min_side).all(axis=1) & (share > min_area_ratio) & (aspect < max_aspect)


def surviving_boxes(
    before: np.ndarray, after: np.ndarray, *, zoom: float, config: AugmentConfig
) -> np.ndarray:
    """Returns which boxes survive a map under the recipe's `box_filter`; shapes as in `are_candidates`.

    Args:
        before: [N,4] xyxy px before the map.
        after: [N,4] xyxy px after it, clipped.
        zoom: factor of the map.
        config: `box_filter`.

    Returns:
        [N] bool.
    """
    if config.box_filter == "candidates":
        return are_candidates(before, after, zoom=zoom)
    return min_side_above(after)


def scaling(
    scale_x: float, scale_y: float, shift_x: float = 0.0, shift_y: float = 0.0
) -> np.ndarray:  # [2,3]
    """Builds the matrix of x -> scale * x + shift.

    Args:
        scale_x: factor of x.
        scale_y: factor of y.
        shift_x: added to x, px.
        shift_y: added to y, px.

    Returns:
        [2,3] float64.
    """
    return np.array([[scale_x, 0.0, shift_x], [0.0, scale_y, shift_y]])


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:  # [2,3],[2,3] -> [2,3]
    """Builds the matrix that applies `inner` and then `outer`.

    Args:
        outer: [2,3], applied second.
        inner: [2,3], applied first.

    Returns:
        [2,3].
    """
    return outer @ np.vstack([inner, [0.0, 0.0, 1.0]])


def map_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:  # [...,2],[2,3] -> [...,2]
    """Maps points by an affine matrix.

    Args:
        points: [...,2] x, y px.
        matrix: [2,3].

    Returns:
        [...,2] px.
    """
    return points @ matrix[:, :2].T + matrix[:, 2]


def box_corners(boxes: np.ndarray) -> np.ndarray:  # [N,4] xyxy -> [N,4,2]
    """Returns the corners of boxes, clockwise from the top left.

    Args:
        boxes: [N,4] xyxy.

    Returns:
        [N,4,2] x, y.
    """
    return np.asarray(boxes)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)


def map_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:  # [N,4] xyxy,[2,3] -> [N,4] xyxy
    """Maps boxes by an affine matrix; the result is the upright box around the four mapped corners.

    Args:
        boxes: [N,4] xyxy px.
        matrix: [2,3].

    Returns:
        [N,4] float32 xyxy px, not clipped.

    Example:
        >>> map_boxes(np.array([[0.0, 0, 2, 1]]), np.array([[0.0, -1, 4], [1, 0, 0]])).tolist()
        [[3.0, 0.0, 4.0, 2.0]]
    """
    corners = map_points(box_corners(boxes), matrix)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)


def magnification(matrix: np.ndarray) -> float:  # [2,3]
    """Computes the largest factor by which a map stretches any direction.

    Args:
        matrix: [2,3]; its shift does not matter.

    Returns:
        The factor, 0 or more.
    """
    (a, b), (c, d) = matrix[:, :2].tolist()  # the larger singular value, in closed form
    total, area = a * a + b * b + c * c + d * d, a * d - b * c
    return math.sqrt((total + math.sqrt(max(total * total - 4 * area * area, 0.0))) / 2)


def reduction_for(matrix: np.ndarray) -> int:  # [2,3]
    """Returns the largest reduction (1, 2, 4, 8) at which an image still has the pixels that `matrix` draws.

    Args:
        matrix: [2,3], from px of the full image to px of the result.

    Returns:
        The largest of the four by which no direction falls below the drawn size.
    """
    return max(r for r in REDUCTIONS if r == 1 or r * magnification(matrix) <= 1)


def quad_bounds(quad: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int] | None:  # [4,2]
    """Computes the whole-pixel bounds x1, y1, x2, y2 of a quadrilateral on a canvas, None outside it.

    Args:
        quad: [4,2] x, y px of its corners.
        size: (height, width) px of the canvas.

    Returns:
        Bounds within the canvas, at least a pixel wide and high; None where the two do not meet.
    """
    x1, y1 = np.maximum(np.floor(quad.min(axis=0)), 0).astype(int).tolist()
    x2, y2 = np.minimum(np.ceil(quad.max(axis=0)), size[::-1]).astype(int).tolist()
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def draw_warped(canvas: np.ndarray, image: np.ndarray, matrix: np.ndarray, quad: np.ndarray) -> None:
    """Draws an image onto a canvas through an affine map, in place, inside a quadrilateral.

    One warp straight to the final pixels: no enlarged canvas in between, nothing computed outside the
    quadrilateral's bounds.

    Args:
        canvas: [H,W,C], written.
        image: [h,w,C] of the same type; its edge pixels continue where the quadrilateral reaches beyond it.
        matrix: [2,3] from image px to canvas px.
        quad: [4,2] corners in canvas px of the convex region that is drawn.
    """
    bounds = quad_bounds(quad, canvas.shape[:2])
    if bounds is None:
        return
    x1, y1, x2, y2 = bounds
    centred = compose(scaling(1, 1, -x1 - 0.5, -y1 - 0.5), compose(matrix, scaling(1, 1, 0.5, 0.5)))
    patch = cv2.warpAffine(
        image, centred, (x2 - x1, y2 - y1), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    mask = np.zeros(patch.shape[:2], np.uint8)
    corners = np.round((quad - (x1 + 0.5, y1 + 0.5)) * 256).astype(np.int32)
    cv2.fillConvexPoly(mask, corners, 255, shift=8)
    cv2.copyTo(patch, mask, canvas[y1:y2, x1:x2])


def flip_horizontal(sample: Sample) -> Sample:
    """Mirrors a sample left to right, boxes included.

    Args:
        sample: boxes xyxy px.

    Returns:
        A new Sample of the same size and order of boxes.

    Example:
        >>> boxes = np.array([[1, 0, 3, 2]], np.float32)
        >>> sample = Sample(np.zeros((4, 10, 3), np.uint8), boxes, np.zeros(1, np.int32))
        >>> flip_horizontal(sample).boxes.tolist()
        [[7.0, 0.0, 9.0, 2.0]]
    """
    return Sample(
        with_axis(cv2.flip(sample.image, 1)), flip_boxes(sample.boxes, width=sample.image.shape[1]), sample.classes
    )


def flip_boxes(boxes: np.ndarray, *, width: float) -> np.ndarray:  # [N,4] xyxy
    """Mirrors boxes left to right.

    Args:
        boxes: [N,4] xyxy px.
        width: of the image, px.

    Returns:
        [N,4], a copy, left still left of right.
    """
    flipped = boxes.copy()
    flipped[:, 0], flipped[:, 2] = width - boxes[:, 2], width - boxes[:, 0]
    return flipped


def random_flip(sample: Sample, *, rng: np.random.Generator, prob: float = 0.5) -> Sample:
    """Mirrors a sample with a probability; draws one number whatever the probability.

    Args:
        sample: boxes xyxy px.
        rng: source of randomness.
        prob: of being mirrored.

    Returns:
        The mirrored sample, or the sample itself.
    """
    return flip_horizontal(sample) if rng.random() < prob else sample
