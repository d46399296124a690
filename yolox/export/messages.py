"""The protobuf messages of ONNX and MINDIR, as far as an exported detector uses them; everything else is refused."""

from __future__ import annotations

import struct
from typing import Any

from attrs import frozen

from yolox.errors import ExportError
from yolox.wire import BYTES, FIXED32, VARINT, WireReader, read_varint

MAX_FIELDS = 1 << 19  # the largest scale has some 50,000
MAX_DEPTH = 12  # messages in messages; a detector has seven


@frozen
class Message:
    """A kind of message: fields that are read, and the names of fields that are refused."""

    name: str
    fields: dict[int, tuple[str, Any]]
    """Field number to name and kind: "int", "float", "text", "bytes" or a Message; a list of one kind repeats."""
    refused: dict[int, str] = {}  # noqa: RUF012
    """Names for messages of errors; a field in neither table is refused by its number."""


def read_message(data: bytes | memoryview, message: Message) -> dict[str, Any]:
    """Decodes a message whose every field is known.

    Native parsers accept unknown fields and merge repeated ones, so that a check of their result can miss what a
    later reader sees. This one refuses both.

    Args:
        data: the encoded message.
        message: its kind.

    Returns:
        Values by field name; repeated fields are lists and always present, others are missing where the file has none.
        Bytes are views of `data`.

    Raises:
        ExportError: a field that is not in `message.fields`, one of another type, or one that occurs twice.
        WeightsError: truncated, or more than MAX_FIELDS fields.
    """
    return _read(WireReader(most=MAX_FIELDS), memoryview(data), message, MAX_DEPTH)


def _read(reader: WireReader, data: memoryview, message: Message, depth: int) -> dict[str, Any]:
    if depth == 0:
        raise ExportError(f"messages are nested more than {MAX_DEPTH} deep")
    values: dict[str, Any] = {name: [] for name, kind in message.fields.values() if type(kind) is list}
    for number, form, value in reader.typed_fields(data):
        if number not in message.fields:
            what = message.refused.get(number, f"the unknown field {number}")
            raise ExportError(f"{message.name} has {what}, which no exported detector has")
        name, kind = message.fields[number]
        many = type(kind) is list
        kind = kind[0] if many else kind
        if many and kind in ("int", "float") and form == BYTES:
            values[name] += _packed(reader, value, kind)
            continue
        one = _one(reader, form, value, kind, depth)
        if one is None:
            raise ExportError(f"{message.name}: {name} is encoded as another type")
        if many:
            values[name].append(one)
        elif name in values:
            raise ExportError(f"{message.name}: {name} occurs twice")
        else:
            values[name] = one
    return values


def _one(reader: WireReader, form: int, value, kind, depth: int) -> Any:
    """Returns the decoded value, or None where the form does not belong to the kind."""
    if kind == "int":
        return _signed(value) if form == VARINT else None
    if kind == "float":
        return struct.unpack("<f", value)[0] if form == FIXED32 else None
    if form != BYTES:
        return None
    if kind == "bytes":
        return value
    return str(value, "utf-8") if kind == "text" else _read(reader, value, kind, depth - 1)


