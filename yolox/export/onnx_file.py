"""A Cell as an ONNX file: MindSpore writes the graph, this adds names, a free batch and the description."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from yolox.environment import import_extra
from yolox.errors import ExportError

INPUT, OUTPUT = "images", "predictions"
OLDEST, NEWEST = 11, 21
"""Versions of the operator set that can be written; MindSpore writes the first."""
_LEVEL = "MS_DEV_JIT_SYNTAX_LEVEL"


def write_onnx(
    cell: nn.Cell,
    path: Path,
    *,
    shape: tuple[int, ...],
    text: Mapping[str, str],
    dynamic: bool,
    output: str = OUTPUT,
    half: bool = False,
) -> None:
    """Writes a Cell of one input and one output as ONNX.

    Args:
        cell: float32 tensor of `shape` to one tensor; both begin with the batch.
        path: the file, ending in `.onnx`.
        shape: of the input.
        text: entries for the file's metadata.
        dynamic: whether the file takes any number of images; `shape` then begins with 1.
        output: name of the output.
        half: whether the network computes in float16; input, decoding and output stay float32.

    Raises:
        ExportError: the package onnx is missing, or an operation of the Cell has no ONNX form.
    """
    onnx = import_extra("onnx", "onnx")
    _save(cell, path, shape)
    model = onnx.load(path)
    _rename(model.graph, output)
    _move_constants(model.graph, onnx)
    name_patterns(model, onnx)
    if dynamic:
        free_batch(model)
    _drop_unread(model.graph)
    del model.graph.value_info[:]
    name_nodes(model.graph)
    if half:
        _in_half_precision(model, onnx)
    onnx.helper.set_model_props(model, dict(text))
    model.producer_name = "yolox-mindspore"
    onnx.checker.check_model(model)
    onnx.save(model, path)


def name_nodes(graph) -> None:
    """Gives a name to every node that has none, or that of another: converters to float16 name what they add after nodes.

    Args:
        graph: GraphProto; changed in place.
    """
    taken = {node.name for node in graph.node}
    seen: set[str] = set()
    for number, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            name = f"{node.op_type}_{number}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
        seen.add(node.name)


def set_opset(path: Path, opset: int) -> None:
    """Rewrites a file for a later version of the standard operator set.

    Of the operators that the export writes, three differ between versions 11 and 21: from 13 on, Squeeze, Unsqueeze and
    ReduceSum take their axes as an input.

    Args:
        path: a file of `write_onnx`, with or without NMS, of version 11; replaced.
        opset: 11 to 21.
    """
    if opset == OLDEST:
        return
    onnx = import_extra("onnx", "onnx")
    model = onnx.load(path)
    for node in model.graph.node if opset >= 13 else ():
        axes = next((a for a in node.attribute if a.name == "axes"), None)
        if node.op_type in ("Squeeze", "Unsqueeze", "ReduceSum") and axes is not None:
            name = f"{node.name}_axes"
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(axes.ints, np.int64), name))
            node.input.append(name)
            node.attribute.remove(axes)
    model.opset_import[0].version = opset
    model.ir_version = max(model.ir_version, onnx.helper.find_min_ir_version_for(model.opset_import))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _in_half_precision(model, onnx) -> None:
    """Changes everything up to the last convolution to float16; decoding keeps float32, for pixels need more digits."""
    graph, kinds = model.graph, onnx.TensorProto
    nodes = list(graph.node)
    border = 1 + max(index for index, node in enumerate(nodes) if node.op_type == "Conv")
    network, behind = nodes[:border], nodes[border:]
    read_behind = {name for node in behind for name in node.input}
    # all but what Resize reads beside its images
    read = {name for node in network for name in (node.input[:1] if node.op_type == "Resize" else node.input)}
    for tensor in graph.initializer:
        if tensor.name in read and tensor.name not in read_behind and tensor.data_type == kinds.FLOAT:
            half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
    _rename_inputs(network, {INPUT: f"{INPUT}_half"})
    made = [name for node in network for name in node.output if name in read_behind]
    _rename_inputs(behind, {name: f"{name}_float" for name in made})
    casts = [onnx.helper.make_node("Cast", [name], [f"{name}_float"], name=f"{name}_cast", to=kinds.FLOAT) for name in made]
    first = onnx.helper.make_node("Cast", [INPUT], [f"{INPUT}_half"], name=f"{INPUT}_cast", to=kinds.FLOAT16)
    del graph.node[:]
    graph.node.extend([first, *network, *casts, *behind])


def _rename_inputs(nodes, names: Mapping[str, str]) -> None:
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]


def free_batch(model) -> None:
    """Changes a graph that was traced with one image so that it takes any number.

    Shapes of inputs and outputs get a name in place of the 1, and every Reshape copies its first dimension
    from its input. Constants of the graph are changed only where a Reshape reads them.

    Args:
        model: an onnx.ModelProto; changed in place.

    Raises:
        ExportError: a Reshape moves the batch away from the front.
    """
    onnx = import_extra("onnx", "onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    constants = constants_of(model.graph, onnx)
    for number, node in enumerate(model.graph.node):
        if node.op_type != "Reshape":
            continue
        target = constants[node.input[1]].copy()
        if target[0] != 1:
            raise ExportError(f"a dynamic batch: {node.name} reshapes to {target.tolist()}, want 1 first")
        target[0] = 0  # in ONNX: as long as the input
        name = f"reshape_{number}_shape"
        model.graph.initializer.append(onnx.numpy_helper.from_array(target.astype(np.int64), name))
        node.input[1] = name


def _move_constants(graph, onnx) -> None:
    """Makes initializers of constants, all as bytes: converters to float16 change the numbers of a node whoever reads them."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        graph.initializer.append(next(a.t for a in node.attribute if a.name == "value"))
        graph.initializer[-1].name = node.output[0]
        graph.node.remove(node)
    for tensor in graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))


