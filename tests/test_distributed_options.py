"""Options of training in two processes: the numbers of one process with all their images."""

from __future__ import annotations

import numpy as np
import pytest

from tests.test_distributed import launch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One process, and two of half the batch each."""
    folder = tmp_path_factory.mktemp("options")
    return launch(folder / "one", 1, "tests/processes_options.py")[0], launch(folder / "two", 2, "tests/processes_options.py")


def values(run, case):
    """Parameters, BN statistics and their moving averages after five steps."""
    return {name.removeprefix(f"{case} "): value for name, value in run.items()
            if name.startswith(f"{case} ") and not name.endswith("losses")}  # fmt: skip


def distance(one, other):
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


@pytest.mark.parametrize("case", ["whole", "parts", "sync", "eager sync"])
def test_two_processes_with_half_the_batch_end_where_one_does(runs, case):
    """whole: clipping and class weights; parts: with accumulation too; sync: statistics of BN over both processes."""
    alone, (first, second) = runs
    want = values(alone, case)
    assert len(want) == 32 and any("moving_variance" in name for name in want)
    assert distance(values(first, case), want) < 1e-5
    assert distance(values(second, case), values(first, case)) == 0
    losses = [run[f"{case} losses"] for run in (first, second)]
    np.testing.assert_allclose(np.mean(losses, axis=0), alone[f"{case} losses"], rtol=1e-5)


def test_the_options_change_what_is_compared(runs):
    alone, (first, second) = runs
    for case in ("unweighted", "unclipped"):
        assert distance(values(alone, case), values(alone, "whole")) > 1e-4
    assert distance(values(alone, "parts"), values(alone, "whole")) < 1e-6
    apart = values(first, "apart")
    assert distance(apart, values(second, "apart")) > 1e-3  # statistics of a process alone
    assert distance({n: v for n, v in apart.items() if "moving" not in n}, values(alone, "sync")) > 1e-4
