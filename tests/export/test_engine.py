"""The runtimes on CPU: the same predictions, an export that is made once, and a cache that is not trusted."""

from __future__ import annotations

import shutil
from pathlib import Path

import attrs
import numpy as np
import pytest
from mindspore import Tensor, nn

from tests.export.detectors import NAMES, SPEC, library_detector, pictures
from yolox.config import PostprocessConfig
from yolox.data.coco import read_coco
from yolox.errors import ExportError
from yolox.eval.predict import make_eval_step, predict_images
from yolox.export import engine as module
from yolox.export.compare import largest_difference
from yolox.export.engine import KEPT, WORTH_AN_EXPORT, cache_key, choose_engine
from yolox.export.metadata import ExportMetadata
from yolox.model import Model, evaluate, load, predict
from yolox.nn.blocks import ConvBNAct

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("openvino", reason="OpenVINO is not installed")
ABOUT = ExportMetadata(class_names=NAMES, input=SPEC)
EVERYTHING = PostprocessConfig(score_threshold=0.0, max_detections=20)


@pytest.fixture(scope="module")
def detector():
    return library_detector()


@pytest.fixture(scope="module")
def made(detector, tmp_path_factory):
    """A cache with the export of the detector."""
    folder = tmp_path_factory.mktemp("engines")
    choice = choose_engine(detector, "onnxruntime", spec=SPEC, class_names=NAMES, folder=folder)
    assert choice.engine == "onnxruntime" and "exported to" in choice.reason
    return folder


@pytest.fixture(scope="module")
def step(detector):
    """MindSpore's step, compiled for three images."""
    step = make_eval_step(detector, spec=SPEC)
    step(pictures(3))
    return step


@pytest.fixture()
def cache(made, tmp_path, monkeypatch):
    """A copy of that cache in which nothing can be exported."""
    monkeypatch.setattr(module, "export_detector", lambda *args, **options: pytest.fail("exported once more"))
    return Path(shutil.copytree(made, tmp_path / "engines"))


def choose(detector, cache, engine="auto", **options):
    return choose_engine(detector, engine, spec=SPEC, class_names=NAMES, folder=cache, **options)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_each_runtime_predicts_what_mindspore_does(detector, step, cache, engine):
    choice = choose(detector, cache, engine)
    assert choice.engine == engine and "export of these weights in" in choice.reason
    assert largest_difference(choice.detector(pictures(3)), step(pictures(3)).asnumpy()) < 1e-4


def test_auto_takes_the_export_that_is_there(detector, cache):
    assert choose(detector, cache).engine == "onnxruntime"


def test_auto_exports_only_for_many_images(detector, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "_export", lambda *args: asked.append(1) or "exported")
    few = choose(detector, tmp_path / "none", images=WORTH_AN_EXPORT - 1)
    assert few.engine == "mindspore" and few.detector is detector and "no export of these weights yet" in str(few)
    assert choose(detector, tmp_path / "none", images=WORTH_AN_EXPORT).detector == "exported" and asked == [1]


def test_auto_says_why_it_stays_on_mindspore(detector, tmp_path, monkeypatch):
    class OwnLayer(nn.Cell):
        num_classes, strides = 3, (8, 16, 32)

    choice = choose(OwnLayer(), tmp_path, images=100)
    assert choice.engine == "mindspore" and "OwnLayer is a layer of your own" in choice.reason
    monkeypatch.setattr(module, "_installed", lambda: [])
    assert "neither ONNX Runtime nor OpenVINO is installed" in str(choose(detector, tmp_path, images=100))
    with pytest.raises(ExportError, match="needs OpenVINO: pip install"):
        choose(detector, tmp_path, "openvino")


def test_an_export_stays_when_the_runtime_is_not_installed(detector, cache, monkeypatch):
    def is_missing(*args, **options):
        raise ExportError("needs the package openvino")

    (path,) = cache.glob("*.onnx")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(module, "open_onnx_bytes", is_missing)
    with pytest.raises(ExportError, match="needs OpenVINO: pip install"):
        choose(detector, cache, "openvino")
    assert path.is_file()


def test_an_export_that_fails_leaves_auto_on_mindspore(detector, tmp_path, monkeypatch):
    def fails(*args, **options):
        raise ExportError("differs by 1")

    monkeypatch.setattr(module, "export_detector", fails)
    assert "the export failed: differs by 1" in str(choose(detector, tmp_path / "a", images=100))
    with pytest.raises(ExportError, match="differs by 1"):
        choose(detector, tmp_path / "a", "onnxruntime")
    (tmp_path / "file").touch()
    assert "the export failed" in str(choose(detector, tmp_path / "file", images=100))
    assert list((tmp_path / "a").iterdir()) == []


