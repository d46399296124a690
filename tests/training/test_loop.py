"""The epoch loop with a step that only writes down what it was given."""

import math
from types import SimpleNamespace

import attrs
import mindspore as ms
import numpy as np
import pytest

from yolox.config import LoaderConfig, LossConfig, OptimConfig, Recipe
from yolox.errors import TrainingDiverged
from yolox.schedule import check_epochs, ema_decay, is_evaluated, is_no_aug, rate_at
from yolox.training import loop
from yolox.training.loop import StopRequested, TrainingStopped, first_bad, fit
from yolox.training.progress import TrainingProgress

STEPS = 3
RECIPE = Recipe(
    epochs=6,
    no_aug_epochs=2,
    eval_interval=3,
    loader=LoaderConfig(batch_size=2),
    loss=LossConfig(loss_l1_weight=0.5),
    optim=OptimConfig(warmup_epochs=1, flat_epochs=2, lr=0.1, lr_per_image=None, max_bad_steps=4),
)


class Recorder:
    """A step and a callback in one: keeps the scalars that came in and the reports that came out."""

    def __init__(self, bad=(), first=0):
        self.first = first
        self.calls, self.steps, self.epochs, self.bad = [], [], [], set(bad)
        self.scales = []

    def step(self, images, gt_boxes, gt_classes, valid, lr, decay, l1_weight, loss_scale):
        self.scales.append(float(loss_scale.asnumpy()))
        index = len(self.calls) + self.first
        self.calls.append(tuple(float(value.asnumpy()) for value in (lr, decay, l1_weight)))
        value = ms.Tensor(np.nan if index in self.bad else float(index), ms.float32)
        sums = ms.Tensor([1.0, np.nan if index in self.bad else 0.0], ms.float32)
        losses = dict.fromkeys(("total", "iou", "obj", "cls", "l1"), value)
        return losses, ms.Tensor(2.0, ms.float32), ms.Tensor(index not in self.bad), sums

    def on_step(self, report):
        self.steps.append(report)

    def on_epoch(self, report):
        self.epochs.append(report)


