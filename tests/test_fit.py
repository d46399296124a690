"""The epoch loop with a step that only writes down what it was given."""

import attrs
import mindspore as ms
import numpy as np
import pytest

from yolox.config import LoaderConfig, LossConfig, OptimConfig, Recipe
from yolox.fit import TrainingDiverged, check_epochs, fit, is_evaluated, is_plain, rate_at
from yolox.schedule import ema_decay

STEPS = 3
RECIPE = Recipe(
    epochs=6,
    plain_epochs=2,
    eval_interval=3,
    loader=LoaderConfig(batch_size=2),
    loss=LossConfig(loss_l1_weight=0.5),
    optim=OptimConfig(warmup_epochs=1, flat_epochs=2, lr=0.1, lr_per_image=None, max_bad_steps=4),
)


class Recorder:
    """A step and a listener in one: keeps the scalars that came in and the reports that came out."""

    def __init__(self, bad=()):
        self.calls, self.steps, self.epochs, self.bad = [], [], [], set(bad)

    def step(self, images, gt_boxes, gt_classes, valid, lr, decay, l1_weight):
        index = len(self.calls)
        self.calls.append(tuple(float(value.asnumpy()) for value in (lr, decay, l1_weight)))
        value = ms.Tensor(np.nan if index in self.bad else float(index), ms.float32)
        sums = ms.Tensor([1.0, np.nan if index in self.bad else 0.0], ms.float32)
        return (*[value] * 5, ms.Tensor(2.0, ms.float32), ms.Tensor(index not in self.bad), sums)

    def on_step(self, report):
        self.steps.append(report)

    def on_epoch(self, report):
        self.epochs.append(report)


def run(recorder, recipe=RECIPE, **options):
    phases = []

    def batches(epoch, augment):
        phases.append((epoch, augment))
        part = np.zeros((2, 1), np.float32)
        return ((part, part, part, part) for _ in range(STEPS))

    fit(
        recorder.step,
        recipe=recipe,
        steps_per_epoch=STEPS,
        train_batches=batches,
        listener=recorder,
        parameter_names=("first", "second"),
        **options,
    )
    return phases


def test_schedules_and_phases_reach_the_step():
    recorder = Recorder()
    assert run(recorder) == [(e, e < 4) for e in range(6)]
    assert len(recorder.calls) == 6 * STEPS
    for index, (lr, decay, l1_weight) in enumerate(recorder.calls):
        assert lr == pytest.approx(rate_at(RECIPE, index, STEPS, 2), rel=1e-6)
        assert decay == pytest.approx(ema_decay(index + 1, decay=0.9998, ramp=2000.0), rel=1e-5)
        assert l1_weight == (0.5 if index >= 4 * STEPS else 0.0)
    assert recorder.calls[0][0] == 0.0 and recorder.calls[STEPS][0] == pytest.approx(0.1)


def test_evaluations_come_at_the_interval_in_plain_epochs_and_at_the_end():
    recorder = Recorder()
    run(recorder, evaluate=lambda: {"AP": 0.5})
    assert [r.metrics is not None for r in recorder.epochs] == [False, False, True, False, True, True]
    sparse = attrs.evolve(RECIPE, epochs=10, plain_epochs=5, eval_interval=4, plain_eval_interval=2)
    assert [e for e in range(10) if is_evaluated(sparse, e)] == [3, 5, 7, 9]
    assert [is_plain(sparse, e) for e in (4, 5)] == [False, True]


def test_reports_are_means_and_counts():
    recorder = Recorder(bad={1})
    run(recorder)
    first = recorder.epochs[0]
    assert first.skipped == 1 and first.losses["total"] == pytest.approx((0 + 2) / 2)
    assert [r.step for r in recorder.steps] == list(range(1, 6 * STEPS + 1))
    assert not recorder.steps[1].finite and recorder.steps[0].num_pos == 2
    assert recorder.steps[-1].seconds_left == 0 and 0 <= first.data_wait_share <= 1


def test_bad_steps_in_a_row_stop_the_run_and_name_the_tensor():
    run(Recorder(bad={0, 1, 2, 5, 6, 7}))  # never four in a row
    with pytest.raises(TrainingDiverged, match="step 9: 4 steps in a row.*second"):
        run(Recorder(bad=range(5, 9)))


def test_a_run_can_begin_later():
    recorder = Recorder()
    assert run(recorder, start_epoch=4) == [(4, False), (5, False)]
    assert recorder.calls[0][0] == pytest.approx(rate_at(RECIPE, 4 * STEPS, STEPS, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 2}, "epochs: 2 is less than warmup_epochs 1"),
        ({"plain_epochs": -1}, "want 0 or more"),
    ],
)
def test_phases_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_epochs(attrs.evolve(RECIPE, **changes))
