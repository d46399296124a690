"""Random rotation, zoom, shear and shift of a sample, and which boxes survive it."""

from __future__ import annotations

import math

import numpy as np

from yolox.config import AugmentConfig, Size
from yolox.data.plane import box_corners, compose, draw_warped, map_boxes, map_points, scaling
from yolox.data.sample import Sample, clip_boxes


def rotation_shear(*, degrees: float, zoom: float, shear_x: float, shear_y: float) -> np.ndarray:  # [2,3]
    """Build a map about the origin: zoom and rotate, then add to each row its shear times the other.

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
    """Draw the map from a mosaic canvas to the network's input.

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
    """Map a sample by an affine matrix: pixels bilinearly, boxes to the upright box around their corners.

    Args:
        sample: [H,W,3] image and boxes.
        matrix: [2,3] from image px to result px.
        size: (height, width) px of the result.
        pad_value: grey level where there is no image.

    Returns:
        Sample of the size; boxes outside it have no area (see `surviving_boxes`).
    """
    canvas = np.full((*size, 3), pad_value, np.uint8)
    height, width = sample.image.shape[:2]
    draw_warped(
        canvas, sample.image, matrix, map_points(box_corners(np.array([[0, 0, width, height]]))[0], matrix)
    )
    boxes = clip_boxes(map_boxes(sample.boxes, matrix), height=size[0], width=size[1])
    return Sample(canvas, boxes, sample.classes)


def min_side_above(boxes: np.ndarray, pixels: float = 1.0) -> np.ndarray:  # [N,4] xyxy -> [N] bool
    """Tell which boxes have both sides above a number of pixels: Megvii's filter, with 1.

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
    """Tell which boxes an affine map left usable: MindYOLO's filter.

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
    """Tell which boxes survive a map under the recipe's `box_filter`; shapes as in `are_candidates`.

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
