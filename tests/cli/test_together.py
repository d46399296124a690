"""The verb train in two processes of msrun, with the detector of tests/cli/tiny.py."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.tiny import EXPERIMENT, write_data
from yolox.cli import run
from yolox.cli.messages import CommandError
from yolox.cli.rundir import METRICS, read_history
from yolox.cli.together import open_group

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def together(folder: Path, *words) -> subprocess.CompletedProcess:
    """Run the tiny command line in two processes."""
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    msrun = ["--worker_num=2", "--local_worker_num=2", f"--master_port={free_port()}", f"--log_dir={folder}", "--join=True"]
    command = ["msrun", *msrun, str(ROOT / "tests/cli/tiny.py"), *map(str, words)]
    return subprocess.run(command, env={**os.environ, **paths}, capture_output=True, text=True, timeout=400, check=False)


def test_two_processes_leave_one_run_and_the_metrics_of_all_images(tmp_path):
    words, output = write_data(tmp_path / "data", images=9), tmp_path / "run"
    common = ["--score-threshold", "0", "--parallel", "--epochs", "3", "--plain-epochs", "1", "--eval-interval", "3"]
    done = together(tmp_path / "logs", "train", *words, *common, "--output", output)
    logs = {path.name: path.read_text() for path in (tmp_path / "logs").glob("worker_*.log")}
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 steps on 2 devices" in logs["worker_0.log"] and "epoch 3/3" in logs["worker_0.log"]
    assert "epoch 3/3" not in logs["worker_1.log"]
    assert len(read_history(output / "history.csv")) == 3
    weights, numbers = output / "last.safetensors", tmp_path / "metrics.json"
    val = words[words.index("--val-json") :]
    assert run(EXPERIMENT, ["eval", *val, "--weights", str(weights), "--score-threshold", "0", "--json", str(numbers)]) == 0
    alone, row = json.loads(numbers.read_text()), read_history(output / "history.csv")[-1]
    assert {name: row[name] for name in METRICS} == {name: alone[name] for name in METRICS}


def test_parallel_without_msrun_says_how(monkeypatch):
    monkeypatch.delenv("MS_ROLE", raising=False)
    with pytest.raises(CommandError, match="--parallel: this process was not started by msrun"):
        open_group(True)


def test_msrun_without_parallel_is_refused(monkeypatch):
    monkeypatch.setenv("MS_WORKER_NUM", "2")
    with pytest.raises(CommandError, match="want --parallel, or each would train by itself"):
        open_group(False)
    monkeypatch.setenv("MS_WORKER_NUM", "1")
    assert open_group(False).world == 1
