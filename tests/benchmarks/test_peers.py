"""The parts of `run.py --peers` that need no peer: names, the memory rule, ratios, processes that answer or end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.asking import AskedProcess, EndedError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"
COUNTING = """
import sys
sys.path.insert(0, {folder!r})
from asked import answer_calls, split_work

def build(work):
    print("words of a package")
    return lambda: split_work(work)

answer_calls(build)
"""


def asked(code: str, *, enough=lambda: True) -> AskedProcess:
    return AskedProcess([sys.executable, "-c", code, "infer nano 416 b1"], enough=enough)


def answer(seconds: float, peak: float = 100.0) -> dict:
    return {"seconds": seconds, "peak_mb": peak}


def test_a_process_answers_each_call_and_its_output_does_not_disturb():
    with asked(COUNTING.format(folder=str(FOLDER))) as process:
        for _ in range(3):
            found = process.call()
            assert set(found) == {"seconds", "peak_mb"}
            assert found["seconds"] >= 0 and found["peak_mb"] > 1


def test_a_process_that_ends_is_reported_with_its_last_lines():
    with asked("import sys; sys.exit('no such thing')") as process:
        with pytest.raises(EndedError, match="^ended with code 1: no such thing$"):
            process.call()


def test_a_process_is_ended_when_memory_runs_low():
    with asked("import time; time.sleep(600)", enough=lambda: False) as process:
        with pytest.raises(EndedError, match="memory ran low"):
            process.call()


@pytest.mark.parametrize(("available", "fits"), [(15.9, False), (16.0, True), (30.0, True)])
def test_a_work_is_passed_over_unless_its_figure_and_the_spare_memory_fit(available, fits):
    reason = peers.too_large("mindyolo", "loss nano 416 b8", available)
    assert reason == ("" if fits else f"takes 14.0 GB and 2.0 stay free; {available} are available")


def test_every_memory_figure_is_of_a_system_and_a_work():
    assert {system for system, _ in peers.NEEDS} <= set(peers.PYTHONS)
    assert {work for _, work in peers.NEEDS} <= set(peers.WORKS)


def test_nothing_is_started_where_nothing_fits(monkeypatch):
    monkeypatch.setattr(peers, "available_gb", lambda: 1.0)
    monkeypatch.setattr(peers, "start", lambda *_: pytest.fail("started"))
    lines = peers.time_in_turns("infer nano 416 b1", peers.PYTHONS, repeats=1)
    assert [line["system"] for line in lines] == ["ours", "plain", "megvii", "mindyolo"]
    assert all(line["passed_over"] == "takes 2.0 GB and 2.0 stay free; 1.0 are available" for line in lines)


def test_the_ratio_is_the_median_of_the_rounds_and_only_of_a_peer():
    first = {"ours": answer(9.0), "megvii": answer(8.0, peak=300.0)}
    rounds = [{"ours": answer(o), "megvii": answer(m)} for o, m in ((1.0, 2.0), (1.0, 4.0), (6.0, 2.0))]
    found = peers.result("megvii", first, rounds)
    assert found == {"median_s": 2.0, "min_s": 2.0, "max_s": 4.0, "first_s": 8.0, "peak_mb": 300, "ratio": 0.5}
    assert "ratio" not in peers.result("ours", first, rounds)


def test_systems_are_asked_in_turn_and_one_that_ends_leaves_the_others(monkeypatch):
    asked_order = []

    class Fake:
        def __init__(self, system):
            self.system = system

        def call(self):
            asked_order.append(self.system)
            if self.system == "megvii" and asked_order.count("megvii") == 2:
                raise EndedError("ended with code 1: tired")
            return answer(1.0)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(peers, "available_gb", lambda: 64.0)
    monkeypatch.setattr(peers, "start", lambda system, *_: Fake(system))
    lines = {line["system"]: line for line in peers.time_in_turns("infer nano 416 b1", peers.PYTHONS, repeats=2)}
    every = ["ours", "plain", "megvii", "mindyolo"]
    assert asked_order == [*every, *every, "ours", "plain", "mindyolo"]
    assert lines["megvii"] == {"work": "infer nano 416 b1", "system": "megvii", "failed": "ended with code 1: tired"}
    assert lines["mindyolo"]["ratio"] == 1.0


def test_a_python_path_to_this_library_does_not_hide_a_peers_package(monkeypatch):
    commands = []
    monkeypatch.setattr(peers, "AskedProcess", lambda command, **_: commands.append(command))
    peers.start("megvii", Path("python"), "infer nano 416 b1")
    peers.start("plain", Path("python"), "infer nano 416 b1")
    theirs, plain = ["python", "-E", str(FOLDER / "peer_megvii.py")], ["python", "-E", str(FOLDER / "peer_ours.py")]
    assert commands == [[*theirs, "infer nano 416 b1"], ["env", "YOLOX_NATIVE=0", *plain, "infer nano 416 b1"]]


def test_a_missing_environment_is_one_line(tmp_path):
    with pytest.raises(SystemExit) as ended:
        peers.check_environments({"ours": Path(sys.executable), "megvii": tmp_path / "python"})
    assert str(ended.value) == f"--peers: no {tmp_path / 'python'}; run: make peers"


def test_a_work_that_the_peers_do_not_have_is_one_line():
    command = [sys.executable, "benchmarks/run.py", "--peers", "--work", "nap"]
    ended = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == f"--work: got 'nap', want with --peers one of: {', '.join(peers.WORKS)}\n"
