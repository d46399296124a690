"""Nano and a drawn dataset for the tests of commands; an experiment that finds squares, and a folder and a video of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from tests.cli.arguments import draw_both_sets, experiment_of
from tests.cli.squares import SIZE, find_square, square
from yolox.cli import predict as predict_command
from yolox.cli.experiment import Experiment
from yolox.cli.inputs import OpenedWeights
from yolox.config import InputSpec, Recipe
from yolox.weights.load import LoadedWeights


@pytest.fixture(scope="package")
def nano():
    return experiment_of("yolox_nano")


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    """Four images each for training and validation; tests change copies."""
    return draw_both_sets(tmp_path_factory.mktemp("data"))


@pytest.fixture
def experiment(monkeypatch):
    recipe = Recipe(input=InputSpec(input_size=(SIZE, SIZE)))
    metadata = LoadedWeights(source="yolox", loaded=(), class_names=("cat", "big dog"), recipe=recipe)
    opened = OpenedWeights(detector=None, num_classes=2, metadata=metadata, path=Path("weights"))
    monkeypatch.setattr(OpenedWeights, "make_step", lambda self, spec: find_square)
    monkeypatch.setattr(predict_command, "open_weights", lambda *args, **options: opened)
    nothing = {"build_detector": None, "make_step": None}
    return Experiment(name="square", recipes={"megvii": recipe}, **nothing)


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        cv2.imwrite(str(images / f"{number}.png"), square(8 * number))
    return images


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 12.5, (128, 96))
    for number in range(5):
        writer.write(square(8 + 16 * number, shape=(96, 128)))
    writer.release()
    return path
