"""Affine maps of the plane: points, boxes and pixels follow the same 2x3 matrix.

Coordinates are continuous: pixel column i covers x from i to i + 1, so its centre lies at i + 0.5.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from yolox.data.image import REDUCTIONS


def scaling(
    scale_x: float, scale_y: float, shift_x: float = 0.0, shift_y: float = 0.0
) -> np.ndarray:  # [2,3]
    """Build the map x -> scale * x + shift.

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
    """Build the map that applies `inner` and then `outer`.

    Args:
        outer: [2,3], applied second.
        inner: [2,3], applied first.

    Returns:
        [2,3].
    """
    return outer @ np.vstack([inner, [0.0, 0.0, 1.0]])


def map_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:  # [...,2],[2,3] -> [...,2]
    """Map points by an affine matrix.

    Args:
        points: [...,2] x, y px.
        matrix: [2,3].

    Returns:
        [...,2] px.
    """
    return points @ matrix[:, :2].T + matrix[:, 2]


def box_corners(boxes: np.ndarray) -> np.ndarray:  # [N,4] xyxy -> [N,4,2]
    """List the corners of boxes clockwise from the top left.

    Args:
        boxes: [N,4] xyxy.

    Returns:
        [N,4,2] x, y.
    """
    return np.asarray(boxes)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)


def map_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:  # [N,4] xyxy,[2,3] -> [N,4] xyxy
    """Map boxes by an affine matrix; the result is the upright box around the four mapped corners.

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
    """Give the largest factor by which a map stretches any direction.

    Args:
        matrix: [2,3]; its shift does not matter.

    Returns:
        The factor, 0 or more.
    """
    (a, b), (c, d) = matrix[:, :2].tolist()  # the larger singular value, in closed form
    total, area = a * a + b * b + c * c + d * d, a * d - b * c
    return math.sqrt((total + math.sqrt(max(total * total - 4 * area * area, 0.0))) / 2)


def reduction_for(matrix: np.ndarray) -> int:  # [2,3]
    """Choose how far to reduce an image before `matrix` draws it, never below its drawn size: 1, 2, 4, 8.

    Args:
        matrix: [2,3], from px of the full image to px of the result.

    Returns:
        The largest of the four by which no direction falls below the drawn size.
    """
    return max(r for r in REDUCTIONS if r == 1 or r * magnification(matrix) <= 1)


def quad_bounds(quad: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int] | None:  # [4,2]
    """Give whole-pixel bounds x1, y1, x2, y2 of a quadrilateral on a canvas (height, width), None outside.

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
    """Draw an image onto a canvas through an affine map, in place, inside a quadrilateral.

    One warp straight to the final pixels: no enlarged canvas in between, nothing computed outside the
    quadrilateral's bounds.

    Args:
        canvas: [H,W,3] uint8, written.
        image: [h,w,3] uint8; its edge pixels continue where the quadrilateral reaches beyond it.
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
