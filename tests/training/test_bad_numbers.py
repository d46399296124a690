"""A NaN in an image and in a weight: skipped, counted, named, stopped, and the batch kept; and the float16 loss scale.

The loader's images are bytes, which hold no NaN: the step is built here with a reader of float32 images.
"""

import attrs
import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

import yolox.training.step as train_module
from tests.training.test_step import SPEC, Toy, batch, scalars, snapshot, toy_loss
from yolox.config import LoaderConfig, OptimConfig, Recipe
from yolox.errors import CommandError, TrainingDiverged
from yolox.training.loop import fit
from yolox.training.run_folder import RunRecorder
from yolox.training.signals import StopSignals
from yolox.training.step import create_train_state, make_train_step
from yolox.training.trainer import saved_when_interrupted

OPTIM = OptimConfig(warmup_epochs=0, flat_epochs=0, lr=0.01, lr_per_image=None, max_bad_steps=3)
RECIPE = Recipe(epochs=2, no_aug_epochs=0, loader=LoaderConfig(batch_size=2), optim=OPTIM)
STEPS = 6


class Reports:
    """A callback that keeps what it was told."""

    def __init__(self):
        self.steps, self.epochs = [], []
        self.on_step, self.on_epoch = self.steps.append, self.epochs.append


def normalize_floats(images, *, spec, planes_of):
    """Stand in for `normalize_images`, which takes bytes alone."""
    return images.transpose(0, 3, 1, 2) * spec.pixel_scale


@pytest.fixture(autouse=True)
def _floats(monkeypatch):
    monkeypatch.setattr(train_module, "normalize_images", normalize_floats)


def floating_batch(index):
    """A batch with float32 images."""
    images, *gt = (part.asnumpy() for part in batch(index))
    return [images.astype(np.float32), *gt]


def train(bad_images=(), optim=OPTIM, before_step=lambda index, state: None):
    ms.set_seed(1)
    cell, reports = Toy(), Reports()
    state = create_train_state(cell)
    step, calls = make_train_step(cell, toy_loss, state, optim=optim, spec=SPEC), []

    def watched(*tensors):
        before_step(len(calls), state)
        calls.append(snapshot(state))
        return step(*tensors)

    def batches(epoch, _augment, first):
        for index in range(epoch * STEPS + first, (epoch + 1) * STEPS):
            content = floating_batch(index)
            if index in bad_images:
                content[0][0, 1, 2, 0] = np.nan
            yield content

    recipe = attrs.evolve(RECIPE, optim=optim)
    try:
        fit(
            watched, recipe=recipe, steps_per_epoch=STEPS, train_batches=batches, callbacks=(reports,),
            parameters=state.averaged,
        )  # fmt: skip
    finally:
        calls.append(snapshot(state))
        train.last = (reports, calls)
    return reports, calls


def same(one, other):
    return all(one[name].tobytes() == other[name].tobytes() for name in one)


def test_a_nan_in_an_image_is_skipped_counted_and_named():
    reports, states = train(bad_images={2, 3, 7})
    assert [r.step for r in reports.steps if not r.finite] == [3, 4, 8]
    assert {r.bad for r in reports.steps} == {None, "images of the batch"}
    assert [r.skipped for r in reports.epochs] == [2, 1]
    assert [same(a, b) for a, b in zip(states, states[1:], strict=False)] == [i in {2, 3, 7} for i in range(2 * STEPS)]
    assert np.isfinite(list(reports.epochs[0].losses.values())).all()


def test_too_many_stop_the_run_and_leave_the_batch(tmp_path):
    recorder = RunRecorder(tmp_path, lambda *parts: None)
    with pytest.raises(CommandError, match="step 5: 3 steps in a row were not finite, first in images of the batch"):
        with saved_when_interrupted(tmp_path, recorder, StopSignals()):
            train(bad_images=range(2, 9))
    kept = np.load(tmp_path / "bad_batch.npz")
    wanted = floating_batch(4)
    wanted[0][0, 1, 2, 0] = np.nan
    for name, part in zip(("images", "gt_boxes", "gt_classes", "valid"), wanted, strict=True):
        np.testing.assert_array_equal(kept[name], part)


@pytest.mark.parametrize("name", ["conv.weight", "bn.gamma"])
def test_a_nan_in_a_weight_is_named(name):
    def plant(index, state):
        if index == 4:
            parameter = next(p for p in state.params if p.name == name)
            value = parameter.asnumpy().copy()
            value.reshape(-1)[0] = np.nan
            ops.assign(parameter, ms.Tensor(value))

    with pytest.raises(TrainingDiverged, match=f"3 steps in a row were not finite, first in the values of {name}"):
        train(before_step=plant)
    reports, states = train.last
    assert [r.step for r in reports.steps] == [1, 2, 3, 4, 5, 6]
    assert {r.bad for r in reports.steps[4:]} == {f"the values of {name}"}
    for before, after in zip(states[4:], states[5:], strict=False):  # its average takes the planted value, nothing else moves
        differ = {key for key in before if before[key].tobytes() != after[key].tobytes()}
        assert differ <= {f"ema.{name}"}


HALF = attrs.evolve(OPTIM, precision="float16", loss_scale=2.0**20, loss_scale_interval=4)


def test_a_power_of_two_as_loss_scale_changes_no_bit():
    """The toy computes in float32, where scaling by a power of two and back is exact."""
    plain, scaled = train()[1], train(optim=HALF)[1]
    assert same(plain[-1], scaled[-1]) and not same(plain[0], plain[-1])


def test_the_scale_halves_at_an_overflow_and_doubles_after_good_steps():
    reports, states = train(optim=attrs.evolve(HALF, loss_scale=2.0**24), bad_images={1, 2})
    scales = [r.progress.loss_scale.value for r in reports.steps]
    assert scales == [2.0**n for n in (24, 23, 22, 22, 22, 22, 23, 23, 23, 23, 24, 24)]


def test_an_overflow_of_the_scaled_loss_changes_nothing():
    ms.set_seed(1)
    cell = Toy()
    state = create_train_state(cell)
    step = make_train_step(cell, toy_loss, state, optim=HALF, spec=SPEC)
    before = snapshot(state)
    *_, finite, sums = step(*map(ms.Tensor, floating_batch(0)), *scalars(0.1, 0.5, 0.0, 3e38))
    assert not bool(finite.asnumpy()) and not np.isfinite(sums.asnumpy()).all()
    assert same(snapshot(state), before)
    _, _, finite, _ = step(*map(ms.Tensor, floating_batch(0)), *scalars(0.1, 0.5, 0.0, 1024.0))
    assert bool(finite.asnumpy()) and not same(snapshot(state), before)
