"""Decoded predictions as they enter the loss of the published works; numpy only, for every system the same numbers."""

from __future__ import annotations

import numpy as np

STRIDES = (8, 16, 32)


def make_outputs(batch: int, size: int) -> np.ndarray:  # [B,P,5+C]
    """Draws decoded predictions like a network's in training: boxes of about 1 to 20 strides, 80 classes.

    Returns:
        float32 [B,P,85]: centre and sides in px, logits of the objectness and of the classes; fine level first.
    """
    points, strides = _points(size)
    rng = np.random.default_rng(0)
    outputs = rng.normal(0, 1, (batch, len(points), 85)).astype(np.float32)
    outputs[..., :2] = outputs[..., :2] * strides[:, None] + points
    outputs[..., 2:4] = np.exp(1.5 + 0.7 * outputs[..., 2:4]) * strides[:, None]
    return outputs


def _points(size: int) -> tuple[np.ndarray, np.ndarray]:  # [P,2] xy px, [P]
    points, strides = [], []
    for stride in STRIDES:
        y, x = np.indices((size // stride, size // stride), np.float32).reshape(2, -1)
        points.append((np.stack([x, y], axis=1) + 0.5) * stride)
        strides.append(np.full(len(x), stride, np.float32))
    return np.concatenate(points), np.concatenate(strides)
