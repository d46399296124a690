"""What the commands refuse: one message that says what to do, and nothing written."""

from __future__ import annotations

import attrs
import pytest

from tests.cli.arguments import eval_arguments, experiment_of, fails, rewritten, train_arguments
from yolox.cli import run
from yolox.config import InputSpec
from yolox.data.synthetic import SHAPE_NAMES
from yolox.recipes import megvii_recipe
from yolox.training.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def weights(nano, tmp_path_factory):
    """A checkpoint of fresh weights: what is refused is refused before they matter."""
    path = tmp_path_factory.mktemp("weights") / "fresh.safetensors"
    tensors = {f"params.{p.name}": p.asnumpy() for p in nano.build_detector(3).get_parameters()}
    recipe = attrs.evolve(megvii_recipe("nano"), input=InputSpec(input_size=(64, 64)))
    save_checkpoint(path, tensors, recipe=recipe, class_names=SHAPE_NAMES)
    return path


def test_a_run_is_not_overwritten_without_the_option(nano, data, tmp_path, capsys):
    (tmp_path / "history.csv").write_text("before")
    err = fails(capsys, nano, train_arguments(data, tmp_path), 2)
    assert "is not empty" in err and "--overwrite" in err
    assert (tmp_path / "history.csv").read_text() == "before"


@pytest.mark.parametrize(
    "more, want",
    [
        (["--warmup-epochs", "2", "--flat-epochs", "1"], "--warmup-epochs 2 + --flat-epochs 1"),
        (["--plain-epochs", "-1"], "--plain-epochs"),
        (["--epochs", "0"], "epochs: got 0"),
        (["--batch-size", "64", "--last-batch", "drop"], "batch"),
    ],
)
def test_settings_that_do_not_fit_are_refused(nano, data, tmp_path, capsys, more, want):
    argv = train_arguments(data, tmp_path / "run", *more)
    assert want in fails(capsys, nano, argv, 1 if "--batch-size" in more else 2)
    assert not (tmp_path / "run").exists()


def test_half_a_validation_set_is_refused(nano, data, tmp_path, capsys):
    argv = train_arguments(data, tmp_path / "run")
    place = argv.index("--val-images")
    assert "give both" in fails(capsys, nano, argv[:place] + argv[place + 2 :], 2)


def test_evaluating_a_dataset_of_other_classes_fails_and_names_them(nano, data, weights, tmp_path, capsys):
    def add_star(content):
        content["categories"].append({"id": 9, "name": "star"})
        content["annotations"][0]["category_id"] = 9

    change = rewritten(data, tmp_path, add_star)
    err = fails(capsys, nano, [*eval_arguments(data, weights), *change], 1)
    assert "classes that are none of the 3 wanted: 1 of 4 (star" in err and "--class-map" in err


def test_an_empty_validation_set_is_refused(nano, data, weights, tmp_path, capsys):
    def clear(content):
        content["images"], content["annotations"] = [], []

    err = fails(
        capsys, nano, [*eval_arguments(data, weights), *rewritten(data, tmp_path, clear)], 1
    )
    assert "has no images" in err


def test_a_training_set_without_boxes_is_refused(nano, data, tmp_path, capsys):
    change = rewritten(data, tmp_path, lambda content: content["annotations"].clear())
    argv = [*train_arguments(data, tmp_path / "run"), "--train-json", str(change[1]), "--train-images"]
    assert "no box" in fails(capsys, nano, [*argv, data / "val/images"], 1)


@pytest.mark.parametrize(
    "replaced, want",
    [
        ({"--weights": "nothing.pth"}, "nothing.pth: no such file"),
        ({"--val-json": "nothing.json"}, "nothing.json"),
        ({"--val-images": "nothing"}, "nothing"),
    ],
)
def test_a_wrong_path_is_named(nano, data, weights, capsys, replaced, want):
    argv = eval_arguments(data, weights)
    for option, value in replaced.items():
        argv[argv.index(option) + 1] = value
    assert want in fails(capsys, nano, argv, 1)


def test_predict_without_images_is_refused(nano, weights, tmp_path, capsys):
    argv = ["predict", "--weights", weights, "--output", tmp_path / "out", "--source"]
    assert "no such file or folder" in fails(capsys, nano, [*argv, tmp_path / "nothing"], 1)
    assert "no images found" in fails(capsys, nano, [*argv, tmp_path], 1)


@pytest.mark.parametrize("command", ["predict", "export"])
def test_weights_that_cannot_be_used_leave_no_folder(nano, data, tmp_path, capsys, command):
    place = tmp_path / "out" / ("w.onnx" if command == "export" else "pictures")
    source = ["--source", data / "val/images"] if command == "predict" else []
    assert "no such file" in fails(capsys, nano, [command, "--weights", tmp_path / "w.pth", "--output", place, *source], 1)
    (tmp_path / "w.pth").write_text("no weights")
    assert "w.pth" in fails(capsys, nano, [command, "--weights", tmp_path / "w.pth", "--output", place, *source], 1)
    assert not (tmp_path / "out").exists()


def test_arguments_that_cannot_be_read_or_contradict_are_usage_errors(nano, data, weights, tmp_path, capsys):
    argv = ["predict", "--weights", weights, "--output", tmp_path / "out", "--source", data / "val/images"]
    err = fails(capsys, nano, [*argv, "--batch-size", "five"], 2)
    assert err.splitlines()[0] == "error: --batch-size: got 'five', want a whole number"
    assert fails(capsys, nano, [*argv, "--save-txt"], 2).startswith("error: --save-txt: write --save txt; it takes one or more")
    assert not (tmp_path / "out").exists()


def test_weights_of_another_scale_are_refused(data, weights, capsys):
    err = fails(capsys, experiment_of("yolox_tiny"), eval_arguments(data, weights), 1)
    assert "does not fit" in err and "detector wants" in err
    assert "tensors differ: it looks like scale nano; the detector is tiny" in err.splitlines()[0]


def test_ascend_on_a_machine_without_it_is_a_message(nano, capsys):
    err = fails(capsys, nano, ["info", "--device", "Ascend"], 1)
    assert "--device Ascend: not usable here; try --device CPU" in err


def test_debug_shows_the_traceback(nano, data, capsys):
    assert run(nano, [*eval_arguments(data, "nothing.pth"), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err
