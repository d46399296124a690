"""Greedy suppression box by box, and post-processing prediction by prediction, as slow as they read."""

import numpy as np


def slow_nms(boxes, scores, classes, iou_threshold):  # [N,4],[N],[N] -> list of kept indices
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i)):
        rivals = [j for j in kept if classes[j] == classes[i]]
        if all(slow_iou(boxes[i], boxes[j]) <= iou_threshold for j in rivals):
            kept.append(i)
    return kept


def slow_iou(a, b):  # xyxy
    a, b = [float(v) for v in a], [float(v) for v in b]
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    shared = wide * high
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def slow_postprocess(decoded, *, score_threshold, iou_threshold, multi_label):  # -> [(box, score, class)]
    found = []
    for row in decoded:
        scores = row[4] * row[5:]
        wanted = range(len(scores)) if multi_label else [int(np.argmax(scores))]
        x, y, w, h = (float(v) for v in row[:4])
        for c in wanted:
            if scores[c] > score_threshold:
                found.append(((x - w / 2, y - h / 2, x + w / 2, y + h / 2), scores[c], c))
    kept = slow_nms([f[0] for f in found], [f[1] for f in found], [f[2] for f in found], iou_threshold)
    return [found[i] for i in kept]
