"""Changes to exported files that make them run code, read other files or ask for too much; each is small to make."""

from __future__ import annotations

import onnx
from mindspore.train.mind_ir_pb2 import ModelProto
from onnx import helper

INT64, STRING, TUPLE, TENSORS, GRAPH = 7, 8, 20, 19, 18


def _primitive(model, kind: str, **attributes: str) -> str:
    primitive = model.primitives.add(name=f"{kind}:9999", op_type=kind, prim_type=1)
    for name, value in attributes.items():
        primitive.attribute.add(name=name, s=value.encode(), type=STRING)
    return f"REF::{kind}:9999"


def _insert(model, op_type: str) -> None:
    """Puts a node before the last one: it takes what the last one takes first, and gives it on."""
    last = model.graph.node[-1]
    node = model.graph.node.add(input=[last.input[0]], output=["inserted"], name="inserted", op_type=op_type)
    node.attribute.add().CopyFrom(last.attribute[0])
    last.input[0] = "inserted"
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:-2], nodes[-1], nodes[-2]])


def _first(model, kind: str):
    return next(primitive for primitive in model.primitives if primitive.op_type == kind)


def _node(model, kind: str):
    names = {f"REF::{primitive.name}" for primitive in model.primitives if primitive.op_type == kind}
    return next(node for node in model.graph.node if node.op_type in names)


def _constant_of(model, node, index: int):
    return next(n for n in model.graph.node if n.output[0] == node.input[index]).attribute[0]


def _py_execute(model):
    _insert(model, _primitive(model, "PyExecute", script="__import__('os').system('touch it_ran')"))


def _custom(model):
    _insert(model, _primitive(model, "Custom", func_type="aot", func_name="/tmp/evil.so:run"))


def _custom_in_the_node(model):
    _insert(model, "Custom")


def _print(model):
    _insert(model, _primitive(model, "Print"))


def _unused_primitive(model):
    _primitive(model, "Custom", func_type="aot", func_name="/tmp/evil.so:run")


def _second_primitive(model):
    name = _first(model, "Exp").name
    model.primitives.add(name=name, op_type="Sigmoid", prim_type=1)


def _attribute(model):
    _first(model, "Conv2D").attribute.add(name="func_name", s=b"/tmp/evil.so:run", type=STRING)


def _graph_in_an_attribute(model):
    inner = _first(model, "Conv2D").attribute[0].values.add(type=GRAPH)
    inner.g.node.add(op_type="Custom")


def _reference(model):
    model.graph.node[1].attribute[0].ref_attr_name = "scalar:value0"


def _function(model):
    model.functions.add(name="f").node.add(op_type="PyExecute")


def _preprocessor(model):
    model.preprocessor.op.add(op_type="Decode")


def _external(model):
    tensor = model.graph.parameter[0]
    tensor.external_data.location, tensor.external_data.length = "/etc/passwd", 100


def _gradient_file(model):
    model.graph.bprop_filepath = "/tmp/evil.mindir"


def _graph_flag(model):
    model.graph.attribute.add(name="parallel_optimizer_file", s=b"/etc/passwd", type=STRING)


def _short_parameter(model):
    model.graph.parameter[0].raw_data = model.graph.parameter[0].raw_data[:-4]


def _long_parameter(model):
    model.graph.parameter[0].dims[0] *= 2


def _large_input(model):
    model.graph.input[0].tensor[0].dims[:] = [1, 3, 1 << 15, 1 << 15]


def _large_broadcast(model):
    node = _node(model, "BroadcastTo")
    _constant_of(model, node, 1).values[3].ints[0] = 1 << 40
    node.attribute[0].tensors[0].dims[3] = 1 << 40


def _stated_shape(model):
    _node(model, "Conv2D").attribute[0].tensors[0].dims[1] //= 2


def _pads(model):
    primitive = _first(model, "Conv2D")
    next(a for a in primitive.attribute if a.name == "pad_list").values[0].ints[0] = 1 << 30


