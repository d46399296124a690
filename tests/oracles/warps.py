"""Pixels one at a time, and the mosaic as published: resize, paste on a large canvas, warp."""

import colorsys
import math

import numpy as np


def slow_bilinear(image, x, y, fill=None):
    """Sample at continuous coordinates; outside the image its edge continues, or `fill` lies there."""
    height, width = image.shape[:2]
    column, row = math.floor(x - 0.5), math.floor(y - 0.5)
    total = np.zeros(3)
    for j, i, weight in (
        (row, column, (1 - (y - 0.5 - row)) * (1 - (x - 0.5 - column))),
        (row, column + 1, (1 - (y - 0.5 - row)) * (x - 0.5 - column)),
        (row + 1, column, (y - 0.5 - row) * (1 - (x - 0.5 - column))),
        (row + 1, column + 1, (y - 0.5 - row) * (x - 0.5 - column)),
    ):
        inside = 0 <= j < height and 0 <= i < width
        pixel = image[min(max(j, 0), height - 1), min(max(i, 0), width - 1)]
        total += weight * (pixel if inside or fill is None else np.full(3, fill))
    return total


def slow_resize(image, size):
    """Resize to (height, width): each new centre looks up the old image."""
    height, width = size
    zoom_y, zoom_x = image.shape[0] / height, image.shape[1] / width
    rows = [
        [slow_bilinear(image, (i + 0.5) * zoom_x, (j + 0.5) * zoom_y) for i in range(width)]
        for j in range(height)
    ]
    return np.array(rows)


def slow_warp(image, matrix, size, fill):
    """Map an image: each new centre goes back through the inverse. Returns pixels, and source coordinates."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    pixels, sources = np.zeros((*size, 3)), np.zeros((*size, 2))
    for j in range(size[0]):
        for i in range(size[1]):
            x, y, _ = inverse @ (i + 0.5, j + 0.5, 1.0)
            sources[j, i] = x, y
            pixels[j, i] = slow_bilinear(image, x, y, fill)
    return pixels, sources


def slow_letterbox(image, size, fill, centred):
    """Letterbox with pixels looked up one at a time."""
    ratio = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = int(image.shape[0] * ratio), int(image.shape[1] * ratio)
    top, left = ((size[0] - height) // 2, (size[1] - width) // 2) if centred else (0, 0)
    canvas = np.full((*size, 3), float(fill))
    canvas[top : top + height, left : left + width] = slow_resize(image, (height, width))
    return canvas


def slow_map_box(box, matrix):
    """Hull of the four mapped corners."""
    x1, y1, x2, y2 = (float(v) for v in box)
    points = [matrix @ (x, y, 1.0) for x in (x1, x2) for y in (y1, y2)]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return [min(xs), min(ys), max(xs), max(ys)]


def slow_mosaic_canvas(images, boxes, centre, size, fill):
    """Paste four fitted images around a centre on a canvas of twice the size; boxes are cut to the canvas."""
    height, width = size
    canvas = np.full((2 * height, 2 * width, 3), float(fill))
    placed = []
    for position, (image, rows) in enumerate(zip(images, boxes, strict=True)):
        ratio = min(height / image.shape[0], width / image.shape[1])
        h, w = int(image.shape[0] * ratio), int(image.shape[1] * ratio)
        left = centre[0] - w if position in (0, 2) else centre[0]
        top = centre[1] - h if position in (0, 1) else centre[1]
        tile = slow_resize(image, (h, w))
        for j in range(max(top, 0), min(top + h, 2 * height)):
            for i in range(max(left, 0), min(left + w, 2 * width)):
                canvas[j, i] = tile[j - top, i - left]
        for x1, y1, x2, y2 in rows:
            xs = [min(max(x * w / image.shape[1] + left, 0), 2 * width) for x in (x1, x2)]
            ys = [min(max(y * h / image.shape[0] + top, 0), 2 * height) for y in (y1, y2)]
            placed.append([xs[0], ys[0], xs[1], ys[1]])
    return canvas, placed


def slow_affine_matrix(degrees, zoom, shear_x, shear_y, shift):
    """The map as rows of sums: row i plus its shear times the other row."""
    a = math.radians(degrees)
    rotation = [[zoom * math.cos(a), zoom * math.sin(a)], [-zoom * math.sin(a), zoom * math.cos(a)]]
    tan_x, tan_y = math.tan(math.radians(shear_x)), math.tan(math.radians(shear_y))
    first = [rotation[0][k] + tan_y * rotation[1][k] for k in (0, 1)] + [shift[0]]
    second = [rotation[1][k] + tan_x * rotation[0][k] for k in (0, 1)] + [shift[1]]
    return np.array([first, second])


def slow_hsv(image, change):
    """Convert each pixel by the standard library, change (h in 0..180, s, v in 0..255), convert back."""
    result = np.zeros(image.shape)
    for j, row in enumerate(image):
        for i, (b, g, r) in enumerate(row / 255.0):
            h, s, v = colorsys.rgb_to_hsv(r, g, b)
            h, s, v = change(round(h * 180), round(s * 255), round(v * 255))
            result[j, i] = np.array(colorsys.hsv_to_rgb(h / 180, s / 255, v / 255))[::-1] * 255
    return result
