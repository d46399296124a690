"""The commands, the shared start and the comparison of `benchmarks/learning.py`; its trainings take hours."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from statistics import mean, variance

import numpy as np
import pytest

import yolox
from benchmarks import learning
from examples.yolox_nano import RECIPES
from yolox.cli.main import read_command

DATASET = learning.Dataset(
    annotations={part: Path(f"{part}.json") for part in ("train", "val", "test")},
    images={part: Path(part) for part in ("train", "val", "test")},
    num_classes=3,
    size=192,
)


def test_both_systems_get_the_same_schedule_samples_and_start(tmp_path):
    argv = learning.train_ours(DATASET, tmp_path / "ours", tmp_path / "start.npz", seed=3, extra=())
    assert argv[:3] == ["train", "--model", "nano"]
    recipe = read_command(["train", *argv[3:]], RECIPES).options().settings
    learning.train_megvii(DATASET, tmp_path / "megvii", tmp_path / "start.npz", seed=3)
    settings = json.loads((tmp_path / "megvii/settings.json").read_text())
    assert settings["epochs"] == recipe.epochs == 20 and settings["seed"] == recipe.loader.seed == 3
    assert settings["batch_size"] == recipe.loader.batch_size == 8
    assert settings["warmup_epochs"] == recipe.optim.warmup_epochs == 1
    assert settings["no_aug_epochs"] == recipe.no_aug_epochs == recipe.optim.flat_epochs + 1
    assert (settings["size"],) * 2 == recipe.input.input_size and recipe.loader.multiscale_sizes == ()
    assert settings["start"] == str(tmp_path / "start.npz") and settings["annotations"] == "train.json"
    nano = yolox.megvii_recipe("nano")  # what the peer's class of nano has
    assert (recipe.augment, recipe.optim.lr_per_image, recipe.optim.ema_decay) == (
        nano.augment, nano.optim.lr_per_image, nano.optim.ema_decay,
    )  # fmt: skip


def test_systems_that_run_when_they_are_named(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(learning, "_start", commands.append)
    monkeypatch.setattr(learning, "read_history", lambda _: [dict.fromkeys((*learning.LOSSES, "seconds"), 1.0)])
    monkeypatch.setattr(learning, "evaluate", lambda *_: 0.5)
    for system in ("frozen", "random"):
        learning.run_one(system, DATASET, tmp_path / system, tmp_path / "start.npz", seed=0, epochs=100)
    frozen, random = commands
    assert frozen[frozen.index("--freeze") + 1] == "backbone" and "--weights" in frozen and "--finetune" in frozen
    assert "--weights" not in random and "--finetune" in random and random[random.index("--epochs") + 1] == "100"


def test_an_eighth_of_the_training_images_with_their_boxes(tmp_path):
    images = [{"id": i, "file_name": f"{i:03}.jpg"} for i in range(20)]
    boxes = [{"image_id": i % 20, "id": i} for i in range(60)]
    (tmp_path / "bccd").mkdir()
    content = {"images": images[::-1], "annotations": boxes, "categories": [{"id": 1, "name": "cell"}]}
    (tmp_path / "bccd/instances_train.json").write_text(json.dumps(content))
    eighth = learning.bccd_eighth(tmp_path, tmp_path / "runs")
    kept = json.loads(eighth.annotations["train"].read_text())
    assert [image["id"] for image in kept["images"]] == [0, 8, 16]
    assert sorted(box["id"] for box in kept["annotations"]) == [0, 8, 16, 20, 28, 36, 40, 48, 56]
    assert kept["categories"] == content["categories"]
    assert eighth.annotations["test"] == (tmp_path / "bccd/instances_test.json").resolve() and eighth.size == 416


def test_the_start_leads_back_to_the_same_detector(tmp_path):
    given, read = yolox.models.yolox_nano(num_classes=80), yolox.models.yolox_nano(num_classes=3)
    tensors = {learning.name_of_megvii(n): p.asnumpy() for n, p in given.parameters_and_names()}
    np.savez(tmp_path / "official.npz", **tensors)
    for seed in (0, 0, 1):
        path = tmp_path / f"start{seed}.npz"
        previous = dict(np.load(path)) if path.exists() else {}
        learning.write_start(tmp_path / "official.npz", path, num_classes=3, seed=seed)
        assert all(np.array_equal(np.load(path)[name], value) for name, value in previous.items())
    yolox.load_weights(read, tmp_path / "start0.npz")
    for (name, parameter), (_, official) in zip(read.parameters_and_names(), given.parameters_and_names(), strict=True):
        if "cls_preds" not in name:
            np.testing.assert_array_equal(parameter.asnumpy(), official.asnumpy(), err_msg=name)
    name = "head.cls_preds.0.weight"
    assert not np.array_equal(np.load(tmp_path / "start0.npz")[name], np.load(tmp_path / "start1.npz")[name])


def test_runs_that_are_there_are_not_repeated(tmp_path, monkeypatch):
    started = []

    def start(command, **_options):
        started.append(command)
        run = Path(command[command.index("--output") + 1]) if "--output" in command else None
        if "learning_megvii.py" in command[1]:
            (run / "history.json").write_text(json.dumps([dict.fromkeys((*learning.LOSSES, "seconds"), 2.0)]))
        elif "train" in command:
            run.mkdir(parents=True)
            (run / "history.csv").write_text("epoch,total,iou,obj,cls,l1,seconds\n1,9,9,9,9,,5\n2,4,1,1,1,1,5\n")
        else:
            path = Path(command[command.index("--json") + 1])
            path.write_text(json.dumps({"AP": 0.5 if "seed0" in str(path) else 0.4}))

    monkeypatch.setattr(subprocess, "run", start)
    monkeypatch.setitem(learning.DATASETS, "drawn", lambda *_: DATASET)
    monkeypatch.setattr(learning, "write_start", lambda *_, **__: None)
    first = learning.measure(Path("D"), tmp_path, "drawn", systems=("megvii", "ours"), seeds=(0, 1))
    assert len(started) == 2 * 2 * 3  # seeds, systems, a training and two evaluations
    assert learning.measure(Path("D"), tmp_path, "drawn", systems=("megvii", "ours"), seeds=(0, 1)) == first
    assert len(started) == 2 * 2 * 3
    assert first["systems"]["ours"]["numbers"]["total"] == [4, 0]
    assert first["systems"]["megvii"]["numbers"]["seconds"] == [2, 0]
    assert first["systems"]["ours"]["against"]["val"] == {"difference": 0, "p": 1}


def test_the_p_value_is_welchs():
    first, other = [0.50, 0.52, 0.51, 0.53], [0.55, 0.58, 0.50, 0.57]
    found = learning.compare({"a": [{"val": x, "test": x} for x in first], "b": [{"val": x, "test": 0.1 + x} for x in other]})
    squares = [variance(rows) / len(rows) for rows in (first, other)]
    t = (mean(other) - mean(first)) / math.sqrt(sum(squares))
    freedom = sum(squares) ** 2 / sum(square**2 / 3 for square in squares)
    x = np.linspace(abs(t), 2000, 4_000_001)  # the tail of Student's t by the trapezium rule
    density = (1 + x**2 / freedom) ** (-(freedom + 1) / 2) / math.sqrt(freedom * math.pi)
    density *= math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2)
    p = 2 * float(np.trapz(density, x))
    assert found["b"]["against"]["val"] == {"difference": 0.035, "p": pytest.approx(p, abs=2e-4)}
    assert 0.05 < p < 0.2 and "b - a on val: +0.0350 AP, within noise" in found["verdict"]
    assert "b - a on test: +0.1350 AP, beyond noise" in found["verdict"]


def test_the_second_dataset_is_drawn_the_same_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "SHAPE_IMAGES", {"train": (3, 1), "val": (2, 2), "test": (1, 3)})
    first, second = (learning.shapes(Path("D"), tmp_path / name) for name in "ab")
    assert first.size == 192 and set(first.annotations) == {"train", "val", "test"}
    for part, path in first.annotations.items():
        assert path.read_bytes() == second.annotations[part].read_bytes()
        entries = json.loads(path.read_text())["images"]
        images = [(data.images[part] / entry["file_name"]).read_bytes() for data in (first, second) for entry in entries]
        assert images[: len(entries)] == images[len(entries) :]
