"""Points and decoding, cell by cell."""

import math

import numpy as np


def slow_points(size, strides):  # -> [P,2], [P]
    points, point_strides = [], []
    for stride in strides:
        for y in range(size[0] // stride):
            for x in range(size[1] // stride):
                points.append((x * stride + stride / 2, y * stride + stride / 2))
                point_strides.append(stride)
    return np.array(points, np.float64), np.array(point_strides, np.float64)


def slow_flatten(*maps):  # ([B,K,H,W], ...) -> [B,P,K]
    images = []
    for i in range(len(maps[0])):
        images.append([m[i, :, y, x] for m in maps for y in range(m.shape[2]) for x in range(m.shape[3])])
    return np.array(images)


def slow_decode(raw, size, strides):  # [B,P,4+] -> cxcywh [B,P,4]
    cells = _cells(size, strides)
    return np.array([[_decode_row(r, *cell) for r, cell in zip(rows, cells, strict=True)] for rows in raw])


def slow_encode(boxes, size, strides):  # cxcywh [B,P,4] -> [B,P,4]
    cells = _cells(size, strides)
    return np.array([[_encode_row(r, *cell) for r, cell in zip(rows, cells, strict=True)] for rows in boxes])


def slow_predictions(maps, size, strides):  # -> [B,P,5+C]
    raw = slow_flatten(*maps)
    scores = [[[1 / (1 + math.exp(-v)) for v in row[4:]] for row in image] for image in raw]
    return np.concatenate((slow_decode(raw, size, strides), np.array(scores)), axis=-1)


def _cells(size, strides):  # column, row and stride of every point
    return [(x, y, s) for s in strides for y in range(size[0] // s) for x in range(size[1] // s)]


def _decode_row(row, column, line, stride):
    x, y, w, h = row[:4]
    return (x + column) * stride, (y + line) * stride, math.exp(w) * stride, math.exp(h) * stride


def _encode_row(row, column, line, stride):
    x, y, w, h = row
    return x / stride - column, y / stride - line, math.log(w / stride), math.log(h / stride)