def test_no_such_engine(detector, tmp_path):
    with pytest.raises(ValueError, match="want one of auto, mindspore, onnxruntime, openvino"):
        choose(detector, tmp_path, "torch")


def test_an_exported_file_is_its_own_engine(detector, cache):
    exported = choose(detector, cache).detector
    assert choose(exported, cache).detector is exported
    with pytest.raises(ValueError, match="the form of an exported file decides"):
        choose(exported, cache, "openvino")


def _torn(path, data):
    path.write_bytes(data[: len(data) // 2])


def _changed(path, data):
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])


def _foreign(path, data):
    """Bytes that are no detector under a name that their hash agrees with."""
    path.unlink()
    path.with_name(module._file_name(path.name.partition("-")[0], b"foreign")).write_bytes(b"foreign")


@pytest.mark.parametrize("damage", [_torn, _changed, _foreign])
def test_damaged_files_are_made_anew(detector, cache, monkeypatch, damage):
    (path,) = cache.glob("*.onnx")
    data, exported = path.read_bytes(), []
    damage(path, data)
    monkeypatch.setattr(module, "export_detector", lambda *args, **options: exported.append(1) or args[1].write_bytes(data))
    assert choose(detector, cache, "onnxruntime").engine == "onnxruntime" and exported == [1]
    assert [each.read_bytes() for each in cache.glob("*")] == [data]


def test_the_key_follows_weights_layers_and_pixels(detector, step):
    key = cache_key(detector, ABOUT)
    assert cache_key(library_detector(), ABOUT) == key  # which was never compiled
    other = attrs.evolve(SPEC, channel_order="rgb")
    assert cache_key(detector, attrs.evolve(ABOUT, input=other)) != key
    changed = library_detector()
    parameter = next(iter(changed.get_parameters()))
    parameter.set_data(Tensor(parameter.asnumpy() + 1e-3))
    assert cache_key(changed, ABOUT) != key
    changed = library_detector()
    layer = next(cell for _, cell in changed.cells_and_names() if isinstance(cell, ConvBNAct))
    layer.act = nn.ReLU()
    assert cache_key(changed, ABOUT) != key


def test_the_cache_keeps_the_last_used(detector, cache, monkeypatch):
    (path,) = cache.glob("*.onnx")
    data = path.read_bytes()
    path.unlink()
    for number in range(KEPT + 3):
        (cache / f"old{number}.onnx").write_bytes(b"")
    monkeypatch.setattr(module, "export_detector", lambda *args, **options: args[1].write_bytes(data))
    choose(detector, cache, "onnxruntime")
    left = {each.name for each in cache.glob("*")}
    assert len(left) == KEPT and path.name in left


def test_steps_ahead_give_the_same_in_the_same_order(detector, cache):
    exported = choose(detector, cache).detector
    images, options = list(pictures(5)), {"spec": SPEC, "config": EVERYTHING}
    one, other = (list(predict_images(exported, images, **options, ahead=ahead)) for ahead in (False, True))
    assert len(one) == 5 and all(np.array_equal(a.boxes, b.boxes) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one[0].scores, one[1].scores)


def test_an_error_of_the_engine_reaches_the_caller(detector, cache):
    def fails(planes):
        raise ExportError("cannot run it")

    exported = attrs.evolve(choose(detector, cache).detector, run=fails)
    with pytest.raises(ExportError, match="cannot run it"):
        list(predict_images(exported, list(pictures(3)), spec=SPEC, config=EVERYTHING, ahead=True))


def test_the_front_door_takes_engines(detector, step, cache, monkeypatch):
    monkeypatch.setattr(module, "cache_folder", lambda: cache.parent)
    images, options = list(pictures(3)), {"spec": SPEC, "config": EVERYTHING}
    wanted = list(predict_images(step, images, **options, batch_size=3))
    found = predict(detector, images, **options, class_names=NAMES, engine="onnxruntime")
    model = Model(detector=detector, input=SPEC, class_names=NAMES)
    again = model.predict(images, config=EVERYTHING, engine="auto")
    for each, same, want in zip(found, again, wanted, strict=True):
        np.testing.assert_allclose(each.scores, want.scores, atol=1e-4)
        assert np.array_equal(each.boxes, same.boxes) and each.names


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["mindspore", "onnxruntime", "openvino"])
def test_ap_of_the_official_nano(data_dir, tmp_path, monkeypatch, engine):
    monkeypatch.setenv("YOLOX_CACHE", str(tmp_path))
    model = load(data_dir / "weights/yolox_nano_fused_megvii_keys.npz", scale="nano")
    folder = data_dir / "coco_ccby_val"
    dataset = read_coco(folder / "instances.json", folder / "images")
    metrics = evaluate(model.detector, dataset, engine=engine)
    assert metrics["AP"] == pytest.approx(0.3088, abs=1e-3)