def _drop_unread(graph) -> None:
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)


def _save(cell: nn.Cell, path: Path, shape: tuple[int, ...]) -> None:
    images = Tensor(np.zeros(shape, np.float32))
    try:
        with lax_syntax():
            if hasattr(ms, "onnx") and hasattr(ms.onnx, "export"):  # MindSpore 2.9 and later
                ms.onnx.export(cell, images, file_name=str(path))
            else:
                ms.export(cell, images, file_name=str(path), file_format="ONNX")
    except RuntimeError as error:
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        raise ExportError(f"ONNX: MindSpore cannot write this detector ({first})") from error


@contextmanager
def lax_syntax():
    """Sets the syntax level with which jitted steps are traced, for the exporter: the shape checks use methods of strings.

    MindSpore reads the level from the environment while it compiles, and exports with a stricter one.
    """
    before = os.environ.get(_LEVEL)
    os.environ[_LEVEL] = "2"
    try:
        yield
    finally:
        os.environ.pop(_LEVEL)
        if before is not None:
            os.environ[_LEVEL] = before


def _rename(graph, output: str) -> None:
    """Renames input and output of the graph, which MindSpore names after its own nodes."""
    names = {graph.input[0].name: INPUT, graph.output[0].name: output}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    graph.input[0].name, graph.output[0].name, graph.name = INPUT, output, "yolox"


def name_patterns(model, onnx) -> None:
    """Replaces doublings by Resize, where their shapes leave no doubt.

    Args:
        model: an onnx.ModelProto of MindSpore's exporter; changed in place.
        onnx: the package.
    """
    graph = model.graph
    constants = constants_of(graph, onnx)
    for number, (first, middle, last) in enumerate(_chains(graph)):
        shape = constants.get(first.input[1])
        if shape is None or len(shape) != 6:
            continue
        if not _doubles(shape, constants.get(middle.input[1])):
            continue
        new = _resize(graph, onnx, first.input[0], last.output[0], number)
        place = list(graph.node).index(last)
        for node in (first, middle, last):
            graph.node.remove(node)
        graph.node.insert(place - 2, new)


def constants_of(graph, onnx) -> dict[str, np.ndarray]:
    """Returns the constants of whole numbers of a graph by name.

    Args:
        graph: GraphProto.
        onnx: the module.

    Returns:
        Arrays by the name under which nodes take them.
    """
    return {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer if t.data_type == onnx.TensorProto.INT64}


def _chains(graph):
    """Returns triples of nodes in a row that nothing else reads: Reshape, Expand or Transpose, Reshape."""
    readers: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = []
    for first in graph.node:
        middle = _only(readers, first, "Reshape", "Expand")
        last = middle and _only(readers, middle, "Expand", "Reshape")
        if last:
            found.append((first, middle, last))
    return found


def _only(readers, node, kind: str, following: str):
    after = readers.get(node.output[0], [])
    fits = node.op_type == kind and len(after) == 1 and after[0].op_type == following
    return after[0] if fits and after[0].input[0] == node.output[0] else None


def _doubles(shape, expanded) -> bool:
    """Returns whether shapes go from [B,C,H,1,W,1] to [B,C,H,2,W,2]."""
    if expanded is None or len(expanded) != 6 or (shape[3], shape[5]) != (1, 1):
        return False
    return (expanded[3], expanded[5]) == (2, 2) and all(expanded[i] in (1, shape[i]) for i in (0, 1, 2, 4))


def _resize(graph, onnx, given: str, made: str, number: int):
    name = f"doubled_{number}"
    for end, values in (("roi", []), ("scales", [1, 1, 2, 2])):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, np.float32), f"{name}_{end}"))
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return onnx.helper.make_node("Resize", [given, f"{name}_roi", f"{name}_scales"], [made], name=name, **how)
