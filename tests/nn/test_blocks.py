from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from tests.nn.cells import both_modes, gradients, jitted, numbers, randomise
from tests.oracles import layers as oracle
from yolox.nn import Bottleneck, ConvBNAct, CSPLayer, DepthwiseConv, Focus, ResLayer, SPPBottleneck, make_conv

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def conv_bn_act(values, prefix, x, *, stride=1, act="silu", batch_stats=False):
    """Compute a ConvBNAct from its parameters."""
    conv, bn = f"{prefix}conv.", f"{prefix}bn."
    kernel = values[conv + "weight"]
    y = oracle.conv2d(x, kernel, stride=stride, groups=x.shape[1] // kernel.shape[1])
    statistics = () if batch_stats else (values[bn + "moving_mean"], values[bn + "moving_variance"])
    y = oracle.batch_norm(y, values[bn + "gamma"], values[bn + "beta"], *statistics)
    return oracle.activation(y, act)


def depthwise(values, prefix, x, stride=1):
    return conv_bn_act(values, f"{prefix}pconv.", conv_bn_act(values, f"{prefix}dconv.", x, stride=stride))


@pytest.mark.parametrize("batch_stats", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "groups", "act", "size"),
    [
        (1, 1, 1, "silu", (5, 7)),
        (3, 2, 1, "lrelu", (8, 6)),
        (3, 2, 1, "silu", (7, 9)),
        (3, 1, 4, "relu", (5, 7)),
    ],
)
def test_conv_bn_act_equals_oracle(kernel, stride, groups, act, size, batch_stats):
    cell = ConvBNAct(4, 8, kernel, stride, groups=groups, act=act)
    values = randomise(cell)
    x = numbers((2, 4, *size))
    want = conv_bn_act(values, "", x, stride=stride, act=act, batch_stats=batch_stats)
    cell.set_train(batch_stats)
    np.testing.assert_allclose(both_modes(cell, x), want, **CLOSE)


def test_running_statistics_move_by_three_percent():
    cell = ConvBNAct(3, 4, 3, 1)
    before, x = randomise(cell), numbers((2, 3, 6, 6))
    y = oracle.conv2d(x, before["conv.weight"])
    jitted(cell.set_train(True))(ms.Tensor(x))
    after = {name: value.asnumpy() for name, value in cell.parameters_dict().items()}
    want = 0.97 * before["bn.moving_mean"] + 0.03 * y.mean((0, 2, 3))
    np.testing.assert_allclose(after["bn.moving_mean"], want, rtol=1e-4, atol=1e-6)
    count = y.size // y.shape[1]
    unbiased = y.var((0, 2, 3)) * count / (count - 1)
    want = 0.97 * before["bn.moving_variance"] + 0.03 * unbiased
    np.testing.assert_allclose(after["bn.moving_variance"], want, rtol=1e-4)


def test_inference_changes_no_statistics():
    cell = ConvBNAct(3, 4, 3, 1)
    before = randomise(cell)
    jitted(cell.set_train(False))(ms.Tensor(numbers((2, 3, 6, 6))))
    for name, parameter in cell.parameters_dict().items():
        np.testing.assert_array_equal(parameter.asnumpy(), before[name])


def test_conv_bn_act_literal():
    cell = ConvBNAct(1, 1, 3, 1, act="relu")
    for name, value in {"conv.weight": 1, "bn.gamma": 2, "bn.beta": 1, "bn.moving_mean": 4}.items():
        parameter = cell.parameters_dict()[name]
        parameter.set_data(ms.Tensor(np.full(parameter.shape, value, np.float32)))
    cell.bn.moving_variance.set_data(ms.Tensor([1.0 - 1e-3]))
    got = cell.set_train(False)(ms.ops.ones((1, 1, 3, 3))).asnumpy()[0, 0]
    np.testing.assert_allclose(got, [[1, 5, 1], [5, 11, 5], [1, 5, 1]], rtol=1e-5)  # 2 * (4, 6 or 9 - 4) + 1


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_conv_equals_oracle(stride):
    cell = DepthwiseConv(4, 6, 3, stride)
    values, x = randomise(cell), numbers((2, 4, 6, 8))
    cell.set_train(False)
    np.testing.assert_allclose(both_modes(cell, x), depthwise(values, "", x, stride), **CLOSE)


def test_make_conv_chooses_the_block():
    assert isinstance(make_conv(4, 4, 3, 1, depthwise=True), DepthwiseConv)
    assert isinstance(make_conv(4, 4, 3, 1), ConvBNAct)


