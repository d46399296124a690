"""The command export: its messages, and one file written and used by predict."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest

from tests.export.detectors import NAMES, SPEC, pictures, small_detector
from yolox.cli import run
from yolox.cli.experiment import Experiment
from yolox.config import Recipe
from yolox.data.synthetic import write_synthetic
from yolox.export import open_exported
from yolox.export.write import ExportReport
from yolox.training.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def experiment():
    return Experiment(
        name="small",
        build_detector=lambda num_classes: small_detector(),
        recipes={"megvii": Recipe()},
        make_step=lambda *args: None,
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    tensors = {f"params.{p.name}": p.asnumpy() for p in small_detector().get_parameters()}
    save_checkpoint(path, tensors, recipe=attrs.evolve(Recipe(), input=SPEC), class_names=NAMES)
    return path


def arguments(*parts) -> list[str]:
    return [str(part) for part in parts]


def predicted(experiment, weights, images, folder) -> list[dict]:
    argv = arguments("predict", "--weights", weights, "--source", images, "--output", folder)
    assert run(experiment, [*argv, "--score-threshold", "0.3", "--max-detections", "20"]) == 0
    return json.loads((folder / "predictions.json").read_text())


def sure_boxes(record: dict) -> np.ndarray:
    """The boxes from left to right, without those of the lowest score: rounding decides which of several are kept."""
    boxes, scores = np.array(record["boxes"]), np.array(record["scores"])
    boxes = boxes[scores > scores.min() + 1e-4]
    return boxes[np.lexsort(boxes.round(1).T)]


def test_files_without_a_name_go_into_a_new_folder(experiment, weights, tmp_path, monkeypatch, capsys):
    written = []

    def write(_, path, **__):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        written.append(path)
        return ExportReport(path=path, difference=0.0, megabytes=0.0, batches=(1,))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("yolox.cli.export.export_detector", write)
    for options in ((), (), ("--format", "web", "--web-runtime", "runtime.tgz")):
        assert run(experiment, arguments("export", "--weights", weights, *options)) == 0
    names = [path.as_posix() for path in written]
    assert names == [f"runs/export/{experiment.name}.onnx", f"runs/export-2/{experiment.name}.onnx", "runs/export-3"]


def test_predict_gives_the_same_from_the_file(experiment, weights, tmp_path, capsys):
    write_synthetic(tmp_path / "data", images=3, seed=0)
    images, target = tmp_path / "data/images", tmp_path / "new/small.onnx"
    assert run(experiment, arguments("export", "--weights", weights, "--output", target, "--batch", "2")) == 0
    out = capsys.readouterr().out
    assert "run with 2 images: largest difference from the detector" in out and f"wrote {target}" in out
    ours = predicted(experiment, weights, images, tmp_path / "a")
    theirs = predicted(experiment, target, images, tmp_path / "b")
    for one, other in zip(ours, theirs, strict=True):
        assert one["names"] == other["names"]
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-4)
        boxes, others = sure_boxes(one), sure_boxes(other)
        assert len(boxes) > 3
        np.testing.assert_allclose(boxes, others, atol=0.01)
    argv = arguments("predict", "--weights", target, "--source", images, "--output", tmp_path / "c")
    assert run(experiment, [*argv, "--input-size", "64"]) == 2
    assert "leave out --input-size" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        (["--output", "a.mindir"], 2, "wants a name that ends in .onnx"),
        (["--output", "a.mindir", "--format", "mindir", "--nms"], 2, "MINDIR with NMS inside is not supported"),
        (["--output", "a.onnx", "--batch", "0"], 2, "batch is 0"),
        (["--output", "a.onnx", "--batch", "many"], 2, "--batch"),
        (["--output", "a.onnx", "--data", "a"], 2, "--data: only --int8 calibrates and evaluates"),
        (["--output", "a.onnx", "--max-ap-drop", "0.1", "--val-yolo", "a"], 2, "--max-ap-drop and --val-yolo: only --int8"),
        (["--output", "a.onnx", "--int8"], 2, "--int8 and --calibrate: give both"),
        (["--output", "a.onnx", "--web-runtime", "a"], 1, "--web-runtime is for the format web"),
        (["--output", "a", "--format", "web", "--nms"], 2, "a web page with NMS inside is not supported"),
        (["--output", "a", "--format", "web", "--web-runtime", "b.tgz"], 1, "b.tgz: no such file or folder"),
        (["--output", "a.onnx", "--image", "nothing.jpg"], 1, "nothing.jpg: no such image file"),
        (["--output", "a.onnx", "--weights", "nothing.pth"], 1, "nothing.pth: no such file"),
    ],
)
def test_mistakes(experiment, weights, tmp_path, monkeypatch, capsys, more, status, message):
    monkeypatch.chdir(tmp_path)
    assert run(experiment, arguments("export", "--weights", weights, *more)) == status
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A drawn dataset with the detector's class names, and images to calibrate on, of which the first is a copy of one of it."""
    folder = tmp_path_factory.mktemp("drawn")
    path = Path(write_synthetic(folder / "val", images=4, seed=0))
    content = json.loads(path.read_text())
    for category, name in zip(content["categories"], NAMES, strict=True):
        category["name"] = name
    path.write_text(json.dumps(content))
    write_synthetic(folder / "other", images=4, seed=1)
    first = sorted((folder / "val/images").iterdir())[0]
    shutil.copy(first, folder / f"other/images/a_copy{first.suffix}")
    return folder