def _packed(reader: WireReader, data: memoryview, kind: str) -> list:
    if kind == "float":
        reader.spend(len(data) // 8)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    numbers, place = [], 0
    reader.spend(len(data) // 8)
    while place < len(data):
        number, place = read_varint(data, place)
        numbers.append(_signed(number))
    return numbers


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


# MindSpore: mindspore/core/proto/mind_ir.proto
_MINDIR_TENSOR = Message(
    "a tensor",
    {1: ("dims", ["int"]), 2: ("data_type", "int"), 7: ("name", "text"), 9: ("raw_data", "bytes"), 13: ("ref_key", "text"),
     16: ("compression_type", "int")},
    {12: "data in another file (external_data)", 14: "sizes that are not fixed", 15: "sizes that are not fixed",
     17: "quantisation"},
)  # fmt: skip
_SEQUENCE = Message("a tuple", {1: ("is_dyn_len", "int")}, {2: "elements of unknown number"})
_MINDIR_ATTRIBUTE = Message(
    "an attribute",
    {1: ("name", "text"), 2: ("f", "float"), 3: ("i", "int"), 5: ("s", "text"), 10: ("ints", ["int"]),
     11: ("strings", ["text"]), 12: ("tensors", [_MINDIR_TENSOR]), 16: ("type", "int"), 18: ("seq_info", _SEQUENCE)},
    {7: "a graph", 13: "graphs", 15: "a reference (ref_attr_name)", 19: "a functor", 20: "a graph holder"},
)  # fmt: skip
_MINDIR_ATTRIBUTE.fields[17] = ("values", [_MINDIR_ATTRIBUTE])  # an attribute may hold attributes
_MINDIR_VALUE = Message("an input or output", {1: ("name", "text"), 2: ("tensor", [_MINDIR_TENSOR])}, {5: "an attribute"})
_MINDIR_NODE = Message(
    "a node",
    {1: ("input", ["text"]), 2: ("output", ["text"]), 3: ("name", "text"), 4: ("op_type", "text"),
     5: ("attribute", [_MINDIR_ATTRIBUTE]), 7: ("domain", "text"), 8: ("node_attr", [_MINDIR_ATTRIBUTE])},
    {9: "attributes for training (primal_attr)"},
)  # fmt: skip
_MINDIR_GRAPH = Message(
    "the graph",
    {1: ("node", [_MINDIR_NODE]), 2: ("name", "text"), 3: ("parameter", [_MINDIR_TENSOR]), 5: ("input", [_MINDIR_VALUE]),
     6: ("output", [_MINDIR_VALUE]), 7: ("bprop_hash", "text"), 8: ("attribute", [_MINDIR_ATTRIBUTE]),
     9: ("bprop_filepath", "text")},
    {10: "tables of parameters (map_parameter)"},
)  # fmt: skip
_PRIMITIVE = Message(
    "a primitive",
    {1: ("name", "text"), 2: ("op_type", "text"), 3: ("attribute", [_MINDIR_ATTRIBUTE]), 4: ("instance_name", "text"),
     5: ("prim_type", "int")},
)  # fmt: skip
_ENTRY = Message("an entry of the metadata", {1: ("key", "text"), 2: ("value", "text")})
MINDIR_MODEL = Message(
    "the model",
    {1: ("ir_version", "text"), 2: ("producer_name", "text"), 5: ("model_version", "text"), 7: ("graph", _MINDIR_GRAPH),
     10: ("little_endian", "int"), 12: ("primitives", [_PRIMITIVE]), 13: ("mind_ir_version", "int"),
     14: ("user_info", [_ENTRY])},
    {8: "functions", 9: "a preprocessor", 11: "a layout of several devices"},
)  # fmt: skip

# ONNX: onnx/onnx.proto
_ONNX_TENSOR = Message(
    "a tensor",
    {1: ("dims", ["int"]), 2: ("data_type", "int"), 4: ("float_data", ["float"]), 7: ("int64_data", ["int"]),
     8: ("name", "text"), 9: ("raw_data", "bytes")},
    {13: "data in another file (external_data)", 14: "data in another file (data_location)"},
)  # fmt: skip
_ONNX_ATTRIBUTE = Message(
    "an attribute",
    {1: ("name", "text"), 2: ("f", "float"), 3: ("i", "int"), 4: ("s", "text"), 5: ("t", _ONNX_TENSOR), 8: ("ints", ["int"]),
     20: ("type", "int")},
    {6: "a graph", 11: "graphs", 21: "a reference (ref_attr_name)", 22: "a sparse tensor", 23: "sparse tensors"},
)  # fmt: skip
_ONNX_NODE = Message(
    "a node",
    {1: ("input", ["text"]), 2: ("output", ["text"]), 3: ("name", "text"), 4: ("op_type", "text"),
     5: ("attribute", [_ONNX_ATTRIBUTE]), 7: ("domain", "text")},
)  # fmt: skip
_DIM = Message("a size", {1: ("dim_value", "int"), 2: ("dim_param", "text")})
_SHAPE = Message("a shape", {1: ("dim", [_DIM])})
_TENSOR_TYPE = Message("a type", {1: ("elem_type", "int"), 2: ("shape", _SHAPE)})
_TYPE = Message("a type", {1: ("tensor_type", _TENSOR_TYPE)}, {4: "a sequence", 5: "a map", 9: "an optional value"})
_ONNX_VALUE = Message("an input or output", {1: ("name", "text"), 2: ("type", _TYPE)})
_ONNX_GRAPH = Message(
    "the graph",
    {1: ("node", [_ONNX_NODE]), 2: ("name", "text"), 5: ("initializer", [_ONNX_TENSOR]), 11: ("input", [_ONNX_VALUE]),
     12: ("output", [_ONNX_VALUE]), 13: ("value_info", [_ONNX_VALUE])},
    {14: "quantisation", 15: "sparse tensors"},
)  # fmt: skip
_OPSET = Message("an operator set", {1: ("domain", "text"), 2: ("version", "int")})
ONNX_MODEL = Message(
    "the model",
    {1: ("ir_version", "int"), 2: ("producer_name", "text"), 3: ("producer_version", "text"), 7: ("graph", _ONNX_GRAPH),
     8: ("opset_import", [_OPSET]), 14: ("metadata_props", [_ENTRY])},
    {20: "training information", 25: "functions"},
)  # fmt: skip
