"""The short form of `benchmarks/long_run.py`: a run of the tiny detector takes no more memory with every step."""

from __future__ import annotations

import sys

import pytest

from benchmarks.leftovers import shared_memory
from benchmarks.long_run import Sample, left_behind, observe, usual
from tests.cli.runs import start
from tests.cli.tiny import write_data

STEPS_PER_EPOCH, EPOCHS = 10, 12
MOST_MB_A_STEP = 0.5


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_grows_by_less_than_half_a_megabyte_a_step_and_leaves_nothing_behind(tmp_path):
    """Data workers, evaluations and checkpoints included. The first steps are left out: MindSpore compiles, arenas fill."""
    argv, run, before = write_data(tmp_path / "data", images=20), tmp_path / "run", shared_memory()
    options = ["--epochs", EPOCHS, "--eval-interval", 3, "--plain-epochs", 2, "--workers", 2, "--save-steps", 2]
    process = start(*argv, *options, "--output", run)
    samples = observe(process, run / "history.csv", steps_per_epoch=STEPS_PER_EPOCH, pause=0.05)
    assert process.returncode == 0, process.communicate()[0]
    assert left_behind(process.pid, before) == []
    early, late = usual(samples, 20, 60), usual(samples, 80)
    most = MOST_MB_A_STEP * (late.step - early.step)
    assert late.main - early.main < most and late.total - early.total < most, (early, late)
    assert max(sample.processes for sample in samples) >= 3  # the data workers were seen


def test_the_medians_of_a_span_of_steps():
    samples = [Sample(*row) for row in ((0, 9, 9, 1), (5, 1, 3, 3), (5, 2, 4, 1), (6, 7, 1, 2), (10, 8, 8, 5))]
    assert usual(samples, 5, 10) == (5, 2, 3, 2) and usual(samples, 10) == (10, 8, 8, 5)
    with pytest.raises(ValueError, match="nothing was read between the steps 7 and 10"):
        usual(samples, 7, 10)
