"""The command line of `tests.cli.tiny`, of which rank 1 sleeps once; run by tests/training/test_stalls.py.

    python tests/training/stalled_ranks.py train ...     with STALL=compilation:60 or STALL=evaluation:60 in the environment
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.cli import tiny  # noqa: E402
from yolox.cli import main  # noqa: E402
from yolox.eval import evaluate  # noqa: E402

PHASE, _, SECONDS = os.environ.get("STALL", "").partition(":")


def stall(phase: str) -> None:
    """Sleeps in a phase if the environment says so, on rank 1, the first time."""
    global PHASE
    if os.environ.get("RANK_ID") == "1" and phase == PHASE:
        PHASE = ""
        print("FAULT", time.time(), flush=True)
        time.sleep(float(SECONDS))


def make_step(*arguments, **options):
    """Returns the step of `tests.cli.tiny`; its first call, which compiles, may sleep."""
    step = tiny.make_step(*arguments, **options)

    def stalled(*values):
        stall("compilation")
        return step(*values)

    return stalled


def predict(*arguments, on_batch, **options):
    """Predicts as the library does; between two batches it may sleep."""

    def stalled(done: int) -> None:
        on_batch(done)
        stall("evaluation")

    return PREDICT(*arguments, on_batch=stalled, **options)


PREDICT = evaluate.predict_in_sizes

if __name__ == "__main__":
    evaluate.predict_in_sizes = predict  # only as a program: tests that collect this file must not see it
    main(attrs.evolve(tiny.EXPERIMENT, make_step=make_step))
