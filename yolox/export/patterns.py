"""Reshapes that stand for a known operation, given its name: other runtimes have a fast form of it.

MindSpore writes the doubling and the halving of maps as reshape, move, reshape. In ONNX Runtime these two cost as
much as a quarter of nano's convolutions; as Resize and SpaceToDepth they cost next to nothing.
"""

from __future__ import annotations

import numpy as np


def name_patterns(model, onnx) -> None:
    """Replace doublings by Resize and halvings by SpaceToDepth, where their shapes leave no doubt.

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
    """List the small constants of a graph by name: initializers and Constant nodes of whole numbers.

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
    """Triples of nodes in a row that nothing else reads: Reshape, Expand or Transpose, Reshape."""
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
    """[B,C,H,1,W,1] to [B,C,H,2,W,2]."""
    if expanded is None or len(expanded) != 6 or (shape[3], shape[5]) != (1, 1):
        return False
    return (expanded[3], expanded[5]) == (2, 2) and all(expanded[i] in (1, shape[i]) for i in (0, 1, 2, 4))


def _halves(shape, transpose, onnx) -> bool:
    """[B,C,H,2,W,2] with the columns of a cell moved first, then its rows."""
    (order,) = (onnx.helper.get_attribute_value(a) for a in transpose.attribute if a.name == "perm")
    return (shape[3], shape[5]) == (2, 2) and list(order) == [0, 5, 3, 1, 2, 4]


def _resize(graph, onnx, given: str, made: str, number: int) -> list:
    name = f"doubled_{number}"
    for end, values in (("roi", []), ("scales", [1, 1, 2, 2])):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, np.float32), f"{name}_{end}"))
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return [onnx.helper.make_node("Resize", [given, f"{name}_roi", f"{name}_scales"], [made], name=name, **how)]


def _space_to_depth(graph, onnx, given: str, made: str, channels: int, number: int) -> list:
    """ONNX counts the cell's pixels row by row, the detector column by column."""
    name = f"halved_{number}"
    order = np.arange(4 * channels).reshape(2, 2, channels).transpose(1, 0, 2).ravel()
    graph.initializer.append(onnx.numpy_helper.from_array(order, f"{name}_order"))
    return [
        onnx.helper.make_node("SpaceToDepth", [given], [f"{name}_rows"], name=f"{name}_cells", blocksize=2),
        onnx.helper.make_node("Gather", [f"{name}_rows", f"{name}_order"], [made], name=name, axis=1),
    ]
