"""Training nano by the golden rule: the first step's losses, and the twelve steps of the case where they are well-conditioned.

The case is chaotic: its stem starts at a thousandth of its usual size, so that the first update turns it anew. A relative
change of 1e-6 of the weights moves the losses from the third step on by some percent, and about 150 of the 538 final norms
by more than 2e-3; the reference itself, with another number of threads, leaves its own recorded losses by 20 % in the fourth
step. Losses after the first step are therefore not compared, but for which of them have an L1 part.

What twelve steps do is seen where the noise is small. Several runs of ours start from weights that differ by 1e-6; the
reference has to lie among them, in units of their spread:

* The towers of the class branch have next to no gradient at their prior. Weight decay alone moves the norms of their
  convolutions, by 1e-5 with a spread of 1e-8 to 1e-7, so that they measure rate, momentum, Nesterov's form and decay. Their BN
  scales have a spread of 1e-6; a decay of these would move them by 1.2e-5. The tensors are found by their spread, not by name.
* How far the average lags behind a BN statistic is the product of rate of change and decay, noisy for one, within 7 % in the
  median.

Measured (MindSpore 2.10; seven runs against the reference, or each against the six others; medians in units of the spread,
eight tensors):

| | convolutions | BN scales | lag | norms out of bounds |
|---|---|---|---|---|
| the reference | 0.3 | 0.6 | 1.02 | 2 |
| the reference with 14 other seeds | 0.2 to 0.6 | 0.4 to 1.0 | 0.95 to 1.03 | 0 to 4, once 16 |
| one of our runs as the reference | 0.2 to 1.4 | 0.4 to 0.8 | 0.99 to 1.05 | 0 to 5 |
| momentum 0.8 (four runs) | 112 | 0.6 | 0.99 to 1.05 | 11 |
| without Nesterov (four runs) | 20 | 0.4 | 1.01 to 1.04 | 16 |
| rate 0.9 of what it is (three runs) | 32 | 1.1 | 0.95 to 0.98 | 9 |
| rates of one step later (three runs) | 40 | 0.9 | 0.97 | 11 |
| decay of BN scales and biases (four runs) | 0.5 | 16 | 1.02 to 1.04 | 4 |
| the average's ramp 1000 in place of 2000 (three runs) | 0.5 | 0.6 | 2.05 to 2.09 | 18 |
"""

import json
from collections.abc import Callable
from typing import NamedTuple

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from tests.nn.scales import build_detector, fill_golden, golden_value, yolox_name
from yolox.boxes import cxcywh_to_xyxy
from yolox.config import InputSpec, OptimConfig
from yolox.schedule import ema_decay
from yolox.training.step import TrainState, create_train_state, make_train_step
from yolox.yolox_loss import detection_loss

L1_FROM_STEP = 8
TOLERANCE = 2e-3
STEPS, RUNS = 12, 6
PERTURBATION = 1e-6
TIGHTEST = 8
ROUNDING = 3e-8  # of a norm, relative: no spread is smaller


def golden_detector(golden_dir):
    """Nano with three classes: weights by the golden rule, prediction biases at the prior."""
    names = json.loads((golden_dir / "names_megvii.json").read_text())["nano"]
    seed = json.loads((golden_dir / "meta.json").read_text())["seed"]
    names = {n: [3, *s[1:]] if n.startswith("head.cls_preds") else s for n, s in names.items()}
    detector = build_detector("nano", 3)
    fill_golden(detector, {n: golden_value(n, tuple(shape), seed) for n, shape in names.items()})
    for name, parameter in detector.parameters_dict().items():
        if name.startswith(("head.cls_preds", "head.obj_preds")) and name.endswith("bias"):
            parameter.set_data(ms.Tensor(np.full(parameter.shape, -np.log(99.0), np.float32)))
    return detector


