"""The command assign draws images of a dataset under the weights, and refuses what does not fit."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from tests.cli.tiny import EXPERIMENT, RECIPE, TinyDetector, write_data
from yolox.cli import assign, run
from yolox.data.synthetic import SHAPE_NAMES
from yolox.training.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def argv(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    data = write_data(folder, images=5)[:4]
    tensors = {f"params.{p.name}": p.asnumpy() for p in TinyDetector(3).get_parameters()}
    save_checkpoint(folder / "a.safetensors", tensors, recipe=RECIPE, class_names=SHAPE_NAMES)
    return ["assign", "--weights", str(folder / "a.safetensors"), *data]


def test_images_are_drawn_as_the_network_gets_them(argv, tmp_path, capsys, monkeypatch):
    given, draw = [], assign.visualize_assign
    monkeypatch.setattr(assign, "visualize_assign", lambda *a, **k: given.append((a, k)) or draw(*a, **k))
    assert run(EXPERIMENT, [*argv, "--output", str(tmp_path), "--count", "3", "--top-k", "4"]) == 0
    names = ["00000_shapes_00001.png", "00002_shapes_00003.png", "00004_shapes_00005.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    out = capsys.readouterr().out
    content = json.loads(open(argv[4]).read())
    for number, ((image, decoded, boxes, classes, _), rule) in enumerate(given):
        mine = [a for a in content["annotations"] if a["image_id"] == 2 * number + 1]
        wanted = np.array([a["bbox"] for a in mine])  # images of 48 x 64 px in an input of 32: half
        np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], wanted[:, 2:] / 2)
        assert classes.tolist() == [a["category_id"] - 1 for a in mine]
        assert image.shape == (32, 32, 3) and decoded.shape == (21, 8) and rule["config"].top_k == 4
        assert f"shapes_{2 * number + 1:05d}.png: {len(mine)} objects" in out
        assert cv2.imread(str(tmp_path / names[number])).shape == (926, 1380, 3)


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        (lambda argv: [*argv, "--count", "0"], 2, "--count 0: want 1 or more images"),
        (lambda argv: argv[:3], 2, "no training images"),
        (lambda argv: [*argv[:2], "nothing.safetensors", *argv[3:]], 1, "nothing.safetensors"),
    ],
)
def test_what_cannot_be_drawn_is_said(argv, tmp_path, capsys, change, status, message):
    target = tmp_path / "out"
    assert run(EXPERIMENT, [*change(argv), "--output", str(target)]) == status
    assert message in capsys.readouterr().err and not target.exists()
