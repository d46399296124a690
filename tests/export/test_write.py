"""Exported files run in ONNX Runtime, OpenVINO and MindSpore and give the detector's answer."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from attrs import evolve
from onnxruntime.transformers.float16 import convert_float_to_float16

from tests.export.detectors import NAMES, SPEC, pictures, small_detector
from tests.export.in_openvino import in_openvino
from yolox.config import PostprocessConfig
from yolox.errors import ExportError
from yolox.eval.nms import batched_nms
from yolox.eval.postprocess import postprocess
from yolox.eval.predict import make_eval_step
from yolox.export import compare, export_detector, open_exported
from yolox.export.compare import largest_difference
from yolox.export.onnx_file import set_opset
from yolox.export.runner import to_planes
from yolox.model import load, predict

MEGVII = PostprocessConfig(score_threshold=0.3, max_detections=20)


@pytest.fixture(scope="module")
def detector():
    return small_detector()


@pytest.fixture(scope="module")
def wanted(detector):
    """Predictions of the jitted evaluation step, of four images."""
    return make_eval_step(detector, spec=SPEC)(pictures(4)).asnumpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


def export(detector, path, **settings):
    return export_detector(detector, path, **{"spec": SPEC, "class_names": NAMES, **settings})


def umask() -> int:
    """Read it: it can only be set."""
    value = os.umask(0o022)
    os.umask(value)
    return value


@pytest.fixture(scope="module")
def dynamic(detector, folder):
    report = export(detector, folder / "dynamic.onnx", batch=None)
    assert report.batches == (1, 3) and report.difference < 1e-3
    return report.path


def test_onnx_runtime_agrees_at_any_batch(dynamic, wanted):
    session = onnxruntime.InferenceSession(str(dynamic), providers=["CPUExecutionProvider"])
    for count in (1, 4):
        planes = to_planes(pictures(4)[:count], spec=SPEC)
        (rows,) = session.run(["predictions"], {"images": planes})
        np.testing.assert_allclose(rows, wanted[:count], atol=1e-3, rtol=1e-4)


def test_load_takes_an_exported_file(dynamic, detector):
    model = load(dynamic)
    assert (model.input, model.class_names) == (SPEC, tuple(NAMES))
    found = model.predict(list(pictures(2)), config=MEGVII)
    for each, want in zip(found, predict(detector, pictures(2), spec=SPEC, config=MEGVII, class_names=NAMES), strict=True):
        np.testing.assert_allclose(each.boxes, want.boxes, atol=1e-2)
        assert each.names == want.names and len(each) > 0


@pytest.mark.slow  # nano's test asks OpenVINO every time
def test_openvino_agrees_at_any_batch(dynamic, wanted):
    for count in (1, 4):
        rows = in_openvino(dynamic, to_planes(pictures(4)[:count], spec=SPEC))["predictions"]
        np.testing.assert_allclose(rows, wanted[:count], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("form", [pytest.param("onnx", marks=pytest.mark.slow), "mindir"])
def test_a_fixed_batch_serves_any_number_of_images(detector, folder, wanted, form):
    report = export(detector, folder / f"two.{form}", batch=2, format=form)
    assert report.path.stat().st_mode & 0o777 == 0o666 & ~umask()
    opened = open_exported(report.path)
    assert opened.batch == 2 and opened.metadata.class_names == NAMES and opened.metadata.input == SPEC
    for count in (1, 3, 4):
        rows = opened(pictures(4)[:count])
        np.testing.assert_allclose(rows, wanted[:count], atol=1e-3, rtol=1e-4)


def test_the_file_has_no_batch_normalisation_and_says_what_it_is(dynamic):
    model = onnx.load(dynamic)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["BatchNormalization"] == kinds["Expand"] == kinds["SpaceToDepth"] == kinds["Gather"] == 0
    assert (kinds["Resize"], kinds["Transpose"]) == (2, 1)
    stem = next(node for node in model.graph.node if node.op_type == "Conv")
    assert {a.name: list(a.ints) for a in stem.attribute}["kernel_shape"] == [6, 6]
    names = [node.name for node in model.graph.node]
    assert all(names) and len(set(names)) == len(names)
    text = {entry.key: entry.value for entry in model.metadata_props}
    assert text["class_names"] == '["cat", "dog", "hippopotamus"]'
    assert '"channel_order": "bgr"' in text["input"] and "[96, 128]" in text["input"]
    assert text["strides"] == "[8, 16, 32]" and "cxcywh" in text["output"]
    assert "score_threshold" in text["postprocess"] and text["library"].startswith('"yolox-mindspore')


def test_later_operator_sets_give_the_same_answer(dynamic, folder, wanted):
    for opset in (13, 21):
        path = folder / f"opset{opset}.onnx"
        path.write_bytes(dynamic.read_bytes())
        set_opset(path, opset)
        assert onnx.load(path).opset_import[0].version == opset
        np.testing.assert_allclose(open_exported(path)(pictures(4)), wanted, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("keep", [True, False])
def test_a_file_that_was_converted_to_float16_is_fed_float16(dynamic, folder, wanted, keep):
    half = convert_float_to_float16(onnx.load(dynamic), keep_io_types=keep)
    onnx.save(half, folder / "half.onnx")
    assert largest_difference(open_exported(folder / "half.onnx")(pictures(4)), wanted) < 0.02


@pytest.mark.slow
def test_a_file_with_nms_converts_to_float16(detector, folder):
    report = export(detector, folder / "whole.onnx", nms=True, postprocess=MEGVII, opset=13)
    half = convert_float_to_float16(onnx.load(report.path))
    onnx.save(half, folder / "half_nms.onnx")
    found = [(open_exported(path)(pictures(1))[..., 4] > 0.35).sum() for path in (report.path, folder / "half_nms.onnx")]
    assert found[0] > 3 and abs(found[0] - found[1]) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"nms": True, "postprocess": MEGVII, "opset": 17}])
def test_a_float16_file_is_half_as_large_and_compared(detector, folder, wanted, settings):
    report = export(detector, folder / "half.onnx", precision="float16", **settings)
    full = export(detector, folder / "full.onnx", **settings)
    assert report.difference < 0.02 and report.megabytes < 0.75 * full.megabytes
    opened = open_exported(report.path)
    if not settings:
        assert largest_difference(opened(pictures(4)), wanted) < 0.02


@pytest.mark.parametrize("form", ["onnx", pytest.param("mindir", marks=pytest.mark.slow)])
def test_a_raw_file_has_undecoded_boxes_and_is_decoded_here(detector, folder, wanted, form):
    report = export(detector, folder / f"raw.{form}", raw=True, format=form)
    opened = open_exported(report.path)
    assert not opened.metadata.decoded
    np.testing.assert_allclose(opened(pictures(4)), wanted, atol=1e-3, rtol=1e-4)
    if form == "mindir":
        return
    session = onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
    (rows,) = session.run(["output"], {"images": to_planes(pictures(4)[:1], spec=SPEC)})
    cell = 3 * 16 + 5  # Megvii's demos: (x, y + cell) * stride, exp(w, h) * stride
    np.testing.assert_allclose((rows[0, cell, :2] + (5, 3)) * 8, wanted[0, cell, :2], atol=1e-3)
    np.testing.assert_allclose(np.exp(rows[0, cell, 2:4]) * 8, wanted[0, cell, 2:4], atol=1e-3)
    np.testing.assert_allclose(rows[0, cell, 4:], wanted[0, cell, 4:], atol=1e-4)


@pytest.mark.parametrize("multi_label", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_nms_in_the_file_selects_what_the_host_selects(detector, folder, wanted, multi_label):
    config = evolve(MEGVII, multi_label=multi_label, score_threshold=0.1)
    report = export(detector, folder / "nms.onnx", batch=2, nms=True, postprocess=config)
    session = onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
    # onnxconverter_common leaves a Cast to float as it is, and the file could not be loaded
    casts = [node.attribute[0].i for node in onnx.load(report.path).graph.node if node.op_type == "Cast"]
    assert casts and set(casts) == {onnx.TensorProto.INT32}
    answer = session.run(None, {"images": to_planes(pictures(4)[:2], spec=SPEC)})
    assert [part.shape for part in answer] == [(2, 20, 4), (2, 20), (2, 20), (2,)]
    assert answer[3].min() > 3  # otherwise nothing is compared
    for boxes, scores, classes, count, rows in zip(*answer, wanted, strict=False):
        found = postprocess(rows, config=config)
        assert count == len(found)
        np.testing.assert_allclose(boxes[:count], found.boxes, atol=1e-2, rtol=1e-4)
        np.testing.assert_allclose(scores[:count], found.scores, atol=1e-4)
        assert classes[:count].tolist() == found.classes.tolist()
        assert (scores[count:] == 0).all() and (boxes[count:] == 0).all() and (classes[count:] == 0).all()
        assert len(batched_nms(boxes[:count], scores[:count], classes[:count], config.iou_threshold)) == count
    opened = open_exported(report.path)
    again = postprocess(opened(pictures(4)[:1])[0], config=config)
    np.testing.assert_allclose(again.boxes, postprocess(wanted[0], config=config).boxes, atol=1e-2, rtol=1e-4)


@pytest.mark.slow
def test_nms_with_nothing_to_find_gives_zeros(detector, folder):
    config = evolve(MEGVII, score_threshold=1.0)
    report = export(detector, folder / "none.onnx", nms=True, postprocess=config)
    rows = open_exported(report.path)(pictures(1))
    assert rows.shape == (1, 20, 8) and (rows[..., 4] == 0).all()


@pytest.mark.slow
def test_nms_in_openvino(detector, folder, wanted):
    report = export(detector, folder / "nms.onnx", nms=True, postprocess=MEGVII)
    answer = in_openvino(report.path, to_planes(pictures(4)[:1], spec=SPEC))
    found = postprocess(wanted[0], config=MEGVII)
    count = int(answer["count"][0])
    assert count == len(found) > 0
    np.testing.assert_allclose(answer["scores"][0, :count], found.scores, atol=1e-4)
    np.testing.assert_allclose(answer["boxes"][0, :count], found.boxes, atol=1e-2, rtol=1e-4)


def test_predictions_are_compared_before_nms_hides_them(detector, tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "_wanted", lambda *args: np.zeros((1, 252, 8), np.float32))
    with pytest.raises(ExportError, match="not written"):
        export(detector, tmp_path / "a.onnx", nms=True, postprocess=evolve(MEGVII, score_threshold=1.0))


def test_a_file_that_differs_is_not_left(detector, tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "_wanted", lambda *args: np.zeros((1, 252, 8), np.float32))
    with pytest.raises(ExportError, match="not written: its answer differs from the detector's by"):
        export(detector, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_detector_stays_as_it_was(detector, folder):
    before = {p.name: p.asnumpy().copy() for p in detector.get_parameters()}
    export(detector, folder / "same.onnx")
    after = {p.name: p.asnumpy() for p in detector.get_parameters()}
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("a.mindir", {}, "wants a name that ends in .onnx"),
        ("a.mindir", {"format": "mindir", "batch": None}, "MINDIR with a dynamic batch is not supported"),
        ("a.mindir", {"format": "mindir", "nms": True}, "MINDIR with NMS inside is not supported"),
        ("a.onnx", {"nms": True, "batch": None}, "NMS inside needs a fixed batch"),
        ("a.onnx", {"opset": 10}, "opset is 10, want 11 to 21"),
        ("a.onnx", {"nms": True, "raw": True}, "NMS needs decoded boxes"),
        ("a.mindir", {"format": "mindir", "precision": "float16"}, "MINDIR has no operator set"),
        ("a.onnx", {"batch": 0}, "batch is 0, want 1 or more"),
        ("a.onnx", {"class_names": ["cat"]}, "1 class names for a detector of 3 classes"),
        ("no/a.onnx", {}, "there is no folder"),
    ],
)
def test_what_cannot_be_exported_is_said_before_anything_is_written(detector, tmp_path, name, settings, message):
    with pytest.raises(ExportError, match=message):
        export(detector, tmp_path / name, **settings)
    assert list(tmp_path.iterdir()) == []


def test_difference_sees_each_kind_of_number():
    one = np.array([[[400.0, 20, 10, 10, 0.5, 0.5]]], np.float32)
    for column, step, want in ((0, 0.4, 1e-3), (2, 4.0, 1e-2), (4, 0.25, 0.25), (5, -0.125, 0.125)):
        other = one.copy()
        other[..., column] += step
        assert largest_difference(other, one) == pytest.approx(want, rel=1e-3)
    assert largest_difference(one[:, :0], one) == float("inf")
    assert largest_difference(one * np.nan, one) == float("inf")
