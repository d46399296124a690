"""A Cell as an ONNX file: MindSpore writes the graph, this adds names, a free batch and the description."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from yolox.errors import ExportError

INPUT, OUTPUT = "images", "predictions"
_LEVEL = "MS_DEV_JIT_SYNTAX_LEVEL"


def write_onnx(
    cell: nn.Cell, path: Path, *, shape: tuple[int, ...], text: Mapping[str, str], dynamic: bool
) -> None:
    """Writes a Cell of one input and one output as ONNX.

    Args:
        cell: float32 tensor of `shape` to one tensor; both begin with the batch.
        path: the file, ending in `.onnx`.
        shape: of the input.
        text: entries for the file's metadata.
        dynamic: whether the file takes any number of images; `shape` then begins with 1.

    Raises:
        ExportError: the package onnx is missing, or an operation of the Cell has no ONNX form.
    """
    onnx = import_onnx()
    _save(cell, path, shape)
    model = onnx.load(path)
    _rename(model.graph)
    name_patterns(model, onnx)
    if dynamic:
        free_batch(model)
    _drop_unread(model.graph)
    del model.graph.value_info[:]
    onnx.helper.set_model_props(model, dict(text))
    model.producer_name = "yolox-mindspore"
    onnx.checker.check_model(model)
    onnx.save(model, path)


def import_onnx():
    """Imports the optional package, with a message on how to install it.

    Returns:
        The module `onnx`.

    Raises:
        ExportError: it is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise ExportError("ONNX needs two more packages: pip install -c constraints.txt -e '.[onnx]' in the repository") from None
    return onnx


def free_batch(model) -> None:
    """Changes a graph that was traced with one image so that it takes any number.

    Shapes of inputs and outputs get a name in place of the 1, and every Reshape copies its first dimension
    from its input. Constants of the graph are changed only where a Reshape reads them.

    Args:
        model: an onnx.ModelProto; changed in place.

    Raises:
        ExportError: a Reshape moves the batch away from the front.
    """
    onnx = import_onnx()
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


def _drop_unread(graph) -> None:
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    for node in [node for node in graph.node if node.op_type == "Constant" and node.output[0] not in read]:
        graph.node.remove(node)


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


def _rename(graph) -> None:
    """Renames input and output of the graph, which MindSpore names after its own nodes."""
    names = {graph.input[0].name: INPUT, graph.output[0].name: OUTPUT}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    graph.input[0].name, graph.output[0].name, graph.name = INPUT, OUTPUT, "yolox"


def name_patterns(model, onnx) -> None:
    """Replaces doublings by Resize and halvings by SpaceToDepth, where their shapes leave no doubt.

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
        if middle.op_type == "Expand" and _doubles(shape, constants.get(middle.input[1])):
            new = _resize(graph, onnx, first.input[0], last.output[0], number)
        elif middle.op_type == "Transpose" and _halves(shape, middle, onnx):
            new = _space_to_depth(graph, onnx, first.input[0], last.output[0], int(shape[1]), number)
        else:
            continue
        place = list(graph.node).index(last)
        for node in (first, middle, last):
            graph.node.remove(node)
        for offset, node in enumerate(new):
            graph.node.insert(place - 2 + offset, node)


def constants_of(graph, onnx) -> dict[str, np.ndarray]:
    """Returns the small constants of a graph by name: initializers and Constant nodes of whole numbers.

    Args:
        graph: GraphProto.
        onnx: the module.

    Returns:
        Arrays by the name under which nodes take them.
    """
    found = {t.name: t for t in graph.initializer if t.data_type == onnx.TensorProto.INT64}
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = next(a.t for a in node.attribute if a.name == "value")
    return {name: onnx.numpy_helper.to_array(tensor) for name, tensor in found.items()}


def _chains(graph):
    """Returns triples of nodes in a row that nothing else reads: Reshape, Expand or Transpose, Reshape."""
    readers: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = []
    for first in graph.node:
        middle = _only(readers, first, "Reshape", ("Expand", "Transpose"))
        last = middle and _only(readers, middle, middle.op_type, ("Reshape",))
        if last:
            found.append((first, middle, last))
    return found


def _only(readers, node, kind: str, following: tuple[str, ...]):
    after = readers.get(node.output[0], [])
    fits = node.op_type == kind and len(after) == 1 and after[0].op_type in following
    return after[0] if fits and after[0].input[0] == node.output[0] else None


def _doubles(shape, expanded) -> bool:
    """Returns whether shapes go from [B,C,H,1,W,1] to [B,C,H,2,W,2]."""
    if expanded is None or len(expanded) != 6 or (shape[3], shape[5]) != (1, 1):
        return False
    return (expanded[3], expanded[5]) == (2, 2) and all(expanded[i] in (1, shape[i]) for i in (0, 1, 2, 4))


def _halves(shape, transpose, onnx) -> bool:
    """Returns whether [B,C,H,2,W,2] is transposed to the columns of a cell first, then its rows."""
    (order,) = (onnx.helper.get_attribute_value(a) for a in transpose.attribute if a.name == "perm")
    return (shape[3], shape[5]) == (2, 2) and list(order) == [0, 5, 3, 1, 2, 4]


def _resize(graph, onnx, given: str, made: str, number: int) -> list:
    name = f"doubled_{number}"
    for end, values in (("roi", []), ("scales", [1, 1, 2, 2])):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, np.float32), f"{name}_{end}"))
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return [onnx.helper.make_node("Resize", [given, f"{name}_roi", f"{name}_scales"], [made], name=name, **how)]


def _space_to_depth(graph, onnx, given: str, made: str, channels: int, number: int) -> list:
    """Returns the nodes of a space-to-depth: ONNX counts the cell's pixels row by row, the detector column by column."""
    name = f"halved_{number}"
    order = np.arange(4 * channels).reshape(2, 2, channels).transpose(1, 0, 2).ravel()
    graph.initializer.append(onnx.numpy_helper.from_array(order, f"{name}_order"))
    return [
        onnx.helper.make_node("SpaceToDepth", [given], [f"{name}_rows"], name=f"{name}_cells", blocksize=2),
        onnx.helper.make_node("Gather", [f"{name}_rows", f"{name}_order"], [made], name=name, axis=1),
    ]
