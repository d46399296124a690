"""Images of one and of five channels, of 8 and of 16 bits, from files to predictions: training, checkpoint, export, pictures."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import cv2
import numpy as np
import pytest

import yolox
from tests.cli.tiny import TinyDetector, toy_loss
from yolox.cli import Experiment, run
from yolox.config import InputSpec
from yolox.data.synthetic import SyntheticConfig, write_synthetic
from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector, initialise
from yolox.recipe_changes import with_epochs
from yolox.recipes import megvii_recipe
from yolox.training.checkpoint import load_checkpoint

CASES = {"grey": (1, 255), "five": (5, 4095)}


def write_set(folder: Path, channels: int, max_value: int, seed: int) -> tuple[str, str]:
    """Draw shapes; each channel is another mixture of the drawn colours."""
    write_synthetic(folder, images=8, seed=seed, config=SyntheticConfig(image_size=(64, 96), sides=(16, 40)))
    path = folder / "instances.json"
    content = json.loads(path.read_text())
    mixtures = np.random.default_rng(0).dirichlet((1, 1, 1), channels)
    for image in content["images"]:
        drawn = cv2.imread(str(folder / "images" / image["file_name"])) @ mixtures.T * (max_value / 255)
        image["file_name"] = f"{Path(image['file_name']).stem}.npy"
        np.save(folder / "images" / image["file_name"], np.round(drawn).astype(np.uint8 if max_value == 255 else np.uint16))
        (folder / "images" / f"{Path(image['file_name']).stem}.png").unlink()
    path.write_text(json.dumps(content))
    return str(path), str(folder / "images")


def build(num_classes, channels=3):
    backbone = CSPDarknet(0.33, 0.125, depthwise=True, in_channels=channels)
    detector = Detector(backbone, PAFPN(0.33, 0.125, depthwise=True), DecoupledHead(num_classes, 0.125, depthwise=True))
    initialise(detector, seed=0)
    return detector


def recipe_of(channels, max_value):
    recipe = with_epochs(megvii_recipe("nano"), 2)
    loader = attrs.evolve(recipe.loader, batch_size=4, multiscale_sizes=(), workers=0, max_gt=20, cache="ram")
    spec = InputSpec(input_size=(64, 64), channels=channels, max_value=max_value)
    return attrs.evolve(recipe, input=spec, loader=loader, augment=attrs.evolve(recipe.augment, mosaic_prob=0.5, mixup_prob=1.0))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_run_of_other_channels_trains_and_its_files_predict(tmp_path, case):
    channels, max_value = CASES[case]
    train_set, val_set = (yolox.read_coco(*write_set(tmp_path / name, channels, max_value, seed))
                          for seed, name in enumerate(("train", "val")))  # fmt: skip
    detector, recipe = build(len(train_set.class_names), channels), recipe_of(channels, max_value)
    optim = attrs.evolve(recipe.optim, lr=0.05, lr_per_image=None, warmup_epochs=1)
    recipe = attrs.evolve(recipe, epochs=40, eval_interval=20, optim=optim)
    done = yolox.train(detector, train_set, val_set=val_set, recipe=recipe, output=tmp_path / "RUN")
    losses = [row["obj"] + row["cls"] for row in done.history]
    assert losses[-1] < losses[0]
    assert load_checkpoint(tmp_path / "RUN/last.safetensors").input == recipe.input
    paths = [str(tmp_path / "val/images" / name) for name in val_set.file_names[:2]]
    config = yolox.PostprocessConfig(score_threshold=0.0, max_detections=5)
    found = yolox.predict(done.detector, paths, config=config)
    exported = tmp_path / "detector.onnx"
    report = yolox.export_detector(done.detector, exported, spec=recipe.input, class_names=train_set.class_names)
    assert report.difference < 1e-3
    again = yolox.predict(yolox.open_exported(exported), [np.load(path) for path in paths], config=config, channels="rgb")
    for one, other in zip(found, again, strict=True):
        assert len(one) == 5
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)
    assert set(yolox.evaluate(yolox.open_exported(exported), val_set, workers=0)) >= {"AP", "AP50"}


def write_pages(folder: Path) -> str:
    """A TIFF of five pages of 16 bits: five channels, or five grey images."""
    pages = np.random.default_rng(0).integers(0, 4096, (5, 64, 96)).astype(np.uint16)
    assert cv2.imwritemulti(str(folder / "pages.tif"), list(pages), (cv2.IMWRITE_TIFF_COMPRESSION, 1))
    return str(folder / "pages.tif")


def tiny_experiment(channels):
    class Many(TinyDetector):
        in_channels = channels

        def __init__(self, num_classes=80):
            super().__init__(num_classes)
            from mindspore import nn

            self.down[0] = nn.Conv2d(channels, 4, 8, 8, "valid")

    def make_step(detector, state, recipe, **options):
        return yolox.make_recipe_step(detector, state, recipe, **{"loss_fn": toy_loss, **options})

    spec = InputSpec(input_size=(64, 64))
    recipe = attrs.evolve(recipe_of(3, 255), input=spec)
    built = {"build_detector": lambda num_classes, channels=3: Many(num_classes), "make_step": make_step}
    return Experiment(name="tiny", recipes={"megvii": recipe}, **built)


@pytest.mark.parametrize("case", ["grey", pytest.param("five", marks=pytest.mark.slow)])
def test_commands_take_other_channels(tmp_path, capsys, case):
    """train with its pictures, eval with pictures, check, predict, and info."""
    channels, max_value = CASES[case]
    experiment, common = tiny_experiment(channels), ["--channels", str(channels), "--max-value", str(max_value)]
    sets = {}
    for seed, name in enumerate(("train", "val")):
        path, images = write_set(tmp_path / name, channels, max_value, seed)
        sets[name] = [f"--{name}-json", path, f"--{name}-images", images]
    folder = tmp_path / "RUN"
    assert run(experiment, ["train", *sets["train"], *sets["val"], *common, "--output", str(folder)]) == 0
    out = capsys.readouterr().out
    assert f"{channels} channel" in out and "changes of colour are left out" in out
    assert cv2.imread(str(folder / "first_batches.jpg")).std() > 10
    weights = ["--weights", str(folder / "last")]
    assert run(experiment, ["eval", *sets["val"], *weights, "--pictures", str(tmp_path / "pictures")]) == 0
    assert len(list((tmp_path / "pictures/beside").iterdir())) == 8
    source = ["--source", str(tmp_path / "val/images"), write_pages(tmp_path), "--score-threshold", "0", "--crops"]
    assert run(experiment, ["predict", *weights, *source, "--output", str(tmp_path / "found")]) == 0
    assert len(list((tmp_path / "found").glob("shapes_*"))) == 8 and (tmp_path / "found/pages.png").exists()
    assert ("of several pages or frames, of which the first is read: 1 (pages.tif" in capsys.readouterr().err) == (channels == 1)
    assert run(experiment, ["check", *sets["train"], *common, "--output", str(tmp_path / "check")]) == 0
    assert f"pixels: {channels} channel" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "check/labels.png")).std() > 10
    assert run(experiment, ["check", *sets["train"], "--output", str(tmp_path / "check3")]) == (0 if channels == 1 else 1)


def test_a_detector_of_three_channels_is_refused(tmp_path):
    with pytest.raises(yolox.errors.UsageError, match="`channels` 5: plain takes images of 3 channels"):
        Experiment(name="plain", build_detector=TinyDetector, recipes={"megvii": recipe_of(3, 255)}).build(2, 5)
    data = yolox.read_coco(*write_set(tmp_path / "data", 5, 255, 0))
    with pytest.raises(yolox.errors.UsageError, match="`channels` 5: the detector takes images of 3 channels"):
        yolox.train(build(len(data.class_names)), data, recipe=recipe_of(5, 255), output=tmp_path / "RUN")
    assert not (tmp_path / "RUN").exists()
