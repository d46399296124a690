"""Boxes one at a time, in Python numbers: overlaps by counting lengths shared on each axis."""

import numpy as np


def slow_convert(boxes, source):  # [...,4] of layout `source` -> xyxy
    rows = [_to_corners([float(v) for v in row], source) for row in np.reshape(boxes, (-1, 4))]
    return np.reshape(rows, np.shape(boxes))


def slow_center_size(boxes):  # xyxy [...,4] -> cxcywh
    rows = [((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1) for x1, y1, x2, y2 in np.reshape(boxes, (-1, 4))]
    return np.reshape(rows, np.shape(boxes))


def slow_area(boxes):  # xyxy [...,4] -> [...]
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in np.reshape(boxes, (-1, 4))]
    return np.reshape(areas, np.shape(boxes)[:-1])


def slow_pairwise_iou(a, b):  # [B,N,4],[B,M,4] -> [B,N,M]
    return np.array([[[_iou(p, q) for q in other] for p in one] for one, other in zip(a, b, strict=True)])


def slow_elementwise_iou(a, b):  # [...,4],[...,4] -> [...]
    a, b = np.broadcast_arrays(a, b)
    rows = zip(a.reshape(-1, 4), b.reshape(-1, 4), strict=True)
    return np.reshape([_iou(p, q) for p, q in rows], a.shape[:-1])


def _to_corners(box, source):
    x, y, w, h = box
    return (x - w / 2, y - h / 2, x + w / 2, y + h / 2) if source == "cxcywh" else (x, y, x + w, y + h)


def _iou(p, q):
    shared = _shared(p[0], p[2], q[0], q[2]) * _shared(p[1], p[3], q[1], q[3])
    union = (p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1]) - shared
    return shared / union if union > 0 else 0.0


def _shared(start, end, other_start, other_end):
    if end <= other_start or other_end <= start:
        return 0.0
    return min(end, other_end) - max(start, other_start)
