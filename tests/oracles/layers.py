"""Slow numpy versions of the layers in float64, written from their definitions."""

from __future__ import annotations

import numpy as np
from einops import rearrange, repeat


def conv2d(x, weight, bias=None, *, stride=1, groups=1):  # [B,I,H,W], [O,I/groups,k,k] -> [B,O,h,w]
    """Correlate with zero padding (k-1)/2, one kernel position at a time."""
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    pad = (weight.shape[2] - 1) // 2
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    height, width = -(-x.shape[2] // stride), -(-x.shape[3] // stride)
    per_in, per_out = weight.shape[1], weight.shape[0] // groups
    out = np.zeros((x.shape[0], weight.shape[0], height, width))
    for group in range(groups):
        inputs = padded[:, group * per_in : (group + 1) * per_in]
        outputs = slice(group * per_out, (group + 1) * per_out)
        for i in range(weight.shape[2]):
            for j in range(weight.shape[3]):
                window = inputs[:, :, i : i + stride * height : stride, j : j + stride * width : stride]
                out[:, outputs] += np.einsum("bihw,oi->bohw", window, weight[outputs, :, i, j], optimize=True)
    return out if bias is None else out + np.asarray(bias, np.float64)[:, None, None]


def batch_norm(x, gamma, beta, mean=None, variance=None, *, eps=1e-3):  # [B,C,H,W], [C] x4 -> [B,C,H,W]
    """Normalise by the given statistics, or by those of the batch where there are none."""
    x = np.asarray(x, np.float64)
    mean = x.mean((0, 2, 3)) if mean is None else np.asarray(mean, np.float64)
    variance = x.var((0, 2, 3)) if variance is None else np.asarray(variance, np.float64)
    scale = np.asarray(gamma, np.float64) / np.sqrt(variance + eps)
    return (x - mean[:, None, None]) * scale[:, None, None] + np.asarray(beta, np.float64)[:, None, None]


def activation(x, name):
    """Apply "silu", "relu" or "lrelu"."""
    if name == "silu":
        return x / (1 + np.exp(-x))
    return np.where(x > 0, x, x * (0.1 if name == "lrelu" else 0.0))


def max_pool(x, kernel):  # [B,C,H,W] -> [B,C,H,W]
    """Take the maximum of the square around each pixel, as far as it lies in the map."""
    radius, out = kernel // 2, np.empty_like(x)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            rows = slice(max(i - radius, 0), i + radius + 1)
            columns = slice(max(j - radius, 0), j + radius + 1)
            out[:, :, i, j] = x[:, :, rows, columns].max((2, 3))
    return out


def focus(x):  # [B,C,H,W] -> [B,4C,H/2,W/2]
    """Stack the top left, bottom left, top right and bottom right pixel of every 2x2 cell."""
    return rearrange(x, "b c (h dy) (w dx) -> b (dx dy c) h w", dy=2, dx=2)


def upsample(x):  # [B,C,H,W] -> [B,C,2H,2W]
    """Repeat every pixel twice in both directions."""
    return repeat(x, "b c h w -> b c (h dy) (w dx)", dy=2, dx=2)
