"""The command train in two processes of msrun, with the detector of tests/cli/tiny.py."""

import json

import pytest

from tests.cli.tiny import EXPERIMENT, write_data
from tests.launch import msrun
from yolox.cli import run
from yolox.cli.inputs import open_group
from yolox.errors import CommandError
from yolox.eval.coco import METRIC_NAMES
from yolox.training.checkpoint import load_checkpoint
from yolox.training.history import read_history


@pytest.mark.slow
def test_two_processes_leave_one_run_and_the_metrics_of_all_images(tmp_path):
    """One validation image: a process without any must take part, and nothing it does not have is waited for.

    This detector finds nothing, so that the numbers are zero or none: that they are right is in tests/test_distributed.py.
    """
    train, output = write_data(tmp_path / "data", images=9), tmp_path / "run"
    val = write_data(tmp_path / "one", images=1)
    argv = train[: train.index("--val-json")] + val[val.index("--val-json") :]
    common = ["--score-threshold", "0", "--parallel", "--epochs", "3", "--plain-epochs", "1", "--eval-interval", "3"]
    common += ["--workers", "2", "--save-every", "2"]
    done = msrun(2, tmp_path / "logs", "tests/cli/tiny.py", "train", *argv, *common, "--output", output)
    logs = {path.name: path.read_text() for path in (tmp_path / "logs").glob("worker_*.log")}
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 steps on 2 devices" in logs["worker_0.log"] and "epoch 3/3" in logs["worker_0.log"]
    assert "epoch 3/3" not in logs["worker_1.log"]
    assert len(read_history(output / "history.csv")) == 3
    assert [path.name for path in output.glob("epoch_*")] == ["epoch_2.safetensors"]
    assert load_checkpoint(output / "epoch_2.safetensors").extra["epoch"] == 2
    weights, numbers = output / "last.safetensors", tmp_path / "metrics.json"
    val = argv[argv.index("--val-json") :]
    assert run(EXPERIMENT, ["eval", *val, "--weights", str(weights), "--score-threshold", "0", "--json", str(numbers)]) == 0
    alone, row = json.loads(numbers.read_text()), read_history(output / "history.csv")[-1]
    assert {name: row[name] for name in METRIC_NAMES} == {name: alone[name] for name in METRIC_NAMES}


def test_parallel_without_msrun_says_how(monkeypatch):
    monkeypatch.delenv("MS_ROLE", raising=False)
    with pytest.raises(CommandError, match="--parallel: this process was not started by msrun"):
        open_group(True)


@pytest.mark.parametrize("command", [["train", "--output", "run"], ["eval", "--weights", "a.npz"]])
def test_a_limit_below_zero_is_refused(tmp_path, capsys, command):
    argv = write_data(tmp_path)
    argv = argv if command[0] == "train" else argv[argv.index("--val-json") :]
    assert run(EXPERIMENT, [*command, *argv, "--hang-seconds", "-1"]) == 2
    assert "--hang-seconds -1: want 0 (no limit) or more" in capsys.readouterr().err


def test_msrun_without_parallel_is_refused(monkeypatch):
    monkeypatch.setenv("MS_WORKER_NUM", "2")
    with pytest.raises(CommandError, match="want --parallel, or each would train by itself"):
        open_group(False)
    monkeypatch.setenv("MS_WORKER_NUM", "1")
    assert open_group(False).world == 1
