from __future__ import annotations

import math

import numpy as np
import pytest
from mindspore import nn

from tests.nn.scales import build_detector
from yolox.nn import initialise


def fresh(num_classes=80, **options):
    detector = build_detector("nano", num_classes)
    initialise(detector, **{"seed": 0, **options})
    return {name: value.asnumpy() for name, value in detector.parameters_dict().items()}


@pytest.fixture(scope="module")
def weights():
    return fresh()


def test_same_seed_same_weights(weights):
    for name, value in fresh().items():
        np.testing.assert_array_equal(value, weights[name])


def test_another_seed_changes_every_drawn_tensor(weights):
    other = fresh(seed=1)
    for name, value in weights.items():
        if value.ndim == 4:
            assert not np.array_equal(value, other[name]), name


def test_number_of_classes_changes_only_class_predictions(weights):
    for name, value in fresh(num_classes=3).items():
        if "cls_preds" not in name:
            np.testing.assert_array_equal(value, weights[name])


def test_convolutions_are_uniform_within_one_over_root_fan_in(weights):
    for name, value in weights.items():
        if value.ndim == 4:
            bound = 1 / math.sqrt(math.prod(value.shape[1:]))
            assert np.abs(value).max() <= bound, name
            if value.size > 2000:
                assert abs(value.std() * math.sqrt(3) / bound - 1) < 0.05, name
                assert abs(value.mean()) < 0.05 * bound, name


def test_streams_of_different_tensors_differ(weights):
    a, b = weights["head.cls_convs.0.0.pconv.conv.weight"], weights["head.reg_convs.0.0.pconv.conv.weight"]
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("prior", [0.01, 0.2])
def test_biases_give_the_prior(prior):
    for name, value in fresh(prior=prior).items():
        if name.endswith("bias") and ("cls_preds" in name or "obj_preds" in name):
            np.testing.assert_allclose(1 / (1 + np.exp(-value)), prior, rtol=1e-5)


def test_batch_norm_is_the_identity(weights):
    for name, value in weights.items():
        if ".bn." in name:
            np.testing.assert_array_equal(value, 1.0 if name.endswith(("gamma", "variance")) else 0.0)


@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_impossible_prior(prior):
    with pytest.raises(ValueError, match=r"want a probability in \(0, 1\)"):
        fresh(prior=prior)


def test_layers_of_other_kinds():
    own = nn.SequentialCell(nn.Conv2d(3, 8, 3, has_bias=True), nn.PReLU(8, 0.3), nn.LayerNorm((8,)), nn.Dense(8, 50))
    initialise(own, seed=0)
    values = {name: value.asnumpy() for name, value in own.parameters_dict().items()}
    np.testing.assert_array_equal(values["1.w"], np.full(8, 0.3, np.float32))
    np.testing.assert_array_equal(values["2.gamma"], 1.0)
    for name in ("3.weight", "3.bias"):
        assert 0.8 < np.abs(values[name]).max() * math.sqrt(8) <= 1.0, name
    assert 0.5 < np.abs(values["0.bias"]).max() * math.sqrt(27) <= 1.0