def int8_arguments(weights, drawn, target, *more):
    val = ["--val-json", drawn / "val/instances.json", "--val-images", drawn / "val/images"]
    return arguments("export", "--weights", weights, "--output", target, "--int8", *val, *more)


def test_calibrating_on_the_evaluated_images_is_refused(experiment, weights, drawn, tmp_path, capsys):
    argv = int8_arguments(weights, drawn, tmp_path / "a.onnx", "--calibrate", drawn / "val/images")
    assert run(experiment, argv) == 1
    assert "each calibration image is one that is evaluated" in capsys.readouterr().err
    assert run(experiment, [*argv, "--calibrate-images", "0"]) == 1
    assert "--calibrate-images: got 0, want 1 or more" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("form", "name"), [("onnx", "a.onnx"), ("openvino", "a.xml")])
def test_int8_by_the_command(experiment, weights, drawn, tmp_path, capsys, form, name):
    if form == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    options = ["--format", form, "--calibrate", drawn / "other/images", "--calibrate-images", "5"]
    assert run(experiment, int8_arguments(weights, drawn, tmp_path / name, *options)) == 0
    out, err = capsys.readouterr()
    assert "1 of 5 images are evaluated, too, or look like one that is, and are left out: a_copy" in err
    assert re.search(r"int8: \d+ of \d+ convolutions with \d+% of the multiplications; AP \d\.\d{4}, of the float file", out)
    assert open_exported(tmp_path / name)(pictures(2)).shape == (2, 252, 8)
    argv = arguments("export", "--weights", weights, "--format", form)
    sizes = {"int8": sum(path.stat().st_size for path in tmp_path.iterdir())}
    for precision in ("float32", "float16"):
        (tmp_path / precision).mkdir()
        assert run(experiment, [*argv, "--output", str(tmp_path / precision / name), "--precision", precision]) == 0
        sizes[precision] = sum(path.stat().st_size for path in (tmp_path / precision).iterdir())
    assert sizes["float16"] < sizes["float32"]
    float_out = open_exported(tmp_path / "float32" / name)(pictures(2))
    half_out = open_exported(tmp_path / "float16" / name)(pictures(2))
    assert 0 < np.abs(float_out - half_out)[..., 4:].max() < 0.1


def test_a_missing_package_is_named(experiment, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert run(experiment, arguments("export", "--weights", weights, "--output", tmp_path / "a.onnx")) == 1
    assert "needs the package onnx: pip install -c constraints.txt -e '.[onnx]' in the repository" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    Path(tmp_path / "b.onnx").touch()
    argv = arguments("predict", "--weights", tmp_path / "b.onnx", "--source", weights, "--output", tmp_path / "p")
    assert run(experiment, argv) == 1
    advice = "b.onnx: needs the package onnxruntime: pip install -c constraints.txt -e '.[onnx]' in the repository"
    assert advice in capsys.readouterr().err
