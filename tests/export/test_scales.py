"""Whole scales in ONNX Runtime and OpenVINO; official nano weights with their AP on real images."""

from __future__ import annotations

import re
import shutil

import cv2
import numpy as np
import pytest
from mindspore import Tensor

from tests.export.in_openvino import in_openvino
from tests.nn.scales import build_detector, fill_by_rule
from yolox.cli.main import run_model
from yolox.config import InputSpec, PostprocessConfig
from yolox.data.classes import COCO_NAMES
from yolox.data.coco import read_coco
from yolox.data.dataset import ground_truth
from yolox.decode import decode_predictions, make_points
from yolox.eval.coco import detections_to_coco, evaluate_coco
from yolox.eval.predict import predict_dataset
from yolox.export import export_detector, open_exported
from yolox.export.compare import largest_difference
from yolox.export.runner import to_planes
from yolox.weights.load import load_weights

SPEC = InputSpec(input_size=(160, 192))
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("tiny", "s", "darknet53")]


@pytest.mark.parametrize("scale", ["nano", *SLOW])
def test_two_runtimes_agree_with_the_detector(scale, tmp_path):
    detector = build_detector(scale, 80).set_train(False)
    fill_by_rule(detector, seed=0)
    path = tmp_path / f"{scale}.onnx"
    export_detector(detector, path, spec=SPEC, class_names=COCO_NAMES, batch=None)
    images = np.random.default_rng(1).integers(0, 256, (4, *SPEC.input_size, 3), np.uint8)
    points = [Tensor(part) for part in make_points(SPEC.input_size, detector.strides)]
    wanted = decode_predictions(detector(Tensor(to_planes(images, spec=SPEC))), *points).asnumpy()
    opened = open_exported(path)
    for count in (1, 4):
        assert largest_difference(opened(images[:count]), wanted[:count]) < 1e-3
        rows = in_openvino(path, to_planes(images[:count], spec=SPEC))["predictions"]
        assert largest_difference(rows, wanted[:count]) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "mindir"])
def test_exported_official_nano_keeps_its_ap(data_dir, tmp_path, form):
    detector, spec = build_detector("nano", 80), InputSpec(input_size=(416, 416))
    load_weights(detector, data_dir / "weights/yolox_nano_fused_megvii_keys.npz")
    path = tmp_path / f"nano.{form}"
    export_detector(detector, path, spec=spec, class_names=COCO_NAMES, format=form)
    folder = data_dir / "coco_ccby_val"
    dataset = read_coco(folder / "instances.json", folder / "images")
    found = predict_dataset(open_exported(path), dataset, spec=spec, config=PostprocessConfig())
    ids = {"image_ids": dataset.image_ids, "category_ids": dataset.category_ids}
    metrics = evaluate_coco(ground_truth(dataset), detections_to_coco(found, **ids))
    assert [metrics[k] for k in ("AP", "AP50", "AP75")] == pytest.approx([0.3088, 0.4636, 0.3224], abs=1e-3)
    print({k: round(metrics[k], 4) for k in ("AP", "AP50", "AP75")})


def calibration_photos(data_dir, folder) -> None:
    """Writes 16 photos of blood cells and 16 cuts of a street photo, none of them evaluated."""
    for path in sorted((data_dir / "bccd/images").iterdir())[:160:10]:
        shutil.copy(path, folder)
    photo, rng = cv2.imread(str(data_dir / "photos/dog.jpg")), np.random.default_rng(0)
    for number in range(16):
        side = int(rng.integers(200, 560))
        y, x = (int(rng.integers(0, length - side)) for length in photo.shape[:2])
        cv2.imwrite(str(folder / f"cut{number:02d}.png"), photo[y : y + side, x : x + side])


@pytest.mark.slow
def test_official_nano_in_int8_loses_at_most_half_a_point(data_dir, tmp_path, capsys):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    (tmp_path / "photos").mkdir()
    calibration_photos(data_dir, tmp_path / "photos")
    folder, path = data_dir / "coco_ccby_val", tmp_path / "nano.xml"
    argv = ["export", "--model", "nano", "--weights", data_dir / "weights/yolox_nano_fused_megvii_keys.npz", "--output", path]
    argv += ["--format", "openvino", "--int8", "--calibrate", tmp_path / "photos"]
    argv += ["--val-json", folder / "instances.json", "--val-images", folder / "images"]
    assert run_model([str(part) for part in argv]) == 0
    out = capsys.readouterr().out
    print(out)
    ap, of_float = map(float, re.search(r"AP (0\.\d+), of the float file (0\.\d+)", out).groups())
    assert of_float == pytest.approx(0.3088, abs=1e-3) and ap >= 0.3088 - 0.005
    assert path.with_suffix(".bin").stat().st_size < 3e6  # 3.65 MB in float
