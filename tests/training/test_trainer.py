"""What training refuses before its first step, and what it announces."""

from __future__ import annotations

import os
import signal

import attrs
import numpy as np
import pytest

from tests.cli.tiny import EXPERIMENT, RECIPE, TinyDetector, make_step, write_data
from yolox.cli import run
from yolox.config import OptimConfig
from yolox.data.classes import inverse_class_weights
from yolox.data.coco import read_coco
from yolox.data.synthetic import SyntheticConfig, write_synthetic
from yolox.errors import CommandError, RunStopped, UsageError
from yolox.model import evaluate
from yolox.nn import initialise
from yolox.training.callbacks import Callback
from yolox.training.checkpoint import load_checkpoint, save_checkpoint
from yolox.training.run_folder import lock_run
from yolox.training.trainer import train
from yolox.weights.load import load_weights


@pytest.mark.parametrize("name", ["net.onnx", "net.MINDIR"])
def test_exported_files_do_not_train(tmp_path, capsys, name):
    (tmp_path / name).write_bytes(b"exported")
    argv = ["--weights", tmp_path / name, "--output", tmp_path / "run"]
    assert run(EXPERIMENT, ["train", *write_data(tmp_path / "data", 2), *map(str, argv)]) == 2
    assert f"{name}: an exported file cannot be trained; give the weights it was made of" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_announces_its_training_sizes(tmp_path, capsys):
    data = write_data(tmp_path / "data", 2)
    argv = ["train", *data, "--output", str(tmp_path / "run"), "--input-size", "96", "--multiscale-sizes", "32", "64"]
    assert run(EXPERIMENT, [*argv, "--epochs", "2", "--plain-epochs", "0", "--flat-epochs", "0"]) == 0
    assert "tiny, 96 x 96 px (training at 2 heights, 32 to 64 px): 2 images, " in capsys.readouterr().out


def test_weights_of_other_names_are_evaluated_by_the_names_of_the_dataset(tmp_path):
    """As many classes under other names: the detector is trained and evaluated on the dataset's, in its order."""
    config = SyntheticConfig(image_size=(48, 64), sides=(12, 30))
    path = write_synthetic(tmp_path / "data", images=4, seed=0, config=config)
    dataset = read_coco(str(path), str(tmp_path / "data/images"))
    detector = TinyDetector(3)
    initialise(detector, seed=0)
    weights = {f"params.{p.name}": p.asnumpy() for p in detector.get_parameters()}
    save_checkpoint(tmp_path / "other.safetensors", weights, recipe=RECIPE, class_names=["cat", "cow", "dog"])
    load_weights(detector, tmp_path / "other.safetensors")
    assert detector.class_names == ("cat", "cow", "dog")
    recipe = attrs.evolve(RECIPE, epochs=2, no_aug_epochs=0, eval_interval=1)
    run = train(detector, dataset, val_set=dataset, recipe=recipe, output=tmp_path / "run", make_step=make_step)
    assert set(run.history[-1]) >= {"AP"} and run.detector.class_names == dataset.class_names
    assert set(evaluate(run.detector, dataset)["per_class"]) == set(dataset.class_names)


def test_the_detector_of_a_run_has_the_averages_of_the_best_checkpoint(tmp_path):
    path = write_synthetic(tmp_path / "data", images=4, seed=0, config=SyntheticConfig(image_size=(48, 64), sides=(12, 30)))
    dataset, detector = read_coco(str(path), str(tmp_path / "data/images")), TinyDetector(3)
    initialise(detector, seed=0)
    recipe = attrs.evolve(RECIPE, epochs=2, no_aug_epochs=0)
    run = train(detector, dataset, recipe=recipe, output=tmp_path / "run", make_step=make_step)
    best = load_checkpoint(tmp_path / "run/best.safetensors").tensors
    for parameter in run.detector.get_parameters():
        np.testing.assert_array_equal(parameter.asnumpy(), best[f"ema.{parameter.name}"])
    assert run.best_ap is None and any((p.asnumpy() != best[f"ema.{p.name}"]).any() for p in detector.trainable_params())


@pytest.mark.parametrize("how", ["overwrite", "resume"])
def test_a_folder_that_another_run_owns_is_left_alone(tmp_path, how):
    path = write_synthetic(tmp_path / "data", images=2, seed=0, config=SyntheticConfig(image_size=(48, 64), sides=(12, 30)))
    dataset, output = read_coco(str(path), str(tmp_path / "data/images")), tmp_path / "run"
    output.mkdir()
    (output / "last.safetensors").write_bytes(b"of the other run")
    with lock_run(output), pytest.raises(CommandError, match="in use by another run"):
        train(TinyDetector(3), dataset, recipe=RECIPE, output=output, make_step=make_step, **{how: True})
    assert (output / "last.safetensors").read_bytes() == b"of the other run"


