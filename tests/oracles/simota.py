"""SimOTA and the detection loss in plain loops over one image: slow, float64, written from the rule and not from yolox."""

from __future__ import annotations

import math

import numpy as np


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def iou(a, b) -> float:
    """Overlap of two xyxy boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def corners(box):
    """cxcywh to xyxy."""
    cx, cy, w, h = (float(v) for v in box)
    return (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)


def near_center(point, stride, box, radius=1.5) -> bool:
    """Whether a point lies strictly within `radius` strides of the centre of an xyxy box, in x and in y."""
    cx, cy = (float(box[0]) + float(box[2])) / 2, (float(box[1]) + float(box[3])) / 2
    return abs(float(point[0]) - cx) < radius * stride and abs(float(point[1]) - cy) < radius * stride


def inside(point, box) -> bool:
    """Whether a point lies strictly inside an xyxy box."""
    return box[0] < point[0] < box[2] and box[1] < point[1] < box[3]


def class_cost(obj_logit, cls_logits, label) -> float:
    """Sum of cross-entropies of sqrt(class times objectness) against one-hot, logarithms stopped at -100."""
    total = 0.0
    for c, logit in enumerate(cls_logits):
        p = math.sqrt(sigmoid(float(logit)) * sigmoid(float(obj_logit)))
        q = p if c == label else 1.0 - p
        total -= max(math.log(q), -100.0) if q > 0 else -100.0
    return total


def image_tables(boxes, obj, cls, points, strides, gt_boxes, gt_classes, rows, *, prior="center", penalty=1e6, radius=1.5):
    """Candidates and, for each row and candidate, IoU and cost: dictionaries keyed (ground truth, point)."""
    def preferred(g, p):
        near = near_center(points[p], strides[p], gt_boxes[g], radius)
        return near if prior == "center" else near and inside(points[p], gt_boxes[g])

    def is_candidate(g, p):
        near, within = near_center(points[p], strides[p], gt_boxes[g], radius), inside(points[p], gt_boxes[g])
        return {"center": near, "box_and_center": within, "box_or_center": near or within}[prior]

    candidates = [p for p in range(len(points)) if any(is_candidate(g, p) for g in rows)]
    overlap, cost = {}, {}
    for g in rows:
        for p in candidates:
            overlap[g, p] = iou([float(v) for v in gt_boxes[g]], corners(boxes[p]))
            cost[g, p] = class_cost(obj[p], cls[p], gt_classes[g]) - 3.0 * math.log(overlap[g, p] + 1e-8)
            if not preferred(g, p):  # float32 leaves steps of 1/16 at a million: part of the rule, it makes ties
                cost[g, p] = float(np.float32(np.float32(cost[g, p]) + np.float32(penalty)))
    return candidates, overlap, cost


def assign_image(boxes, obj, cls, points, strides, gt_boxes, gt_classes, valid, *, top_k=10, **rule):
    """Returns matched_gt [P] and matched IoU [P] of one image."""
    rows = [g for g in range(len(gt_boxes)) if valid[g]]
    candidates, overlap, cost = image_tables(boxes, obj, cls, points, strides, gt_boxes, gt_classes, rows, **rule)
    selected: dict[int, list[int]] = {}
    for g in rows:
        best = sorted((overlap[g, p] for p in candidates), reverse=True)[:top_k]
        k = max(int(sum(best)), 1)
        for p in sorted(candidates, key=lambda p, g=g: (cost[g, p], p))[:k]:
            selected.setdefault(p, []).append(g)
    matched_gt, matched = np.full(len(points), -1, np.int32), np.zeros(len(points))
    for p, gs in selected.items():
        matched_gt[p] = gs[0] if len(gs) == 1 else min(rows, key=lambda g, p=p: (cost[g, p], g))
        matched[p] = overlap[matched_gt[p], p]
    return matched_gt, matched


def assign(boxes, obj, cls, points, strides, gt_boxes, gt_classes, valid, **rule):
    """Returns matched_gt [B,P] and matched IoU [B,P] of a batch."""
    images = [
        assign_image(boxes[b], obj[b], cls[b], points, strides, gt_boxes[b], gt_classes[b], valid[b], **rule)
        for b in range(len(boxes))
    ]
    return np.stack([i[0] for i in images]), np.stack([i[1] for i in images])


def detection_loss(raw, boxes, points, strides, gt_boxes, gt_classes, matched_gt, matched, class_weights=None):
    """The five numbers (total with L1 weight 1, 5*iou, objectness, class, l1) summed over points and divided by positives."""
    positives = max(int((matched_gt >= 0).sum()), 1)
    sums = np.zeros(4)
    for b in range(raw.shape[0]):
        for p in range(raw.shape[1]):
            g = matched_gt[b, p]
            sums[1] += math.log1p(math.exp(-abs(raw[b, p, 4]))) + max(raw[b, p, 4], 0.0) - raw[b, p, 4] * (g >= 0)
            if g < 0:
                continue
            gt_box = [float(v) for v in gt_boxes[b, g]]
            sums[0] += 5.0 * (1.0 - iou(gt_box, corners(boxes[b, p])) ** 2)
            for c, x in enumerate(raw[b, p, 5:].astype(float)):
                target = matched[b, p] if c == gt_classes[b, g] else 0.0
                weight = 1.0 if class_weights is None else class_weights[gt_classes[b, g]]
                sums[2] += weight * (math.log1p(math.exp(-abs(x))) + max(x, 0.0) - x * target)
            s = float(strides[p])
            want = (
                (gt_box[0] + gt_box[2]) / 2 / s - (points[p][0] / s - 0.5),
                (gt_box[1] + gt_box[3]) / 2 / s - (points[p][1] / s - 0.5),
                math.log((gt_box[2] - gt_box[0]) / s + 1e-8),
                math.log((gt_box[3] - gt_box[1]) / s + 1e-8),
            )
            sums[3] += sum(abs(float(r) - w) for r, w in zip(raw[b, p, :4], want, strict=True))
    parts = sums / positives
    return np.array([parts.sum(), *parts])
