"""The command export: its messages, and one file written and used by predict."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest

from tests.export.detectors import NAMES, SPEC, small_detector
from yolox.cli import run
from yolox.cli.experiment import Experiment
from yolox.config import Recipe
from yolox.data.synthetic import write_synthetic
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


def test_predict_gives_the_same_from_the_file(experiment, weights, tmp_path, capsys):
    write_synthetic(tmp_path / "data", images=3, seed=0)
    images, target = tmp_path / "data/images", tmp_path / "new/small.onnx"
    assert run(experiment, arguments("export", "--weights", weights, "--output", target, "--batch", "2")) == 0
    out = capsys.readouterr().out
    assert "run with 2 images: largest difference from the detector" in out and f"wrote {target}" in out
    ours = predicted(experiment, weights, images, tmp_path / "a")
    theirs = predicted(experiment, target, images, tmp_path / "b")
    assert sum(len(record["scores"]) for record in ours) > 3
    for one, other in zip(ours, theirs, strict=True):
        assert one["names"] == other["names"]
        np.testing.assert_allclose(one["boxes"], other["boxes"], atol=0.01)
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-4)
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


def test_a_missing_package_is_named(experiment, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert run(experiment, arguments("export", "--weights", weights, "--output", tmp_path / "a.onnx")) == 1
    assert "pip install -c constraints.txt -e '.[onnx]' in the repository" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    Path(tmp_path / "b.onnx").touch()
    argv = arguments("predict", "--weights", tmp_path / "b.onnx", "--source", weights, "--output", tmp_path / "p")
    assert run(experiment, argv) == 1
    assert "needs ONNX Runtime: pip install -c constraints.txt -e '.[onnx]' in the repository" in capsys.readouterr().err