@pytest.mark.parametrize(
    ("channels", "shortcut", "added"), [((4, 4), True, True), ((4, 4), False, False), ((4, 6), True, False)]
)
def test_bottleneck_adds_only_where_it_can(channels, shortcut, added):
    cell = Bottleneck(*channels, shortcut=shortcut)
    values, x = randomise(cell), numbers((2, channels[0], 5, 6))
    want = conv_bn_act(values, "conv2.", conv_bn_act(values, "conv1.", x)) + (x if added else 0)
    np.testing.assert_allclose(both_modes(cell.set_train(False), x), want, **CLOSE)


def test_depthwise_bottleneck_equals_oracle():
    cell = Bottleneck(4, 4, expansion=1.0, depthwise=True)
    values, x = randomise(cell), numbers((2, 4, 5, 6))
    want = depthwise(values, "conv2.", conv_bn_act(values, "conv1.", x)) + x
    np.testing.assert_allclose(both_modes(cell.set_train(False), x), want, **CLOSE)


def test_res_layer_equals_oracle():
    cell = ResLayer(4)
    values, x = randomise(cell), numbers((2, 4, 5, 6))
    half = conv_bn_act(values, "layer1.", x, act="lrelu")
    want = x + conv_bn_act(values, "layer2.", half, act="lrelu")
    np.testing.assert_allclose(both_modes(cell.set_train(False), x), want, **CLOSE)


@pytest.mark.parametrize("shortcut", [True, False])
def test_csp_layer_equals_oracle(shortcut):
    cell = CSPLayer(4, 8, 2, shortcut=shortcut)
    values, x = randomise(cell), numbers((2, 4, 5, 6))
    a, b = conv_bn_act(values, "conv1.", x), conv_bn_act(values, "conv2.", x)
    for i in range(2):
        y = conv_bn_act(values, f"m.{i}.conv2.", conv_bn_act(values, f"m.{i}.conv1.", a))
        a = y + a if shortcut else y
    want = conv_bn_act(values, "conv3.", np.concatenate((a, b), axis=1))
    np.testing.assert_allclose(both_modes(cell.set_train(False), x), want, **CLOSE)


def test_spp_equals_pools_of_5_9_and_13():
    cell = SPPBottleneck(4, 6)
    values, x = randomise(cell), numbers((2, 4, 17, 15))
    y = conv_bn_act(values, "conv1.", x)
    pooled = np.concatenate([y, *(oracle.max_pool(y, k) for k in (5, 9, 13))], axis=1)
    want = conv_bn_act(values, "conv2.", pooled)
    np.testing.assert_allclose(both_modes(cell.set_train(False), x), want, **CLOSE)


def test_pool_ignores_what_lies_outside():
    pool = SPPBottleneck(2, 2).pool
    x = -1 - np.abs(numbers((1, 1, 3, 4)))  # zeros from outside would win
    np.testing.assert_array_equal(both_modes(pool, x), oracle.max_pool(x, 5))


def test_focus_equals_oracle():
    cell = Focus(3, 8, 3)
    values, x = randomise(cell), numbers((2, 3, 6, 8))
    want = conv_bn_act(values, "conv.", oracle.focus(x))
    np.testing.assert_allclose(both_modes(cell.set_train(False), x), want, **CLOSE)


@pytest.mark.parametrize(
    "make", [lambda: CSPLayer(4, 4, 1), lambda: SPPBottleneck(4, 4), lambda: DepthwiseConv(4, 4, 3, 2)]
)
def test_gradient_is_finite_and_equal_in_both_modes(make):
    cell = make()
    randomise(cell)
    cell.set_train(False)
    x = numbers((2, 4, 6, 6))
    weight = numbers(cell(ms.Tensor(x)).shape, 2)
    eager, graph = gradients(cell, x, weight)
    assert np.isfinite(eager).all() and np.abs(eager).max() > 0
    np.testing.assert_allclose(graph, eager, rtol=1e-4, atol=1e-5)


def test_errors_say_what_came_and_what_was_wanted():
    x = ms.ops.zeros((1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"ConvBNAct: x has shape \(1, 3, 8, 8\), want \[B,4,H,W\]"):
        ConvBNAct(4, 4, 3, 1)(x)
    with pytest.raises(ValueError, match=r"ConvBNAct: x has shape \(1, 3, 8, 8\), want \[B,4,H,W\]"):
        jitted(ConvBNAct(4, 4, 3, 1))(x)
    with pytest.raises(ValueError, match="ConvBNAct: kernel is 2, want an odd number"):
        ConvBNAct(4, 4, 2, 1)


def test_focus_wants_even_sides():
    with pytest.raises(ValueError, match=r"Focus: x has shape \(1, 3, 7, 8\), want even height and width"):
        Focus(3, 8, 3)(ops.zeros((1, 3, 7, 8)))
