"""The training step against a numpy restatement, on a network small enough to follow by hand."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops
from mindspore.ops import constexpr

from yolox.config import InputSpec, LoaderConfig, OptimConfig, Recipe
from yolox.native import average_operator, native_status, sgd_operator, sums_operator
from yolox.schedule import is_no_aug
from yolox.training.loop import fit
from yolox.training.step import create_train_state, make_train_step

SPEC = InputSpec(pixel_scale=1 / 255)
OPTIM = OptimConfig(momentum=0.8, weight_decay=0.1)


class Toy(nn.Cell):
    """One convolution with a bias and BN; enough to have every kind of parameter."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, has_bias=True, weight_init="ones", bias_init="zeros")
        self.bn = nn.BatchNorm2d(2)

    def construct(self, x):
        return self.bn(self.conv(x))


def toy_loss(maps, gt_boxes, gt_classes, valid, l1_weight):
    """A loss with a part that the L1 weight switches; `gt_boxes` can carry a NaN into it."""
    quadratic = ((maps * gt_boxes.sum() - 1.0) ** 2).mean()
    l1 = ops.abs(maps).mean()
    zero = maps.sum() * 0.0
    losses = {"iou": quadratic, "obj": zero, "cls": zero, "l1": l1}
    return quadratic + l1_weight * l1, losses, valid.astype(ms.float32).sum()


def batch(seed=0, box=1.0):
    rng = np.random.default_rng(seed)
    images = ms.Tensor(rng.integers(0, 256, (2, 4, 4, 3)).astype(np.uint8))
    boxes = ms.Tensor(np.full((2, 1, 4), box / 8, np.float32))
    return images, boxes, ms.Tensor(np.zeros((2, 1), np.int32)), ms.Tensor(np.ones((2, 1), bool))


def scalars(*values):
    return tuple(ms.Tensor(v, ms.float32) for v in values)


def snapshot(state):
    values = {p.name: p.asnumpy().copy() for p in state.params + state.buffers + state.optimizer_state}
    averages = {f"ema.{p.name}": array for p, array in zip(state.averaged, state.ema.arrays(), strict=True)}
    return {**values, **averages}


@pytest.fixture(params=["native", "mindspore"])
def toy(request, monkeypatch):
    """With the native kernels that update all parameters at once, and with the operators of MindSpore in their place."""
    if request.param == "mindspore":
        for name in ("optim.sums_operator", "optim.sgd_operator", "step.average_operator"):
            monkeypatch.setattr(f"yolox.training.{name}", lambda count: None)
    elif not native_status().active:
        pytest.skip(native_status().reason)
    else:
        assert all(operator(1) is not None for operator in (sums_operator, sgd_operator, average_operator))
    ms.set_seed(1)
    cell = Toy()
    state = create_train_state(cell)
    return cell, state, make_train_step(cell, toy_loss, state, optim=OPTIM, spec=SPEC)


def gradients_of(cell, images, boxes, l1_weight):
    """Gradients by MindSpore in eager mode, on a pristine copy of the cell."""
    twin = Toy()
    ms.load_param_into_net(twin, {p.name: ms.Parameter(p.asnumpy().copy()) for p in cell.get_parameters()})
    twin.set_train(True)
    planes = ms.Tensor(images.asnumpy().astype(np.float32).transpose(0, 3, 1, 2) / 255)

    def forward(x):
        return toy_loss(twin(x), boxes, None, ms.Tensor([True]), l1_weight)[0]

    grads = ms.grad(forward, None, weights=twin.trainable_params())(planes)
    return [g.asnumpy() for g in grads], [b.asnumpy() for b in (twin.bn.moving_mean, twin.bn.moving_variance)]


