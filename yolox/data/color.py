"""Colour changes in hue, saturation and value."""

from __future__ import annotations

import cv2
import numpy as np

from yolox.config import AugmentConfig

LEVELS = np.arange(256)


def random_hsv(
    image: np.ndarray, *, rng: np.random.Generator, config: AugmentConfig
) -> np.ndarray:  # [H,W,3] uint8 BGR
    """Changes the colours of an image at random, with probability `config.hsv_prob`.

    Args:
        image: [H,W,3] uint8 BGR.
        rng: source of randomness.
        config: `hsv_mode` additive (whole shifts, each channel with probability one half) or multiplicative
            (gains).

    Returns:
        [H,W,3] uint8 BGR; the input itself where nothing changes.
    """
    draws, gates, chosen = rng.uniform(-1, 1, 3), rng.integers(0, 2, 3), rng.random() < config.hsv_prob
    if not chosen:
        return image
    if config.hsv_mode == "additive":
        return shift_hsv(image, (draws * config.hsv_gains * gates).astype(np.int64))
    return scale_hsv(image, 1 + draws * config.hsv_gains)


def shift_hsv(image: np.ndarray, shifts) -> np.ndarray:  # [H,W,3] uint8 BGR
    """Adds whole numbers to hue, saturation and value.

    Args:
        image: [H,W,3] uint8 BGR.
        shifts: three integers; hue runs in a circle of 180 steps, saturation and value stop at 0 and 255.

    Returns:
        [H,W,3] uint8 BGR.

    Source:
        Megvii's recipe.

    Example:
        >>> shift_hsv(np.full((1, 1, 3), 100, np.uint8), (0, 0, 20))[0, 0].tolist()
        [120, 120, 120]
    """
    hue, saturation, value = (int(s) for s in shifts)
    if hue == saturation == value == 0:
        return image
    hues = LEVELS if hue == 0 else (LEVELS + hue) % 180
    return _apply(image, hues, np.clip(LEVELS + saturation, 0, 255), np.clip(LEVELS + value, 0, 255))


def scale_hsv(image: np.ndarray, gains) -> np.ndarray:  # [H,W,3] uint8 BGR
    """Multiplies hue, saturation and value.

    Args:
        image: [H,W,3] uint8 BGR.
        gains: three factors; hue runs in a circle of 180 steps, saturation and value stop at 255.

    Returns:
        [H,W,3] uint8 BGR.

    Source:
        MindYOLO's recipe.
    """
    hue, saturation, value = (LEVELS * float(g) for g in gains)
    return _apply(image, hue % 180, np.clip(saturation, 0, 255), np.clip(value, 0, 255))


def _apply(image: np.ndarray, *tables: np.ndarray) -> np.ndarray:
    """Applies a table of 256 levels to each channel of the image's HSV; unchanged channels cost nothing."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    for channel, table in enumerate(tables):
        if (table != LEVELS).any():
            changed = cv2.LUT(cv2.extractChannel(hsv, channel), table.astype(np.uint8))
            cv2.insertChannel(changed, hsv, channel)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
