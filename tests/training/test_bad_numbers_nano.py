"""A NaN for real: in a weight of nano, and in a box of a batch, with the real loss, loader and loop.

An image of the loader is uint8, and `normalize_images` takes nothing else: no pixel can be a NaN, whatever a file holds.
What is float is planted instead. (tests/test_bad_numbers.py has images of floats, for a step of its own.)
"""

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from examples.yolox_nano import EXPERIMENT
from tests.training.test_bad_numbers import Reports, same
from tests.training.test_step import snapshot
from yolox.config import InputSpec, LoaderConfig, OptimConfig, Recipe
from yolox.data.coco import read_coco
from yolox.data.loader import train_batches
from yolox.data.synthetic import SyntheticConfig, write_synthetic
from yolox.errors import TrainingDiverged
from yolox.nn import initialise
from yolox.nn.functional import normalize_images
from yolox.training.loop import fit
from yolox.training.step import create_train_state

STEPS, BAD = 6, 2
WEIGHT = "backbone.dark3.1.conv1.conv.weight"
RECIPE = Recipe(
    epochs=1,
    no_aug_epochs=0,
    input=InputSpec(input_size=(64, 64)),
    loader=LoaderConfig(batch_size=2, max_gt=40, workers=0),
    optim=OptimConfig(lr=0.01, lr_per_image=None, warmup_epochs=0, flat_epochs=0, max_bad_steps=3),
)


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    """The step, its state and its batches; the tests follow each other, as a compilation takes a minute."""
    folder = tmp_path_factory.mktemp("images")
    write_synthetic(folder, images=2 * STEPS, seed=0, config=SyntheticConfig(image_size=(96, 128), sides=(20, 60)))
    dataset = read_coco(str(folder / "instances.json"), str(folder / "images"))
    detector = EXPERIMENT.build_detector(len(dataset.class_names))
    initialise(detector, seed=0)
    state = create_train_state(detector)
    step = EXPERIMENT.make_step(detector, state, RECIPE)
    return step, state, [*train_batches(dataset, recipe=RECIPE, epoch=0, augment=True)]


def train(nano, batches, before_step=lambda index: None):
    """Go through one epoch; give the reports, and what the state was before every step and at the end."""
    (step, state, _), reports, states = nano, Reports(), []

    def watched(*tensors):
        before_step(len(states))
        states.append(snapshot(state))
        return step(*tensors)

    settings = {"recipe": RECIPE, "steps_per_epoch": STEPS, "callbacks": (reports,), "parameters": state.averaged}
    try:
        fit(watched, train_batches=lambda *_: iter(batches), **settings)
    except TrainingDiverged as error:
        return reports, [*states, snapshot(state)], str(error)
    return reports, [*states, snapshot(state)], None


def test_pixels_that_could_be_nan_are_refused():
    with pytest.raises((TypeError, ValueError), match="got Float32 .*want UInt8"):
        normalize_images(ms.Tensor(np.full((1, 32, 32, 3), np.nan, np.float32)), spec=RECIPE.input)


@pytest.mark.slow
def test_a_nan_in_a_box_is_skipped_and_named(nano):
    *_, batches = nano
    boxes = batches[BAD].gt_boxes.copy()
    boxes[0, 0, 0] = np.nan
    bad = [*batches]
    bad[BAD] = bad[BAD]._replace(gt_boxes=boxes)
    reports, states, error = train(nano, bad)
    assert error is None
    assert [r.bad for r in reports.steps] == ["gt_boxes of the batch" if i == BAD else None for i in range(STEPS)]
    assert [same(a, b) for a, b in zip(states, states[1:], strict=False)] == [i == BAD for i in range(STEPS)]


@pytest.mark.slow
def test_a_nan_in_a_weight_of_nano_is_skipped_named_and_stops_the_run(nano):
    _, state, batches = nano

    def plant(index):
        if index == BAD:
            parameter = next(p for p in state.params if p.name == WEIGHT)
            value = parameter.asnumpy().copy()
            value.reshape(-1)[7] = np.nan
            ops.assign(parameter, ms.Tensor(value))

    reports, states, error = train(nano, batches, plant)
    assert f"3 steps in a row were not finite, first in the values of {WEIGHT}" in error
    assert [r.bad for r in reports.steps] == [None] * BAD + [f"the values of {WEIGHT}"] * (len(reports.steps) - BAD)
    assert len(states) == BAD + 3 + 1
    for before, after in zip(states[BAD:], states[BAD + 1 :], strict=False):  # its average takes the planted value
        assert {name for name in before if before[name].tobytes() != after[name].tobytes()} <= {f"ema.{WEIGHT}"}
    assert not same(states[0], states[1])
