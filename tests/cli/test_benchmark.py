"""The command benchmark: its messages, the table, and the files that it writes."""

from __future__ import annotations

import json

import cv2
import pytest

from tests.cli.arguments import fails
from tests.cli.tiny import EXPERIMENT, TinyDetector, write_data
from yolox.cli import run
from yolox.data.synthetic import SHAPE_NAMES
from yolox.training.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    tensors = {f"params.{p.name}": p.asnumpy() for p in TinyDetector(3).get_parameters()}
    save_checkpoint(path, tensors, recipe=EXPERIMENT.recipes["megvii"], class_names=SHAPE_NAMES)
    return path


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        (["--weights", "a.onnx"], 2, "--weights a.onnx: is an exported file; want the weights"),
        (["--rounds", "0"], 2, "--rounds: got 0, want 1 or more"),
        (["--runtimes", "tensorrt"], 2, "--runtimes"),
        (["--data", "nothing"], 1, "nothing"),
    ],
)
def test_mistakes(weights, capsys, more, status, message):
    assert message in fails(capsys, EXPERIMENT, ["benchmark", "--weights", weights, *more], status)


@pytest.mark.slow
def test_table_numbers_and_chart(weights, tmp_path, capsys):
    data = write_data(tmp_path, images=3)[4:]
    files = ["--json", tmp_path / "new/speed.json", "--picture", tmp_path / "new/speed.png"]
    options = "--runtimes onnx --precisions float32 int8 --rounds 2".split()
    assert run(EXPERIMENT, ["benchmark", "--weights", str(weights), *options, *data, *map(str, files)]) == 0
    out, err = capsys.readouterr()
    assert "no class names" not in out + err  # the weights have them
    assert "MindSpore" in out and "ONNX Runtime" in out and "one image of 32 x 32 px" in out
    assert "ONNX Runtime, int8: left out, as there are no calibration images" in out
    rows = json.loads((tmp_path / "new/speed.json").read_text())["rows"]
    assert [row["precision"] for row in rows] == ["float32", "float32"] and rows[1]["difference"] < 1e-3
    assert rows[0]["ap"] == pytest.approx(rows[1]["ap"], abs=1e-6)
    assert cv2.imread(str(tmp_path / "new/speed.png")).shape[1] > 700