def run(recorder, recipe=RECIPE, **options):
    phases = []

    def batches(epoch, augment, first):
        phases.append((epoch, augment))
        part = np.zeros((2, 1), np.float32)
        return ((part, part, part, part) for _ in range(first, STEPS))

    fit(
        recorder.step,
        recipe=recipe,
        steps_per_epoch=STEPS,
        train_batches=batches,
        callbacks=(recorder,),
        parameters=(ms.Parameter(np.ones(1), name="first"), ms.Parameter(np.ones(1), name="second")),
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


@pytest.mark.parametrize("world", [1, 4])
def test_the_rate_follows_the_images_of_all_devices(world):
    optim = attrs.evolve(RECIPE.optim, lr=None, lr_per_image=0.01, warmup_epochs=0)
    recorder = Recorder()
    run(recorder, attrs.evolve(RECIPE, optim=optim), world=world)
    assert recorder.calls[0][0] == pytest.approx(0.01 * 2 * world)  # two images on each
    run(recorder, attrs.evolve(RECIPE, optim=attrs.evolve(optim, lr=0.3, lr_per_image=None)), world=world)
    assert recorder.calls[6 * STEPS][0] == pytest.approx(0.3)


def test_evaluations_come_at_the_interval_in_no_aug_epochs_and_at_the_end():
    recorder = Recorder()
    run(recorder, evaluate=lambda: ({"AP": 0.5}, None))
    assert [r.metrics is not None for r in recorder.epochs] == [False, False, True, False, True, True]
    sparse = attrs.evolve(RECIPE, epochs=10, no_aug_epochs=5, eval_interval=4, no_aug_eval_interval=2)
    assert [e for e in range(10) if is_evaluated(sparse, e)] == [3, 5, 7, 9]
    assert [is_no_aug(sparse, e) for e in (4, 5)] == [False, True]


def test_reports_are_means_and_counts():
    recorder = Recorder(bad={1})
    run(recorder)
    first = recorder.epochs[0]
    assert first.skipped == 1 and first.losses["total"] == pytest.approx((0 + 2) / 2)
    assert [r.step for r in recorder.steps] == list(range(1, 6 * STEPS + 1))
    assert not recorder.steps[1].finite and recorder.steps[0].num_pos == 2
    assert recorder.steps[-1].seconds_left == 0 and 0 <= first.data_wait_share <= 1


def test_the_time_left_leaves_out_steps_that_compile(monkeypatch):
    clock, recorder = [0.0], Recorder()
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    step = recorder.step

    def timed(images, *rest):
        clock[0] += 40.0 if not recorder.calls else 2.0  # the first compiles
        return step(images, *rest)

    recorder.step = timed
    run(recorder, evaluate=lambda: clock.__setitem__(0, clock[0] + 500.0) or ({"AP": 0.5}, None))
    assert math.isnan(recorder.steps[0].seconds_left)
    left = [event.seconds_left for event in recorder.steps[1:]]
    assert left == pytest.approx([2.0 * (6 * STEPS - done) for done in range(2, 6 * STEPS + 1)])


def test_bad_steps_in_a_row_stop_the_run_name_the_tensor_and_hand_over_the_batch():
    run(Recorder(bad={0, 1, 2, 5, 6, 7}))  # never four in a row
    with pytest.raises(TrainingDiverged, match="step 9: 4 steps in a row.*the gradient of second") as error:
        run(Recorder(bad=range(5, 9)))
    assert error.value.batch.keys() == {"images", "gt_boxes", "gt_classes", "valid"}
    np.testing.assert_array_equal(error.value.batch["images"], np.zeros((2, 1), np.float32))


def test_the_first_thing_that_is_not_finite_is_named():
    good, bad = np.ones(3), np.array([1.0, np.nan])
    parameters = [ms.Parameter(good, name="a"), ms.Parameter(good, name="b"), ms.Parameter(good, name="bn")]
    assert first_bad((bad, bad), bad, parameters) == "images of the batch"
    assert first_bad((good, good, good, good), bad, parameters) == "the gradient of b"
    assert first_bad((good, good, good, good), good, parameters) == "the loss"
    parameters[2] = ms.Parameter(np.array([np.inf]), name="bn")
    assert first_bad((good, good, good, good), bad, parameters) == "the values of bn"


class StopAfter:
    """Asks to stop after a number of steps."""

    def __init__(self, steps):
        self.left = steps

    def __call__(self):
        self.left -= 1
        return self.left == 0


def seen(recorder):
    """What does not depend on time."""
    epochs = [(e.epoch, e.losses, e.lr, e.skipped, e.metrics) for e in recorder.epochs]
    return recorder.calls, recorder.scales, epochs, [(s.step, s.losses, s.lr) for s in recorder.steps]


@pytest.mark.parametrize("steps", range(1, 6 * STEPS))
def test_a_run_that_stops_after_any_step_goes_on_as_if_it_had_not(steps):
    half = attrs.evolve(RECIPE, optim=attrs.evolve(RECIPE.optim, precision="float16", loss_scale_interval=4))
    bad = {1, 5, 6, 7, 11}
    whole, before = Recorder(bad), Recorder(bad)
    evaluate = {"evaluate": lambda: ({"AP": 0.5}, None)}
    run(whole, half, **evaluate)
    with pytest.raises(TrainingStopped) as stopped:
        run(before, half, stop=StopAfter(steps), **evaluate)
    after = Recorder(bad, first=steps)
    run(after, half, start=stopped.value.progress, **evaluate)
    wanted = seen(whole)
    assert str(seen(whole)) == str(tuple(a + b for a, b in zip(seen(before), seen(after), strict=True)))  # NaN
    assert len(wanted[0]) == 6 * STEPS and len(set(wanted[1])) > 3


def test_a_stop_in_an_evaluation_repeats_the_evaluation_alone():
    def stopping():
        raise StopRequested

    before, after = Recorder(), Recorder(first=3 * STEPS)
    with pytest.raises(TrainingStopped) as stopped:
        run(before, evaluate=stopping)
    progress = stopped.value.progress
    assert (progress.epoch, progress.step, len(before.epochs)) == (2, STEPS, 2)
    assert run(after, start=progress, evaluate=lambda: ({"AP": 0.5}, None)) == [(3, True), (4, False), (5, False)]
    assert after.epochs[0].epoch == 2 and after.epochs[0].metrics == {"AP": 0.5}
    assert after.epochs[0].losses["total"] == pytest.approx(np.mean(range(2 * STEPS, 3 * STEPS)))


def test_bad_steps_are_counted_across_a_stop():
    with pytest.raises(TrainingStopped) as stopped:
        run(Recorder(bad=range(5, 9)), stop=StopAfter(7))
    with pytest.raises(TrainingDiverged, match="step 9: 4 steps in a row"):
        run(Recorder(bad=range(5, 9), first=7), start=stopped.value.progress)


def test_a_run_can_begin_later():
    recorder = Recorder()
    assert run(recorder, start=TrainingProgress(epoch=4)) == [(4, False), (5, False)]
    assert recorder.calls[0][0] == pytest.approx(rate_at(RECIPE, 4 * STEPS, STEPS, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 2}, "epochs: 2 is less than warmup_epochs 1"),
        ({"no_aug_epochs": -1}, "no_aug_epochs: got -1, want a whole number of 0 or more"),
    ],
)
def test_phases_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_epochs(attrs.evolve(RECIPE, **changes))


def test_a_loss_of_another_name_reaches_the_events():
    recorder, step = Recorder(), Recorder.step

    def with_another(*arguments):
        losses, *others = step(recorder, *arguments)
        return {**losses, "angle": ms.Tensor(2.5, ms.float32)}, *others

    recorder.step = with_another
    run(recorder)
    assert recorder.steps[0].losses["angle"] == 2.5 and recorder.epochs[0].losses["angle"] == 2.5


def test_statistics_are_shared_before_the_evaluation_and_files_are_written_before_callbacks():
    order, recorder = [], Recorder()
    recorder.on_epoch = lambda event: order.append("callback")
    knobs = {"sync": lambda: order.append("sync"), "save_epoch": lambda event: order.append("save")}
    run(recorder, evaluate=lambda: (order.append("evaluate") or {"AP": 0.5}, None), **knobs)
    assert order[:3] == ["sync", "save", "callback"] and order[-4:] == ["sync", "evaluate", "save", "callback"]


def test_the_watchdog_is_told_which_steps_compile():
    marks = []
    run(Recorder(), mark=lambda what, slow=False: marks.append((what, slow)))
    steps = [slow for what, slow in marks if what.startswith("training step")]
    assert steps == [True] + [False] * (6 * STEPS - 1)
