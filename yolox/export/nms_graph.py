"""NMS at the end of an ONNX graph: decoded predictions become a fixed number of detections."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from yolox.config import PostprocessConfig
from yolox.environment import import_extra
from yolox.export.onnx_file import OUTPUT

NAMES = ("boxes", "scores", "classes", "count")


def append_nms(
    path: Path, *, batch: int, classes: int, config: PostprocessConfig, text: Mapping[str, str]
) -> None:
    """Adds NMS behind the output of an ONNX file.

    Args:
        path: a file of `write_onnx` with a fixed batch; replaced.
        batch: its number of images, B.
        classes: its number of classes, C.
        config: thresholds; K is `max_detections`. Both rules of labels are supported.
        text: entries for the file's metadata, in the place of those it has.

    Returns:
        Nothing; the file returns boxes [B,K,4] xyxy, scores [B,K], classes [B,K] int32 and count [B] int32,
        by falling score, and zeros behind the last detection.

    Source: the operator NonMaxSuppression of ONNX, version 11. Deviation: `max_candidates` is not applied.
    """
    onnx = import_extra("onnx", "onnx")
    model = onnx.load(path)
    graph = model.graph
    points = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    builder = _Builder(onnx, graph)
    parts = [_image(builder, index, points, classes, config) for index in range(batch)]
    del graph.output[:]
    for name, column in zip(NAMES, zip(*parts, strict=True), strict=True):
        builder.node("Concat", column, name, axis=0)
        kind = onnx.TensorProto.INT32 if name in ("classes", "count") else onnx.TensorProto.FLOAT
        shape = {"boxes": [batch, config.max_detections, 4], "count": [batch]}
        shape = shape.get(name, [batch, config.max_detections])
        graph.output.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    onnx.helper.set_model_props(model, dict(text))
    onnx.checker.check_model(model)
    onnx.save(model, path)


class _Builder:
    """Adds nodes and constants to a graph under fresh names."""

    def __init__(self, onnx, graph) -> None:
        self._onnx, self._graph, self._made = onnx, graph, 0

    def node(self, kind: str, inputs, output: str | None = None, outputs: int = 1, **attributes):
        self._made += 1
        names = [output] if output else [f"nms_{self._made}_{i}" for i in range(outputs)]
        node = self._onnx.helper.make_node(kind, list(inputs), names, name=f"nms_{self._made}_{kind}", **attributes)
        self._graph.node.append(node)
        return names[0] if outputs == 1 else names

    def constant(self, values, dtype) -> str:
        self._made += 1
        name = f"nms_{self._made}_constant"
        tensor = self._onnx.numpy_helper.from_array(np.array(values, dtype), name)
        self._graph.initializer.append(tensor)
        return name


def _image(b: _Builder, index: int, points: int, classes: int, config: PostprocessConfig) -> tuple[str, ...]:
    """Adds the nodes of one image; returns the names of its four outputs, [1,K,4], [1,K], [1,K] and [1]."""
    boxes, scores = _boxes_and_scores(b, index, classes, config)
    limit = config.max_detections
    knobs = ([limit], np.int64), ([config.iou_threshold], np.float32), ([config.score_threshold], np.float32)
    knobs = [b.constant(*knob) for knob in knobs]
    chosen = b.node("NonMaxSuppression", [boxes, scores, *knobs], center_point_box=0)  # [n,3]: image, class, row
    columns = [
        b.node("Gather", [chosen, b.constant(column, np.int64)], axis=1) for column in (1, 2)
    ]
    flat = b.node("Reshape", [scores, b.constant([-1], np.int64)])
    place = b.node("Add", [b.node("Mul", [columns[0], b.constant(points, np.int64)]), columns[1]])
    found = b.node("Gather", [flat, place], axis=0)
    # K empty rows behind the found ones: there are always K to take, and scores above the threshold come first
    padded = b.node("Concat", [found, b.constant([0.0] * limit, np.float32)], axis=0)
    top = b.node("TopK", [padded, b.constant([limit], np.int64)], outputs=2, axis=0)
    rows, kinds = (_take(b, column, limit, top[1]) for column in (columns[1], columns[0]))
    real = b.node("Greater", [top[0], b.constant(0.0, np.float32)])
    count = b.node("ReduceSum", [b.node("Cast", [real], to=6)], axes=[0], keepdims=1)
    corners = b.node("Gather", [b.node("Squeeze", [boxes], axes=[0]), rows], axis=0)
    # Where, not Cast to float: converters to float16 leave the type that a Cast states
    corners = b.node("Where", [b.node("Unsqueeze", [real], axes=[1]), corners, b.constant(0.0, np.float32)])
    kinds = b.node("Mul", [b.node("Cast", [kinds], to=6), b.node("Cast", [real], to=6)])
    answers = corners, top[0], kinds
    return *(b.node("Unsqueeze", [name], axes=[0]) for name in answers), count


def _take(b: _Builder, column: str, limit: int, order: str) -> str:
    padded = b.node("Concat", [column, b.constant([0] * limit, np.int64)], axis=0)
    return b.node("Gather", [padded, order], axis=0)


def _boxes_and_scores(b: _Builder, index: int, classes: int, config: PostprocessConfig) -> tuple[str, str]:
    """Adds nodes that compute boxes [1,P,4] xyxy and scores [1,C,P] of one image."""

    def part(rows: str, first: int, last: int) -> str:
        ends = [b.constant([value], np.int64) for value in (first, last, 2)]
        return b.node("Slice", [rows, *ends])

    ends = [b.constant([value], np.int64) for value in (index, index + 1, 0)]
    rows = b.node("Slice", [OUTPUT, *ends])
    half = b.node("Mul", [part(rows, 2, 4), b.constant(0.5, np.float32)])
    center = part(rows, 0, 2)
    corners = b.node("Concat", [b.node("Sub", [center, half]), b.node("Add", [center, half])], axis=2)
    scores = b.node("Mul", [part(rows, 5, 5 + classes), part(rows, 4, 5)])
    if not config.multi_label:
        best = b.node("ArgMax", [scores], axis=2, keepdims=1)
        mine = b.node("Equal", [best, b.constant(np.arange(classes)[None, None], np.int64)])
        scores = b.node("Where", [mine, scores, b.constant(0.0, np.float32)])
    return corners, b.node("Transpose", [scores], perm=[0, 2, 1])
