"""OpenVINO files: written and read by the library, and refused where they hold more than a detector."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

from tests.export.detectors import NAMES, SPEC, pictures, small_detector
from yolox.errors import ExportError
from yolox.eval.predict import make_eval_step
from yolox.export import export_detector, open_exported, write
from yolox.export import openvino as module

pytest.importorskip("openvino", reason="OpenVINO is not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report, the detector, and the two files."""
    path, detector = tmp_path_factory.mktemp("ir") / "a.xml", small_detector()
    report = export_detector(detector, path, spec=SPEC, class_names=NAMES, format="openvino", batch=None)
    return report, detector, path.read_bytes(), path.with_suffix(".bin").read_bytes()


def _with_work(source, target, work):
    """Writes a copy of an exported file whose answer depends on more work; `work` takes a node and OpenVINO's functions."""
    import openvino
    from openvino import opset13 as functions

    model = openvino.Core().read_model(source)
    more = work(model.get_parameters()[0], functions)
    first = functions.slice(more, *(functions.constant(np.array(value)) for value in ([0] * 4, [1] * 4, [1] * 4, range(4))))
    result = model.get_results()[0]
    whole = functions.add(result.input_value(0), functions.reshape(first, functions.constant(np.array([1, 1, 1])), False))
    result.input(0).replace_source_output(whole.output(0))
    openvino.save_model(model, target, compress_to_fp16=False)


def _resized(node, functions, side):
    size, axes = functions.constant(np.array([side, side])), functions.constant(np.array([2, 3]))
    return functions.interpolate(node, size, "nearest", "sizes", axes=axes)


def _convolutions(node, functions):
    node = _resized(node, functions, 256)
    node = functions.convolution(node, functions.constant(np.ones((512, 3, 1, 1), np.float32)), [1, 1], [0, 0], [0, 0], [1, 1])
    weight = functions.constant(np.ones((512, 512, 3, 3), np.float32))
    for _ in range(60):
        node = functions.convolution(node, weight, [1, 1], [1, 1], [1, 1], [1, 1])
    return node


def _powers(node, functions):
    node = _resized(node, functions, 4096)
    for _ in range(2000):
        node = functions.tanh(node)
    return node


@pytest.mark.parametrize("work", [_convolutions, _powers])
def test_a_file_that_asks_for_hours_of_work_is_refused_before_it_is_compiled(made, tmp_path, work):
    _with_work(made[0].path, tmp_path / "b.xml", work)
    with pytest.raises(ExportError, match=r"b.xml: the operation \w+: the graph takes over 1e\+12 multiplications"):
        open_exported(tmp_path / "b.xml")


@pytest.mark.slow
def test_the_file_agrees_at_any_batch(made):
    report, detector, xml, weights = made
    exported = open_exported(report.path)
    assert (exported.batch, exported.metadata.class_names, exported.metadata.input) == (None, NAMES, SPEC)
    wanted = make_eval_step(detector, spec=SPEC)(pictures(3)).asnumpy()
    np.testing.assert_allclose(exported(pictures(3)), wanted, atol=1e-3, rtol=1e-4)
    assert report.difference < 1e-3 and report.megabytes == pytest.approx((len(xml) + len(weights)) / 1e6)


def _in_utf16(xml):
    return re.sub(r"^<\?xml[^>]*\?>", "", xml.decode()).encode("utf-16")


HOSTILE = {
    "entities": (lambda xml: xml.replace(b"<net ", b"<!DOCTYPE net [<!ENTITY a 'b'>]><net ", 1), "has declarations"),
    "entities in UTF-16": (lambda xml: _in_utf16(xml.replace(b"<net ", b"<!DOCTYPE net []><net ", 1)), "has declarations"),
    "another layer": (lambda xml: re.sub(rb'type="Sigmoid"', b'type="ReadValue"', xml, count=1), "layer 'ReadValue'"),
    "an extension": (lambda xml: re.sub(rb'version="opset1"', b'version="mine"', xml, count=1), "of 'mine'"),
    "weights elsewhere": (lambda xml: re.sub(rb'offset="0"', b'offset="999999999"', xml, count=1), "the .bin has"),
    "a huge value": (lambda xml: re.sub(rb"<dim>96</dim>", b"<dim>96000000000</dim>", xml, count=1), "want at most"),
    "another size": (lambda xml: xml.replace(b"[96, 128]", b"[96, 160]", 1), "its description states images"),
    "a nested graph": (lambda xml: xml.replace(b"</layers>", b"</layers><body/>", 1), "one graph"),
    "no XML": (lambda xml: xml[: len(xml) // 2], "no XML"),
    "a number that is none": (lambda xml: re.sub(rb"<dim>96</dim>", b"<dim>x</dim>", xml, count=1), "damaged"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(made, tmp_path, monkeypatch, case):
    change, message = HOSTILE[case]
    _, _, xml, weights = made
    monkeypatch.setattr(module, "import_extra", lambda *names: pytest.fail("OpenVINO was given the file"))
    assert change(xml) != xml
    (tmp_path / "a.xml").write_bytes(change(xml))
    (tmp_path / "a.bin").write_bytes(weights)
    with pytest.raises(ExportError, match=message) as caught:
        open_exported(tmp_path / "a.xml")
    assert "a.xml: " in str(caught.value)


def test_a_file_without_weights(made, tmp_path):
    (tmp_path / "a.xml").write_bytes(made[2])
    with pytest.raises(ExportError, match="there is no a.bin beside it"):
        open_exported(tmp_path / "a.xml")


@pytest.mark.parametrize("settings", [{"nms": True}, {"nms": True, "precision": "int8", "format": "onnx"}])
def test_nms_is_refused(made, tmp_path, settings):
    form = {"format": "openvino", **settings}
    with pytest.raises(ExportError, match="NMS inside"):
        path = tmp_path / ("a.xml" if form["format"] == "openvino" else "a.onnx")
        export_detector(made[1], path, spec=SPEC, class_names=NAMES, **form)


def test_the_weights_of_something_else_stay_and_the_graph_comes_last(made, tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(b"of something else")
    with pytest.raises(ExportError, match="a.bin: is there without a.xml"):
        export_detector(made[1], tmp_path / "a.xml", spec=SPEC, class_names=NAMES, format="openvino")
    assert (tmp_path / "a.bin").read_bytes() == b"of something else"
    for name, text in (("a.xml", b"old"), ("draft.xml", b"new"), ("draft.bin", b"weights")):
        (tmp_path / name).write_bytes(text)
    replace, seen = os.replace, []

    def watched(source, target):
        seen.append((target.name, (tmp_path / "a.xml").exists()))
        replace(source, target)

    monkeypatch.setattr(write.os, "replace", watched)
    write._replace(tmp_path / "draft.xml", tmp_path / "a.xml")
    assert seen == [("a.bin", False), ("a.xml", False)] and (tmp_path / "a.xml").read_bytes() == b"new"
