"""Inputs of the assignment tests: the reference's cases, and random ones of every awkward kind."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor

from tests.oracles.decode import slow_decode, slow_flatten
from yolox.decode import make_points

STRIDES = (8, 16, 32)


def golden_cases(folder):
    """List the reference's cases, whatever their names."""
    paths = sorted(folder.glob("assign_*.npz"))
    assert paths, f"no assign_*.npz in {folder}"
    return paths


def load_golden(path):
    """Read a case: its arrays, the maps, and (gt_boxes, gt_classes, valid)."""
    case = np.load(path)
    rows = case["truths"]
    center, size = rows[..., 1:3], rows[..., 3:5]
    gt_boxes = np.concatenate([center - size / 2, center + size / 2], axis=-1)
    maps = tuple(Tensor(case[f"map{level}"]) for level in range(3))
    valid = rows.sum(-1) > 0
    return case, maps, (Tensor(gt_boxes), Tensor(rows[..., 0].astype(np.int32)), Tensor(valid))


def at_a_kink(case, *, roundings=4):  # -> [B,P] bool
    """Returns which points have a predicted edge within some float32 roundings of the same edge of their ground truth.

    There the overlap has a kink: its gradient is one of two values, or their mean, as the last bit decides.
    """
    maps, matched_gt = [case[f"map{level}"].astype(np.float64) for level in range(3)], case["owner"]
    boxes = slow_decode(slow_flatten(*maps), [8 * side for side in maps[0].shape[2:]], STRIDES)
    center, size = boxes[..., :2], boxes[..., 2:]
    matched = np.take_along_axis(case["truths"].astype(np.float64), np.maximum(matched_gt, 0)[..., None], 1)
    rounding = np.spacing(np.maximum(np.abs(center), size).astype(np.float32)).astype(np.float64)
    near = np.zeros(matched_gt.shape, bool)
    for sign in (-0.5, 0.5):
        gap = np.abs(center + sign * size - matched[..., 1:3] - sign * matched[..., 3:5])
        near |= (gap < roundings * rounding).any(-1)
    return near & (matched_gt >= 0)


def random_case(rng, *, kind="mixed", batch=2, rows=6, classes=3, size=(64, 96)):
    """Draw raw predictions and ground truths.

    Returns arrays: raw [B,P,5+C], boxes [B,P,4] cxcywh, points, strides, gt_boxes [B,G,4] xyxy, gt_classes, valid.
    """
    points, strides = make_points(size, STRIDES)
    raw = rng.normal(0, 1, (batch, len(points), 5 + classes)).astype(np.float32)
    height, width = size
    extent = np.array([width, height], np.float32)
    center = rng.uniform(-0.1, 1.1, (batch, rows, 2)).astype(np.float32) * extent
    sides = rng.uniform(1, max(size), (batch, rows, 2)).astype(np.float32)
    if kind == "tiny":
        sides = rng.uniform(0.5, 6, (batch, rows, 2)).astype(np.float32)
    if kind == "crowded":
        center = (0.5 * extent + rng.normal(0, 6, (batch, rows, 2))).astype(np.float32)
        sides = rng.uniform(20, 40, (batch, rows, 2)).astype(np.float32)
    if kind == "spread":  # ground truths everywhere: most points are candidates
        center = rng.uniform(0, 1, (batch, rows, 2)).astype(np.float32) * extent
        sides = rng.uniform(8, 60, (batch, rows, 2)).astype(np.float32)
    if kind == "edges":  # on cell borders and image corners, where strictness matters
        center = (rng.integers(-1, 4, (batch, rows, 2)) * 4).astype(np.float32) * rng.choice([1, 4])
    if kind == "twins":
        pairs = rows // 2
        center[:, :pairs], sides[:, :pairs] = center[:, pairs : 2 * pairs], sides[:, pairs : 2 * pairs]
    gt_boxes = np.concatenate([center - sides / 2, center + sides / 2], axis=-1)
    gt_classes = rng.integers(0, classes, (batch, rows)).astype(np.int32)
    valid = rng.random((batch, rows)) < (1.0 if kind == "spread" else rng.choice([0.0, 0.2, 0.8, 1.0]))
    if kind == "good":  # predictions near the ground truths: many positives, k above the number of candidates
        near = rng.integers(0, rows, (batch, len(points)))
        target = np.take_along_axis(np.concatenate([center, sides], -1), near[..., None], 1)
        noise = rng.normal(1, 0.02, target.shape)
        boxes = (target * noise).astype(np.float32)
        corner = points - 0.5 * strides[:, None]
        raw[..., :2] = (boxes[..., :2] - corner) / strides[:, None]
        raw[..., 2:4] = np.log(boxes[..., 2:] / strides[:, None])
    boxes = decode(raw, points, strides)
    return raw, boxes, points, strides, gt_boxes * valid[..., None], gt_classes * valid, valid


def decode(raw, points, strides):
    """Decode raw boxes to cxcywh pixels."""
    stride = strides[:, None]
    return np.concatenate(
        [raw[..., :2] * stride + points - 0.5 * stride, np.exp(raw[..., 2:4]) * stride], axis=-1
    ).astype(np.float32)


def to_maps(raw, size):
    """Split rows [B,P,K] into the maps [B,K,H,W] that flatten to them."""
    maps, start = [], 0
    for stride in STRIDES:
        height, width = size[0] // stride, size[1] // stride
        rows = raw[:, start : start + height * width]
        maps.append(rows.transpose(0, 2, 1).reshape(len(raw), -1, height, width))
        start += height * width
    return tuple(maps)