def test_three_steps_equal_nesterov_sgd_and_average_by_hand(toy):
    cell, state, step = toy
    params = [p.asnumpy().copy() for p in state.params]
    momenta = [np.zeros_like(p) for p in params]
    averages = [p.asnumpy().copy() for p in state.averaged]
    for index, (lr, decay, l1_weight) in enumerate([(0.1, 0.5, 0.0), (0.2, 0.7, 0.0), (0.05, 0.9, 1.0)]):
        images, boxes, classes, valid = batch(index)
        grads, buffers = gradients_of(cell, images, boxes, l1_weight)
        step(images, boxes, classes, valid, *scalars(lr, decay, l1_weight))
        for i, grad in enumerate(grads):
            full = grad + (0.1 * params[i] if params[i].ndim == 4 else 0)
            momenta[i] = 0.8 * momenta[i] + full
            params[i] = params[i] - lr * (full + 0.8 * momenta[i])
        averages = [decay * a + (1 - decay) * v for a, v in zip(averages, params + buffers, strict=True)]
        for parameter, want in zip(state.params + state.buffers, params + buffers, strict=True):
            np.testing.assert_allclose(parameter.asnumpy(), want, rtol=1e-5, atol=1e-6, err_msg=parameter.name)
    for parameter, average, want in zip(state.averaged, state.ema.arrays(), averages, strict=True):
        np.testing.assert_allclose(average, want, rtol=1e-5, atol=1e-6, err_msg=parameter.name)
    for backup, want in zip(state.safe_buffers.arrays(), buffers, strict=True):
        np.testing.assert_allclose(backup, want, rtol=1e-5, atol=1e-6)


def test_clipping_and_adamw_are_those_of_the_config(toy):
    """A step with AdamW after clipping, against the two by hand."""
    cell, *_ = toy
    optim = OptimConfig(optimizer="adamw", weight_decay=0.1, clip_norm=0.01, eps=1e-3)
    state = create_train_state(cell, optimizer="adamw")
    images, boxes, classes, valid = batch()
    grads, _ = gradients_of(cell, images, boxes, 0.0)
    before = [p.asnumpy().copy() for p in state.params]
    step = make_train_step(cell, toy_loss, state, optim=optim, spec=SPEC)
    step(images, boxes, classes, valid, *scalars(0.1, 0.5, 0.0))
    norm = np.sqrt(sum((grad.astype(float) ** 2).sum() for grad in grads))
    assert norm > 0.01 and state.updates.asnumpy() == 1
    for parameter, old, grad in zip(state.params, before, grads, strict=True):
        clipped = grad * 0.01 / norm
        moved = clipped / (np.abs(clipped) + 1e-3)  # the first update of Adam
        want = old - 0.1 * (0.1 * old * (old.ndim == 4) + moved)
        np.testing.assert_allclose(parameter.asnumpy(), want, rtol=1e-4, atol=1e-5, err_msg=parameter.name)


def test_a_norm_that_overflows_is_not_applied(toy):
    cell, state, _ = toy
    step = make_train_step(cell, huge_loss, state, optim=OptimConfig(clip_norm=1.0), spec=SPEC)
    before = snapshot(state)
    *_, finite, sums = step(*batch(), *scalars(0.1, 0.5, 0.0))
    assert np.isfinite(sums.asnumpy()).all() and not bool(finite.asnumpy())
    for name, value in snapshot(state).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def huge_loss(maps, gt_boxes, gt_classes, valid, l1_weight):
    """Gradients of about 1e25, whose squares overflow."""
    total, losses, num_pos = toy_loss(maps, gt_boxes, gt_classes, valid, l1_weight)
    return total * 1e25, losses, num_pos


def test_the_state_of_another_optimizer_is_refused(toy):
    cell, state, _ = toy
    message = "has the slots momentum, want exp_avg, exp_avg_sq; create_train_state takes optimizer='adamw'"
    with pytest.raises(ValueError, match=message):
        make_train_step(cell, toy_loss, state, optim=OptimConfig(optimizer="adamw"), spec=SPEC)


def test_weights_do_move_and_bias_has_no_decay(toy):
    _, state, step = toy
    before = snapshot(state)
    step(*batch(), *scalars(0.1, 0.5, 0.0))
    after = snapshot(state)
    assert all(np.any(before[name] != after[name]) for name in before if "conv.bias" not in name)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_is_not_finite_changes_no_bit(toy, bad):
    _, state, step = toy
    step(*batch(), *scalars(0.1, 0.5, 0.0))
    before = snapshot(state)
    *_, finite, sums = step(*batch(1, box=bad), *scalars(0.1, 0.5, 0.0))
    assert not bool(finite.asnumpy())
    assert not np.isfinite(sums.asnumpy()).all()
    for name, value in snapshot(state).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    _, _, finite, _ = step(*batch(2), *scalars(0.1, 0.5, 0.0))
    assert bool(finite.asnumpy())