class StopAfter(Callback):
    """Sends the process SIGTERM after some steps."""

    def __init__(self, steps):
        self.steps = steps

    def on_step(self, event):
        if event.step == self.steps:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_stopped_run_with_adamw_goes_on_to_the_same_bits(tmp_path):
    """Clipping, a canvas, and the moments and the number of updates: all come back."""
    path = write_synthetic(tmp_path / "data", images=4, seed=0, config=SyntheticConfig(image_size=(48, 64), sides=(12, 30)))
    dataset = read_coco(str(path), str(tmp_path / "data/images"))
    numbers = {"lr": 0.01, "lr_per_image": None, "weight_decay": 0.05, "clip_norm": 0.5, "warmup_epochs": 1, "flat_epochs": 1}
    optim = OptimConfig(optimizer="adamw", **numbers)
    augment = attrs.evolve(RECIPE.augment, canvas_size=(64, 64))
    recipe = attrs.evolve(RECIPE, epochs=3, no_aug_epochs=1, optim=optim, augment=augment)

    def go(folder, **options):
        detector = TinyDetector(3)
        initialise(detector, seed=0)
        return train(detector, dataset, recipe=recipe, output=tmp_path / folder, make_step=make_step, **options)

    go("whole")
    with pytest.raises(RunStopped):
        go("parts", callbacks=[StopAfter(3)])
    go("parts", resume=True)
    whole, parts = (load_checkpoint(tmp_path / folder / "last.safetensors").tensors for folder in ("whole", "parts"))
    assert whole.keys() == parts.keys() and whole["optimizer_updates"] == 6
    for name, tensor in whole.items():
        np.testing.assert_array_equal(parts[name], tensor, err_msg=name)


def test_images_with_a_short_side_are_left_out_and_counted(tmp_path, capsys):
    path = write_synthetic(tmp_path / "data", images=4, seed=0, config=SyntheticConfig(image_size=(48, 64), sides=(12, 30)))
    dataset = read_coco(str(path), str(tmp_path / "data/images"))
    dataset = attrs.evolve(dataset, sizes=np.array([[48, 64], [31, 64], [48, 20], [48, 64]], np.int32))
    recipe = attrs.evolve(RECIPE, epochs=2, no_aug_epochs=0, loader=attrs.evolve(RECIPE.loader, min_image_side=32))
    detector = TinyDetector(3)
    initialise(detector, seed=0)
    train(detector, dataset, recipe=recipe, output=tmp_path / "run", make_step=make_step)
    said = "2 of 4 training images are left out, as a side has fewer than 32 px: "
    assert said + ", ".join(dataset.file_names[1:3]) in " ".join(capsys.readouterr().out.split())


def test_class_weights_come_from_the_training_set_and_are_part_of_the_recipe(tmp_path):
    path = write_synthetic(tmp_path / "data", images=4, seed=0, config=SyntheticConfig(image_size=(48, 64), sides=(12, 30)))
    dataset, seen = read_coco(str(path), str(tmp_path / "data/images")), []

    def go(folder, **loss):
        recipe = attrs.evolve(RECIPE, epochs=2, no_aug_epochs=0, loss=attrs.evolve(RECIPE.loss, **loss))
        detector = TinyDetector(3)
        initialise(detector, seed=0)

        def step_of(detector, state, recipe, **options):
            seen.append(recipe.loss)
            return make_step(detector, state, recipe, **options)

        return train(detector, dataset, recipe=recipe, output=tmp_path / folder, make_step=step_of)

    go("inverse", class_balance="inverse")
    assert seen[0].class_weights == inverse_class_weights(dataset) and seen[0].class_balance == "inverse"
    detector = TinyDetector(3)  # the recipe of the run is accepted again
    recipe = load_checkpoint(tmp_path / "inverse/last.safetensors").recipe
    assert train(detector, dataset, recipe=recipe, output=tmp_path / "inverse", make_step=make_step, resume=True).stopped is None
    assert load_checkpoint(tmp_path / "inverse/last.safetensors").recipe.loss == seen[0]
    with pytest.raises(UsageError, match="`class_weights`: got 2, want 3, for circle, "):
        go("wrong", class_weights=(1.0, 2.0))
    with pytest.raises(UsageError, match="`class_weights`: are not those that `class_balance` inverse gives"):
        go("both", class_weights=(1.0, 2.0, 1.0), class_balance="inverse")
    assert not (tmp_path / "wrong").exists() and not (tmp_path / "both").exists()
