"""Detectors as OpenVINO files, an .xml with a .bin beside it: written from ONNX, checked, and opened."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from yolox.environment import import_extra
from yolox.errors import ExportError
from yolox.export.shape_rules import MAX_NODES, NUMBER_COST, Budget, Node, Shape, convolution_work, last_uses

MAX_XML_BYTES = 32 << 20
MAX_NUMBERS = 1 << 28  # of a value: 1 GiB of float32
LAYERS = frozenset(
    "Add AvgPool Clamp Concat Const Convert Convolution Divide Exp FakeQuantize GroupConvolution Interpolate MaxPool Maximum "
    "Minimum Multiply Parameter Power ReLU Reshape Result ShapeOf Sigmoid Slice Squeeze StridedSlice Subtract Swish Tanh "
    "Transpose Unsqueeze".split()
)
"""Layer types that the export writes, for the seven scales or for plain layers of users' own."""


def write_openvino(source: Path, path: Path, *, half: bool) -> None:
    """Converts an exported ONNX file.

    Args:
        source: the ONNX file; its metadata are kept.
        path: the `.xml`; the weights get the same name with `.bin`.
        half: whether weights are stored in float16; the processor decides in what it computes.

    Raises:
        ExportError: OpenVINO is missing.
    """
    openvino = import_extra("openvino", "openvino")
    with _full_instruction_set():
        openvino.save_model(openvino.convert_model(source), path, compress_to_fp16=half)


def check_openvino(xml: bytes, weights: bytes) -> tuple[dict[str, str], tuple[int | None, ...], list[tuple]]:
    """Checks that an OpenVINO file holds layers of a detector and nothing else, before OpenVINO sees it.

    Args:
        xml: the whole `.xml`.
        weights: the whole `.bin`.

    Returns:
        Entries of the metadata, shape of the input [B,3,H,W] (B is None where it is dynamic), and the shapes of the outputs
        (B is 1 where it is dynamic), as stated in the file. Shapes on the way are computed by OpenVINO (`_check_costs`).

    Raises:
        ExportError: declarations of entities, a layer type that an exported detector does not have or of an extension, too
            many layers, weights outside the `.bin`, a value of more than 2^28 numbers, several inputs, or nested graphs.
    """
    if b"<!" in xml.replace(b"\0", b""):  # in UTF-16, too
        raise ExportError("has declarations or comments, which no exported detector has")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise ExportError(f"is no XML ({error})") from error
    layers = root.findall("./layers/layer")
    if root.tag != "net" or root.findall(".//body") or len(layers) != len(root.findall(".//layer")):
        raise ExportError("wants one graph without nested ones")
    if len(layers) > MAX_NODES * 4:
        raise ExportError(f"has {len(layers)} layers, more than the limit of {MAX_NODES * 4}")
    for layer in layers:
        _check_layer(layer, len(weights))
    text = {entry.tag: entry.get("value", "") for entry in root.findall("./rt_info/framework/*")}
    inputs = [layer for layer in layers if layer.get("type") == "Parameter"]
    if len(inputs) != 1:
        raise ExportError(f"has {len(inputs)} inputs, want 1")
    (shape,) = _shapes(inputs[0], "output")
    results = [_shapes(layer, "input")[0] for layer in layers if layer.get("type") == "Result"]
    return text, shape, [(each[0] or 1, *each[1:]) for each in results]


def open_openvino(
    path: Path, xml: bytes | None, weights: bytes | None
) -> tuple[dict[str, str], int | None, Callable[[np.ndarray], tuple]]:
    """Opens a file in OpenVINO on the CPU, in float32 where it is not quantised.

    Args:
        path: the `.xml`, or an ONNX file.
        xml: its bytes, as they were checked; None reads the files.
        weights: bytes of the `.bin`; None where `xml` is ONNX.

    Returns:
        Entries of the metadata, the batch (None where it is dynamic), and a function from planes to outputs.

    Raises:
        ExportError: OpenVINO is missing, or cannot load the file.
    """
    openvino = import_extra("openvino", "openvino")
    core = openvino.Core()
    try:
        with _full_instruction_set():
            if xml is None:
                model = core.read_model(path)
            else:
                model = core.read_model(xml) if weights is None else core.read_model(xml, weights)
                _check_costs(model)
            compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from None
    except Exception as error:  # its errors share no base class with anything else
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ExportError(f"{path}: OpenVINO cannot load it ({first})") from error
    info = model.get_rt_info("framework").value if model.has_rt_info("framework") else {}
    request = compiled.create_infer_request()
    batch = model.inputs[0].partial_shape[0]

    def run(planes: np.ndarray) -> tuple:
        try:
            answer = request.infer([planes])
            return tuple(np.array(answer[output]) for output in compiled.outputs)
        except Exception as error:
            raise ExportError(f"{path}: OpenVINO cannot run it ({str(error).splitlines()[0]})") from error

    text = {name: getattr(value, "value", value) for name, value in info.items()}
    return text, batch.get_length() if batch.is_static else None, run


