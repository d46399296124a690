"""What the command train passes on, and the order in which the trainer changes parameters."""

import numpy as np
import pytest

from tests.cli.tiny import EXPERIMENT, RECIPE, TinyDetector, write_data
from yolox.cli import run, train
from yolox.config import InputSpec, PostprocessConfig
from yolox.data.synthetic import SHAPE_NAMES
from yolox.training import trainer
from yolox.training.checkpoint import save_checkpoint


@pytest.fixture
def seen(monkeypatch):
    """The arguments of what the command and the trainer call, by name."""
    calls = {}
    monkeypatch.setattr(train, "initialise", lambda _, **knobs: calls.update(initialise=knobs))
    monkeypatch.setattr(trainer, "set_precision", lambda _, precision: calls.update(precision=precision))
    monkeypatch.setattr(trainer, "open_cache", lambda _, kind, *__, **___: calls.update(cache=kind))
    return calls


def start(folder, *argv):
    return run(EXPERIMENT, ["train", *write_data(folder / "data", images=4), "--output", str(folder / "run"), *argv])


@pytest.mark.parametrize("average", [True, False])
def test_statistics_come_together_before_an_evaluation_and_before_a_checkpoint(tmp_path, monkeypatch, average):
    events = []
    monkeypatch.setattr(trainer, "sync_batch_norm", lambda *_, average: events.append(("sync", average)))
    monkeypatch.setattr(trainer, "copy_ema", lambda *_: events.append("copy"))
    def make_evaluator(*_, keep, **__):
        return lambda *_: events.append("evaluate") or keep([]) or {"AP": 0.5}

    monkeypatch.setattr(trainer, "make_evaluator", make_evaluator)
    monkeypatch.setattr(trainer.RunRecorder, "on_epoch", lambda *_: events.append("save"))
    argv = ["--epochs", "2", "--plain-epochs", "0", "--flat-epochs", "0", "--eval-interval", "2"]
    start(tmp_path, *argv, "--average-bn-stats" if average else "--no-average-bn-stats")
    assert events == [("sync", average), "save", ("sync", average), "copy", "evaluate", "save"]


def test_what_the_recipe_says_reaches_the_run(tmp_path, monkeypatch, seen):
    monkeypatch.setattr(trainer, "make_evaluator", lambda *_, **knobs: seen.update(evaluator=knobs))
    monkeypatch.setattr(trainer, "fit", lambda _, **knobs: seen.update(fit=knobs))
    argv = ["--seed", "7", "--precision", "float16", "--cache", "ram", "--batch-size", "3", "--workers", "1"]
    argv += ["--score-threshold", "0.2", "--multi-label", "--letterbox", "center", "--epochs", "5"]
    assert start(tmp_path, *argv) == 0
    assert (seen["initialise"], seen["precision"], seen["cache"]) == ({"seed": 7}, "float16", "ram")
    evaluated, recipe = seen["evaluator"], seen["fit"]["recipe"]
    assert evaluated["spec"] == InputSpec(input_size=(32, 32), letterbox="center")
    assert evaluated["postprocess"] == PostprocessConfig(score_threshold=0.2, multi_label=True)
    assert (evaluated["batch_size"], evaluated["workers"]) == (3, 1)
    assert (recipe.epochs, recipe.loader.seed, recipe.optim.precision) == (5, 7, "float16")


@pytest.mark.parametrize("raw", [False, True])
def test_a_new_run_starts_from_the_averages_of_another_or_from_its_last_step(tmp_path, monkeypatch, raw):
    values = {p.name: p.asnumpy() for p in TinyDetector(3).get_parameters()}
    last = {f"params.{name}": np.full_like(value, 0.25) for name, value in values.items()}
    averages = {f"ema.{name}": np.full_like(value, 0.75) for name, value in values.items()}
    (tmp_path / "old").mkdir()
    save_checkpoint(tmp_path / "old/last.safetensors", last | averages, recipe=RECIPE, class_names=SHAPE_NAMES)
    begun = []
    monkeypatch.setattr(train, "train", lambda detector, *_, **__: begun.append(detector))
    options = ["--raw-weights"] if raw else []
    assert start(tmp_path, "--weights", str(tmp_path / "old/last"), *options) == 0
    assert {float(value) for p in begun[0].get_parameters() for value in p.asnumpy().ravel()} == {0.25 if raw else 0.75}
