"""Exported files from strangers: refused with a message before MindSpore or ONNX Runtime sees them."""

from __future__ import annotations

import os

import mindspore as ms
import numpy as np
import onnxruntime
import pytest

from tests.cli.tiny import TinyDetector
from tests.export.detectors import NAMES, SPEC, pictures, small_detector
from tests.export.hostile import MINDIR, ONNX, change_mindir, change_onnx
from yolox.errors import ExportError
from yolox.export import export_detector, open_exported
from yolox.export.runner import rows_of_detections


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Honest exports by name."""
    folder, detector = tmp_path_factory.mktemp("honest"), small_detector()
    settings = {"spec": SPEC, "class_names": NAMES}
    export_detector(detector, folder / "a.mindir", format="mindir", **settings)
    export_detector(detector, folder / "a.onnx", **settings)
    export_detector(detector, folder / "nms.onnx", nms=True, **settings)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def no_runtime(monkeypatch):
    def refuse(*_arguments, **_settings):
        raise AssertionError("a runtime was given the file")

    monkeypatch.setattr(ms, "load", refuse)
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)


def test_honest_files_open(files, tmp_path):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert open_exported(tmp_path / name)(pictures(1)).shape[0] == 1


@pytest.mark.parametrize("case", MINDIR)
def test_hostile_mindir_is_refused(files, tmp_path, no_runtime, case):
    change, message = MINDIR[case]
    (tmp_path / "w.mindir").write_bytes(change_mindir(files["a.mindir"], change))
    with pytest.raises(ExportError, match=message) as caught:
        open_exported(tmp_path / "w.mindir")
    assert "w.mindir: " in str(caught.value) and len(str(caught.value)) < 2000


@pytest.mark.parametrize("case", ONNX)
def test_hostile_onnx_is_refused(files, tmp_path, no_runtime, case):
    change, message = ONNX[case]
    (tmp_path / "w.onnx").write_bytes(change_onnx(files["a.onnx"], change))
    with pytest.raises(ExportError, match=message) as caught:
        open_exported(tmp_path / "w.onnx")
    assert "w.onnx: " in str(caught.value) and len(str(caught.value)) < 2000


@pytest.mark.parametrize("name", ["a.mindir", "a.onnx"])
@pytest.mark.parametrize("extra", [b"\xfa\x3e\x00", b"\x3a\x00", b"\x0b"], ids=["unknown field", "second graph", "group"])
def test_bytes_behind_the_message_are_refused(files, tmp_path, no_runtime, name, extra):
    """Parsers keep what they do not know, and merge what comes twice."""
    (tmp_path / name).write_bytes(files[name] + extra)
    with pytest.raises(ExportError, match="unknown field|occurs twice|damaged"):
        open_exported(tmp_path / name)


@pytest.mark.parametrize("name", ["a.mindir", "a.onnx", "nms.onnx"])
def test_truncated_and_damaged_files_never_raise_anything_else(files, tmp_path, no_runtime, name):
    data, path, refused = files[name], tmp_path / name, 0
    for place in range(0, len(data), len(data) // 60):
        for damaged in (data[:place], data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]):
            path.write_bytes(damaged)
            try:
                open_exported(path)
            except ExportError:
                refused += 1
            except AssertionError:  # a damaged weight is a weight: the file passes the check
                pass
    assert refused > 50


@pytest.mark.parametrize("name", ["w.mindir", "w.onnx"])
def test_sparse_files_and_pipes_are_refused(tmp_path, no_runtime, name):
    with (tmp_path / name).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ExportError, match="more than the limit"):
        open_exported(tmp_path / name)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(ExportError, match="no such file|no regular file"):
        open_exported(tmp_path / name)


def test_many_empty_fields_are_refused(tmp_path, no_runtime):
    (tmp_path / "w.mindir").write_bytes(b"\x62\x00" * (1 << 20))
    with pytest.raises(ExportError, match="fields"):
        open_exported(tmp_path / "w.mindir")


@pytest.mark.parametrize("form", ["onnx", "mindir"])
def test_plain_layers_of_ones_own_open(tmp_path, form):
    detector = TinyDetector(len(NAMES))
    path = tmp_path / f"own.{form}"
    export_detector(detector, path, spec=SPEC, class_names=NAMES, format=form)
    assert open_exported(path)(pictures(1)).shape == (1, 252, 8)


def test_a_trusted_file_may_have_other_operators(files, tmp_path):
    """Such as those of a detector with layers of the user's own."""
    data = change_onnx(files["a.onnx"], lambda model: model.graph.node.add(
        op_type="Neg", input=[model.graph.node[0].output[0]], output=["more"]))  # fmt: skip
    (tmp_path / "own.onnx").write_bytes(data)
    with pytest.raises(ExportError, match="operator 'Neg'"):
        open_exported(tmp_path / "own.onnx")
    assert open_exported(tmp_path / "own.onnx", trusted=True)(pictures(1)).shape[0] == 1


@pytest.mark.parametrize("classes", [-1, 3, 1 << 30])
def test_classes_that_the_file_does_not_name_are_refused(classes):
    boxes, scores = np.zeros((1, 2, 4), np.float32), np.ones((1, 2), np.float32)
    with pytest.raises(ExportError, match="classes beyond the 3"):
        rows_of_detections(boxes, scores, np.full((1, 2), classes), np.array([2]), 3)
