"""Static int8 quantisation: the error that layers are chosen by, the choice, and a file that is written or refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from tests.export.detectors import NAMES, SPEC, pictures, small_detector
from yolox.errors import ExportError
from yolox.export import export_detector, open_exported, write
from yolox.export.quantize import Int8Config, Quantized, convolution_work, largest_count, output_error


def rows_of(rng, shape=(2, 5)):
    return np.concatenate([rng.uniform(20, 60, (*shape, 4)), rng.uniform(0.1, 0.9, (*shape, 4))], axis=-1)


def slow_error(rows, wanted) -> float:
    """Computes the error of `output_error` row by row."""
    apart = changes = total = 0.0
    for row, want in zip(rows.reshape(-1, rows.shape[-1]), wanted.reshape(-1, rows.shape[-1]), strict=True):
        sides = []
        for axis in (0, 1):
            low = max(row[axis] - row[2 + axis] / 2, want[axis] - want[2 + axis] / 2)
            high = min(row[axis] + row[2 + axis] / 2, want[axis] + want[2 + axis] / 2)
            sides.append(max(high - low, 0))
        shared = sides[0] * sides[1]
        iou = shared / (row[2] * row[3] + want[2] * want[3] - shared)
        scores, best = [row[4] * p for p in row[5:]], [want[4] * p for p in want[5:]]
        weight = max(best)
        apart += weight * (1 - iou)
        changes += max(abs(a - b) for a, b in zip(scores, best, strict=True))
        total += weight
    return apart / total + changes / total


def test_output_error_is_that_of_single_rows():
    rng = np.random.default_rng(0)
    wanted, rows = rows_of(rng), rows_of(rng)
    assert output_error(rows, wanted) == pytest.approx(slow_error(rows, wanted), rel=1e-9)
    assert output_error(wanted, wanted) == pytest.approx(0, abs=1e-12)
    assert output_error(np.full_like(rows, np.nan), wanted) == float("inf")


@pytest.mark.parametrize("tolerance", [-1, 0, 0.35, 0.9, 5])
def test_largest_count_is_that_of_a_scan(tolerance):
    errors = [0.0, 0.1, 0.3, 0.4, 0.8, 1.2]
    scan = max([count for count, error in enumerate(errors) if error <= tolerance], default=0)
    assert largest_count(errors.__getitem__, 5, tolerance) == scan


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Report of the small detector in int8."""
    folder, detector = tmp_path_factory.mktemp("int8"), small_detector()
    config = Int8Config(images=list(pictures(4, seed=1)), evaluate=lambda exported: 0.5)
    settings = {"spec": SPEC, "class_names": NAMES, "precision": "int8", "int8": config}
    return export_detector(detector, folder / "a.onnx", **settings)


@pytest.mark.slow
def test_int8_file_agrees_roughly_and_passes_the_check(small):
    report = small.int8
    nodes = Counter(node.op_type for node in onnx.load(small.path).graph.node)
    assert nodes["DequantizeLinear"] > nodes["QuantizeLinear"] > 0
    assert nodes["Conv"] == len(report.int8_layers + report.float_layers)
    assert 0 < report.share <= 1 and 0 < report.error <= 0.2 and (report.ap, report.float_ap) == (0.5, 0.5)
    assert 1e-4 < small.difference < 1
    exported = open_exported(small.path)  # checked, as the file of a stranger
    assert exported.metadata.class_names == NAMES and exported(pictures(1)).shape == (1, 252, 8)
    model = onnx.shape_inference.infer_shapes(onnx.load(small.path))
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.INT8 in kinds and not any(entry.domain for entry in model.opset_import)


def test_work_of_a_convolution():
    """[1,3,8,8] to [1,4,4,4] by 3x3: 4*4*4 numbers of 27 products each; a depthwise one of 4 channels: 9 products each."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = [("w", (4, 3, 3, 3)), ("d", (4, 1, 3, 3))]
    tensors = [onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="one", strides=[2, 2], pads=[1] * 4),
        helper.make_node("Conv", ["y", "d"], ["z"], name="two", group=4, pads=[1] * 4),
        helper.make_node("Relu", ["z"], ["end"]),
    ]
    ends = [helper.make_tensor_value_info(name, kind, shape) for name, shape in (("x", [1, 3, 8, 8]), ("end", [1, 4, 4, 4]))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = onnx.shape_inference.infer_shapes(helper.make_model(graph))
    assert convolution_work(model) == {"one": 64 * 27, "two": 64 * 9}


@pytest.mark.slow
def test_a_file_whose_ap_falls_is_refused(tmp_path, monkeypatch):
    scores = iter([0.5, *[0.4] * 9])
    found = {"int8_layers": ("a",), "float_layers": (), "share": 0.5, "error": 0.1}
    monkeypatch.setattr(write, "make_quantizer", lambda path, *_, **__: lambda _: Quantized(model=onnx.load(path), **found))
    config = Int8Config(images=list(pictures(2, seed=1)), evaluate=lambda exported: next(scores))
    settings = {"spec": SPEC, "class_names": NAMES, "precision": "int8", "int8": config}
    with pytest.raises(ExportError, match=r"the AP falls from 0.5000 to 0.4000 with .* in int8.*; want at most 0.005 less"):
        export_detector(small_detector(), tmp_path / "a.onnx", **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_file_without_an_ap_is_refused(tmp_path, monkeypatch):
    """Evaluated images without boxes: nothing says that the file is as good."""
    found = {"int8_layers": ("a",), "float_layers": (), "share": 0.5, "error": 0.1}
    monkeypatch.setattr(write, "make_quantizer", lambda path, *_, **__: lambda _: Quantized(model=onnx.load(path), **found))
    config = Int8Config(images=list(pictures(2, seed=1)), evaluate=lambda exported: None)
    settings = {"spec": SPEC, "class_names": NAMES, "precision": "int8", "int8": config}
    with pytest.raises(ExportError, match="there is no AP, as the images that are evaluated have no boxes"):
        export_detector(small_detector(), tmp_path / "a.onnx", **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_no_calibration_images(tmp_path):
    with pytest.raises(ExportError, match="no calibration images"):
        export_detector(small_detector(), tmp_path / "a.onnx", spec=SPEC, class_names=NAMES, precision="int8")
