"""The kernels as MindSpore operators beside MindSpore's own: values, gradients and moving averages, eager and compiled."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from yolox.distributed import Group, normalize_over_devices
from yolox.models import yolox_nano
from yolox.nn import ConvBNAct, CSPLayer, Focus, SPPBottleneck
from yolox.nn.fold import fold_detector
from yolox.nn.layers import Convolution, MaxPool5, SpaceToDepth, Upsample2x
from yolox.training.freeze import freeze

pytestmark = pytest.mark.usefixtures("kernels_on")


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def norm_act(channels, act):
    """The normalisation and activation of a layer, without its convolution."""
    layer = ConvBNAct(channels, channels, 1, 1, act=act)
    layer.conv = nn.Identity()
    return layer


def fill(cell, native):
    """Gives every parameter numbers of its own and chooses the kernels of one side or the other."""
    for index, parameter in enumerate(cell.get_parameters()):
        parameter.set_data(Tensor(np.abs(draw(index, *parameter.shape)) + 0.1))
    for _, part in cell.cells_and_names():
        if hasattr(part, "native"):
            assert part.native
            part.native = native
    return cell


def outcome(cell, x, weight, *, compiled, steps=1):
    """Value, gradients of input and parameters, and all parameters after some calls, as arrays by name."""
    params = ms.ParameterTuple(cell.trainable_params())

    def loss(x):
        y = cell(x)
        return (y * weight).sum(), y

    function = ms.value_and_grad(loss, 0, weights=params, has_aux=True)
    function = ms.jit(function) if compiled else function
    for _ in range(steps):
        (_, y), (dx, gradients) = function(x)
    found = {"y": y.asnumpy(), "dx": dx.asnumpy()}
    found |= {f"d {p.name}": g.asnumpy() for p, g in zip(params, gradients, strict=True)}
    return found | {p.name: p.asnumpy() for p in cell.get_parameters()}


def assert_same(native, own):
    assert native.keys() == own.keys()
    for name, want in own.items():
        np.testing.assert_allclose(native[name], want, rtol=1e-5, atol=1e-5 * max(np.abs(want).max(), 1e-3), err_msg=name)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("act", "mode"), [("silu", "train"), ("relu", "train"), ("lrelu", "train"), ("silu", "infer"),
                                           ("silu", "frozen")])  # fmt: skip
def test_norm_equals_that_of_mindspore(act, mode, compiled):
    x, weight = Tensor(draw(10, 2, 3, 9, 7) * 2 + 1), Tensor(draw(11, 2, 3, 9, 7))
    found = []
    for native in (True, False):
        cell = fill(norm_act(3, act), native).set_train(mode != "infer")
        if mode == "frozen":
            freeze(cell, lambda name: name == "bn.moving_mean")
        found.append(outcome(cell, x, weight, compiled=compiled, steps=2))
    assert_same(*found)
    moved = found[0]["bn.moving_mean"] != np.abs(draw(0, 3)) + 0.1
    assert moved.all() if mode == "train" else not moved.any()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 1, (9, 7)), (3, 2, (8, 5)), (5, 1, (6, 6)), (5, 2, (7, 1))])
def test_depthwise_equals_that_of_mindspore(kernel, stride, size, compiled):
    x = Tensor(draw(10, 2, 4, *size))
    weight = Tensor(draw(11, 2, 4, *((side - 1) // stride + 1 for side in size)))
    found = []
    for native in (True, False):
        cell = Convolution(4, 4, kernel, stride, groups=4)
        found.append(outcome(fill(cell, native), x, weight, compiled=compiled))
    assert_same(*found)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "size"), [(1, 1, (9, 7)), (3, 1, (6, 6)), (3, 2, (8, 5)), (1, 2, (5, 4))])
def test_convolution_equals_that_of_mindspore(kernel, stride, size, compiled):
    x = Tensor(draw(10, 2, 4, *size))
    weight = Tensor(draw(11, 2, 6, *((side - 1) // stride + 1 for side in size)))
    found = []
    for native in (True, False):
        cell = fill(Convolution(4, 6, kernel, stride, has_bias=kernel == 1), native)  # the head's predictions have a bias
        found.append(outcome(cell, x, weight, compiled=compiled))
    assert_same(*found)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    ("make", "shape"), [(MaxPool5, (2, 3, 9, 7)), (Upsample2x, (2, 3, 18, 14)), (SpaceToDepth, (2, 12, 4, 3))]
)
def test_what_moves_pixels_equals_that_of_mindspore(make, shape, compiled):
    """Of equal numbers the same one is the maximum, and gets the gradient."""
    size = (8, 6) if make is SpaceToDepth else (9, 7)
    x, weight = Tensor(np.random.default_rng(0).integers(0, 3, (2, 3, *size)).astype(np.float32)), Tensor(draw(11, *shape))
    native, own = (outcome(fill(make(), native), x, weight, compiled=compiled) for native in (True, False))
    assert native["y"].shape == shape
    assert_same(native, own)


def test_eager_operators_of_one_name_are_told_apart():
    """Eager mode keeps kernels by name and input shapes: strides and activations must not share them."""
    x = Tensor(draw(0, 1, 4, 6, 6))
    layers = [Convolution(4, 4, 3, stride, groups=groups) for groups in (4, 1) for stride in (1, 2, 1)]
    assert [layer(x).shape[2] for layer in layers] == [6, 3, 6] * 2
    norms = [fill(norm_act(4, act), True).set_train(False) for act in ("relu", "lrelu", "relu")]
    lowest = [norm(x).asnumpy().min() for norm in norms]
    assert lowest[0] == lowest[2] == 0 > lowest[1]


def test_one_pixel_of_one_image():
    """The variance of one value is zero; MindSpore's moving variance decides what it counts as."""
    x, found = Tensor(draw(10, 1, 3, 1, 1)), []
    for native in (True, False):
        cell = fill(norm_act(3, "silu"), native).set_train(True)
        found.append(outcome(cell, x, x, compiled=True))
    np.testing.assert_allclose(found[0]["y"], found[1]["y"], rtol=1e-5)
    np.testing.assert_allclose(found[0]["bn.moving_mean"], found[1]["bn.moving_mean"], rtol=1e-5)
    assert np.isfinite(found[0]["bn.moving_variance"]).all()


