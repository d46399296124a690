"""Files for ncnn: written by pnnx, run in ncnn, and refused where that is not possible."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from tests.export.detectors import NAMES, SPEC, pictures, small_detector
from yolox.errors import ExportError
from yolox.eval.predict import make_eval_step
from yolox.export import export_detector, ncnn, open_exported
from yolox.export.write import check_form


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "most"), [("float32", 1e-3), ("float16", 0.1)])
def test_the_file_agrees_in_ncnn(tmp_path, precision, most):
    missing = [name for name in ("ncnn", "pnnx") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (pip install ncnn; pip install --no-deps pnnx)")
    detector, path = small_detector(), tmp_path / "a.ncnn.param"
    report = export_detector(detector, path, spec=SPEC, class_names=NAMES, format="ncnn", precision=precision)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.ncnn.bin", "a.ncnn.json", "a.ncnn.param"]
    assert report.difference < most and report.megabytes == pytest.approx(sum(f.stat().st_size for f in tmp_path.iterdir()) / 1e6)
    with pytest.raises(ExportError, match="files for ncnn are not checked"):
        open_exported(path)
    exported = open_exported(path, trusted=True)
    assert (exported.batch, exported.metadata.class_names, exported.metadata.input) == (1, NAMES, SPEC)
    wanted = make_eval_step(detector, spec=SPEC)(pictures(3)).asnumpy()
    np.testing.assert_allclose(exported(pictures(3))[..., 4:], wanted[..., 4:], atol=most)
    if precision == "float32":
        np.testing.assert_allclose(exported(pictures(3)), wanted, atol=1e-2, rtol=1e-4)
    path.with_suffix(".json").unlink()
    with pytest.raises(ExportError, match="a.ncnn.json: cannot be read"):
        open_exported(path, trusted=True)


@pytest.mark.parametrize(
    ("name", "form", "message"),
    [
        ("a.param", {}, "wants a name that ends in .ncnn.param"),
        ("a.ncnn.param", {"nms": True}, "ncnn with NMS inside"),
        ("a.ncnn.param", {"batch": None}, "ncnn with a batch"),
        ("a.ncnn.param", {"precision": "int8"}, "ncnn with int8"),
    ],
)
def test_what_ncnn_does_not_take_is_refused(tmp_path, name, form, message):
    with pytest.raises(ExportError, match=message):
        check_form(tmp_path / name, "ncnn", **{"batch": 1, "nms": False, **form})


def test_files_of_something_else_are_not_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(ncnn, "find_pnnx", lambda: None)
    (tmp_path / "a.ncnn.json").write_text("{}")
    with pytest.raises(ExportError, match="a.ncnn.json: is there without a.ncnn.param"):
        check_form(tmp_path / "a.ncnn.param", "ncnn", 1, False)
    (tmp_path / "a.ncnn.param").touch()  # an earlier export
    check_form(tmp_path / "a.ncnn.param", "ncnn", 1, False)


def test_missing_packages_are_named_before_anything_slow(tmp_path, monkeypatch):
    monkeypatch.setattr(ncnn.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match="needs the program of the package pnnx: pip install --no-deps pnnx"):
        check_form(tmp_path / "a.ncnn.param", "ncnn", 1, False)


def test_a_conversion_that_fails_says_how(tmp_path, monkeypatch):
    program = tmp_path / "pnnx"
    program.write_text("#!/bin/sh\necho unknown operator >&2\nexit 3\n")
    monkeypatch.setattr(ncnn, "find_pnnx", lambda: program)
    with pytest.raises(ExportError, match="pnnx cannot convert it .exit status 3: unknown operator"):
        ncnn.write_ncnn(tmp_path / "a.onnx", tmp_path / "a.ncnn.param", shape=(1, 3, 32, 32), text={}, half=False)