def _groups(model):
    primitive = _first(model, "Conv2D")
    for attribute in primitive.attribute:
        if attribute.name in ("group", "groups"):
            attribute.i = 1 << 20


def _loop(model):
    node = _node(model, "SiLU")
    node.input[0] = node.output[0]


def _set_input(model, change):
    """MindSpore 2.7 has the metadata as a list of pairs, later ones as a map."""
    if not hasattr(model.user_info, "add"):
        model.user_info["input"] = change(model.user_info["input"])
        return
    entry = next(entry for entry in model.user_info if entry.key == "input")
    entry.value = change(entry.value)


def _description(model):
    _set_input(model, lambda text: text.replace("96", "160"))


def _deep_description(model):
    _set_input(model, lambda text: "[" * 100_000)


MINDIR = {
    "Python text": (_py_execute, "primitive 'PyExecute'"),
    "a library": (_custom, "primitive 'Custom'"),
    "a library, named by the node": (_custom_in_the_node, "operation 'Custom'"),
    "a library that nothing uses": (_unused_primitive, "primitive 'Custom'"),
    "another primitive": (_print, "primitive 'Print'"),
    "two primitives of a name": (_second_primitive, "two primitives"),
    "an attribute with a file": (_attribute, "Conv2D has the attribute 'func_name'"),
    "a graph in an attribute": (_graph_in_an_attribute, "an attribute has a graph"),
    "an attribute by reference": (_reference, "ref_attr_name"),
    "a function": (_function, "the model has functions"),
    "a preprocessor": (_preprocessor, "a preprocessor"),
    "numbers in another file": (_external, "external_data"),
    "gradients in another file": (_gradient_file, "bprop_filepath"),
    "an attribute of the graph": (_graph_flag, "the graph has the attribute"),
    "too few numbers": (_short_parameter, "the file holds"),
    "a shape beyond its numbers": (_long_parameter, "the file holds"),
    "a large input": (_large_input, "the limit"),
    "a large broadcast": (_large_broadcast, "the limit"),
    "a shape that is not true": (_stated_shape, "the file states"),
    "enormous pads": (_pads, "pad_list"),
    "more groups than channels": (_groups, "groups"),
    "a loop": (_loop, "reads what no node before it makes"),
    "a description that is not true": (_description, "its description states images"),
    "a deep description": (_deep_description, "its description is damaged"),
}
"""Name to a function that changes a `ModelProto`, and a part of the message."""


def change_mindir(data: bytes, change) -> bytes:
    """Returns the bytes of a MINDIR file after a change of its message."""
    model = ModelProto()
    model.ParseFromString(data)
    change(model)
    return model.SerializeToString()


def _onnx_node(kind: str, **attributes):
    def change(model):
        node = helper.make_node(kind, [model.graph.node[0].input[0]], ["extra"], **attributes)
        model.graph.node.insert(0, node)

    return change


def _body():
    value = helper.make_tensor_value_info("v", 1, [1])
    return helper.make_graph([helper.make_node("Identity", ["v"], ["w"])], "body", [value], [value])


def _domain(model):
    model.graph.node[0].domain = "com.microsoft"


def _operator_set(model):
    model.opset_import.add(domain="com.microsoft", version=1)


def _newer_operators(model):
    model.opset_import[0].version = 22


def _stated_onnx(model):
    model.graph.value_info.append(helper.make_tensor_value_info(model.graph.node[0].output[0], 1, [1 << 40]))


def _onnx_loop(model):
    first = model.graph.node[0]
    first.input[0] = first.output[0]


