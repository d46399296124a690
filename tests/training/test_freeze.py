"""Frozen parameters and BN statistics keep their bits; the rest is trained as if they were constants."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from tests.training.test_step import OPTIM, SPEC, batch, scalars, snapshot, toy_loss
from yolox.nn import ConvBNAct, set_precision
from yolox.training.freeze import freeze
from yolox.training.resume import state_tensors
from yolox.training.step import create_train_state, make_train_step


class Two(nn.Cell):
    """A frozen part and a part that learns."""

    def __init__(self):
        super().__init__()
        self.backbone = ConvBNAct(3, 4, 1, 1)
        self.head = ConvBNAct(4, 2, 1, 1)

    def construct(self, x):
        return self.head(self.backbone(x))


def is_backbone(name):
    return name.startswith("backbone.")


@pytest.fixture()
def detector():
    ms.set_seed(1)
    cell = Two()
    cell.backbone.bn.moving_mean.set_data(ms.Tensor([0.1, 0.3, 0.5, 0.7], ms.float32))
    return cell


def test_the_names_of_the_frozen_are_returned_and_the_rest_is_trainable(detector):
    names = freeze(detector, is_backbone)
    assert names == tuple(p.name for p in detector.get_parameters() if is_backbone(p.name)) and len(names) == 5
    assert {p.name for p in detector.trainable_params()} == {"head.conv.weight", "head.bn.gamma", "head.bn.beta"}


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_frozen_parts_keep_every_bit_through_steps(detector, precision):
    freeze(detector, is_backbone)
    set_precision(detector, precision)
    state = create_train_state(detector)
    before = state_tensors(state)
    assert not any(name.startswith("momentum.backbone.") for name in before)
    step = make_train_step(detector, toy_loss, state, optim=OPTIM, spec=SPEC)
    for seed in range(3):
        *_, finite, _ = step(*batch(seed), *scalars(0.1, 0.7, 1.0))
        assert bool(finite.asnumpy())
    for name, value in state_tensors(state).items():
        assert (value.tobytes() == before[name].tobytes()) == (".backbone." in name), name


def test_a_frozen_part_computes_in_training_what_it_computes_in_inference(detector):
    freeze(detector, is_backbone)
    x = ms.Tensor(np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32))
    detector.set_train(True)
    training = detector.backbone(x).asnumpy()
    detector.set_train(False)
    np.testing.assert_array_equal(training, detector.backbone(x).asnumpy())


def test_statistics_that_are_not_selected_still_move(detector):
    freeze(detector, lambda name: name == "backbone.bn.gamma")
    state = create_train_state(detector)
    before = snapshot(state)
    make_train_step(detector, toy_loss, state, optim=OPTIM, spec=SPEC)(*batch(), *scalars(0.1, 0.5, 0.0))
    after = snapshot(state)
    np.testing.assert_array_equal(after["backbone.bn.gamma"], before["backbone.bn.gamma"])
    assert np.any(after["backbone.bn.moving_mean"] != before["backbone.bn.moving_mean"])


@pytest.mark.parametrize(
    ("predicate", "message"),
    [(lambda name: False, "no parameter's name is selected"), (lambda name: "moving" not in name, "nothing is left to train")],
)
def test_nothing_and_everything_are_refused_and_change_nothing(detector, predicate, message):
    with pytest.raises(ValueError, match=f"freeze: .*{message}"):
        freeze(detector, predicate)
    assert len(detector.trainable_params()) == 6