def test_outputs_are_the_losses_and_a_sum_for_each_parameter(toy):
    _, state, step = toy
    losses, num_pos, finite, sums = step(*batch(), *scalars(0.0, 0.5, 0.5))
    assert list(losses) == ["total", "iou", "obj", "cls", "l1"]
    total, quadratic, _, _, l1 = losses.values()
    assert float(total.asnumpy()) == pytest.approx(float((quadratic + 0.5 * l1).asnumpy()), rel=1e-6)
    assert float(num_pos.asnumpy()) == 2 and bool(finite.asnumpy()) and sums.shape == (len(state.params),)


def test_rate_zero_moves_no_weight_and_gradient_reduction_is_applied():
    ms.set_seed(1)
    cell = Toy()
    state = create_train_state(cell)

    def doubled(gradients):
        result = ()
        for gradient in gradients:
            result = result + (gradient * 2.0,)
        return result

    grads, _ = gradients_of(cell, *batch()[:2], 0.0)
    step = make_train_step(cell, toy_loss, state, optim=OPTIM, spec=SPEC, reduce_gradients=doubled)
    before = snapshot(state)
    *_, sums = step(*batch(), *scalars(0.0, 1.0, 0.0))
    np.testing.assert_allclose(sums.asnumpy(), [2 * g.sum() for g in grads], rtol=1e-4, atol=1e-5)
    after = snapshot(state)
    for parameter in state.params:
        np.testing.assert_array_equal(after[parameter.name], before[parameter.name])


def test_a_frozen_parameter_stays_and_is_part_of_the_state():
    ms.set_seed(1)
    cell = Toy()
    cell.conv.bias.requires_grad = False
    state = create_train_state(cell)
    assert cell.conv.bias.name in [p.name for p in state.averaged] and len(state.ema.shapes) == len(state.averaged)
    before = snapshot(state)
    *_, sums = make_train_step(cell, toy_loss, state, optim=OPTIM, spec=SPEC)(*batch(), *scalars(0.1, 0.5, 0.0))
    after = snapshot(state)
    assert sums.shape == (len(state.params),)
    np.testing.assert_array_equal(after["conv.bias"], before["conv.bias"])
    np.testing.assert_array_equal(after["ema.conv.bias"], before["ema.conv.bias"])
    assert np.any(after["conv.weight"] != before["conv.weight"])


def losses_by_positives(maps, gt_boxes, gt_classes, valid, l1_weight):
    """A sum over images divided by the positives, as that of a detector is."""
    positives = valid.astype(ms.float32).sum()
    total = ((maps * gt_boxes.sum(2).reshape(-1, 1, 1, 1) - 1.0) ** 2).sum() / ops.maximum(positives, 1.0)
    return total, {"square": total}, positives


@pytest.mark.parametrize("compiled", [True, False])
def test_parts_add_up_to_the_whole_batch(compiled):
    """Six images in three parts: with 2, 0 and 1 positives, and with none at all."""
    rng, results = np.random.default_rng(0), {}
    for accumulate in (1, 3):
        rng, seen = np.random.default_rng(0), []
        cell = nn.Conv2d(3, 2, 1, has_bias=True, weight_init="ones", bias_init="zeros")
        state = create_train_state(cell)
        options = {"optim": OPTIM, "spec": SPEC, "accumulate": accumulate, "compiled": compiled}
        step = make_train_step(cell, losses_by_positives, state, **options)
        for valid in ([1, 1, 0, 0, 0, 1], [0] * 6, [1] * 6):
            images = ms.Tensor(rng.integers(0, 256, (6, 4, 4, 3)).astype(np.uint8))
            boxes, classes = ms.Tensor(rng.random((6, 1, 4)).astype(np.float32)), ms.Tensor(np.zeros((6, 1), np.int32))
            losses, num_pos, finite, sums = step(
                images, boxes, classes, ms.Tensor(np.array(valid, bool)[:, None]), *scalars(0.001, 0.5, 0.0)
            )
            assert num_pos.item() == sum(valid) and bool(finite.asnumpy()) and list(losses) == ["total", "square"]
            seen.append([*(value.item() for value in losses.values()), *sums.asnumpy()])
        results[accumulate] = seen, snapshot(state)
    np.testing.assert_allclose(results[3][0], results[1][0], rtol=2e-6, atol=1e-3)  # sums of hundreds that cancel
    for name, value in results[1][1].items():
        np.testing.assert_allclose(results[3][1][name], value, rtol=1e-6, atol=1e-7, err_msg=name)