def _external_onnx(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    tensor.ClearField("raw_data")


def _function_onnx(model):
    model.functions.add(name="Conv")


def _graph_attribute(model):
    model.graph.node[0].attribute.append(helper.make_attribute("body", _body()))


def _onnx_attribute(model):
    model.graph.node[0].attribute.append(helper.make_attribute("library", "/tmp/evil.so"))


def _large_onnx_input(model):
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 1 << 15


def _scales(model):
    node = next(node for node in model.graph.node if node.op_type == "Resize")
    tensor = next(t for t in model.graph.initializer if t.name == node.input[2])
    tensor.CopyFrom(onnx.numpy_helper.from_array(_array([1, 1, 60000, 60000]), tensor.name))


def _doublings(model):
    """Each node is twice as large as the one before it; the file grows by a few bytes."""
    name = model.graph.input[0].name
    for i in range(40):
        model.graph.node.insert(i, helper.make_node("Concat", [name, name], [f"double_{i}"], axis=0))
        name = f"double_{i}"


def _outer_product(model):
    tensors = [onnx.numpy_helper.from_array(_array([0] * 60000).reshape(shape), f"t{shape}") for shape in ((-1, 1), (1, -1))]
    model.graph.initializer.extend(tensors)
    model.graph.node.insert(0, helper.make_node("Add", [tensor.name for tensor in tensors], ["outer"]))


def _onnx_pads(model):
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    pads = next(a for a in node.attribute if a.name == "pads")
    pads.ints[:] = [1 << 30] * 4


def _short_constant(model):
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]


def _strings(model):
    model.graph.initializer.append(helper.make_tensor("text", onnx.TensorProto.STRING, [1], [b"a"]))


def _sparse(model):
    sparse = model.graph.sparse_initializer.add(dims=[1 << 40])
    sparse.values.CopyFrom(onnx.numpy_helper.from_array(_array([1]), "s"))
    sparse.indices.CopyFrom(onnx.numpy_helper.from_array(_array([0]), "i"))


def _onnx_output(model):
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value += 1


def _onnx_names(model):
    next(entry for entry in model.metadata_props if entry.key == "class_names").value = '["only"]'


def _array(values):
    import numpy as np

    return np.array(values, np.float32)


ONNX = {
    "a loop": (_onnx_node("Loop", body=_body()), "an attribute has a graph"),
    "a branch": (_onnx_node("If", then_branch=_body(), else_branch=_body()), "an attribute has a graph"),
    "another operator": (_onnx_node("Tile"), "operator 'Tile'"),
    "an operator that the export does not write": (_onnx_node("SpaceToDepth", blocksize=2), "operator 'SpaceToDepth'"),
    "a value of another shape": (_stated_onnx, "states the shape"),
    "nodes in a circle": (_onnx_loop, "reads what no node before it makes"),
    "another domain": (_domain, "com.microsoft"),
    "another set of operators": (_operator_set, "operator sets"),
    "newer operators": (_newer_operators, "operator sets"),
    "numbers in another file": (_external_onnx, "external_data|data_location"),
    "a function": (_function_onnx, "the model has functions"),
    "a graph in an attribute": (_graph_attribute, "an attribute has a graph"),
    "another attribute": (_onnx_attribute, "Conv has the attribute|has the attribute 'library'"),
    "a large input": (_large_onnx_input, "the limit"),
    "large scales": (_scales, "with the scales"),
    "doublings": (_doublings, "the limit"),
    "an outer product": (_outer_product, "the limit"),
    "enormous pads": (_onnx_pads, "pads of"),
    "too few numbers": (_short_constant, "numbers"),
    "texts": (_strings, "type 8|string|unknown field"),
    "a sparse tensor": (_sparse, "sparse"),
    "an output of another shape": (_onnx_output, "states the shape"),
    "fewer names than classes": (_onnx_names, "its description states outputs"),
}
"""Name to a function that changes an `onnx.ModelProto`, and a part of the message."""


def change_onnx(data: bytes, change) -> bytes:
    """Returns the bytes of an ONNX file after a change of its message."""
    model = onnx.ModelProto.FromString(data)
    change(model)
    return model.SerializeToString()