def step_inputs(case, index):
    gt = case["truths"][index]
    boxes = cxcywh_to_xyxy(ms.Tensor(gt[..., 1:])).asnumpy()
    images = np.ascontiguousarray(case["images"][index].transpose(0, 2, 3, 1))
    parts = (images, boxes, gt[..., 0].astype(np.int32), gt[..., 3] > 0)
    l1_weight = 1.0 if index >= L1_FROM_STEP else 0.0
    scalars = (float(case["lrs"][index]), ema_decay(index + 1, decay=0.9998, ramp=2000.0), l1_weight)
    return tuple(ms.Tensor(p) for p in parts) + tuple(ms.Tensor(s, ms.float32) for s in scalars), gt


class GoldenRun(NamedTuple):
    """The case, and steps, eager and compiled at their first call, that continue the state which `restart` has set."""

    case: dict
    state: TrainState
    eager_step: Callable
    step: Callable
    start: list


@pytest.fixture(scope="module")
def golden_run(golden_dir):
    path = golden_dir / "train_nano.npz"
    if not path.exists():
        pytest.skip("train_nano.npz is not in the golden folder")
    with np.load(path) as arrays:
        case = dict(arrays)
    detector = golden_detector(golden_dir)
    state = create_train_state(detector)
    eager, compiled = (
        make_train_step(detector, detection_loss, state, optim=OptimConfig(), spec=InputSpec(), compiled=compiled)
        for compiled in (False, True)
    )
    return GoldenRun(case, state, eager, compiled, [p.asnumpy().copy() for p in state.averaged])


def restart(run: GoldenRun, seed: int) -> None:
    """Put the state back to the beginning; with a seed above 0, weights are multiplied by numbers close to 1."""
    rng, trained = np.random.default_rng(seed), len(run.state.params)
    noise = [PERTURBATION * (seed > 0) * rng.standard_normal(v.shape).astype(np.float32) for v in run.start[:trained]]
    values = [v * (1 + n) for v, n in zip(run.start[:trained], noise, strict=True)] + run.start[trained:]
    for parameter, value in zip(run.state.averaged, values, strict=True):
        ops.assign(parameter, ms.Tensor(value.astype(np.float32)))
    for momentum in run.state.optimizer_state:
        ops.assign(momentum, ops.zeros_like(momentum))
    run.state.ema.write([value.astype(np.float32) for value in values])
    run.state.safe_buffers.write(values[trained:])


def train(run: GoldenRun, steps: int, *, compiled: bool = True) -> np.ndarray:  # [steps, 6]
    """Run the first steps; the losses as the golden case has them."""
    step = run.step if compiled else run.eager_step
    losses = []
    for index in range(steps):
        inputs, gt = step_inputs(run.case, index)
        named, num_pos, finite, _ = step(*inputs)
        assert bool(finite.asnumpy())
        count = max(float(num_pos.asnumpy()), 1.0) / max((gt[..., 3] > 0).sum(), 1)
        losses.append([float(value.asnumpy()) for value in named.values()] + [count])
    return np.array(losses)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_losses_of_the_first_step(golden_run, compiled):
    restart(golden_run, 0)
    (losses,), (want, *_) = train(golden_run, 1, compiled=compiled), golden_run.case["losses"]
    np.testing.assert_allclose(np.delete(losses, 4), np.delete(want, 4), rtol=TOLERANCE)
    assert losses[4] == 0 == want[4]


def golden_rows(case) -> dict[str, int]:
    """Rows of the case's tensors by our names."""
    return {yolox_name(str(n)): i for i, n in enumerate(case["names"]) if not str(n).endswith("num_batches_tracked")}


def test_the_case_has_every_tensor(golden_run):
    assert set(golden_rows(golden_run.case)) == {p.name for p in golden_run.state.averaged}


class Ensemble(NamedTuple):
    """Final norms of our runs and the reference's, tensors in our order."""

    names: np.ndarray  # [N]
    norms: np.ndarray  # [runs, N]
    ema_norms: np.ndarray  # [runs, N]
    golden_norms: np.ndarray  # [N]
    golden_ema_norms: np.ndarray  # [N]
    losses: np.ndarray  # [runs, steps, 6]

    def chosen(self, *suffixes: str) -> np.ndarray:
        return np.array([i for i, name in enumerate(self.names) if name.endswith(suffixes)])