def test_a_source_that_is_a_view():
    """Operators of MindSpore may hand on memory that is not contiguous; kernels read only contiguous memory."""
    base = Tensor(draw(10, 2, 7, 9, 3))
    cells = [fill(norm_act(3, "silu"), native).set_train(False) for native in (True, False)]

    def run(cell, x):
        return cell(x.transpose((0, 3, 2, 1))[:, :, 1:, ::2])

    for compiled in (True, False):
        found = [(ms.jit(run) if compiled else run)(cell, base).asnumpy() for cell in cells]
        np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_other_types_and_shapes_use_the_operators_of_mindspore():
    half = Tensor(draw(0, 1, 3, 4, 4)).astype(ms.float16)
    for groups in (1, 3):
        convolution = fill(Convolution(3, 3, 3, 1, groups=groups), True).to_float(ms.float16)
        assert convolution(half).dtype == ms.float16
    for other in (ConvBNAct(4, 4, 7, 1, groups=4), ConvBNAct(4, 4, 5, 1), ConvBNAct(4, 4, 3, 1, groups=2)):
        assert isinstance(other.conv, nn.Conv2d) and not other.conv.native


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("make", "shape"), [
    (lambda: CSPLayer(4, 8, 1, depthwise=True), (1, 4, 6, 6)), (lambda: SPPBottleneck(4, 8), (1, 4, 6, 6)),
    (lambda: Focus(4, 8, 3), (1, 4, 6, 6)), (lambda: Convolution(4, 8, 1, 1, has_bias=True), (1, 4, 6, 6)),
    (Upsample2x, (1, 4, 6, 6)),
])  # fmt: skip
def test_a_whole_network_in_float16_uses_the_operators_of_mindspore(make, shape, compiled):
    layer = make().set_train(False)
    x = Tensor(draw(0, *shape))
    exact = layer(x).asnumpy()
    layer.to_float(ms.float16)
    assert not any(getattr(cell, "native", False) for _, cell in layer.cells_and_names())
    half = (ms.jit(layer.construct) if compiled else layer)(x).asnumpy()
    np.testing.assert_allclose(half, exact, atol=2e-2 * np.abs(exact).max())


def test_a_folded_copy_has_no_operator_of_the_library():
    """Exports are written of folded copies: a file with these operators would run nowhere else."""
    folded = fold_detector(yolox_nano(2))
    for again in (folded, folded.to_float(ms.float32)):
        assert not any(getattr(cell, "native", False) for _, cell in again.cells_and_names())


def test_another_normalisation_or_activation_is_used():
    for name, other in (("act", nn.ReLU()), ("bn", nn.Identity())):
        layer = norm_act(3, "silu").set_train(False)
        setattr(layer, name, other)
        x = Tensor(draw(0, 1, 3, 4, 4))
        np.testing.assert_array_equal(layer(x).asnumpy(), layer.act(layer.bn(x)).asnumpy())
        assert not layer.native


def test_synchronised_statistics_are_not_those_of_one_device(monkeypatch):
    layer = norm_act(3, "silu")
    monkeypatch.setattr("yolox.distributed._synchronised_norm", lambda group, **options: lambda x, *parts: (x * 0 + 7,))
    normalize_over_devices(layer, Group(rank=0, world=2))
    seven = layer.set_train(True)(Tensor(draw(0, 1, 3, 4, 4))).asnumpy()
    np.testing.assert_allclose(seven, 7 / (1 + np.exp(-7.0)), rtol=1e-6)
