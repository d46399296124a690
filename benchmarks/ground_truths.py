"""The ground truths of the timed works: 8 boxes an image, seeded."""

from __future__ import annotations

import numpy as np


def make_ground_truths(batch: int, size: int, *, per_image: int = 8, rows: int = 120, num_classes: int = 80):
    """Draws boxes of 20 to 200 px with centres 100 px or more from the edges.

    Returns:
        gt_boxes float32 [B,rows,4] xyxy px, gt_classes int32 [B,rows], valid bool [B,rows].
    """
    rng = np.random.default_rng(0)
    sides = rng.uniform(20, 200, (batch, per_image, 2))
    centers = rng.uniform(100, size - 100, (batch, per_image, 2))
    classes = rng.integers(0, num_classes, (batch, per_image))
    gt_boxes = np.zeros((batch, rows, 4), np.float32)
    gt_boxes[:, :per_image] = np.concatenate([centers - sides / 2, centers + sides / 2], axis=-1)
    gt_classes = np.zeros((batch, rows), np.int32)
    gt_classes[:, :per_image] = classes
    valid = np.zeros((batch, rows), bool)
    valid[:, :per_image] = True
    return gt_boxes, gt_classes, valid
