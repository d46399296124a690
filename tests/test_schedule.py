"""Schedules against a walk over whole runs, and against the reference's numbers."""

import itertools
import json

import mindspore as ms
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mindspore import Tensor, ops

from tests.compare import assert_agrees, assert_gradients_agree, tensors
from tests.oracles.schedule import slow_average, slow_rates
from yolox.schedule import ema_decay, ema_value, learning_rate

KNOBS = {
    "peak": 0.01,
    "steps_per_epoch": 4,
    "epochs": 10,
    "warmup_epochs": 2,
    "flat_epochs": 3,
    "warmup_start": 0.0,
    "min_lr_ratio": 0.05,
}


@pytest.mark.parametrize("change", [
    {},
    {"warmup_start": 0.01},
    {"warmup_epochs": 0},
    {"flat_epochs": 0},
    {"warmup_epochs": 0, "flat_epochs": 0, "min_lr_ratio": 0.0},
    {"warmup_epochs": 7},  # no cosine between warm-up and flat end
    {"steps_per_epoch": 1, "epochs": 300, "warmup_epochs": 5, "flat_epochs": 15},
])
def test_learning_rate_agrees_with_the_oracle(change):
    knobs = KNOBS | change
    want = slow_rates(**knobs)
    assert len(want) == knobs["epochs"] * knobs["steps_per_epoch"] + 1
    got = [learning_rate(step, **knobs) for step in range(len(want))]
    assert got == pytest.approx(want, rel=1e-9, abs=1e-18)
    assert all(isinstance(rate, float) for rate in got)


def test_learning_rate_by_hand():
    points = {0: 0.0, 4: 0.0025, 8: 0.01, 18: 0.00525, 28: 0.0005, 40: 0.0005, 1000: 0.0005}
    assert {step: learning_rate(step, **KNOBS) for step in points} == pytest.approx(points)


@settings(max_examples=50, deadline=None)
@given(*[st.integers(1, 9)] * 2, *[st.integers(0, 5)] * 2, *[st.floats(0, 1)] * 2)
def test_learning_rate_rises_then_falls_within_its_bounds(steps, cosine, warmup, flat, start, least):
    knobs = KNOBS | {"steps_per_epoch": steps, "warmup_epochs": warmup, "flat_epochs": flat}
    knobs |= {"epochs": warmup + flat + cosine, "warmup_start": start, "min_lr_ratio": least}
    rates = [learning_rate(step, **knobs) for step in range(knobs["epochs"] * steps + 1)]
    top = warmup * steps
    slack = 1e-12
    assert rates[top] == pytest.approx(0.01)
    assert all(b >= a - slack for a, b in itertools.pairwise(rates[: top + 1]))
    assert all(b <= a + slack for a, b in itertools.pairwise(rates[top:]))
    assert rates[-1] == pytest.approx(0.01 * least)


def test_golden_learning_rates_and_decays(golden_dir):
    golden = json.loads((golden_dir / "schedules.json").read_text())
    decays = golden.pop("ema_decay")
    assert golden and decays
    for case in golden.values():
        run = case["arguments"]
        knobs = {"peak": run["lr"], "steps_per_epoch": run["iters"], "epochs": run["total"]}
        knobs |= {"warmup_epochs": run["warm"], "flat_epochs": run["no_aug"]}
        got = {step: learning_rate(int(step), **knobs) for step in case["lr_after_iteration"]}
        assert got == pytest.approx(case["lr_after_iteration"], rel=1e-6, abs=0)
    got = {step: ema_decay(int(step), decay=0.9998, ramp=2000.0) for step in decays}
    assert got == pytest.approx(decays, rel=1e-6, abs=0)


def test_decay_grows_from_zero_to_its_limit():
    decays = [ema_decay(step, decay=0.9, ramp=10.0) for step in range(200)]
    assert decays[0] == 0.0 and all(b > a for a, b in itertools.pairwise(decays))
    assert decays[10] == pytest.approx(0.9 * 0.6321205588)
    assert ema_decay(10**6, decay=0.9, ramp=10.0) == 0.9


def _average(start, values, decays):
    for value, decay in zip(values, decays, strict=True):
        start = ema_value(start, value, decay)
    return start


def test_average_agrees_with_the_oracle():
    rng = np.random.default_rng(0)
    start, values = rng.standard_normal((3, 2)), rng.standard_normal((5, 3, 2))
    decays = [ema_decay(step, decay=0.9, ramp=3.0) for step in range(1, 6)]
    got = _average(*tensors(start), [*tensors(*values)], [*tensors(*decays)])
    np.testing.assert_allclose(got.asnumpy(), slow_average(start, values, decays), rtol=1e-5, atol=1e-6)


def test_one_update_agrees_with_the_oracle_compiled_and_in_its_gradients():
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal((3, 2)), rng.standard_normal((3, 2)), np.array(0.75)]
    assert_agrees(ema_value, lambda ema, value, decay: slow_average(ema, [value], [decay]), arrays)
    assert_gradients_agree(ema_value, lambda ema, value, decay: slow_average(ema, [value], [decay]), arrays)


def test_average_by_hand():
    for run in (ema_value, ms.jit(ema_value)):
        got = run(Tensor([1.0, 4.0]), Tensor([5.0, 4.0]), Tensor(0.75, ms.float32))
        assert got.asnumpy().tolist() == [2.0, 4.0]


@pytest.mark.parametrize(("change", "message"), [
    ({"step": -1}, "got step=-1 and steps_per_epoch=4, want step >= 0 and steps_per_epoch > 0"),
    ({"steps_per_epoch": 0}, "got step=1 and steps_per_epoch=0"),
    ({"warmup_epochs": 8}, "got warmup_epochs=8 and flat_epochs=3, want both >= 0 and together at most"),
    ({"flat_epochs": -1}, "got warmup_epochs=2 and flat_epochs=-1"),
])
def test_learning_rate_errors(change, message):
    knobs = {"step": 1} | KNOBS | change
    with pytest.raises(ValueError, match="learning_rate: " + message):
        learning_rate(knobs.pop("step"), **knobs)


def test_average_errors():
    for step, decay, ramp in ((-1, 0.9, 10), (1, 1.1, 10), (1, 0.9, 0)):
        with pytest.raises(ValueError, match=f"ema_decay: got step={step}, decay={decay}, ramp={ramp}, want"):
            ema_decay(step, decay=decay, ramp=ramp)
    with pytest.raises(ValueError, match=r"ema_value: ema has shape \(2,\) and value \(3,\), want"):
        ema_value(ops.zeros((2,)), ops.zeros((3,)), 0.5)
