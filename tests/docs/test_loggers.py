"""The callbacks of docs/loggers.md send the numbers of a run, here to modules that stand in for wandb and swanlab."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import attrs
import pytest

from tests.docs.commands import ROOT
from tests.docs.test_snippets import blocks
from tests.training.test_terminal import EPOCH, STEP
from yolox.config import Recipe
from yolox.distributed import Group


class StandIn(ModuleType):
    """Takes the calls of the two packages, with no other arguments than these."""

    def __init__(self, name):
        super().__init__(name)
        self.begun, self.sent, self.ended = [], [], 0

    def init(self, *, project, config, name=None, id=None, resume=None, dir=None, experiment_name=None, logdir=None, mode=None):
        assert isinstance(config, dict) and config["epochs"] == Recipe().epochs
        self.begun.append((project, name or experiment_name, Path(dir or logdir)))
        return self

    def log(self, data, step):
        self.sent.append((step, data))

    def finish(self):
        self.ended += 1


def load(monkeypatch):
    modules = {name: StandIn(name) for name in ("wandb", "swanlab")}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    names = {"__name__": "page"}
    exec(blocks(ROOT / "docs/loggers.md"), names)
    return modules, names


@pytest.mark.parametrize(("kind", "package"), [("WeightsAndBiases", "wandb"), ("SwanLab", "swanlab")])
def test_a_run_is_sent_by_rank_0_alone(kind, package, tmp_path, monkeypatch):
    modules, names = load(monkeypatch)
    module = modules[package]
    for group in (Group(), Group(1, 2)):
        callback = names[kind]("cells")
        callback.on_start(SimpleNamespace(folder=tmp_path, recipe=Recipe(), group=group))
        callback.on_step(attrs.evolve(STEP, step=7, losses={"iou": 2.0}, lr=0.5))
        callback.on_epoch(attrs.evolve(EPOCH, metrics={"AP": 0.25, "APs": None, "per_class": {"cat": 0.5}}))
        callback.on_epoch(attrs.evolve(EPOCH, metrics=None))
        callback.on_end()
    ((project, name, folder),) = module.begun
    assert (project, name) == ("cells", tmp_path.name) and folder.is_relative_to(tmp_path)
    assert module.sent == [(7, {"loss/iou": 2.0, "lr": 0.5}), (7, {"AP": 0.25})] and module.ended == 1
