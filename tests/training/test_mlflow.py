"""MLflow: what its own client reads back from a local store, also after a resume and when the store fails."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import attrs
import pytest

from tests.cli.runs import StopAfterEightSteps
from tests.cli.tiny import EXPERIMENT, RECIPE, write_data
from tests.training.test_terminal import EPOCH, STEP
from yolox.cli import run
from yolox.distributed import Group
from yolox.errors import CommandError
from yolox.training import trainer
from yolox.training.callbacks import MLflow

tracking = pytest.importorskip("mlflow.tracking", reason="needs the extra mlflow")


@pytest.fixture(autouse=True)
def local_store(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def context(folder, **more):
    return SimpleNamespace(**{"folder": folder, "recipe": RECIPE, "group": Group(), "resumed": False, **more})


def client(folder):
    return tracking.MlflowClient(tracking_uri=(folder / "mlruns").as_uri())


def only_run(folder):
    store = client(folder)
    (experiment,) = [each for each in store.search_experiments() if each.name == "yolox"]
    (found,) = store.search_runs([experiment.experiment_id])
    return found


def values(folder, name):
    history = client(folder).get_metric_history(only_run(folder).info.run_id, name)
    return sorted((metric.step, round(metric.value, 4)) for metric in history)


def write(folder, steps, metrics=None, *, finish=True, **more):
    callback = MLflow()
    callback.on_start(context(folder, **more))
    for step in steps:
        callback.on_step(attrs.evolve(STEP, step=step, losses={"total": float(step)}))
    callback.on_epoch(attrs.evolve(EPOCH, metrics=metrics))
    if finish:
        callback.on_finish()
    callback.on_end()


def test_steps_metrics_and_recipe_read_back(tmp_path):
    write(tmp_path, (1, 2, 3), {"AP": 0.25, "APs": None, "AP@300": 0.5, "per_class": {"cat/../..": 0.5, "dog": None}})
    assert values(tmp_path, "loss/total") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert values(tmp_path, "metrics/AP") == [(3, 0.25)] and values(tmp_path, "metrics/AP_300") == [(3, 0.5)]
    found = only_run(tmp_path)
    assert "AP of class/cat______" in found.data.metrics and "metrics/APs" not in found.data.metrics
    assert found.data.params["epochs"] == "6" and found.data.params["optim.lr"] == "0.05"
    assert found.info.status == "FINISHED" and found.info.run_name == tmp_path.name


def test_a_resumed_run_goes_on_in_the_same(tmp_path):
    write(tmp_path, (1, 2), finish=False)
    assert only_run(tmp_path).info.status == "FAILED"
    write(tmp_path, (3,), resumed=True)
    assert values(tmp_path, "loss/total") == [(1, 1.0), (2, 2.0), (3, 3.0)] and only_run(tmp_path).info.status == "FINISHED"


def test_a_store_that_fails_later_is_a_warning_and_nothing_is_lost(tmp_path, monkeypatch, caplog):
    callback = MLflow()
    callback.on_start(context(tmp_path))
    send = callback._client.log_batch
    monkeypatch.setattr(callback._client, "log_batch", lambda *_, **__: 1 / 0)
    callback.on_step(attrs.evolve(STEP, step=1))
    callback.on_epoch(EPOCH)
    assert caplog.messages == ["mlflow: division by zero; the run goes on"]
    monkeypatch.setattr(callback._client, "log_batch", send)
    callback.on_end()
    assert [step for step, _ in values(tmp_path, "learning rate")] == [1]


def test_a_store_that_cannot_be_used_ends_the_start(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=r"mlflow: file:.*/file cannot be used \("):
        MLflow((tmp_path / "file").as_uri()).on_start(context(tmp_path))


def test_ranks_other_than_0_write_nothing(tmp_path):
    write(tmp_path, (1,), group=Group(1, 2))
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_of_the_command_and_its_resume(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    argv = ["train", *write_data(tmp_path / "data"), "--mlflow", "--output", str(folder), "--epochs", "4"]
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "StopSignals", StopAfterEightSteps)
        assert run(EXPERIMENT, argv) == 143
    assert run(EXPERIMENT, ["train", "--resume", str(folder)]) == 0
    assert [step for step, _ in values(folder, "loss/l1")] == list(range(1, 21))
    assert values(folder, "metrics/AP") and only_run(folder).info.status == "FINISHED"


def test_without_the_package_the_command_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(CommandError, match=r"mlflow is not installed: pip install 'yolox-mindspore\[mlflow\]'"):
        MLflow()
