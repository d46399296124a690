"""A run in float16 with the dynamic loss scale: the loss falls, the scale climbs until it overflows, each step is counted."""

import attrs
import pytest
from mindspore import nn

from tests.cli.tiny import RECIPE, TinyDetector, toy_loss
from tests.test_resume import values
from yolox.data.coco import read_coco
from yolox.data.loader import train_batches
from yolox.data.shapes import ShapesConfig, write_shapes
from yolox.fit import fit
from yolox.nn import ConvBNAct, initialise, set_precision
from yolox.train import create_train_state, make_train_step

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
    total, parts = toy_loss(*tensors)
    return total * LARGE, parts


class Steps:
    """A listener that keeps the reports, and whether the step changed any bit of the state."""

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
    write_shapes(folder, images=2 * STEPS, seed=0, config=ShapesConfig(image_size=(48, 64), sides=(12, 30)))
    dataset = read_coco(str(folder / "instances.json"), str(folder / "images"))
    recipe, detector = attrs.evolve(RECIPE, epochs=EPOCHS, optim=OPTIM), HalfDetector(3)
    initialise(detector, seed=0)
    set_precision(detector, "float16")
    state = create_train_state(detector)
    listener = Steps(state)

    def batches(epoch, augment, first):
        return train_batches(dataset, recipe=recipe, epoch=epoch, augment=augment, first=first)

    step = make_train_step(detector, large_loss, state, optim=recipe.optim, spec=recipe.input)
    fit(step, recipe=recipe, steps_per_epoch=STEPS, train_batches=batches, listener=listener, parameters=state.averaged)
    return listener


def test_the_loss_falls(steps):
    assert len(steps.reports) == EPOCHS * STEPS
    assert steps.epochs[-3].losses["total"] < 0.7 * steps.epochs[0].losses["total"]  # the last two have L1 too


def test_the_scale_climbs_until_it_overflows_and_falls_then(steps):
    scales = [FIRST_SCALE, *(report.position.loss_scale.value for report in steps.reports)]
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