@pytest.fixture(scope="module")
def ensemble(golden_run):
    case, state = golden_run.case, golden_run.state
    norms, averages, losses = [], [], []
    for seed in range(RUNS):
        restart(golden_run, seed)
        losses.append(train(golden_run, STEPS))
        norms.append([norm(p.asnumpy()) for p in state.averaged])
        averages.append([norm(array) for array in state.ema.arrays()])
    names, rows = np.array([p.name for p in state.averaged]), golden_rows(case)
    order = [rows[name] for name in names]
    ours = (np.array(part) for part in (norms, averages))
    return Ensemble(names, *ours, case["norms"][order], case["ema_norms"][order], np.array(losses))


def norm(array: np.ndarray) -> float:
    return float(np.linalg.norm(array.astype(np.float64)))


def spread(norms: np.ndarray) -> np.ndarray:  # [runs, N] -> [N]
    """Standard deviation of one more run from the mean of ours."""
    deviation = np.maximum(norms.std(0, ddof=1), ROUNDING * norms.mean(0))
    return deviation * np.sqrt(1 + 1 / len(norms))


def tightest_distance(norms: np.ndarray, golden: np.ndarray) -> float:  # [runs, N], [N]
    """Median distance of the reference from ours in units of the spread, over the tensors with the least spread."""
    noise = spread(norms)
    best = np.argsort(noise / golden)[:TIGHTEST]
    return float(np.median(np.abs(golden - norms.mean(0))[best] / noise[best]))


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["conv.weight", "bn.gamma"])
def test_the_reference_is_among_our_runs_where_they_are_close_together(ensemble, ending):
    kind = ensemble.chosen(ending)
    assert len(kind) > 100
    assert tightest_distance(ensemble.norms[:, kind], ensemble.golden_norms[kind]) < 4
    assert tightest_distance(ensemble.ema_norms[:, kind], ensemble.golden_ema_norms[kind]) < 4


def median_lag(ensemble: Ensemble) -> float:
    """How far our averages of BN statistics lag behind, as a share of how far the reference's do."""
    kind = ensemble.chosen("moving_mean", "moving_variance")
    ours = (ensemble.norms - ensemble.ema_norms)[:, kind].mean(0)
    return float(np.median(ours / (ensemble.golden_norms - ensemble.golden_ema_norms)[kind]))


@pytest.mark.slow
def test_averages_lag_behind_as_the_reference_does(ensemble):
    assert 0.85 < median_lag(ensemble) < 1.18


def count_outside(norms: np.ndarray, golden: np.ndarray) -> int:  # [runs, N], [N]
    """Count tensors that the reference has neither within its tolerance nor within four times the spread."""
    allowed = np.maximum(TOLERANCE * golden, 4 * spread(norms))
    return int((np.abs(norms.mean(0) - golden) > allowed).sum())


@pytest.mark.slow
def test_all_norms_are_within_tolerance_or_noise_but_for_one_in_ten(ensemble):
    most = len(ensemble.names) // 10  # a run that strays takes many tensors with it: up to 45 of 538 were seen
    assert count_outside(ensemble.norms, ensemble.golden_norms) <= most
    assert count_outside(ensemble.ema_norms, ensemble.golden_ema_norms) <= most


@pytest.mark.slow
def test_the_same_steps_have_an_l1_loss_of_the_same_size(ensemble, golden_run):
    want, got = golden_run.case["losses"][:, 4], ensemble.losses[:, :, 4].mean(0)
    assert [bool(value) for value in got] == [bool(value) for value in want]
    ratios = got[want > 0] / want[want > 0]  # a step's spread is 4 to 26 %, and up to 38 % were seen
    assert abs(ratios.mean() - 1) < 0.3  # over 18 folders the mean is off by 0.13 at most
