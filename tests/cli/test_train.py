"""What the verb train hands on of a recipe: without a step, the epochs are replaced by what a test asks."""

from types import SimpleNamespace

import pytest

from tests.cli.tiny import EXPERIMENT, write_data
from yolox.cli import run, train
from yolox.config import InputSpec, PostprocessConfig


class Spy:
    """Stands for `SharedStatistics`: writes down how it was made and when it is used."""

    def __init__(self, events):
        self.events = events

    def __call__(self, _state, _group, *, average):
        self.events.append(("average", average))
        return self

    def share(self):
        self.events.append("share")

    def on_epoch(self, _report):
        self.events.append("epoch")
        raise KeyboardInterrupt  # nobody after this one hears of the epoch


@pytest.fixture
def seen(monkeypatch):
    """The arguments of what the verb calls, by name."""
    calls = {}
    monkeypatch.setattr(train, "initialise", lambda _, **knobs: calls.update(initialise=knobs))
    monkeypatch.setattr(train, "set_precision", lambda _, precision: calls.update(precision=precision))
    monkeypatch.setattr(train, "open_cache", lambda _, kind, *__, **___: calls.update(cache=kind))
    return calls


def start(folder, *words):
    run(EXPERIMENT, ["train", *write_data(folder / "data", images=4), "--output", str(folder / "run"), *words])


@pytest.mark.parametrize("average", [True, False])
def test_statistics_come_together_before_an_evaluation_and_before_a_checkpoint(tmp_path, monkeypatch, average):
    events = []
    monkeypatch.setattr(train, "SharedStatistics", Spy(events))
    monkeypatch.setattr(train, "copy_averages", lambda *_: events.append("copy"))
    monkeypatch.setattr(train, "measure", lambda *_, **__: lambda *_: events.append("measure"))

    def fit(_step, *, evaluate, listener, **_):
        evaluate()
        listener.on_epoch(SimpleNamespace(epoch=0))  # too little of a report for one who writes a checkpoint

    monkeypatch.setattr(train, "fit", fit)
    start(tmp_path, "--average-bn-stats" if average else "--no-average-bn-stats")
    assert events == [("average", average), "share", "copy", "measure", "epoch"]


def test_what_the_recipe_says_reaches_the_run(tmp_path, monkeypatch, seen):
    monkeypatch.setattr(train, "measure", lambda *_, **knobs: seen.update(measure=knobs))
    monkeypatch.setattr(train, "fit", lambda _, **knobs: seen.update(fit=knobs))
    words = ["--seed", "7", "--precision", "float16", "--cache", "ram", "--batch-size", "3", "--workers", "1"]
    words += ["--score-threshold", "0.2", "--multi-label", "--letterbox", "center", "--epochs", "5"]
    start(tmp_path, *words)
    assert (seen["initialise"], seen["precision"], seen["cache"]) == ({"seed": 7}, "float16", "ram")
    measured, recipe = seen["measure"], seen["fit"]["recipe"]
    assert measured["spec"] == InputSpec(input_size=(32, 32), letterbox="center")
    assert measured["postprocess"] == PostprocessConfig(score_threshold=0.2, multi_label=True)
    assert (measured["batch_size"], measured["workers"]) == (3, 1)
    assert (recipe.epochs, recipe.loader.seed, recipe.optim.precision) == (5, 7, "float16")
