"""The profile of some steps: files, the table of kernels, ranks, and runs that are shorter than it."""

import csv
import json
from types import SimpleNamespace

import pytest

from tests.cli.tiny import EXPERIMENT, write_data
from yolox.cli import run
from yolox.distributed import Group
from yolox.training import profile as module
from yolox.training.profile import OperatorTime, Profile, operator_times


def test_the_command_writes_a_trace_and_a_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module.Profile.__init__, "__kwdefaults__", {"first": 2, "steps": 2, "console": None})
    argv = ["train", *write_data(tmp_path / "data", 4), "--output", str(tmp_path / "run"), "--profile", "--batch-size", "1"]
    assert run(EXPERIMENT, [*argv, "--epochs", "2", "--plain-epochs", "0", "--flat-epochs", "0"]) == 0
    folder = tmp_path / "run/profile"
    assert f"profile of 2 steps: {folder} (" in capsys.readouterr().out.replace("\n", "")
    assert json.loads((folder / "trace_view.json").read_text())
    with open(folder / "operators.csv") as file:
        rows = list(csv.DictReader(file))
    times = [float(row["milliseconds"]) for row in rows]
    assert times == sorted(times, reverse=True) and times[0] > 0
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1, abs=0.001 * len(rows))
    assert all(int(row["calls"]) > 0 for row in rows)


def test_the_table_is_that_of_the_profiler_by_falling_time(tmp_path):
    tables = tmp_path / "x_ascend_ms/FRAMEWORK"
    tables.mkdir(parents=True)
    head = "op_type,type_occurrences,execution_frequency(per-step),total_compute_time,avg_time(ms),percent\n"
    (tables / "cpu_op_type_info_0.csv").write_text(f"{head}Add,4,2,1.0,0.25,0.25\nConv2D,2,1,3.0,1.5,0.75\n")
    assert operator_times(tmp_path) == [OperatorTime("Conv2D", 2, 3.0, 0.75), OperatorTime("Add", 4, 1.0, 0.25)]
    assert operator_times(tmp_path / "none") == []


class Recorded:
    """Stands for MindSpore's profiler."""

    def __init__(self, **options):
        self.events = [("folder", str(options["on_trace_ready"]))]

    def __getattr__(self, name):
        return lambda: self.events.append(name)


def profiled(monkeypatch, folder, *, steps, group=Group(), first=3):
    made = []
    monkeypatch.setattr(module, "tensorboard_trace_handler", lambda path: path)
    monkeypatch.setattr(module, "profile", lambda **given: made.append(Recorded(**given)) or made[-1])
    callback = Profile(first=first)
    callback.on_start(SimpleNamespace(folder=folder, group=group))
    for _ in range(steps):
        callback.on_step(None)
    callback.on_end()
    return made[0].events if made else None


def test_steps_before_and_after_are_not_profiled(tmp_path, monkeypatch):
    events = profiled(monkeypatch, tmp_path, steps=9, first=3)
    assert events == [("folder", str(tmp_path / "profile")), "start", *["step"] * 5, "stop"]


def test_a_run_that_ends_within_it_is_profiled_to_its_end(tmp_path, monkeypatch):
    assert profiled(monkeypatch, tmp_path, steps=4, first=3)[1:] == ["start", "step", "stop"]


def test_a_run_that_ends_before_it_is_told(tmp_path, monkeypatch, capsys):
    assert profiled(monkeypatch, tmp_path, steps=2, first=3) is None
    assert "no profile: the run ended after 2 steps, the profile begins after 3" in capsys.readouterr().out


def test_each_rank_has_a_folder_and_an_earlier_profile_is_replaced(tmp_path, monkeypatch):
    old = tmp_path / "profile/rank_1/old.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    assert profiled(monkeypatch, tmp_path, steps=3, first=3, group=Group(1, 2))[0] == (
        "folder", str(tmp_path / "profile/rank_1"))  # fmt: skip
    assert not old.exists()


@pytest.mark.parametrize("options", [{"first": 0}, {"steps": 0}])
def test_numbers_out_of_range(options):
    with pytest.raises(ValueError, match="Profile: first is .*, want 1 or more"):
        Profile(**options)
