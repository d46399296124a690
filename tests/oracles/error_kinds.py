"""TIDE as slow loops over single boxes: the rules of the paper, and AP by its definition."""

from __future__ import annotations

from itertools import product


def iou(a, b) -> float:
    """The IoU of two boxes xyxy."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def average_precision(rows, total) -> float:
    """The mean over 101 recalls of the best precision at that recall or a higher one; rows are (score, is right)."""
    if total == 0:
        return 0.0
    points, right = [], 0
    for rank, (_, hit) in enumerate(sorted(rows, key=lambda row: -row[0]), start=1):
        right += hit
        points.append((right / total, right / rank))
    return sum(max([p for r, p in points if r >= at / 100 - 1e-9], default=0.0) for at in range(101)) / 101


def kinds_of_image(objects, detections, high=0.5, low=0.1):
    """Names the kind of each detection, the object each error is about, and the objects that are found and missed.

    objects are (box, class), detections (box, score, class).
    """
    found, kinds, about = set(), {}, {}
    for d in sorted(range(len(detections)), key=lambda d: -detections[d][1]):
        box, _, kind = detections[d]
        free = [(iou(box, objects[o][0]), -o) for o in range(len(objects)) if objects[o][1] == kind and o not in found]
        if free and max(free)[0] >= high:
            found.add(-max(free)[1])
            kinds[d] = "correct"
    for d, (box, _, kind) in enumerate(detections):
        if d in kinds:
            continue
        same = [(iou(box, b), -o) for o, (b, k) in enumerate(objects) if k == kind]
        other = [(iou(box, b), -o) for o, (b, k) in enumerate(objects) if k != kind]
        best, best_other = max(same, default=(0.0, 1)), max(other, default=(0.0, 1))
        if low <= best[0] < high:
            kinds[d], about[d] = "localisation", -best[1]
        elif best_other[0] >= high:
            kinds[d], about[d] = "classification", -best_other[1]
        elif best[0] >= high:
            kinds[d] = "duplicate"
        elif max(best[0], best_other[0]) <= low:
            kinds[d] = "background"
        else:
            kinds[d] = "both"
    missed = set(range(len(objects))) - found - set(about.values())
    return kinds, about, found, missed


def fixed_ap(images, classes, fix=None):
    """The mean AP over classes with objects after one kind of error was fixed; images are pairs as in `kinds_of_image`."""
    rows, totals = {c: [] for c in classes}, dict.fromkeys(classes, 0)
    has_objects = {k for objects, _ in images for _, k in objects}
    for objects, detections in images:
        kinds, about, found, missed = kinds_of_image(objects, detections)
        for o, (_, k) in enumerate(objects):
            out = {"missed": o in missed, "false_negatives": o not in found}.get(fix, False)
            totals[k] += not out
        for d, (_, score, k) in enumerate(detections):
            if kinds[d] == "correct":
                rows[k].append((score, True))
            elif fix == "false_positives":
                continue
            elif kinds[d] != fix:
                rows[k].append((score, False))
            elif d in about and about[d] not in found:
                rivals = [e for e in about if about[e] == about[d]]
                if d == max(rivals, key=lambda e: detections[e][1]):
                    rows[objects[about[d]][1]].append((score, True))
    return sum(average_precision(rows[c], totals[c]) for c in has_objects) / len(has_objects)


def counted(images, classes, threshold):
    """The number of errors of each kind and class, of detections above a score."""
    table = {kind: [0] * len(classes) for kind in ("classification", "localisation", "both", "duplicate", "background", "missed")}
    for objects, detections in images:
        above = [d for d in detections if d[1] > threshold]
        kinds, _, _, missed = kinds_of_image(objects, above)
        for d, kind in product(range(len(above)), table):
            table[kind][above[d][2]] += kinds[d] == kind
        for o in missed:
            table["missed"][objects[o][1]] += 1
    return table
