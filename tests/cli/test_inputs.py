"""Weights decide the pixels, and the recipe unless the user names one."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
from mindspore import nn
from rich.console import Console

from yolox.cli import inputs
from yolox.cli.evaluate import EvalOptions
from yolox.cli.experiment import Experiment
from yolox.cli.inputs import OpenedWeights, command_text, given_options, notes_held, open_detector, recipe_of_weights
from yolox.config import InputSpec, Recipe
from yolox.errors import DataError, UsageError, WeightsError
from yolox.export.engine import EngineChoice
from yolox.recipes import megvii_recipe, mindyolo_recipe
from yolox.training.checkpoint import save_checkpoint
from yolox.weights.load import LoadedWeights

RECIPES = {"megvii": megvii_recipe("nano"), "mindyolo": mindyolo_recipe("nano")}
NANO = Experiment(name="nano", build_detector=None, recipes=RECIPES, make_step=None)
RGB = InputSpec(input_size=(640, 640), channel_order="rgb", letterbox="center")


def weights(source, **known):
    return LoadedWeights(source=source, loaded=(), **known)


@pytest.mark.parametrize("source", ["megvii", "mindyolo"])
def test_foreign_weights_bring_their_systems_recipe_at_the_scales_size(source):
    recipe = recipe_of_weights(NANO, None, weights(source, input=RGB))
    assert recipe.postprocess == RECIPES[source].postprocess
    assert recipe.input == attrs.evolve(RGB, input_size=(416, 416))


def test_a_named_recipe_changes_the_postprocessing_and_never_the_pixels():
    recipe = recipe_of_weights(NANO, "mindyolo", weights("megvii", input=RECIPES["megvii"].input))
    assert recipe.postprocess.multi_label and recipe.input.channel_order == "bgr"


def test_own_checkpoints_bring_their_recipe_with_its_size():
    own = Recipe(epochs=7, input=attrs.evolve(RGB, input_size=(64, 96)))
    assert recipe_of_weights(NANO, None, weights("yolox", input=own.input, recipe=own)) == own
    named = recipe_of_weights(NANO, "megvii", weights("yolox", input=own.input, recipe=own))
    assert (named.epochs, named.input) == (300, own.input)


def test_weights_that_tell_nothing_get_megviis_recipe():
    assert recipe_of_weights(NANO, None, weights("unknown")) == RECIPES["megvii"]


def test_an_experiment_needs_megviis_recipe():
    with pytest.raises(ValueError, match="want at least 'megvii'"):
        Experiment(name="x", build_detector=None, recipes={}, make_step=None)


class Head(nn.Cell):
    def __init__(self, num_classes):
        super().__init__()
        self.cls_preds = nn.CellList([nn.Conv2d(4, num_classes, 1, has_bias=True)])


class OnlyHead(nn.Cell):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes, self.head = num_classes, Head(num_classes)


@pytest.mark.parametrize("names", [("cat",), ("cat", "dog", "cow")])
def test_a_checkpoint_whose_names_are_not_its_classes_is_refused(tmp_path, names):
    experiment = attrs.evolve(NANO, build_detector=OnlyHead)
    tensors = {f"params.{p.name}": np.ones(p.shape, np.float32) for p in OnlyHead(2).get_parameters()}
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, tensors, recipe=Recipe(), class_names=names)
    message = f"w.safetensors: names {len(names)} classes, but its head.cls_preds.0.weight has 2 rows"
    with pytest.raises(WeightsError, match=message):
        open_detector(experiment, path)
    save_checkpoint(path, tensors, recipe=Recipe(), class_names=("cat", "dog"))
    assert open_detector(experiment, path)[0].num_classes == 2


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["/usr/bin/yolox", "train", "--data", "my data"], "yolox train --data 'my data'"),
        (["examples/yolox_nano.py", "eval"], "python examples/yolox_nano.py eval"),
        (["/lib/yolox/__main__.py", "eval"], "python -m yolox eval"),
    ],
)
def test_the_command_of_the_process_as_a_shell_takes_it(monkeypatch, argv, text):
    monkeypatch.setattr("sys.argv", argv)
    assert command_text() == text


def test_given_options_are_those_that_differ():
    options = EvalOptions(weights=Path("a.safetensors"), val_json=Path("B.json"), workers=0)
    assert given_options(options) == {"--weights": "a.safetensors", "--val-json": "B.json", "--workers": "0"}


def test_the_engine_is_chosen_and_printed(monkeypatch, capsys):
    options, asked = SimpleNamespace(engine="auto", input=RGB), []
    opened = OpenedWeights(detector=OnlyHead(2), num_classes=2, metadata=weights("yolox"), path=Path("w.safetensors"))

    def choose(detector, engine, **rest):
        asked.append((detector, engine, rest))
        return EngineChoice(detector="the export", engine="openvino", reason="as asked")

    monkeypatch.setattr(inputs, "choose_engine", choose)
    found = opened.in_engine(options, Console(), class_names=("cat", "dog"), images=20)
    assert found.detector == "the export" and capsys.readouterr().out == "engine: OpenVINO (as asked)\n"
    assert asked == [(opened.detector, "auto", {"spec": RGB, "class_names": ("cat", "dog"), "images": 20})]


def test_an_exported_file_takes_no_engine():
    opened = OpenedWeights(detector=None, num_classes=2, metadata=weights("export"), path=Path("a.onnx"))
    options = SimpleNamespace(engine="auto", input=RGB)
    assert opened.in_engine(options, Console(), class_names=(), images=1) is opened
    with pytest.raises(UsageError, match="--engine openvino: a.onnx is an export"):
        opened.in_engine(SimpleNamespace(engine="openvino", input=RGB), Console(), class_names=(), images=1)


def test_notes_of_readers_are_held_until_an_error(tmp_path, caplog):
    """Check and training print the notes themselves; after an error, which ends them, the notes are in the log."""
    log = logging.getLogger("yolox.data")
    with notes_held():
        log.warning("a note", extra={"is_note": True})
        log.warning("another line")
    assert caplog.messages == ["another line"]
    with pytest.raises(DataError), notes_held():
        log.warning("a note", extra={"is_note": True})
        raise DataError("no")
    log.warning("a note", extra={"is_note": True})
    assert caplog.messages == ["another line", "a note", "a note"]
