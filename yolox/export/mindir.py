"""Reads, writes and checks MINDIR files: MindSpore runs what a file names, so only an exported detector passes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from yolox.errors import ExportError
from yolox.export.messages import MINDIR_MODEL, read_message
from yolox.export.onnx_file import lax_syntax
from yolox.export.shape_rules import (
    MAX_NODES,
    Budget,
    Node,
    Shape,
    Value,
    broadcast,
    concat_shape,
    convolution,
    last_uses,
    pooling,
    reshape_shape,
    same,
    slice_shape,
    transpose_shape,
)

FLOAT = 1  # TensorProto.DataType
_FLOAT, _BOOL, _INT64, _STRING, _TENSORS, _TUPLE, _LIST, _MONAD = 1, 9, 7, 8, 19, 20, 21, 23  # AttributeProto.AttributeType
_GRAPH_FLAGS = {
    "has_shard", "flash_sp_send_recv_has_attached", "check_set_strategy_valid_once_only", "FLASH_SP_RUN_ONCE_ONLY",
    "FIAS_SP_RUN_ONCE_ONLY", "less_bn", "training", "auto_parallel_finish_pre_action",
}  # fmt: skip
_GRAPH_TEXTS = {"phase", "compile_phase"}
_NAMES = {"input_names", "output_names"}
_ATTRIBUTES = {
    "Conv2D": {"kernel_size", "mode", "out_channel", "pad", "pad_mode", "format", "pad_list", "groups", "group", "stride",
               "dilation"},
    "MaxPool": {"kernel_size", "strides", "pad_mode", "format"},
    "Depend": {"side_effect_propagate"},
}  # fmt: skip


def check_mindir(data: bytes) -> tuple[dict[str, str], Shape, list[Shape]]:
    """Checks that a MINDIR file holds a detector and nothing else, before anything native sees it.

    `mindspore.load` runs what a file asks for: `PyExecute` is Python text, `Custom` names a library to load. Accepted are
    the primitives that the export of this library writes, with their attributes; each shape is computed and compared
    with the one that the file states.

    Args:
        data: the whole file.

    Returns:
        Entries of the metadata, shape of the input [B,3,H,W], and the shape of the one output.

    Raises:
        ExportError: a primitive, attribute or field that an exported detector does not have; numbers in another file;
            shapes that do not agree, or pass the limits of `shape_rules`.
        WeightsError: no protobuf message, or too many fields.
    """
    model = read_message(data, MINDIR_MODEL)
    graph = model.get("graph")
    if graph is None or model.get("little_endian", 0) != 1:
        raise ExportError("has no graph, or its numbers are not in little-endian byte order")
    if graph.get("bprop_filepath") or graph.get("bprop_hash"):
        raise ExportError("the graph names a file of gradients (bprop_filepath)")
    _check_flags(graph["attribute"])
    primitives = _primitives(model["primitives"])
    shape, values = _inputs(graph)
    _check_nodes(graph["node"], primitives, values)
    metadata = {entry.get("key", ""): entry.get("value", "") for entry in model["user_info"]}
    return metadata, shape, [_output(graph, values)]


def _check_flags(attributes: list[dict]) -> None:
    for attribute in attributes:
        name, kind = attribute.get("name", ""), attribute.get("type")
        known = (name in _GRAPH_FLAGS and kind == _BOOL) or (name in _GRAPH_TEXTS and kind == _STRING)
        if not known or attribute["values"] or attribute["tensors"]:
            raise ExportError(f"the graph has the attribute {name[:80]!r}, which no exported detector has")


def _primitives(entries: list[dict]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Returns kind and attributes of each primitive by the name under which nodes refer to it."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for entry in entries:
        kind, name = entry.get("op_type", ""), entry.get("name", "")
        if kind not in RULES:
            raise ExportError(f"has the primitive {kind[:80]!r}, which no exported detector has; nothing was loaded")
        if name in found:
            raise ExportError(f"has two primitives of the name {name[:80]!r}")
        attributes = {}
        for attribute in entry["attribute"]:
            key = attribute.get("name", "")
            if key not in _ATTRIBUTES.get(kind, ()) and key not in _NAMES or key in attributes:
                raise ExportError(f"the primitive {kind} has the attribute {key[:80]!r}, which no exported detector has")
            attributes[key] = _plain(attribute)
        found[name] = kind, attributes
    return found


def _plain(attribute: dict) -> Any:
    """Returns an attribute as a number, a text, a tuple of them, or a shape; nothing else is accepted."""
    kind = attribute.get("type")
    if kind in (_BOOL, _INT64):
        return attribute["ints"][0] if attribute["ints"] else attribute.get("i", 0)
    if kind == _FLOAT:
        return attribute.get("f", 0.0)
    if kind == _STRING:
        return attribute["strings"][0] if attribute["strings"] else attribute.get("s", "")
    if kind in (_TUPLE, _LIST):
        return tuple(_plain(value) for value in attribute["values"])
    if kind == _TENSORS and len(attribute["tensors"]) == 1:
        return _tensor_shape(attribute["tensors"][0])
    raise ExportError(f"an attribute {attribute.get('name', '')[:80]!r} is of the type {kind}, which no detector has")


def _tensor_shape(tensor: dict) -> Shape:
    shape = tuple(tensor["dims"])
    if tensor.get("data_type") != FLOAT or min(shape, default=1) < 1 or len(shape) > 8:
        raise ExportError(f"a tensor of type {tensor.get('data_type')} and shape {shape[:8]}, want float32")
    return shape


def _stored_shape(tensor: dict) -> Shape:
    """Returns the shape of a tensor whose numbers are in the file, all of them."""
    shape, size = _tensor_shape(tensor), len(tensor.get("raw_data", b""))
    if math.prod(shape) * 4 != size or tensor.get("compression_type", 0):
        name = tensor.get("name", "")[-80:]
        raise ExportError(f"tensor {name!r} has the shape {shape} of float32, the file holds {size} bytes")
    return shape


def _inputs(graph: dict) -> tuple[Shape, dict[str, Value]]:
    if len(graph["input"]) != 1 or len(graph["input"][0]["tensor"]) != 1 or not graph["parameter"]:
        raise ExportError("wants one input, a tensor, and parameters in the file")
    tensor = graph["input"][0]["tensor"][0]
    shape = _tensor_shape(tensor)
    if len(shape) != 4 or "raw_data" in tensor:
        raise ExportError(f"the input has the shape {shape}, want [B,C,H,W]")
    values = {graph["input"][0].get("name", ""): Value(shape=shape)}
    for tensor in graph["parameter"]:
        name = tensor.get("name", "")
        if name in values:
            raise ExportError(f"two values of the name {name[-80:]!r}")
        values[name] = Value(shape=_stored_shape(tensor), parameter=True)
    return shape, values


def _check_nodes(nodes: list[dict], primitives: Mapping[str, tuple], values: dict[str, Value]) -> None:
    """Checks the nodes in their order and adds their results to `values`."""
    if len(nodes) > MAX_NODES:
        raise ExportError(f"has {len(nodes)} nodes, more than the limit of {MAX_NODES}")
    budget, held = Budget(), {}
    for entry, finished in zip(nodes, last_uses([node["input"] for node in nodes]), strict=True):
        kind, attributes = _kind(entry, primitives)
        unknown = [name for name in entry["input"] if name not in values]
        if unknown or len(entry["output"]) != 1 or entry["output"][0] in values:
            raise ExportError(f"the operation {kind}: reads what no node before it makes, or does not give one new value")
        node, output = Node(kind, [values[name] for name in entry["input"]], attributes), entry["output"][0]
        if kind == "Constant":
            values[output] = _constant(entry)
            continue
        if kind in _WITHOUT_MEMORY:
            values[output] = _WITHOUT_MEMORY[kind](node)
        else:
            shapes, work = RULES[kind](node)
            budget.hold(node, shapes, work=work)
            several = tuple(Value(shape=shape) for shape in shapes)
            values[output], held[output] = several[0] if len(several) == 1 else Value(items=several), shapes
        node.require(_stated(entry) == _shape_of(values[output]), f"the file states {_stated(entry)} for the shape of its "
                     f"result, it is {_shape_of(values[output])}")  # fmt: skip
        for name in finished:
            budget.release(held.pop(name, ()))


def _kind(entry: dict, primitives: Mapping[str, tuple]) -> tuple[str, dict]:
    """Returns the primitive of a node: nodes name them as `REF::<name>`, others hold a constant."""
    name = entry.get("op_type", "")
    if [a.get("name") for a in entry["attribute"]] != ["value" if name == "Constant" else "shape"]:
        raise ExportError(f"the operation {name[:80]!r} has attributes that no exported detector has")
    if any(a.get("name") != "checkpoint" or a.get("type") != _BOOL for a in entry["node_attr"]):
        raise ExportError(f"the operation {name[:80]!r} has attributes that no exported detector has")
    if name == "Constant":
        return name, {}
    if not name.startswith("REF::") or name[5:] not in primitives:
        raise ExportError(f"has the operation {name[:80]!r}, which no exported detector has; nothing was loaded")
    return primitives[name[5:]]


def _constant(entry: dict) -> Value:
    (attribute,) = entry["attribute"]
    if attribute.get("type") == _MONAD:
        return Value()
    if attribute.get("type") == _TENSORS and len(attribute["tensors"]) == 1:
        return Value(shape=_stored_shape(attribute["tensors"][0]))
    numbers = _plain(attribute)
    numbers = numbers if isinstance(numbers, tuple) else (numbers,)
    if not all(isinstance(number, int | float) for number in numbers):
        raise ExportError("a constant is neither a tensor nor numbers")
    return Value(numbers=numbers)


def _stated(entry: dict) -> Any:
    (attribute,) = entry["attribute"]
    return None if attribute.get("type") == _MONAD else _plain(attribute)


def _shape_of(value: Value) -> Any:
    return tuple(item.shape for item in value.items) if value.items is not None else value.shape


def _output(graph: dict, values: Mapping[str, Value]) -> Shape:
    outputs = graph["output"]
    if len(outputs) != 1 or len(outputs[0]["tensor"]) != 1:
        raise ExportError("wants one output, a tensor")
    stated, value = _tensor_shape(outputs[0]["tensor"][0]), values.get(outputs[0].get("name", ""), Value())
    if value.shape != stated:
        raise ExportError(f"states an output of the shape {stated}, it is {value.shape}")
    return stated


def _load(node: Node) -> Value:
    node.require(len(node.inputs) == 2 and node.inputs[0].parameter, "wants a parameter")
    return Value(shape=node.shape(0))


def _make_tuple(node: Node) -> Value:
    for index in range(len(node.inputs)):
        node.shape(index)
    return Value(items=tuple(node.inputs))


def _concat(node: Node):
    node.require(len(node.inputs) == 2 and node.inputs[0].items is not None, "wants a tuple of tensors")
    return concat_shape(node, [item.shape for item in node.inputs[0].items], node.numbers(1)[0])


def _pads(node: Node, key: str) -> Shape:
    pads = node.attributes.get(key, (0, 0, 0, 0))
    node.require(isinstance(pads, tuple) and len(pads) == 4 and all(isinstance(p, int) for p in pads), f"{key} is {pads}")
    return pads


def _pair(node: Node, key: str) -> tuple[int, int]:
    """Returns height and width of an attribute that holds them behind two ones, or alone."""
    pair = node.attributes.get(key)
    node.require(isinstance(pair, tuple) and all(isinstance(size, int) for size in pair), f"{key} is {pair}")
    node.require(len(pair) == 2 or (len(pair) == 4 and pair[:2] == (1, 1)), f"{key} is {pair}")
    return pair[-2:]


def _window(node: Node, strides: str) -> dict:
    node.require(node.attributes.get("format") == "NCHW", "wants the format NCHW")
    mode = str(node.attributes.get("pad_mode")).lower()
    node.require(mode in ("same", "valid", "pad"), f"pad_mode is {mode[:20]}")
    return {"kernel": _pair(node, "kernel_size"), "stride": _pair(node, strides), "same": mode == "same"}


def _conv2d(node: Node):
    attributes = node.attributes
    window, dilation, weight = _window(node, "stride"), _pair(node, "dilation"), node.shape(1)
    group = attributes.get("group")
    node.require(isinstance(group, int) and attributes.get("groups", group) == group, "wants one number of groups")
    node.require(attributes.get("out_channel") == weight[0] and attributes.get("mode") == 1, "another weight, or mode")
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, window["kernel"], strict=True)]
    computed = _pads(node, "pad_list")
    node.require(all(0 <= pad < max(max(reach), 2) for pad in computed), f"pad_list is {computed}")
    pads = _pads(node, "pad") if str(attributes["pad_mode"]).lower() == "pad" else None
    return convolution(node, group=group, dilation=dilation, pads=pads, **window)


def _max_pool(node: Node):
    return pooling(node, dilation=(1, 1), pads=None, **_window(node, "strides"))


def _bias_add(node: Node):
    shape = node.shape(0)
    node.require(len(shape) > 1 and node.shape(1) == (shape[1],), f"a bias of {node.shape(1)} for {shape}")
    return [shape], 0


def _batch_norm(node: Node):
    shape = node.shape(0)
    node.require(len(node.inputs) == 9 and node.numbers(5) == (0,) and node.numbers(8) == (0,), "wants inference and NCHW")
    node.require({node.shape(index) for index in range(1, 5)} == {shape[1:2]}, f"other statistics than for {shape}")
    return [shape, *[shape[1:2]] * 4], 0


def _tuple_item(node: Node):
    items, index = node.inputs[0].items if node.inputs else None, node.numbers(1)[0]
    node.require(items is not None and 0 <= index < len(items), f"item {index} of no tuple, or beyond it")
    return [items[index].shape], 0


def _reshape(node: Node):
    return [reshape_shape(node, node.shape(0), node.numbers(1))], 0


def _broadcast_to(node: Node):
    shape, target = node.shape(0), node.numbers(1)
    node.require(len(shape) == len(target), f"from {shape} to {target[:8]}")
    node.require(all(new == old or old == 1 <= new for old, new in zip(shape, target, strict=True)), f"to {target[:8]}")
    return [tuple(target)], 0


def _strided_slice(node: Node):
    shape = node.shape(0)
    begin, end, strides = (node.numbers(index) for index in (1, 2, 3))
    masks = [node.numbers(index)[0] for index in range(4, len(node.inputs))]
    node.require(set(strides) == {1} and not any(masks[2:]) and len(masks) == 5, "wants plain ranges")
    node.require(len(begin) == len(end) == len(strides) <= len(shape), "begin, end and strides differ in length")
    starts = [0 if masks[0] >> axis & 1 else value for axis, value in enumerate(begin)]
    ends = [shape[axis] if masks[1] >> axis & 1 else value for axis, value in enumerate(end)]
    return slice_shape(node, starts, ends, range(len(begin)))


_WITHOUT_MEMORY = {
    "Load": _load,
    "MakeTuple": _make_tuple,
    "UpdateState": lambda node: Value(),
    "Depend": lambda node: Value(shape=node.shape(0)),
}
RULES = {
    **dict.fromkeys(("SiLU", "Sigmoid", "Exp"), same),
    # not written for the seven scales, but for layers of users' own
    **dict.fromkeys(("ReLU", "ReLU6", "HSwish", "HSigmoid", "Tanh", "Mish", "GeLU"), same),
    **dict.fromkeys(("Add", "Mul", "Minimum", "Maximum"), broadcast),
    **_WITHOUT_MEMORY,
    "BatchNorm": _batch_norm,
    "BiasAdd": _bias_add,
    "BroadcastTo": _broadcast_to,
    "Concat": _concat,
    "Conv2D": _conv2d,
    "MaxPool": _max_pool,
    "Reshape": _reshape,
    "StridedSlice": _strided_slice,
    "TupleGetItem": _tuple_item,
    "Transpose": lambda node: transpose_shape(node, node.numbers(1)),
}
"""Primitives that the export writes, for the seven scales or for plain layers of users' own, and the shapes of their results."""


