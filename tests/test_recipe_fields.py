"""Every field of a recipe does what it says: the fields that have no test beside the function that reads them."""

from __future__ import annotations

import ast
from pathlib import Path

import attrs
import numpy as np
import pytest
from mindspore import Tensor

from tests.test_recipes import fields
from tests.training.test_loop import RECIPE, STEPS, Recorder, run
from yolox import distributed
from yolox.assign.cost import simota_cost
from yolox.assign.geometry import geometry_prior
from yolox.assign.simota import simota_assign, simota_assign_gathered
from yolox.config import AssignConfig, LossConfig, OptimConfig, Recipe
from yolox.decode import make_points
from yolox.distributed import Group, recipe_reducers
from yolox.schedule import rate_at

LIBRARY = Path(__file__).resolve().parents[1] / "yolox"
HOLDERS = {"config.py", "recipes.py", "config_io.py", "recipe_changes.py"}  # where fields get their values


def test_every_field_is_read_by_the_library():
    trees = [ast.parse(p.read_text(encoding="utf-8")) for p in LIBRARY.rglob("*.py") if p.name not in HOLDERS]
    read = {n.attr for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)}
    assert {name for name in fields(Recipe()) if name.split(".")[-1] not in read} == set()


@pytest.mark.parametrize(("radius", "count"), [(0.5, 1), (1.5, 9), (2.5, 25)])
def test_center_radius_is_half_a_side_in_strides(radius, count):
    points, strides = (Tensor(a) for a in make_points((64, 64), (8,)))
    box = Tensor([[[28.0, 28.0, 28.0, 28.0]]])  # without size, on a point: the square alone counts
    config = AssignConfig(prior="center", center_radius=radius)
    own, _ = geometry_prior(points, strides, box, Tensor([[True]]), config=config)
    assert int(own.asnumpy().sum()) == count


@pytest.mark.parametrize("top_k", [4, 20])
@pytest.mark.parametrize("assign", [simota_assign, simota_assign_gathered])
def test_top_k_bounds_the_positives_of_a_ground_truth(assign, top_k):
    """All 25 candidates of a ground truth predict its very box: as many are positive as overlaps of 1 are summed."""
    points, strides = make_points((64, 64), (8,))
    count, box = len(points), [12.0, 12.0, 44.0, 44.0]
    boxes = Tensor(np.full((1, count, 4), (28, 28, 32, 32), np.float32))
    logits = np.random.default_rng(0).normal(size=(1, count, 1)).astype(np.float32)  # no two costs are equal
    gt = Tensor([[box]]), Tensor([[0]]), Tensor([[True]])
    config = AssignConfig(prior="center", center_radius=2.5, top_k=top_k)
    matched_gt, _ = assign(boxes, Tensor(logits[..., 0]), Tensor(logits), Tensor(points), Tensor(strides), *gt, config=config)
    assert int((matched_gt.asnumpy() == 0).sum()) == top_k


@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_cost_iou_weight_weighs_the_logarithm_of_the_overlap(weight):
    cost = simota_cost(Tensor([[[1.0]]]), Tensor([[[np.exp(-2.0)]]], dtype=Tensor([1.0]).dtype), Tensor([[[True]]]),
                       config=AssignConfig(cost_iou_weight=weight))  # fmt: skip
    assert float(cost.asnumpy().item()) == pytest.approx(1 + 2 * weight, abs=1e-5)


@pytest.fixture
def two_devices(monkeypatch):
    """A sum over two devices that have the same tensor."""
    monkeypatch.setattr(distributed.ops, "AllReduce", lambda _: lambda tensor: tensor * 2)
    return Group(0, 2)


@pytest.mark.parametrize(("how", "want"), [("mean", 3.0), ("sum", 6.0)])
def test_gradient_reduction_is_a_mean_or_a_sum(two_devices, how, want):
    reduce_gradients, _ = recipe_reducers(Recipe(optim=OptimConfig(gradient_reduction=how)), two_devices)
    (gradient,) = reduce_gradients((Tensor([3.0]),))
    assert gradient.asnumpy().tolist() == [want]


def test_loss_normalizer_takes_the_positives_of_this_device_or_of_all(two_devices):
    assert recipe_reducers(Recipe(loss=LossConfig(loss_normalizer="local")), two_devices)[1] is None
    reduce_num_pos = recipe_reducers(Recipe(loss=LossConfig(loss_normalizer="global")), two_devices)[1]
    assert float(reduce_num_pos(Tensor(5.0)).asnumpy()) == 5.0  # ten on two devices
    assert float(reduce_num_pos(Tensor(0.0)).asnumpy()) == 0.5  # never less than one in all


@pytest.mark.parametrize(("average", "want"), [(True, 4.0), (False, 8.0)])
def test_average_bn_stats_takes_the_mean_or_the_first(two_devices, average, want):
    # the sum of two is 8: halved for the mean, taken whole where the others send zeros
    (shared,) = distributed.share_statistics([np.array([4.0], np.float32)], two_devices, average=average)
    assert shared.tolist() == [want]


def test_rates_of_a_recipe_by_hand():
    optim = OptimConfig(lr=1.0, lr_per_image=None, warmup_epochs=2, warmup_start=0.25, min_lr_ratio=0.1, flat_epochs=2)
    recipe = Recipe(epochs=10, optim=optim)
    rates = [rate_at(recipe, step, 10, 8) for step in (0, 10, 20, 50, 80, 99)]
    assert rates == pytest.approx([0.25, 0.25 + 0.75 / 4, 1.0, 0.55, 0.1, 0.1])


def test_ema_decay_and_ramp_reach_the_step():
    optim = attrs.evolve(RECIPE.optim, ema_decay=0.5, ema_ramp=10.0)
    recorder = Recorder()
    run(recorder, attrs.evolve(RECIPE, optim=optim))
    decays = [decay for _, decay, _ in recorder.calls]
    assert decays == pytest.approx([0.5 * (1 - np.exp(-t / 10)) for t in range(1, RECIPE.epochs * STEPS + 1)], abs=1e-6)
