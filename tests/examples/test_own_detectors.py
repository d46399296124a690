"""The two examples of detectors of one's own: one becomes a command line, the other learns with SimOTA."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mindspore import ops

from examples import custom_detector, simota_elsewhere
from yolox.cli import run
from yolox.data.synthetic import write_synthetic


def test_the_custom_detector_gives_three_maps_and_counts(capsys):
    maps = custom_detector.build_detector(3)(ops.zeros((1, 3, 64, 96)))
    assert [m.shape for m in maps] == [(1, 8, 8, 12), (1, 8, 4, 6), (1, 8, 2, 3)]
    assert run(custom_detector.EXPERIMENT, ["info", "--json", "--num-classes", "3"]) == 0
    description = json.loads(capsys.readouterr().out)
    assert description["name"] == "plain" and description["published"] is None and description["parameters"] > 1e6


@pytest.mark.slow
def test_the_custom_detector_trains_and_predicts(tmp_path):
    write_synthetic(tmp_path / "data", images=4, seed=0)
    data = ["--train-json", f"{tmp_path}/data/instances.json", "--train-images", f"{tmp_path}/data/images"]
    small = "--input-size 64 --batch-size 2 --epochs 1 --warmup-epochs 0 --flat-epochs 0 --plain-epochs 0"
    argv = ["train", *data, "--output", f"{tmp_path}/run", *small.split(), "--multiscale-sizes", "--workers", "0"]
    assert run(custom_detector.EXPERIMENT, argv) == 0
    weights, out = f"{tmp_path}/run/best.safetensors", tmp_path / "out"
    images = f"{tmp_path}/data/images"
    assert run(custom_detector.EXPERIMENT, ["export", "--weights", weights, "--output", f"{out}/plain.onnx"]) == 0
    argv = ["predict", "--weights", f"{out}/plain.onnx", "--source", images, "--output", str(out)]
    assert run(custom_detector.EXPERIMENT, argv) == 0
    assert len(json.loads((out / "predictions.json").read_text())) == 4


def test_a_head_of_distances_learns_with_simota():
    detector, losses = simota_elsewhere.train(steps=40)
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])
    assert detector(ops.zeros((1, 3, 64, 64))).shape == (1, 64, 8)


def test_distances_decode_to_boxes():
    raw = np.zeros((1, 64, 8), np.float32)
    raw[0, 9, :4] = np.log([0.5, 1, 1.5, 2])  # left, top, right, bottom in strides of 8, at the point (12, 12)
    box = simota_elsewhere.decode(ops.Tensor(raw))[0, 9].asnumpy()
    np.testing.assert_allclose(box, [16, 16, 16, 24], rtol=1e-5)  # from (8, 4) to (24, 28)