def write_mindir(cell: nn.Cell, path: Path, *, shape: tuple[int, ...], text: Mapping[str, str]) -> None:
    """Writes a Cell of one input and one output as MINDIR.

    Args:
        cell: float32 tensor of `shape` to one tensor.
        path: the file, ending in `.mindir`.
        shape: of the input; MINDIR files take no other.
        text: entries for the file's `user_info`.
    """

    def describe(model) -> None:
        for name, value in text.items():
            if _is_list(model.user_info):
                model.user_info.add(key=name, value=value)
            else:
                model.user_info[name] = value

    with lax_syntax():
        images = Tensor(np.zeros(shape, np.float32))
        ms.export(cell, images, file_name=str(path), file_format="MINDIR", custom_func=describe)


def read_mindir_text(path: Path) -> tuple[dict[str, str], tuple[int, ...]]:
    """Reads description and input shape of a MINDIR file.

    Args:
        path: of the file.

    Returns:
        Entries by name, and the shape of the first input, (B, 3, H, W).

    Raises:
        ExportError: the file is no MINDIR.
    """
    from mindspore.train.mind_ir_pb2 import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
        shape = tuple(model.graph.input[0].tensor[0].dims)
    except Exception as error:  # protobuf's own types, and IndexError for an empty graph
        raise ExportError(f"{path}: damaged or no MINDIR file ({type(error).__name__})") from error
    entries = model.user_info
    return ({entry.key: entry.value for entry in entries} if _is_list(entries) else dict(entries)), shape


def _is_list(user_info) -> bool:
    """Returns whether this MindSpore reads the entries as a list of pairs (2.7), not as a map; the file is the same."""
    return hasattr(user_info, "add")
