"""The eager step beside the compiled one, and the step of a recipe with its hooks."""

import attrs
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

import yolox.training.step as step_module
from tests.nn.scales import build_detector
from tests.training.test_step import OPTIM, SPEC, Toy, batch, scalars, snapshot, toy_loss
from yolox.assign import simota_assign, simota_assign_gathered
from yolox.boxes import elementwise_iou
from yolox.config import InputSpec, Recipe
from yolox.distributed import Group
from yolox.nn import initialise
from yolox.recipes import megvii_recipe, mindyolo_recipe
from yolox.training.step import create_train_state, make_recipe_step, make_train_step

SIZE, STEPS = 64, 5


def nano_batch(seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.uint8)
    low = rng.uniform(0, 32, (2, 3, 2))
    boxes = np.concatenate([low, low + rng.uniform(8, 32, (2, 3, 2))], -1).astype(np.float32)
    classes, valid = rng.integers(0, 3, (2, 3)).astype(np.int32), np.array([[True, True, True], [True, False, False]])
    return tuple(map(Tensor, (images, boxes, classes, valid)))


def train_nano(compiled):
    """Losses of every step, and parameters, statistics, momenta and averages after the last."""
    detector = build_detector("nano", 3)
    initialise(detector, seed=0)
    state = create_train_state(detector)
    recipe = attrs.evolve(megvii_recipe("nano"), input=InputSpec(input_size=(SIZE, SIZE)))
    step, losses = make_recipe_step(detector, state, recipe, compiled=compiled), []
    for number in range(STEPS):
        named, num_pos, finite, _ = step(*nano_batch(number), *scalars(0.001, 0.5, float(number > 2)))
        assert finite.item() and list(named) == ["total", "iou", "obj", "cls", "l1"]
        losses.append([*(value.item() for value in named.values()), num_pos.item()])
    return np.array(losses), snapshot(state)


@pytest.mark.slow
def test_eager_and_compiled_nano_agree_over_five_steps():
    (compiled, after), (eager, after_eager) = train_nano(True), train_nano(False)
    np.testing.assert_allclose(eager, compiled, rtol=1e-5)
    assert (compiled[:, 5] > 0).all() and after.keys() == after_eager.keys()
    for name, value in after.items():
        np.testing.assert_allclose(after_eager[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def train_toy(compiled):
    ms.set_seed(1)
    cell = Toy()
    state = create_train_state(cell)
    step = make_train_step(cell, toy_loss, state, optim=OPTIM, spec=SPEC, compiled=compiled)
    losses = [step(*batch(n), *scalars(0.1, 0.5, float(n > 2)))[0]["total"].item() for n in range(STEPS)]
    return losses, snapshot(state)


def test_eager_and_compiled_steps_agree():
    (compiled, after), (eager, after_eager) = train_toy(True), train_toy(False)
    np.testing.assert_allclose(eager, compiled, rtol=1e-5)
    for name, value in after.items():
        np.testing.assert_allclose(after_eager[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert len(set(compiled)) == STEPS and after.keys() == after_eager.keys()


def test_an_eager_step_that_is_not_finite_changes_no_bit():
    ms.set_seed(1)
    cell = Toy()
    state = create_train_state(cell)
    step = make_train_step(cell, toy_loss, state, optim=OPTIM, spec=SPEC, compiled=False)
    step(*batch(), *scalars(0.1, 0.5, 0.0))
    before = snapshot(state)
    _, _, finite, _ = step(*batch(1, box=np.nan), *scalars(0.1, 0.5, 0.0))
    assert not finite.item()
    for name, value in snapshot(state).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


@pytest.mark.parametrize("name", ["megvii", "mindyolo"])
def test_the_step_is_made_of_the_recipe_and_its_reducers(monkeypatch, name):
    recipe, group, made, called = {"megvii": megvii_recipe, "mindyolo": mindyolo_recipe}[name]("s"), Group(1, 2), {}, {}
    recipe = attrs.evolve(recipe, loader=attrs.evolve(recipe.loader, accumulate=3))
    monkeypatch.setattr(step_module, "recipe_reducers", lambda recipe, group: (recipe.optim.gradient_reduction, group))
    monkeypatch.setattr(step_module, "make_train_step", lambda _, loss, __, **knobs: made.update(knobs, loss_fn=loss))
    monkeypatch.setattr(step_module, "detection_loss", lambda *parts, **knobs: called.update(knobs, parts=parts))
    make_recipe_step(None, None, recipe, group=group, box_loss=giou_box_loss)
    made.pop("loss_fn")(*"abcde")
    options = {"reduce_gradients": recipe.optim.gradient_reduction, "reduce_num_pos": group, "accumulate": 3, "compiled": True}
    assert made == {"optim": recipe.optim, "spec": recipe.input, **options}
    configs = {"assign": recipe.assign, "loss": recipe.loss, "reduce_num_pos": group, "assign_fn": simota_assign_gathered}
    assert called == {"parts": tuple("abcde"), "box_loss": giou_box_loss, **configs}


def test_the_form_of_simota_follows_the_device_and_can_be_given(monkeypatch):
    called = []
    monkeypatch.setattr(step_module, "recipe_reducers", lambda recipe, group: (None, None))
    monkeypatch.setattr(step_module, "make_train_step", lambda _, loss, __, **knobs: loss(*"abcde"))
    monkeypatch.setattr(step_module, "detection_loss", lambda *parts, **knobs: called.append(knobs["assign_fn"]))
    monkeypatch.setattr(step_module.ms, "get_context", {"device_target": "Ascend"}.__getitem__)
    make_recipe_step(None, None, Recipe())
    make_recipe_step(None, None, Recipe(), assign_fn=simota_assign_gathered)
    monkeypatch.setattr(step_module.ms, "get_context", {"device_target": "CPU"}.__getitem__)
    make_recipe_step(None, None, Recipe())
    assert called == [simota_assign, simota_assign_gathered, simota_assign_gathered]


def test_a_loss_of_ones_own_takes_no_hooks():
    with pytest.raises(ValueError, match=r"got loss_fn and \['box_loss'\], want one of the two"):
        make_recipe_step(None, None, Recipe(), loss_fn=toy_loss, box_loss=giou_box_loss)


def giou_box_loss(boxes, gt_boxes):  # xyxy [N,4],[N,4] -> [N]
    """1 - GIoU, written for this test."""
    low, high = ops.minimum(boxes[:, :2], gt_boxes[:, :2]), ops.maximum(boxes[:, 2:], gt_boxes[:, 2:])
    hull = (high - low)[:, 0] * (high - low)[:, 1]
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (boxes, gt_boxes)]
    iou = elementwise_iou(boxes, gt_boxes)
    union = (areas[0] + areas[1]) / (1.0 + iou)
    return 1.0 - iou + (hull - union) / ops.clamp(hull, min=1e-8)


def another_loss(maps, gt_boxes, gt_classes, valid, l1_weight):
    """A loss with names of its own."""
    return maps.mean() ** 2, {"square": maps.mean() ** 2}, valid.astype(ms.float32).sum()


@pytest.mark.parametrize("compiled", [True, False])
def test_names_of_losses_are_free(compiled):
    ms.set_seed(1)
    cell = Toy()
    step = make_train_step(cell, another_loss, create_train_state(cell), optim=OPTIM, spec=SPEC, compiled=compiled)
    losses, *_ = step(*batch(), *scalars(0.1, 0.5, 0.0))
    assert list(losses) == ["total", "square"]