def _check_costs(model) -> None:
    """Checks the memory and the work of a model for one image, by the shapes that OpenVINO computes; nothing is run.

    The shapes that the file states are not taken: OpenVINO computes them anew when it reads the file.

    Raises:
        ExportError: a limit of `shape_rules` is passed, or a shape depends on more than the batch.
    """
    shape = model.inputs[0].get_partial_shape()
    if shape[0].is_dynamic:
        model = model.clone()
        model.reshape([1, *[axis.get_length() for axis in list(shape)[1:]]])
    operations = model.get_ordered_ops()
    sources = [[_source(value) for value in operation.input_values()] for operation in operations]
    budget, held, constants = Budget(), {}, set()
    for operation, inputs, finished in zip(operations, sources, last_uses(sources), strict=True):
        kind = operation.get_type_name()
        node = Node(kind, (), {})
        node.require(all(output.get_partial_shape().is_static for output in operation.outputs()), "gives a value of unknown size")
        shapes = [tuple(output.shape) for output in operation.outputs()]
        if kind == "Constant":  # its numbers are in the file
            constants.add(_source(operation.output(0)))
            continue
        budget.hold(node, shapes, work=_work(operation, shapes))
        is_constant = bool(inputs) and constants.issuperset(inputs)
        for output, made in zip(operation.outputs(), shapes, strict=True):
            if is_constant:  # computed once, and kept
                constants.add(_source(output))
            else:
                held[_source(output)] = [made]
        for name in finished:
            budget.release(held.pop(name, ()))


def _source(value) -> tuple[str, int]:
    return value.get_node().get_name(), value.get_index()


def _work(operation, shapes: list[Shape]) -> int:
    kind = operation.get_type_name()
    if kind in ("Convolution", "GroupConvolution"):
        weight = tuple(operation.input_value(1).shape)
        return convolution_work(shapes[0], weight[1 if kind == "Convolution" else 2 :])
    if kind in ("MaxPool", "AvgPool"):
        return NUMBER_COST * math.prod(shapes[0]) * math.prod(operation.get_attributes()["kernel"])
    return 0


def _check_layer(layer: ElementTree.Element, length: int) -> None:
    kind, version = layer.get("type", ""), layer.get("version", "")
    if kind not in LAYERS or not (version.startswith("opset") and version[5:].isdigit()):
        raise ExportError(f"has the layer {kind[:80]!r} of {version[:40]!r}, which no exported detector has; nothing was loaded")
    for shape in (*_shapes(layer, "input"), *_shapes(layer, "output")):
        if np.prod([float(size or 1) for size in shape]) > MAX_NUMBERS or any(size is not None and size < 0 for size in shape):
            raise ExportError(f"the layer {kind} has a value of the shape {shape[:8]}, want at most {MAX_NUMBERS} numbers")
    if kind == "Const":
        start, size = (int(layer.find("data").get(name)) for name in ("offset", "size"))
        if not 0 <= start <= start + size <= length:
            raise ExportError(f"a constant takes bytes {start} to {start + size}, the .bin has {length}")


def _shapes(layer: ElementTree.Element, side: str) -> list[tuple[int | None, ...]]:
    ports = layer.findall(f"./{side}/port")
    return [tuple(None if dim.text == "-1" else int(dim.text) for dim in port.findall("dim")) for port in ports]


@contextmanager
def _full_instruction_set():
    """Hides MindSpore's cap of the instruction set from OpenVINO, which reads the same variable and then fails on pools."""
    before = os.environ.pop("ONEDNN_MAX_CPU_ISA", None)
    try:
        yield
    finally:
        if before is not None:
            os.environ["ONEDNN_MAX_CPU_ISA"] = before