def test_a_bad_part_spoils_its_step_only(toy):
    cell, state, _ = toy
    step = make_train_step(cell, toy_loss, state, optim=OPTIM, spec=SPEC, accumulate=2)
    before = snapshot(state)
    bad, good = batch(0, box=np.nan), batch(1)
    both = [ms.Tensor(np.concatenate([a.asnumpy(), b.asnumpy()])) for a, b in zip(bad, good, strict=True)]
    *_, finite, _ = step(*both, *scalars(0.1, 0.5, 0.0))
    assert not bool(finite.asnumpy())
    for name, value in snapshot(state).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    both = [ms.Tensor(np.concatenate([part.asnumpy()] * 2)) for part in good]
    *_, finite, _ = step(*both, *scalars(0.1, 0.5, 0.0))
    assert bool(finite.asnumpy()) and any((value != before[name]).any() for name, value in snapshot(state).items())
    with pytest.raises(ValueError, match="got 3 images, want a multiple of accumulate, 2"):
        step(*(ms.Tensor(part.asnumpy()[:3]) for part in both), *scalars(0.1, 0.5, 0.0))


def test_a_cell_without_statistics_is_trained():
    ms.set_seed(1)
    cell = nn.Conv2d(3, 2, 1, has_bias=True, weight_init="ones", bias_init="zeros")
    state = create_train_state(cell)
    step = make_train_step(cell, toy_loss, state, optim=OPTIM, spec=SPEC)
    before = snapshot(state)
    step(*batch(), *scalars(0.1, 0.5, 0.0))
    after = snapshot(state)
    assert state.buffers == () and all(np.any(before[name] != after[name]) for name in before)
    for p in state.params:
        want = 0.5 * before[f"ema.{p.name}"] + 0.5 * after[p.name]
        np.testing.assert_allclose(after[f"ema.{p.name}"], want, rtol=1e-6)


def test_a_cell_without_parameters_is_refused():
    with pytest.raises(ValueError, match="no trainable parameter"):
        create_train_state(nn.ReLU())


traces = []


@constexpr
def note_trace(shape):  # runs while a graph is compiled, never when it runs
    traces.append(shape)
    return 1.0


def noted_loss(maps, gt_boxes, gt_classes, valid, l1_weight):
    """The toy loss, its L1 part weighed as it is in the total."""
    total, losses, num_pos = toy_loss(maps, gt_boxes, gt_classes, valid, l1_weight)
    losses["l1"] = losses["l1"] * l1_weight
    return total * note_trace(maps.shape), losses, num_pos


class Reports:
    """A callback that keeps rate and L1 loss of every step."""

    def __init__(self):
        self.rates, self.l1, self.epochs = [], [], []
        self.on_epoch = self.epochs.append

    def on_step(self, report):
        self.rates.append(report.lr)
        self.l1.append(report.losses["l1"])


def test_a_run_compiles_its_step_once():
    """Rates, averages and the switch to L1 in the last epochs change numbers, not the graph."""
    ms.set_seed(1)
    cell, reports = Toy(), Reports()
    state = create_train_state(cell)
    optim = OptimConfig(lr=0.01, lr_per_image=None, warmup_epochs=1, flat_epochs=1, ema_ramp=3.0)
    recipe = Recipe(epochs=4, no_aug_epochs=2, loader=LoaderConfig(batch_size=2), optim=optim)
    step = make_train_step(cell, noted_loss, state, optim=optim, spec=SPEC)

    def batches(epoch, augment, first):
        return ([part.asnumpy() for part in batch(index)] for index in range(first, 2))

    traces.clear()
    step(*batch(), *scalars(0.0, 1.0, 0.0, 1.0))
    once = len(traces)
    fit(step, recipe=recipe, steps_per_epoch=2, train_batches=batches, callbacks=(reports,))
    assert once > 0 and len(traces) == once
    assert [bool(l1) for l1 in reports.l1] == [is_no_aug(recipe, i // 2) for i in range(8)] == [False] * 4 + [True] * 4
    assert len(set(reports.rates)) > 4
    step(*batch(), *scalars(0.0, 1.0), 0.5)  # what is compared with: a Python number is a graph of its own
    assert len(traces) == 2 * once
