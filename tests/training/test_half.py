"""A run in float16 with the dynamic loss scale: the loss falls, the scale climbs until it overflows, each step is counted."""

import attrs
import numpy as np
import pytest
from mindspore import nn

from tests.cli.tiny import RECIPE, TinyDetector, toy_loss
from tests.nn.scales import build_detector
from tests.training.test_resume import values
from yolox.config import InputSpec
from yolox.data.coco import read_coco
from yolox.data.loader import train_batches
from yolox.data.synthetic import SyntheticConfig, write_synthetic
from yolox.nn import ConvBNAct, initialise, set_precision
from yolox.training.history import history_row
from yolox.training.loop import fit
from yolox.training.step import create_train_state, make_train_step
from yolox.yolox_loss import detection_loss

EPOCHS, STEPS, FIRST_SCALE = 12, 5, 64.0
LARGE = 1024.0  # of the loss and its gradients, with a rate as much smaller: they leave half precision at a usual scale
OPTIM = attrs.evolve(RECIPE.optim, precision="float16", loss_scale=FIRST_SCALE, loss_scale_interval=4, lr=0.02 / LARGE)


class HalfDetector(TinyDetector):
    """The tiny detector of the library's layers, whose convolutions run in half precision."""

    def __init__(self, num_classes):
        super().__init__(num_classes)
        widths = (3, 4, 6, 8)
        self.stages = nn.CellList(
            [ConvBNAct(a, b, 3, s) for a, b, s in zip(widths[:-1], widths[1:], (8, 2, 2), strict=True)]
        )
        self.down, self.bn = nn.CellList(), nn.CellList()

    def construct(self, x):
        maps = ()
        for stage, pred in zip(self.stages, self.preds):  # noqa: B905 (graph code knows no keyword)
            x = stage(x)
            maps = maps + (pred(x),)
        return maps


def large_loss(*tensors):
    total, losses, num_pos = toy_loss(*tensors)
    return total * LARGE, losses, num_pos


class Steps:
    """A callback that keeps the reports, and whether the step changed any bit of the state."""

    def __init__(self, state):
        self.state, self.reports, self.changed, self.epochs = state, [], [], []
        self.before = values(state)
        self.on_epoch = self.epochs.append

    def on_step(self, report):
        now = values(self.state)
        self.reports.append(report)
        self.changed.append(now != self.before)
        self.before = now


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half")
    write_synthetic(folder, images=2 * STEPS, seed=0, config=SyntheticConfig(image_size=(48, 64), sides=(12, 30)))
    dataset = read_coco(str(folder / "instances.json"), str(folder / "images"))
    recipe, detector = attrs.evolve(RECIPE, epochs=EPOCHS, optim=OPTIM), HalfDetector(3)
    initialise(detector, seed=0)
    set_precision(detector, "float16")
    state = create_train_state(detector)
    callback = Steps(state)

    def batches(epoch, augment, first):
        return train_batches(dataset, recipe=recipe, epoch=epoch, augment=augment, first=first)

    step = make_train_step(detector, large_loss, state, optim=recipe.optim, spec=recipe.input)
    fit(step, recipe=recipe, steps_per_epoch=STEPS, train_batches=batches, callbacks=(callback,), parameters=state.averaged)
    return callback


def test_the_loss_falls(steps):
    assert len(steps.reports) == EPOCHS * STEPS
    assert steps.epochs[-3].losses["total"] < 0.7 * steps.epochs[0].losses["total"]  # the last two have L1 too


def test_the_scale_climbs_until_it_overflows_and_falls_then(steps):
    scales = [FIRST_SCALE, *(report.progress.loss_scale.value for report in steps.reports)]
    pairs = list(zip(scales[:-1], scales[1:], strict=True))
    assert all(after == before / 2 for (before, after), report in zip(pairs, steps.reports, strict=True) if not report.finite)
    assert all(after in (before, 2 * before) for (before, after), r in zip(pairs, steps.reports, strict=True) if r.finite)
    assert max(scales) > FIRST_SCALE and any(after < before for before, after in pairs)


def test_no_step_is_lost_in_silence(steps):
    """A step changes the state, or is reported as skipped and changes no bit."""
    assert steps.changed == [report.finite for report in steps.reports]
    skipped = steps.changed.count(False)
    assert 0 < skipped < EPOCHS * STEPS / 2 and sum(epoch.skipped for epoch in steps.epochs) == skipped
    assert all(report.bad for report in steps.reports if not report.finite)


NANO_STEPS, NANO_SCALE = 12, 1024.0  # the recipes' first scale; fresh nano's gradients leave half precision above 128


@pytest.fixture(scope="module")
def nano_steps():
    """Nano at 64 px in half precision with the real loss: two epochs of the same batch, at one rate."""
    optim = attrs.evolve(OPTIM, loss_scale=NANO_SCALE, loss_scale_interval=1000, max_bad_steps=NANO_STEPS)
    optim = attrs.evolve(optim, lr=0.002, warmup_epochs=0, min_lr_ratio=1.0)
    recipe = attrs.evolve(RECIPE, epochs=2, no_aug_epochs=1, optim=optim, input=InputSpec(input_size=(64, 64)))
    detector = build_detector("nano", 3)
    initialise(detector, seed=0)
    set_precision(detector, "float16")
    state = create_train_state(detector)
    callback = Steps(state)
    step = make_train_step(detector, detection_loss, state, optim=optim, spec=recipe.input)
    batch = nano_batch()

    def batches(epoch, augment, first):
        return (batch for _ in range(first, NANO_STEPS))

    fit(step, recipe=recipe, steps_per_epoch=NANO_STEPS, train_batches=batches, callbacks=(callback,))
    return callback


def nano_batch():
    """Four images of noise, each with a dark square of one of three classes."""
    images = np.random.default_rng(0).integers(100, 256, (4, 64, 64, 3)).astype(np.uint8)
    corners = np.array([[4, 8], [20, 12], [28, 24], [8, 30]], np.float32)
    boxes = np.concatenate([corners, corners + 24], axis=1)[:, None]
    for image, (x, y) in zip(images, corners.astype(int), strict=True):
        image[y : y + 24, x : x + 24] //= 4
    return images, boxes, np.array([[0], [1], [2], [0]], np.int32), np.ones((4, 1), bool)


@pytest.mark.slow
def test_nano_learns_in_half_precision_once_the_scale_fits(nano_steps):
    finite = [report.finite for report in nano_steps.reports]
    skipped = finite.index(True)
    assert nano_steps.changed == finite and 0 < skipped <= NANO_STEPS // 2 and all(finite[skipped:])
    assert [epoch.skipped for epoch in nano_steps.epochs] == [skipped, 0]
    assert nano_steps.reports[-1].progress.loss_scale.value == NANO_SCALE / 2**skipped
    without_l1 = [sum(r.losses[name] for name in ("iou", "obj", "cls")) for r in nano_steps.reports]
    assert np.mean(without_l1[-3:]) < 0.9 * np.mean(without_l1[skipped : skipped + 3])


@pytest.mark.slow
def test_the_row_of_an_epoch_is_the_mean_over_its_applied_steps(nano_steps):
    for epoch, first in zip(nano_steps.epochs, (0, NANO_STEPS), strict=True):
        applied = [r.losses for r in nano_steps.reports[first : first + NANO_STEPS] if r.finite]
        row = history_row(epoch)
        assert row["skipped"] == NANO_STEPS - len(applied)
        for name in ("total", "iou", "obj", "cls", "l1"):
            assert row[name] == pytest.approx(np.mean([losses[name] for losses in applied]), rel=1e-9)
