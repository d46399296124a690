"""What an ONNX file may contain: the operators of an exported detector, within limits of memory and work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from yolox.errors import ExportError
from yolox.export.messages import ONNX_MODEL, read_message
from yolox.export.onnx_file import NEWEST, OLDEST
from yolox.export.shape_rules import (
    MAX_NODES,
    Budget,
    Node,
    Shape,
    Value,
    broadcast,
    checked_axis,
    concat_shape,
    convolution,
    last_uses,
    pooling,
    reshape_shape,
    same,
    slice_shape,
    topological_order,
    transpose_shape,
)

SMALL = 1 << 16  # numbers of a constant that rules may look at
_TYPES = {1: "<f4", 2: "<u1", 3: "<i1", 6: "<i4", 7: "<i8", 10: "<f2"}  # TensorProto.DataType
_CASTS = (1, 6, 7, 9, 10)
_DEFAULTS = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def check_onnx(data: bytes) -> tuple[dict[str, str], tuple[int | None, ...], list[Shape]]:
    """Checks that an ONNX file holds a detector and nothing else, before anything native sees it.

    Accepted are the operators that the export of this library writes, of the standard operator set, with their
    attributes. The shape of each value is computed, so that no file asks for more memory or time than
    `shape_rules` allows.

    Args:
        data: the whole file.

    Returns:
        Entries of the metadata, shape of the input [B,3,H,W] (B is None where it is dynamic), and the shapes of the
        outputs (B is 1 where it is dynamic).

    Raises:
        ExportError: an operator, attribute, type or field that an exported detector does not have; another operator
            set; numbers in another file; shapes that do not agree, or pass the limits.
        WeightsError: no protobuf message, or too many fields.
    """
    model = read_message(data, ONNX_MODEL)
    sets = [(entry.get("domain", ""), entry.get("version")) for entry in model["opset_import"]]
    if len(sets) != 1 or sets[0][0] or sets[0][1] not in range(OLDEST, NEWEST + 1):
        raise ExportError(f"has the operator sets {str(sets)[:200]}, want the standard one, version {OLDEST} to {NEWEST}")
    graph = model.get("graph")
    if graph is None or len(graph["input"]) != 1:
        raise ExportError("wants a graph with one input")
    name, shape = _declared(graph["input"][0])
    if len(shape) != 4 or None in shape[1:]:
        raise ExportError(f"the input has the shape {shape}, want [B,C,H,W] with fixed C, H, W")
    values = {name: Value(shape=(shape[0] or 1, *shape[1:]))}
    for tensor in graph["initializer"]:
        _add(values, tensor.get("name", ""), _constant(tensor))
    _check_nodes(graph["node"], values, [entry.get("name", "") for entry in graph["output"]])
    for entry in graph["value_info"]:
        _check_stated(entry, values)
    metadata = {entry.get("key", ""): entry.get("value", "") for entry in model["metadata_props"]}
    if len(metadata) != len(model["metadata_props"]):
        raise ExportError("two entries of the metadata have the same name")
    return metadata, shape, [_output(entry, values) for entry in graph["output"]]


def _declared(entry: dict) -> tuple[str, tuple[int | None, ...]]:
    """Returns name and shape of an input or output; None for a size that has a name, which only the first may have."""
    tensor = entry.get("type", {}).get("tensor_type", {})
    dims = tensor.get("shape", {}).get("dim", [])
    shape = tuple(None if "dim_param" in dim else dim.get("dim_value", 0) for dim in dims)
    if tensor.get("elem_type") not in _TYPES or None in shape[1:] or any(size is not None and size < 1 for size in shape):
        raise ExportError(f"{entry.get('name', '')[:80]!r} has the type {tensor.get('elem_type')} and shape {shape[:8]}")
    return entry.get("name", ""), shape


def _add(values: dict[str, Value], name: str, value: Value) -> None:
    if not name or name in values:
        raise ExportError(f"two values have the name {name[:80]!r}")
    values[name] = value


def _constant(tensor: dict) -> Value:
    """Returns a tensor whose numbers are in the file, all of them; of small ones of whole numbers, the numbers, too."""
    shape, kind = tuple(tensor["dims"]), tensor.get("data_type")
    if kind not in _TYPES or len(shape) > 8 or min(shape, default=0) < 0:
        raise ExportError(f"a constant has the type {kind} and the shape {shape[:8]}")
    dtype, raw, listed = np.dtype(_TYPES[kind]), tensor.get("raw_data", b""), tensor["int64_data"] or tensor["float_data"]
    count, found = math.prod(shape), len(listed) if listed else len(raw) / dtype.itemsize
    if count != found or (listed and (raw or kind != (7 if tensor["int64_data"] else 1))):
        raise ExportError(f"a constant {tensor.get('name', '')[:80]!r} of the shape {shape} has {found:g} numbers")
    if count > SMALL:
        return Value(shape=shape, constant=True)
    return Value(shape=shape, numbers=tuple(listed or np.frombuffer(raw, dtype).tolist()), constant=True)


def _check_nodes(nodes: list[dict], values: dict[str, Value], outputs: list[str]) -> None:
    """Checks the nodes in an order in which they can run, and adds their results to `values`."""
    if len(nodes) > MAX_NODES:
        raise ExportError(f"has {len(nodes)} nodes, more than the limit of {MAX_NODES}")
    order = topological_order([node["input"] for node in nodes], [node["output"] for node in nodes])
    if len(order) < len(nodes):
        raise ExportError("has nodes in a loop: one of them reads what no node before it makes")
    nodes = [nodes[index] for index in order]
    budget, held = Budget(), {}
    for entry, finished in zip(nodes, last_uses([node["input"] for node in nodes]), strict=True):
        kind = entry.get("op_type", "")
        if kind not in RULES or entry.get("domain", ""):
            place = f" of {entry['domain'][:80]!r}" if entry.get("domain") else ""
            raise ExportError(f"has the operator {kind[:80]!r}{place}, which no exported detector has; nothing was loaded")
        if any(name not in values for name in entry["input"]):
            raise ExportError(f"the operation {kind}: reads what no node before it makes")
        node = Node(kind, [values[name] for name in entry["input"]], _attributes(kind, entry["attribute"]))
        shapes, work = RULES[kind](node)
        budget.hold(node, shapes, work=work)
        constant = all(value.constant for value in node.inputs)
        results = [Value(shape=shape, constant=constant) for shape in shapes]
        node.require(len(results) == len(entry["output"]), f"has {len(entry['output'])} outputs")
        for name, value in zip(entry["output"], results, strict=True):
            _add(values, name, value)
            if name not in outputs and not constant:
                held[name] = [value.shape]
        for name in finished:
            budget.release(held.pop(name, ()))


def _attributes(kind: str, entries: list[dict]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in entries:
        name = entry.get("name", "")
        if name not in _ATTRIBUTES.get(kind, ()) or name in found:
            raise ExportError(f"the operation {kind} has the attribute {name[:80]!r}, which no exported detector has")
        if _ATTRIBUTES[kind][name] == "ints":
            found[name] = tuple(entry["ints"])
        else:
            found[name] = entry.get(_ATTRIBUTES[kind][name])
    optional = _ATTRIBUTES.get(kind, {}).keys() if RULES[kind] is _quantize else _OPTIONAL
    if missing := _ATTRIBUTES.get(kind, {}).keys() - found.keys() - optional or None in found.values():
        raise ExportError(f"the operation {kind} wants the attributes {missing}")
    return found


def _output(entry: dict, values: Mapping[str, Value]) -> Shape:
    name, stated = _declared(entry)
    shape = values.get(name, Value()).shape
    if shape is None or shape != (stated[0] or 1, *stated[1:]):
        raise ExportError(f"states the shape {stated} for {name[:80]!r}, it is {shape}")
    return shape


def _check_stated(entry: dict, values: Mapping[str, Value]) -> None:
    """Compares a shape that the file states for a value on the way, as converters to float16 do, with the computed one."""
    name, dims = entry.get("name", ""), entry.get("type", {}).get("tensor_type", {}).get("shape", {}).get("dim", [])
    shape = values.get(name, Value()).shape
    stated = [dim.get("dim_value") for dim in dims]  # None for a size that has a name or is not known
    if shape is None or len(stated) > len(shape) or any(s not in (None, size) for s, size in zip(stated, shape, strict=False)):
        raise ExportError(f"states the shape {stated[:8]} for {name[:80]!r}, it is {shape}")


def _window(node: Node) -> dict:
    attributes = node.attributes
    auto = attributes.get("auto_pad", "NOTSET")
    node.require(auto in ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"), f"auto_pad is {auto[:20]}")
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0)) if len(attributes.get("pads", "four")) == 4 else (-1,) * 4
    kernel, dilation = attributes["kernel_shape"], attributes.get("dilations", (1, 1))
    pads = {"pads": None if auto == "VALID" else (top, bottom, left, right), "same": auto.startswith("SAME")}
    return {"kernel": kernel, "stride": attributes["strides"], "dilation": dilation, **pads}


def _conv(node: Node):
    shapes, work = convolution(node, group=node.attributes["group"], **_window(node))
    bias = node.shape(2) if len(node.inputs) == 3 else shapes[0][1:2]
    node.require(bias == shapes[0][1:2] and len(node.inputs) <= 3, f"a bias of the shape {bias}")
    return shapes, work


def _batch_norm(node: Node):
    shape = node.shape(0)
    vectors = {node.shape(index) for index in range(1, 5)}
    node.require(len(node.inputs) == 5 and vectors == {shape[1:2]}, f"statistics of the shapes {vectors} for {shape}")
    return [shape], 0


def _resize(node: Node):
    shape, scales = node.shape(0), node.numbers(2, real=True)
    node.require(len(node.inputs) == 3 and node.shape(1) == (0,), "wants images, an empty region and scales")
    node.require(all(node.attributes[key] == value for key, value in _DEFAULTS.items()), "wants the nearest pixel")
    node.require(len(scales) == len(shape) and set(scales) <= {1.0, 2.0}, f"with the scales {scales[:8]}")
    return [tuple(int(size * scale) for size, scale in zip(shape, scales, strict=True))], 0


def _gather(node: Node):
    shape, rows = node.shape(0), node.shape(1)
    axis = checked_axis(node, node.attributes["axis"], len(shape))
    return [(*shape[:axis], *rows, *shape[axis + 1 :])], 0


def _axes(node: Node) -> tuple:
    """Returns the axes: an attribute up to version 12 of the operator set, then an input."""
    given = node.attributes.get("axes")
    node.require(len(node.inputs) == (2 if given is None else 1), "wants axes once")
    return node.numbers(1) if given is None else given


def _unsqueeze(node: Node):
    shape, axes = list(node.shape(0)), _axes(node)
    node.require(all(0 <= axis <= len(shape) for axis in axes) and len(axes) == 1, f"axes {axes[:8]}")
    shape.insert(axes[0], 1)
    return [tuple(shape)], 0


def _squeeze(node: Node):
    shape, axes = node.shape(0), _axes(node)
    node.require(all(0 <= axis < len(shape) and shape[axis] == 1 for axis in axes), f"axes {axes[:8]} of {shape}")
    return [tuple(size for axis, size in enumerate(shape) if axis not in axes)], 0


def _reduce(node: Node):
    """Returns the shape of a sum, or of the place of the largest number, along one axis."""
    shape = list(node.shape(0))
    axes = _axes(node) if node.kind == "ReduceSum" else (node.attributes["axis"],)
    node.require(len(axes) == 1 and node.attributes["keepdims"] == 1, "wants one axis that is kept")
    shape[checked_axis(node, axes[0], len(shape))] = 1
    return [tuple(shape)], 0


def _top_k(node: Node):
    shape, count = list(node.shape(0)), node.numbers(1)
    axis = checked_axis(node, node.attributes["axis"], len(shape))
    node.require(len(count) == 1 and 1 <= count[0] <= shape[axis], f"the first {count[:8]} of {shape[axis]}")
    shape[axis] = count[0]
    return [tuple(shape), tuple(shape)], 0


def _nms(node: Node):
    """Returns the shape of the largest answer: [most,3]; a runtime gives fewer rows."""
    boxes, scores, limit = node.shape(0), node.shape(1), node.numbers(2)
    node.require(len(node.inputs) == 5 and len(limit) == 1 and 0 <= limit[0] < 1 << 31, "wants limit and thresholds")
    fits = len(boxes) == len(scores) == 3 and boxes[::2] == (scores[0], 4) and boxes[1] == scores[2]
    node.require(fits, f"boxes {boxes} with scores {scores}")
    most = scores[0] * scores[1] * min(limit[0], scores[2])
    return [(most, 3)], most * scores[2]


def _slice(node: Node):
    node.require(len(node.inputs) == 4 or set(node.numbers(4)) == {1}, "wants starts, ends and axes, and steps of 1")
    return slice_shape(node, *(node.numbers(index) for index in (1, 2, 3)))


def _quantize(node: Node):
    """Returns the shape of numbers that are rounded to int8, or are made of them, with one scale or one for each channel."""
    shape, scale, zero = node.shape(0), node.shape(1), node.shape(2)
    axis = checked_axis(node, node.attributes.get("axis", 0), len(shape))
    wanted = {(), (1,), (shape[axis],)} if "axis" in node.attributes else {(), (1,)}
    node.require(len(node.inputs) == 3 and {scale, zero} <= wanted, f"scales {scale} and zero points {zero} for {shape}")
    return same(node)


def _cast(node: Node):
    node.require(node.attributes["to"] in _CASTS, f"to the type {node.attributes['to']}")
    return same(node)


def _reshape(node: Node):
    return [reshape_shape(node, node.shape(0), node.numbers(1), zero_copies=True)], 0


RULES = {
    **dict.fromkeys(("Sigmoid", "Exp"), same),
    **dict.fromkeys(("Relu", "Tanh", "Clip"), same),  # not written for the seven scales, but for layers of users' own
    **dict.fromkeys(("Add", "Sub", "Mul", "Min", "Max", "Equal", "Greater"), broadcast),
    **dict.fromkeys(("Div", "Pow"), broadcast),
    **dict.fromkeys(("ArgMax", "ReduceSum"), _reduce),
    "AveragePool": lambda node: pooling(node, **_window(node)),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Concat": lambda node: concat_shape(node, [node.shape(i) for i in range(len(node.inputs))], node.attributes["axis"]),
    "Conv": _conv,
    "DequantizeLinear": _quantize,
    "Gather": _gather,
    "MaxPool": lambda node: pooling(node, **_window(node)),
    "NonMaxSuppression": _nms,
    "QuantizeLinear": _quantize,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "TopK": _top_k,
    "Transpose": lambda node: transpose_shape(node, node.attributes["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": lambda node: broadcast(node, inputs=3),
}
"""Operators that the export writes, for the seven scales or for plain layers of users' own, and the shapes of their results."""
_WINDOW = {"kernel_shape": "ints", "strides": "ints", "pads": "ints", "dilations": "ints", "auto_pad": "s"}
_ATTRIBUTES = {
    "ArgMax": {"axis": "i", "keepdims": "i"},
    "AveragePool": _WINDOW,
    "BatchNormalization": {"epsilon": "f"},
    "Cast": {"to": "i"},
    "Concat": {"axis": "i"},
    "Conv": {**_WINDOW, "group": "i"},
    "DequantizeLinear": {"axis": "i"},
    "Gather": {"axis": "i"},
    "MaxPool": _WINDOW,
    "NonMaxSuppression": {"center_point_box": "i"},
    "QuantizeLinear": {"axis": "i"},
    "ReduceSum": {"axes": "ints", "keepdims": "i"},
    "Resize": dict.fromkeys(_DEFAULTS, "s"),
    "Squeeze": {"axes": "ints"},
    "TopK": {"axis": "i"},
    "Transpose": {"perm": "ints"},
    "Unsqueeze": {"axes": "ints"},
}
_OPTIONAL = {"pads", "dilations", "auto_pad", "axes"}
