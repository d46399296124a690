"""Who of several hangs: the one that is stopped, late with work of its own, or less far than those that wait for it."""

import pytest

from yolox.watching.status import Status, judge


def alone(silent, limit=10.0, **more):
    return Status("a batch", False, limit, silent=silent, **more)


def waits(silent, limit=10.0, **more):
    return Status("step 3", True, limit, silent=silent, **more)


LATE = "got no further for"


@pytest.mark.parametrize(("statuses", "want"), [
    ([waits(9), waits(11)], None),
    ([waits(11), alone(9)], None),  # who waits is not late while another works
    ([waits(11), alone(11, limit=200.0)], None),  # and that may take long
    ([waits(1e9, limit=0.0), alone(1e9, limit=0.0)], None),
    ([waits(12), alone(11)], f"rank 1 of 2 {LATE} 11 s (in a batch)"),
    ([waits(1), alone(11)], f"rank 1 of 2 {LATE} 11 s (in a batch)"),
    ([waits(11, done=8), waits(12, done=7)], f"rank 1 of 2 {LATE} 12 s (in step 3)"),
    ([waits(11), waits(12)], "no rank of 2 got further for 11 s (in step 3)"),
    ([waits(11), waits(12, stopped=2.0)], f"rank 1 of 2 {LATE} 12 s (in step 3; its process is stopped)"),
    ([waits(0), waits(9, stopped=9.0, patience=8.0)], f"rank 1 of 2 {LATE} 9 s (in step 3; its process is stopped)"),
    ([waits(0), waits(9, stopped=7.0, patience=8.0)], None),
    ([alone(11), alone(12), waits(0)], f"rank 0 of 3 {LATE} 11 s (in a batch); rank 1 of 3 {LATE} 12 s (in a batch)"),
])  # fmt: skip
def test_verdicts(statuses, want):
    assert judge(dict(enumerate(statuses)), len(statuses)) == want


def test_nobody_is_no_hang():
    assert judge({}, 2) is None
