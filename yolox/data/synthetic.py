"""Synthetic datasets: coloured shapes on noise with exact boxes, for a first training without any download."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from attrs import frozen

from yolox.data.sample import Sample

SHAPE_NAMES = ("circle", "square", "triangle")


@frozen(kw_only=True)
class SyntheticConfig:
    """Sizes, colours and noise of drawn images."""

    image_size: tuple[int, int] = (128, 128)
    """Height and width in pixels."""
    shapes: tuple[int, int] = (1, 5)
    """Least and most shapes in an image."""
    sides: tuple[float, float] = (14.0, 52.0)
    """Range of the diameter of a shape, in pixels."""
    noise: float = 12.0
    """Standard deviation of the grey-level noise."""
    tint: float = 12.0
    """Standard deviation of the background's colour around grey, in grey levels."""
    hue_jitter: float = 25.0
    """Degrees, plus and minus, around the hue of a class: circles are red, squares green, triangles blue.

    From 60 the hues of the classes meet, only the outline distinguishes them, and training takes much longer.
    """
    contrast: float = 60.0
    """Least distance between the colour of a shape and that of the background, in grey levels."""
    most_hidden: float = 0.4
    """Largest share of a shape that later shapes may hide."""


def _corner_points(shape: str, centre, radius: float, angle: float) -> np.ndarray:  # -> [n,2] float
    corners = {"circle": 32, "square": 4, "triangle": 3}[shape]
    angles = angle + 2 * np.pi * np.arange(corners) / corners
    return np.asarray(centre) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def shape_mask(shape: str, *, centre, radius: float, angle: float, size: tuple[int, int]) -> np.ndarray:
    """Draws one shape as a mask.

    Args:
        shape: one of SHAPE_NAMES.
        centre: x and y in pixels.
        radius: of the circle through its corners, in pixels.
        angle: of the first corner, in radians.
        size: height and width of the mask.

    Returns:
        [H,W] bool.

    Example:
        >>> int(shape_mask("square", centre=(8, 8), radius=4, angle=0.0, size=(16, 16)).sum())
        41
    """
    points = np.round(_corner_points(shape, centre, radius, angle)).astype(np.int32)
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [points], 1)
    return mask.astype(bool)


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int]:  # [H,W] bool
    """Returns the smallest box around a mask as xyxy, where pixel i covers i to i + 1.

    Args:
        mask: [H,W] bool, with at least one True.

    Returns:
        x1, y1, x2, y2 px.

    Example:
        >>> mask_box(np.eye(3, dtype=bool))
        (0, 0, 3, 3)
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _random_mask(rng: np.random.Generator, shape: str, config: SyntheticConfig) -> np.ndarray:
    height, width = config.image_size
    radius = np.exp(rng.uniform(*np.log(config.sides))) / 2  # as many small shapes as large ones
    centre = rng.uniform((radius, radius), (width - radius, height - radius))
    return shape_mask(
        shape, centre=centre, radius=radius, angle=rng.uniform(0, 2 * np.pi), size=config.image_size
    )


def _shape_colour(
    rng: np.random.Generator, index: int, background: np.ndarray, config: SyntheticConfig
) -> np.ndarray:
    typical = 360.0 * index / len(SHAPE_NAMES)
    for _ in range(50):
        hue = (typical + rng.uniform(-config.hue_jitter, config.hue_jitter)) % 360
        hsv = np.array([[[hue, rng.uniform(0.4, 1), rng.uniform(0.4, 1)]]], np.float32)  # degrees, shares
        colour = 255.0 * cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0]
        if np.abs(colour - background).max() >= config.contrast:
            break
    return colour


def _still_visible(masks: list[np.ndarray], added: np.ndarray, most_hidden: float) -> bool:
    cover = added.copy()
    for mask in reversed(masks):
        if (mask & cover).sum() > most_hidden * mask.sum():
            return False
        cover |= mask
    return True


def _place(rng, classes, config: SyntheticConfig) -> tuple[list[np.ndarray], list[int]]:
    masks, placed = [], []
    for index in classes:
        for _ in range(20):  # a crowded image gets fewer shapes
            mask = _random_mask(rng, SHAPE_NAMES[index], config)
            if mask.any() and _still_visible(masks, mask, config.most_hidden):
                masks.append(mask)
                placed.append(int(index))
                break
    return masks, placed


def draw_shapes(*, rng: np.random.Generator, config: SyntheticConfig | None = None) -> Sample:
    """Draws one image of shapes with its boxes.

    Later shapes lie over earlier ones; the box of a shape is around all of it, hidden parts too.

    Args:
        rng: every choice comes from it; same state, same image.
        config: sizes, noise, overlap; defaults as in SyntheticConfig.

    Returns:
        Sample with classes as indices into SHAPE_NAMES.

    Example:
        >>> sample = draw_shapes(rng=np.random.default_rng(0))
        >>> sample.image.shape, len(sample.boxes) == len(sample.classes)
        ((128, 128, 3), True)
    """
    config = config or SyntheticConfig()
    background = np.clip(rng.uniform(30, 225) + rng.normal(0.0, config.tint, 3), 0, 255)
    pixels = np.broadcast_to(background, (*config.image_size, 3)).copy()
    wanted = rng.integers(config.shapes[0], config.shapes[1], endpoint=True)
    masks, classes = _place(rng, rng.integers(0, len(SHAPE_NAMES), wanted), config)
    for mask, index in zip(masks, classes, strict=True):
        pixels[mask] = _shape_colour(rng, index, background, config)
    pixels += rng.normal(0.0, config.noise, pixels.shape)
    boxes = np.array([mask_box(mask) for mask in masks], np.float32).reshape(-1, 4)
    return Sample(np.clip(pixels, 0, 255).astype(np.uint8), boxes, np.array(classes, np.int32))


def _annotations(samples: list[Sample]) -> list[dict]:
    found = []
    for image_id, sample in enumerate(samples, start=1):
        for (x1, y1, x2, y2), index in zip(sample.boxes.tolist(), sample.classes.tolist(), strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            found.append({"id": len(found) + 1, "image_id": image_id, "category_id": index + 1, "bbox": box,
                          "area": box[2] * box[3], "iscrowd": 0})  # fmt: skip
    return found


def write_synthetic(folder: str | Path, *, images: int, seed: int, config: SyntheticConfig | None = None) -> Path:
    """Draws a dataset in COCO's format: ``images/*.png`` and ``instances.json``.

    Args:
        folder: made if it is not there; files of the same names are replaced.
        images: how many.
        seed: same seed, same files; other seeds give unseen images.
        config: sizes, colours and noise.

    Returns:
        Path of the JSON; the images lie in ``images`` beside it.

    Raises:
        OSError: if a file cannot be written.
    """
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    samples = [draw_shapes(rng=rng, config=config) for _ in range(images)]
    entries = []
    for number, sample in enumerate(samples, start=1):
        name = f"shapes_{number:05d}.png"
        (folder / "images" / name).write_bytes(cv2.imencode(".png", sample.image)[1].tobytes())
        height, width = sample.image.shape[:2]
        entries.append({"id": number, "file_name": name, "height": height, "width": width})
    categories = [{"id": number, "name": name} for number, name in enumerate(SHAPE_NAMES, start=1)]
    content = {"images": entries, "annotations": _annotations(samples), "categories": categories}
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path
