"""A scale's own layers, loss and loader in two processes against one process with twice the batch."""

import numpy as np
import pytest

from tests.processes_nano import STEPS
from tests.test_distributed import launch


@pytest.mark.slow
def test_nano_in_two_processes_trains_as_one_with_twice_the_batch(tmp_path):
    """The positives of the steps show that all processes together saw the images of one; the ranks' parts differ."""
    script = "tests/processes_nano.py"
    alone, *ranks = launch(tmp_path / "one", 1, script) + launch(tmp_path / "two", 2, script)
    np.testing.assert_array_equal(sum(rank["positives"] for rank in ranks), alone["positives"])
    assert len(alone["positives"]) == STEPS and (ranks[0]["positives"] != ranks[1]["positives"]).any()
    names = {name.removeprefix("after.") for name in alone if name.startswith("after.")}
    moved = {name for name in names if (alone[f"after.{name}"] != alone[f"before.{name}"]).any()}
    assert {name for name in names - moved if not name.endswith(("moving_mean", "moving_variance"))} == set()
    for name in names:
        want, before = alone[f"after.{name}"], alone[f"before.{name}"]
        # Of the way that five steps have gone. A batch of two goes through other kernels than one of four, which shows as
        # 1e-4 of it; the divisor or the sum of one process alone would show as a third or a half.
        assert np.abs(ranks[0][f"after.{name}"] - want).max() <= 1e-3 * np.abs(want - before).max(), name
        np.testing.assert_array_equal(ranks[1][f"after.{name}"], ranks[0][f"after.{name}"], err_msg=name)
