from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from tests.nn.cells import jitted
from tests.nn.scales import build_detector, fill_by_rule
from yolox.nn import fold_batch_norm, fold_detector
from yolox.nn.fold import merge_focus_layers


@pytest.fixture(scope="module")
def nano():
    detector = build_detector("nano", 3).set_train(False)
    fill_by_rule(detector, seed=0)
    return detector


def arrays(detector):
    return {name: value.asnumpy() for name, value in detector.parameters_dict().items()}


def test_folded_detector_gives_the_same_maps(nano):
    images = ms.Tensor(np.random.default_rng(0).integers(0, 256, (1, 3, 32, 64)).astype(np.float32))
    want, got = nano(images), jitted(fold_detector(nano))(images)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=0, atol=1e-4)


def test_folded_detector_has_the_folded_tensors_and_leaves_the_first(nano):
    before = arrays(nano)
    folded = arrays(fold_detector(nano))
    want = fold_batch_norm(before)
    assert folded.keys() == want.keys()
    assert not any(".bn." in name for name in folded)
    for name, value in want.items():
        np.testing.assert_array_equal(folded[name], value)
    after = arrays(nano)
    assert after.keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)


def test_merged_focus_gives_the_same_maps(nano):
    images = ms.Tensor(np.random.default_rng(0).integers(0, 256, (1, 3, 32, 64)).astype(np.float32))
    merged = merge_focus_layers(fold_detector(nano))
    assert merged.parameters_dict()["backbone.stem.conv.weight"].shape == (16, 3, 6, 6)
    for a, b in zip(merged(images), nano(images), strict=True):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=0, atol=1e-4)


def test_folding_twice_is_folding_once(nano):
    once = fold_batch_norm(arrays(nano))
    twice = fold_batch_norm(once)
    assert once.keys() == twice.keys() and all(once[name] is twice[name] for name in once)


def test_missing_partner_is_named():
    tensors = {"x.conv.weight": np.ones((1, 1, 1, 1)), "x.bn.gamma": np.ones(1), "x.bn.beta": np.ones(1)}
    with pytest.raises(
        ValueError, match="missing x.bn.moving_mean, x.bn.moving_variance, want all five tensors of x"
    ):
        fold_batch_norm(tensors)


def test_random_layer_by_hand():
    weight = np.array([[[[2.0]]], [[[-1.0]]]], np.float32)
    tensors = {"x.conv.weight": weight, "x.bn.gamma": np.array([3.0, 1.0]), "x.bn.beta": np.array([0.5, 0.0])}
    tensors |= {"x.bn.moving_mean": np.array([1.0, 2.0]), "x.bn.moving_variance": np.array([4.0, 1.0])}
    folded = fold_batch_norm(tensors, eps=0.0)
    assert folded["x.conv.weight"].ravel().tolist() == [3.0, -1.0]
    assert folded["x.conv.bias"].tolist() == [-1.0, -2.0]
