"""The commands of one scale, run in this process on drawn images of 64 px: files, numbers and messages."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import cv2
import mindspore as ms
import numpy as np
import pytest

from tests.cli import tiny
from tests.cli.arguments import eval_arguments, rewritten, train_arguments
from tests.docs.small import SmallDetector
from yolox.cli import run
from yolox.cli.main import run_model
from yolox.config_io import recipe_from_json
from yolox.data.synthetic import SHAPE_NAMES
from yolox.eval.coco import METRIC_NAMES
from yolox.training import trainer
from yolox.training.checkpoint import load_checkpoint, save_checkpoint
from yolox.training.history import read_history
from yolox.training.run_folder import PICTURES, REPORT, RUN_FILES
from yolox.training.step import create_train_state
from yolox.training.sync import copy_ema
from yolox.weights.load import load_weights


@pytest.fixture(scope="module")
def small(nano):
    """The same script with a detector that compiles in seconds; tests/test_front_door.py trains the real one."""
    return attrs.evolve(nano, build_detector=SmallDetector, make_step=tiny.make_step)


@pytest.fixture(scope="module")
def trained(small, data, tmp_path_factory):
    """A run of two epochs; one training step is compiled for all tests of this file."""
    output = tmp_path_factory.mktemp("runs") / "first"
    assert run(small, train_arguments(data, output, "--seed", "5")) == 0
    return output


def test_info_counts_and_names_the_recipe(nano, capsys):
    assert run(nano, ["info", "--json", "--recipe", "mindyolo"]) == 0
    description = json.loads(capsys.readouterr().out)
    assert (description["parameters"], description["flops"], description["input_size"]) == (912_159, 1_045_106_816, [416, 416])
    assert (description["recipe"], description["published"]["ap_mindyolo"]) == ("mindyolo", 24.1)
    assert description["settings"]["input"]["channel_order"] == "rgb"


def test_info_writes_the_recipe_with_its_options(nano, tmp_path, capsys):
    path = tmp_path / "mine.toml"
    assert run(nano, ["info", "--recipe", "best", "--epochs", "50", "--save-recipe", str(path)]) == 0
    out, err = capsys.readouterr()
    assert f"recipe: {path}" in out and "--recipe best is paddle" in err and "26.1 (not repeated here)" in out
    assert path.read_text() == 'base = "paddle"\nepochs = 50\n'
    assert run(nano, ["info", "--recipe", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["epochs"] == 50
    assert run(nano, ["info", "--save-recipe", str(tmp_path / "a.yaml")]) == 1
    assert "a.yaml: want a recipe file that ends in .toml or .json" in capsys.readouterr().err


def test_info_prints_tables(nano, capsys):
    assert run(nano, ["info", "--input-size", "64", "96", "--num-classes", "3"]) == 0
    out = capsys.readouterr().out
    assert "64 x 96" in out and "25.8" in out and "--warmup-epochs" in out


def test_a_run_holds_its_files(trained, data):
    assert {path.name for path in trained.iterdir()} == {*RUN_FILES, PICTURES} - {REPORT}  # tests/conftest.py leaves it out
    history = read_history(trained / "history.csv")
    assert [row["epoch"] for row in history] == [1.0, 2.0]
    assert history[0]["l1"] == 0 and history[1]["l1"] > 0
    assert history[0]["AP"] is None and history[1]["AP"] is not None
    recipe = recipe_from_json((trained / "recipe.json").read_text())
    assert (recipe.epochs, recipe.loader.seed, recipe.input.input_size) == (2, 5, (64, 64))


def test_the_checkpoint_carries_recipe_names_and_all_states(trained):
    last = load_checkpoint(trained / "last.safetensors")
    assert last.class_names == SHAPE_NAMES
    assert last.recipe == recipe_from_json((trained / "recipe.json").read_text())
    assert last.extra["epoch"] == 2
    assert {name.split(".")[0] for name in last.tensors} == {"params", "ema", "momentum"}
    kernel = "down.0.weight"
    assert np.abs(last.tensors[f"params.{kernel}"] - last.tensors[f"ema.{kernel}"]).max() > 0
    assert np.abs(last.tensors[f"momentum.{kernel}"]).max() > 0


def test_eval_takes_size_and_names_from_the_checkpoint(small, data, trained, tmp_path, capsys):
    target = tmp_path / "metrics.json"
    argv = eval_arguments(data, trained / "best.safetensors", "--json", target, "--score-threshold", "0")
    assert run(small, argv) == 0
    metrics = json.loads(target.read_text())
    assert tuple(metrics)[:12] == METRIC_NAMES and tuple(metrics["per_class"]) == SHAPE_NAMES
    assert metrics["AP"] == pytest.approx(read_history(trained / "history.csv")[-1]["AP"], abs=0.05)
    out = capsys.readouterr().out
    assert all(name in out for name in (*METRIC_NAMES, *SHAPE_NAMES))


def test_predict_writes_pictures_and_boxes(small, data, trained, tmp_path):
    sources = [data / "val/images", data / "train/images/shapes_00001.png"]
    argv = ["predict", "--weights", trained / "best.safetensors", "--source", *sources, "--output", tmp_path]
    argv += ["--score-threshold", "0.0001"]
    assert run(small, [str(part) for part in argv]) == 0
    records = json.loads((tmp_path / "predictions.json").read_text())
    assert [Path(record["image"]).name for record in records] == [
        f"shapes_0000{i}.png" for i in (1, 2, 3, 4, 1)
    ]
    assert sum(len(record["scores"]) for record in records) > 0
    for record in records:
        assert len(record["boxes"]) == len(record["scores"]) == len(record["classes"]) == len(record["names"])
        assert record["scores"] == sorted(record["scores"], reverse=True)
        assert all(SHAPE_NAMES[c] == name for c, name in zip(record["classes"], record["names"], strict=True))
        assert all(0 <= x1 <= x2 <= 64 and 0 <= y1 <= y2 <= 48 for x1, y1, x2, y2 in record["boxes"])
    assert cv2.imread(str(tmp_path / "shapes_00001_2.png")).shape == (384, 512, 3)  # enlarged: 48 x 64


@pytest.fixture
def without_fit(monkeypatch):
    """Replace the epochs by a note of how they were called; everything before them runs."""
    calls = []
    monkeypatch.setattr(trainer, "fit", lambda step, **settings: calls.append(settings))
    return calls


def test_fine_tuning_on_other_classes_says_what_is_new(small, data, trained, tmp_path, capsys, without_fit):
    recipe = load_checkpoint(trained / "last.safetensors").recipe
    detector = small.build_detector(7)
    tensors = {f"params.{p.name}": p.asnumpy() for p in detector.get_parameters()}
    save_checkpoint(tmp_path / "seven.safetensors", tensors, recipe=recipe, class_names=list("abcdefg"))
    assert run(small, train_arguments(data, tmp_path / "run", "--weights", tmp_path / "seven.safetensors")) == 0
    out = capsys.readouterr().out
    assert "another number of classes" in out and "new, for 3 classes" in out
    assert len(without_fit) == 1


@pytest.mark.parametrize(("order", "said"), [([0, 1, 2], False), ([0, 2, 1], True)])
def test_fine_tuning_on_other_names_of_as_many_classes_says_so(small, data, trained, tmp_path, capsys, without_fit, order, said):
    last = load_checkpoint(trained / "last.safetensors")
    names = [SHAPE_NAMES[i] for i in order]
    save_checkpoint(tmp_path / "other.safetensors", last.tensors, recipe=last.recipe, class_names=names)
    assert run(small, train_arguments(data, tmp_path / "run", "--weights", tmp_path / "other.safetensors")) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert (f"2 of 3 classes are others than the dataset's (class 1: {names[1]}, now {SHAPE_NAMES[1]})" in out) == said
    assert ("predictions are kept" in out) == said


def test_training_feeds_the_pixels_that_the_weights_want(small, data, trained, tmp_path, without_fit):
    rgb = train_arguments(data, tmp_path / "a", "--channel-order", "rgb", "--letterbox", "center")
    assert run(small, rgb) == 0
    recipe = without_fit[0]["recipe"]
    tensors = load_checkpoint(trained / "last.safetensors").tensors
    save_checkpoint(tmp_path / "rgb.safetensors", tensors, recipe=recipe, class_names=SHAPE_NAMES)
    more = ("--weights", tmp_path / "rgb.safetensors", "--letterbox", "top_left", "--input-size", "96")
    assert run(small, train_arguments(data, tmp_path / "b", *more)) == 0
    spec = without_fit[1]["recipe"].input
    assert (spec.channel_order, spec.letterbox, spec.input_size) == ("rgb", "top_left", (96, 96))


@pytest.mark.parametrize(("precision", "dtype"), [("float32", ms.float32), ("float16", ms.float16)])
def test_the_precision_option_reaches_the_convolutions(nano, data, tmp_path, without_fit, precision, dtype):
    seen = []
    experiment = attrs.evolve(nano, make_step=lambda detector, state, recipe: seen.append(detector))
    assert run(experiment, train_arguments(data, tmp_path / "run", "--precision", precision)) == 0
    convolution = seen[0].backbone.stem.conv.conv
    assert convolution(ms.ops.zeros((1, 12, 8, 8))).dtype == dtype


def test_averages_are_copied_in_place(small, trained):
    state = create_train_state(small.build_detector(3))
    other = small.build_detector(3)
    load_weights(other, trained / "last.safetensors")
    copy_ema(state, other)
    for parameter, average in zip(state.averaged, state.ema.arrays(), strict=True):
        copied = next(p for p in other.get_parameters() if p.name == parameter.name)
        np.testing.assert_array_equal(copied.asnumpy(), average)


def test_evaluating_fewer_categories_finds_them_by_name(small, data, trained, tmp_path):
    def keep_triangles(content):
        content["categories"] = content["categories"][2:]
        content["annotations"] = [a for a in content["annotations"] if a["category_id"] == 3]

    change = rewritten(data, tmp_path, keep_triangles)
    target = tmp_path / "metrics.json"
    assert (
        run(small, [*map(str, (*eval_arguments(data, trained / "best.safetensors"), *change, "--json", target))])
        == 0
    )
    per_class = json.loads(target.read_text())["per_class"]
    assert per_class["circle"] is None and per_class["triangle"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("shape", [[], ["--rectangular"]], ids=["square", "rectangular"])
def test_official_weights_on_real_images(nano, data_dir, tmp_path, shape):
    """The numbers of the published ONNX file on these images; the weights need no options."""
    weights = data_dir / "weights/yolox_nano_fused_megvii_keys.npz"
    folder, target = data_dir / "coco_ccby_val", tmp_path / "metrics.json"
    argv = [
        "eval",
        "--weights",
        weights,
        "--val-json",
        folder / "instances.json",
        "--val-images",
        folder / "images",
    ]
    assert run(nano, [*map(str, argv), *shape, "--json", str(target), "--workers", "0"]) == 0
    metrics = json.loads(target.read_text())
    want = {"AP": 0.3088} if shape else {"AP": 0.3088, "AP50": 0.4636, "AP75": 0.3224}
    assert {name: metrics[name] for name in want} == pytest.approx(want, abs=1e-3)


@pytest.mark.slow
def test_official_weights_on_a_photo(nano, data_dir, tmp_path):
    weights, photo = data_dir / "weights/yolox_nano_fused_megvii_keys.npz", data_dir / "photos/dog.jpg"
    argv = ["predict", "--weights", weights, "--source", photo, "--output", tmp_path]
    argv += ["--score-threshold", "0.3", "--iou-threshold", "0.45"]
    assert run(nano, [*map(str, argv)]) == 0
    (record,) = json.loads((tmp_path / "predictions.json").read_text())
    reference = json.loads((data_dir / "weights/detections_s0.3_nms0.45.json").read_text())
    wanted = reference["images"]["dog.jpg"]["detections"]
    assert record["names"] == [item["class"] for item in wanted]
    np.testing.assert_allclose(record["boxes"], [item["box_xyxy"] for item in wanted], atol=1)
    np.testing.assert_allclose(record["scores"], [item["score"] for item in wanted], atol=0.005)


def test_a_first_training_takes_two_options(data, tmp_path, capsys, without_fit, monkeypatch):
    """``--model`` and ``--data``; the folders of runs are numbered, and the model follows from weights."""
    monkeypatch.chdir(tmp_path)
    for number in ("", "-2"):
        assert run_model(["train", "--model", "nano", "--data", str(data)]) == 0
        out, err = capsys.readouterr()
        assert f"data: {data}: COCO, train/instances.json: train and val; training on train, evaluation on val\n" in out
        assert f"output: runs/train{number}\n" in out and "note: one image size" in err
        assert recipe_from_json((tmp_path / f"runs/train{number}/recipe.json").read_text()).input.input_size == (416, 416)
    assert len(without_fit) == 2 and all(settings["evaluate"] is not None for settings in without_fit)


def test_the_model_follows_from_the_weights(tmp_path, capsys, nano):
    detector = nano.build_detector(3)
    np.savez(tmp_path / "w.npz", **{p.name: p.asnumpy() for p in detector.get_parameters()})
    (tmp_path / "RUN").mkdir()
    (tmp_path / "RUN/best.safetensors").write_bytes((tmp_path / "w.npz").read_bytes())  # the content decides
    for path in (tmp_path / "w.npz", tmp_path / "RUN", tmp_path / "RUN/best", "megvii:nano"):
        assert run_model(["train", "--weights", str(path), "--output", "x"]) == 2
        err = capsys.readouterr().err
        assert err.startswith("note: --model nano, by ") and "no training images: give --data" in err
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    assert run_model(["eval", "--weights", str(tmp_path / "other.npz")]) == 2
    assert "--model: missing, want one of nano" in capsys.readouterr().err
    assert run_model(["eval", "--weights", "megvii:huge"]) == 1
    assert "no published checkpoint; known are megvii:nano" in capsys.readouterr().err
