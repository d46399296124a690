"""Several processes on CPU against one process with all their images."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.evaluations import COUNTS
from tests.launch import ROOT, msrun
from tests.processes import FOUND, detections_of
from yolox import distributed
from yolox.distributed import (
    Group,
    any_of,
    from_first,
    gather_rows,
    gradient_reducer,
    join_group,
    positives_reducer,
    share_statistics,
)
from yolox.eval.evaluate import detections_to_table


def launch(folder: Path, world: int, script: str = "tests/processes.py") -> list[dict]:
    """Run a script in `world` processes, and read what each of them left."""
    folder.mkdir()
    if world > 1:
        done = msrun(world, folder / "logs", script, folder)
    else:
        command = [sys.executable, str(ROOT / script), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    logs = "\n".join(path.read_text() for path in folder.glob("logs/worker_*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    return [dict(np.load(folder / f"rank{rank}.npz")) for rank in range(world)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return launch(tmp_path_factory.mktemp("one") / "out", 1)[0]


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def ranks(request, tmp_path_factory):
    return launch(tmp_path_factory.mktemp("many") / "out", request.param)


def test_processes_train_as_one_with_all_their_images(alone, ranks):
    moved, alone = 0.0, {name: value for name, value in alone.items() if not name.startswith("metrics")}
    for name, want in alone.items():
        np.testing.assert_allclose(ranks[0][name], want, rtol=1e-4, atol=1e-6, err_msg=name)
        moved = max(moved, float(np.abs(want).max()))
    assert moved > 0.05  # the weights are not zeros
    for rank in ranks[1:]:
        for name in alone:
            np.testing.assert_array_equal(rank[name], ranks[0][name], err_msg=f"{name}: ranks drift apart")


def test_eager_processes_train_as_compiled_ones_and_as_one(alone, ranks):
    names = [name for name in alone if name.startswith("eager early ")]
    assert len(names) == 12
    for name in names:
        compiled = alone[name.removeprefix("eager ")]
        np.testing.assert_allclose(alone[name], compiled, rtol=1e-5, atol=1e-7, err_msg=name)
        for rank in ranks:
            np.testing.assert_allclose(rank[name], compiled, rtol=1e-4, atol=1e-6, err_msg=name)


def test_steps_in_two_parts_train_as_whole_ones(alone, ranks):
    """The positives of the parts differ, and are those of all processes: gradients have the divisor of the whole batch."""
    names = [name for name in alone if name.startswith("parts ")]
    assert len(names) == 24
    for name in names:
        whole = alone[name.removeprefix("parts ")]
        np.testing.assert_allclose(alone[name], whole, rtol=1e-6, atol=1e-6 * np.abs(whole).max(), err_msg=name)
        for rank in ranks:
            np.testing.assert_allclose(rank[name], whole, rtol=1e-4, atol=1e-6, err_msg=name)


def test_tables_come_in_the_order_of_ranks_with_their_bits(ranks):
    for got in ranks:
        for rank in range(len(ranks)):
            want = np.random.default_rng(rank).normal(size=(3 * rank, 2)) * 1e-300
            np.testing.assert_array_equal(got[f"rows{rank}"], want)


def test_statistics_become_those_of_all_or_of_the_first(ranks):
    for got in ranks:
        np.testing.assert_array_equal(got["averaged0"], np.full((2, 2), (len(ranks) + 1) / 2, np.float32))
        np.testing.assert_array_equal(got["averaged1"], np.full(3, len(ranks) - 1, np.float32))
        np.testing.assert_array_equal(got["first0"], np.ones((2, 2), np.float32))
        np.testing.assert_array_equal(got["first1"], np.zeros(3, np.float32))


def test_everyone_hears_what_one_says(ranks):
    assert all(got["any"].tolist() == [True, False] for got in ranks)
    assert all(got["from_first"] == 0.1 for got in ranks)


def test_detections_of_uneven_shares_come_in_the_order_of_the_images(ranks):
    want = detections_to_table([detections_of(image) for image in range(FOUND)], range(FOUND))
    assert len(want) > 10
    for got in ranks:
        np.testing.assert_array_equal(got["detections"], want)


@pytest.mark.parametrize("count", COUNTS)
def test_an_evaluation_in_uneven_shares_has_the_twelve_numbers_of_one_process(alone, ranks, count):
    want = alone[f"metrics{count}"]
    assert len(want) == 12 and (want > 0).all() and (want < 1).all()  # all are defined and none is trivial
    for got in ranks:
        np.testing.assert_array_equal(got[f"metrics{count}"], want)


def test_sum_leaves_the_gradients_undivided(ranks):
    np.testing.assert_array_equal(ranks[0]["sum_gradient"], [len(ranks), 2.0 * len(ranks)])


def test_one_process_keeps_everything_as_it_is():
    alone, rows = Group(), np.ones((2, 3))
    mean = np.array([3.0], np.float32)
    assert share_statistics([mean], alone, average=True)[0] is mean
    assert gradient_reducer(alone, "mean") is None and positives_reducer(alone) is None
    assert gather_rows(rows, alone)[0] is rows and from_first("x", alone) == "x" and not any_of(False, alone)


def test_the_average_of_what_is_the_same_everywhere_has_its_bits(monkeypatch):
    group, before = Group(rank=0, world=7), np.random.default_rng(0).normal(size=1000).astype(np.float32)
    calls = []

    def sum_over(values, _group):
        """The first sum is that of one process and zeros, the second that of seven equal ones."""
        calls.append(1)
        return values if len(calls) == 1 else sum([values] * 6, values)

    monkeypatch.setattr(distributed, "_sum_over", sum_over)
    (shared,) = share_statistics([before], group, average=True)
    assert len(calls) == 2 and shared.tobytes() == before.tobytes()
    assert (sum([before] * 6, before) / np.float32(7)).tobytes() != before.tobytes()


def test_a_rank_outside_its_group_is_refused():
    with pytest.raises(ValueError, match="rank 2 of 2"):
        Group(rank=2, world=2)


def test_joining_without_msrun_says_how(monkeypatch):
    monkeypatch.delenv("MS_ROLE", raising=False)
    with pytest.raises(RuntimeError, match="want msrun --worker_num=N"):
        join_group()
