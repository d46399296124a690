"""Names of Megvii and MindYOLO: one and the same set here, with the shapes of every published scale."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.nn.scales import SCALES, build_detector, yolox_name
from yolox.errors import WeightsError
from yolox.recipe_changes import with_convention
from yolox.recipes import megvii_recipe, mindyolo_recipe
from yolox.weights.load import read_weights
from yolox.weights.megvii import (
    MEGVII_INPUT,
    MINDYOLO_INPUT,
    is_darknet53,
    megvii_name,
    megvii_to_yolox,
    mindyolo_name,
    mindyolo_to_yolox,
)


def _names(golden_dir, system, scale) -> dict[str, tuple[int, ...]]:
    table = json.loads((golden_dir / f"names_{system}.json").read_text())[scale]
    pairs = table.items() if isinstance(table, dict) else table
    return {name: tuple(shape) for name, shape in pairs}


@pytest.mark.parametrize("scale", SCALES)
def test_both_systems_give_the_same_names_and_shapes(golden_dir, scale):
    megvii, mindyolo = (_names(golden_dir, system, scale) for system in ("megvii", "mindyolo"))
    ours = {megvii_name(name): shape for name, shape in megvii.items()}
    assert len(ours) == len(megvii)
    assert mindyolo_to_yolox(mindyolo) == ours
    assert is_darknet53(mindyolo) == (scale == "darknet53")
    assert all(megvii_name(name) == yolox_name(name) for name in megvii)


@pytest.mark.parametrize("scale", SCALES)
def test_layers_come_in_the_same_order(golden_dir, scale):
    """Convolutions of equal shape could be swapped unseen; both systems list them as they are built."""
    orders = []
    for system in ("megvii", "mindyolo"):
        names = _names(golden_dir, system, scale)
        ours = dict(
            zip(
                megvii_to_yolox(names) if system == "megvii" else mindyolo_to_yolox(names), names, strict=True
            )
        )
        orders.append([n for n in ours if n.endswith(".conv.weight") and not n.startswith("head.")])
    if scale == "darknet53":
        assert orders[0] == orders[1]
    else:  # the necks are written down in another order than they run
        assert [n for n in orders[0] if n.startswith("backbone")] == [
            n for n in orders[1] if n.startswith("backbone")
        ]


@pytest.mark.parametrize("scale", ["nano", "tiny", "darknet53"])
def test_the_detectors_have_exactly_these_parameters(golden_dir, scale):
    detector = build_detector(scale)
    want = {megvii_name(name): shape for name, shape in _names(golden_dir, "megvii", scale).items()}
    assert {p.name: tuple(p.shape) for p in detector.get_parameters()} == want


def test_hand_worked_names():
    pairs = {
        "backbone.backbone.stem.conv.conv.weight": "backbone.stem.conv.conv.weight",
        "backbone.backbone.dark3.1.m.2.pconv.bn.running_var": "backbone.dark3.1.m.2.pconv.bn.moving_variance",
        "backbone.lateral_conv0.bn.weight": "neck.lateral_conv0.bn.gamma",
        "backbone.out1.0.bn.bias": "neck.out1.0.bn.beta",
        "head.cls_preds.2.bias": "head.cls_preds.2.bias",
    }
    assert {name: megvii_name(name) for name in pairs} == pairs
    assert megvii_name("head.stems.0.bn.num_batches_tracked") is None
    assert (
        mindyolo_name("model.model.21.dconv.conv.weight", darknet53=False)
        == "neck.bu_conv1.dconv.conv.weight"
    )
    assert (
        mindyolo_name("model.model.9.m.0.conv1.bn.gamma", darknet53=False)
        == "backbone.dark5.2.m.0.conv1.bn.gamma"
    )
    assert mindyolo_name("model.model.2.conv1.bn.beta", darknet53=True) == "backbone.stem.2.layer1.bn.beta"
    assert mindyolo_name("model.model.13.conv1.bn.beta", darknet53=True) == "backbone.dark5.7.conv1.bn.beta"
    assert mindyolo_name("model.model.31.conv.weight", darknet53=True) == "neck.out2.4.conv.weight"


@pytest.mark.parametrize("name", ["", "model.weight", "backbone", "neck.x.weight", "\u0663"])
def test_foreign_names_are_refused(name):
    with pytest.raises(WeightsError, match="no parameter of Megvii's"):
        megvii_name(name)
    with pytest.raises(WeightsError, match="no parameter of MindYOLO's"):
        mindyolo_name(name, darknet53=False)


@pytest.mark.parametrize(
    "rest", ["11.conv.weight", "99.x", "24", "x.y", "-1.x", "\u0663.x", "1" * 5000 + ".x"]
)
def test_foreign_layer_numbers_are_refused(rest):
    with pytest.raises(WeightsError, match="no parameter of MindYOLO's"):
        mindyolo_name(f"model.model.{rest}", darknet53=False)
    with pytest.raises(WeightsError, match="no parameter of MindYOLO's"):
        mindyolo_name("model.model.4.x.conv1.bn.gamma", darknet53=True)


def test_folded_convolutions_become_convolution_and_bn():
    bias = np.array([0.5, -2.0], np.float32)
    weight = np.ones((2, 1, 1, 1), np.float32)  # above the norm of fresh filters
    state = {"backbone.backbone.stem.conv.conv.weight": weight, "backbone.backbone.stem.conv.conv.bias": bias}
    found = megvii_to_yolox(state | {"head.obj_preds.0.bias": bias})
    bn = "backbone.stem.conv.bn."
    assert set(found) == {
        "backbone.stem.conv.conv.weight", "head.obj_preds.0.bias",
        f"{bn}gamma", f"{bn}beta", f"{bn}moving_mean", f"{bn}moving_variance",
    }  # fmt: skip
    x = np.array([3.0, 4.0], np.float32)
    assert (found["backbone.stem.conv.conv.weight"] == weight).all()
    scale = found[f"{bn}gamma"] / np.sqrt(found[f"{bn}moving_variance"] + np.float32(1e-3))
    np.testing.assert_allclose(
        (x - found[f"{bn}moving_mean"]) * scale + found[f"{bn}beta"], x + bias, rtol=1e-6
    )


@pytest.mark.parametrize(("inputs", "norm"), [(12, 2.6), (3, 2.6), (16, 3**-0.5)], ids=["focus", "pixels", "others"])
def test_small_filters_of_folded_convolutions_are_opened_at_a_norm_that_trains(inputs, norm):
    """The same function to 1e-5; filters that are large enough, and filters of zeros, keep their numbers."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(6, inputs, 3, 3)).astype(np.float32)
    lengths = np.linalg.norm(weight.reshape(6, -1), axis=1)
    weight *= (np.array([1e-5, 1e-2, 0.9 * norm, norm * 1.01, 30.0, 0.0]) / lengths).astype(np.float32)[:, None, None, None]
    bias, layer = rng.normal(size=6).astype(np.float32), "backbone.dark2.0."
    state = {f"backbone.backbone.dark2.0.conv.{name}": part for name, part in (("weight", weight), ("bias", bias))}
    for items in (state.items(), reversed(state.items())):  # the bias may come first
        found = megvii_to_yolox(dict(items))
        opened = found[f"{layer}conv.weight"]
        np.testing.assert_allclose(np.linalg.norm(opened.reshape(6, -1), axis=1)[:3], norm, rtol=1e-5)
        np.testing.assert_array_equal(opened[3:], weight[3:])
        x = rng.normal(size=(40, inputs * 9)).astype(np.float32) * 255
        want = x @ weight.reshape(6, -1).T + bias
        scale = found[f"{layer}bn.gamma"] / np.sqrt(found[f"{layer}bn.moving_variance"] + np.float32(1e-3))
        got = (x @ opened.reshape(6, -1).T - found[f"{layer}bn.moving_mean"]) * scale + found[f"{layer}bn.beta"]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())
        assert opened.dtype == found[f"{layer}bn.moving_variance"].dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_half_numbers_and_vanishing_filters_are_opened_to_finite_numbers(dtype):
    weight = np.full((3, 12, 3, 3), 1e-4, np.float32)
    weight[1], weight[2] = 1e-7, 1e-22
    state = {"backbone.backbone.stem.conv.conv.weight": weight.astype(dtype)}
    found = megvii_to_yolox(state | {"backbone.backbone.stem.conv.conv.bias": np.ones(3, dtype)})
    assert all(np.isfinite(value).all() for value in found.values())
    assert found["backbone.stem.conv.bn.moving_variance"][2] == np.float32(0.999)


def test_a_bias_without_a_convolution_that_fits_is_left_for_loading_to_name():
    found = megvii_to_yolox({"backbone.backbone.dark2.0.conv.bias": np.zeros(2, np.float32)})
    assert "backbone.dark2.0.conv.weight" not in found
    np.testing.assert_array_equal(found["backbone.dark2.0.bn.moving_variance"], np.float32(0.999))


def test_weights_whose_statistics_are_made_up_are_named(tmp_path):
    name, value = "backbone.backbone.stem.conv.conv.weight", np.ones((2, 1, 1, 1), np.float32)
    for rest, folded in (({"backbone.backbone.stem.conv.conv.bias": np.zeros(2, np.float32)}, True), ({}, False)):
        np.savez(tmp_path / "w.npz", **{name: value}, **rest)
        about = read_weights(tmp_path / "w.npz")[1]
        assert about.folded == folded and ("its statistics are made up" in about.summary()) == folded


def test_input_conventions_are_those_of_the_recipes():
    for scale in SCALES:
        for recipe, spec in ((megvii_recipe, MEGVII_INPUT), (mindyolo_recipe, MINDYOLO_INPUT)):
            assert with_convention(recipe(scale).input, spec) == recipe(scale).input
    assert with_convention(MEGVII_INPUT, None) is MEGVII_INPUT
