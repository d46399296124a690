"""Optimizers against numpy and torch, and many tensors as one: there and back, in numpy and in graph code."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, ops

from yolox.config import OptimConfig
from yolox.native import native_status, sgd_operator
from yolox.training.optim import OPTIMIZERS, clip_by_global_norm, flat_tensors, flatten, zero_slots

SHAPES = [(2, 3), (1,), (), (4, 1, 2)]
SIZES = (6, 1, 1, 8)


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), np.float32) for shape in SHAPES]


def parameters(seed=0):
    return tuple(Parameter(ms.Tensor(a), name=f"p{i}") for i, a in enumerate(arrays(seed)))


def joined(parts):
    return np.concatenate([part.ravel() for part in parts])


def same(came, wanted):
    return all(np.array_equal(a, b) and a.shape == b.shape for a, b in zip(came, wanted, strict=True))


def test_arrays_come_back_and_are_copies():
    flat = flat_tensors(arrays(), name="x")
    assert flat.value.name == "x" and not flat.value.requires_grad
    assert same(flat.arrays(), arrays()) and tuple(part.size for part in flat.arrays()) == SIZES
    flat.arrays()[0][:] = 9
    assert same(flat.arrays(), arrays())


def test_writing_replaces_every_value_in_place():
    flat = flat_tensors(arrays(), name="x")
    value = flat.value
    flat.write(arrays(1))
    assert same(flat.arrays(), arrays(1)) and flat.value is value


def test_no_tensors_at_all():
    flat = flat_tensors([], name="none")
    flat.write([])
    assert flat.arrays() == [] and flat.value.shape == (0,)


def test_other_shapes_and_types_are_refused():
    flat = flat_tensors(arrays(), name="x")
    with pytest.raises(ValueError, match="got 3 arrays of shapes"):
        flat.write(arrays()[:3])
    with pytest.raises(ValueError, match="want 4"):
        flat.write([a.reshape(-1) for a in arrays()])
    assert same(flat.arrays(), arrays())
    with pytest.raises(TypeError, match="x has a tensor of int32, want float32"):
        flat_tensors([*arrays(), np.zeros(2, np.int32)], name="x")


@pytest.mark.parametrize("wrap", [lambda f: f, ms.jit], ids=["eager", "jit"])
def test_flatten_joins_in_order(wrap):
    many = parameters()

    def join():
        return flatten(many)

    np.testing.assert_array_equal(wrap(join)().asnumpy(), joined(arrays()))


def test_what_a_jitted_function_writes_it_then_reads():
    """The order of side effects: an average is of the values after the update."""
    many, before = parameters(), joined(arrays())

    @ms.jit
    def change(value):
        first = flatten(many)
        ops.assign(many[3], value)
        return first, flatten(many)

    first, then = change(ms.Tensor(np.ones((4, 1, 2), np.float32)))
    np.testing.assert_array_equal(first.asnumpy(), before)
    np.testing.assert_array_equal(then.asnumpy(), [*before[:8], *[1] * 8])


def conv_and_bias(values):
    """A parameter that has weight decay, [1,3,1,1], and one that has none, [1]."""
    conv, bias = np.array(values[:3], np.float32).reshape(1, 3, 1, 1), np.array(values[3:], np.float32)
    return Parameter(ms.Tensor(conv), name="conv"), Parameter(ms.Tensor(bias), name="bias")


def optimizer(params, optim, wrap=lambda f: f):
    """State, and a function of (gradients, lr, apply) that updates `params`."""
    rule = OPTIMIZERS[optim.optimizer]
    slots = zero_slots(params, rule.slots)
    updates = Parameter(ms.Tensor(0.0, ms.float32), name="updates") if rule.counts_updates else None
    update = rule.make_update(params, slots, updates, optim)

    def step(conv, bias, lr, apply):
        update((conv, bias), lr, apply)
        return lr

    jitted = wrap(step)

    def run(gradient, lr, apply=True):
        parts = np.array(gradient[:3], np.float32).reshape(1, 3, 1, 1), np.array(gradient[3:], np.float32)
        jitted(*map(ms.Tensor, parts), ms.Tensor(lr, ms.float32), ms.Tensor(apply))

    return (*sum(slots.values(), ()), *([updates] if rule.counts_updates else [])), run


def numbers(params):
    return np.concatenate([p.asnumpy().ravel() for p in params])


class SlowOptimizer:
    """The rules by the number, in float64, over four values of which the first three have weight decay."""

    def __init__(self, values, optim):
        self.p, self.optim, self.decay = np.array(values, float), optim, optim.weight_decay * np.array([1, 1, 1, 0])
        self.v, self.m, self.t = np.zeros(4), np.zeros(4), 0

    def sgd(self, g, lr):
        g = g + self.decay * self.p
        self.m = self.optim.momentum * self.m + g
        self.p = self.p - lr * (g + self.optim.momentum * self.m)

    def adamw(self, g, lr):
        (b1, b2), self.t = self.optim.betas, self.t + 1
        self.m, self.v = b1 * self.m + (1 - b1) * g, b2 * self.v + (1 - b2) * g * g
        m, v = self.m / (1 - b1**self.t), self.v / (1 - b2**self.t)
        self.p = self.p - lr * self.decay * self.p - lr * m / (np.sqrt(v) + self.optim.eps)


@pytest.mark.parametrize("wrap", [lambda f: f, ms.jit], ids=["eager", "jit"])
@pytest.mark.parametrize(
    ("optim", "native"),
    [
        (OptimConfig(momentum=0.8, weight_decay=0.1), True),
        (OptimConfig(momentum=0.8, weight_decay=0.1), False),
        (OptimConfig(optimizer="adamw", weight_decay=0.05), False),
        (OptimConfig(optimizer="adamw", betas=(0.5, 0.9), eps=0.1, weight_decay=0.5), False),
        (OptimConfig(optimizer="adamw", betas=(0.0, 0.9), weight_decay=0.0), False),
    ],
    ids=["sgd-native", "sgd", "adamw", "adamw-eps", "adamw-no-first-moment"],
)
def test_twenty_updates_equal_the_slow_rule_and_bad_ones_change_no_bit(optim, native, wrap, monkeypatch):
    if not native:
        monkeypatch.setattr("yolox.training.optim.sgd_operator", lambda count: None)
    elif not native_status().active:
        pytest.skip(native_status().reason)
    else:
        assert sgd_operator(2) is not None
    rng, start = np.random.default_rng(0), (1.0, -2.0, 0.5, 0.25)
    params, slow = conv_and_bias(start), SlowOptimizer(start, optim)
    state, step = optimizer(params, optim, wrap)
    step([np.nan, np.inf, 1.0, 1.0], 0.1, apply=False)  # before the first that is applied
    assert numbers(params).tolist() == list(start) and not numbers(state).any()
    for index in range(20):
        gradient, lr = rng.normal(size=4) * 10.0 ** rng.integers(-3, 2), 0.001 * (index + 1)
        gradient = gradient.astype(np.float32)
        step(gradient, lr)
        getattr(slow, optim.optimizer)(gradient.astype(float), lr)
        np.testing.assert_allclose(numbers(params), slow.p, rtol=1e-5, atol=1e-6)
        if index % 4 == 1:
            before = numbers((*params, *state)).tobytes()
            step([np.nan, 1.0, -np.inf, np.nan], 0.1, apply=False)
            assert numbers((*params, *state)).tobytes() == before


def test_adamw_gives_the_numbers_of_torch():
    """torch 2.13.0: AdamW, decay 0.05 on the first three values, rates 0.004 to 0.016, gradients of the seed."""
    wanted = [
        (0.9958000779151917, -2.0036001205444336, 0.5038999915122986, 0.2540000081062317),
        (1.0013402700424194, -1.9986438751220703, 0.5076578855514526, 0.2520068287849426),
        (1.011042833328247, -1.9893715381622314, 0.5029810070991516, 0.2480897456407547),
        (1.0199042558670044, -1.9751192331314087, 0.49829116463661194, 0.24053122103214264),
    ]
    rng, params = np.random.default_rng(7), conv_and_bias((1.0, -2.0, 0.5, 0.25))
    _, step = optimizer(params, OptimConfig(optimizer="adamw", weight_decay=0.05), ms.jit)
    for index, row in enumerate(wanted):
        step(rng.normal(size=4), 0.004 * (index + 1))
        np.testing.assert_allclose(numbers(params), row, rtol=3e-7)


@pytest.mark.parametrize("wrap", [lambda f: f, ms.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("most", [0.5, 5.0, 100.0])
def test_clipping_scales_all_gradients_by_one_factor(most, wrap):
    parts = arrays()
    norm = np.sqrt(sum(float((part.astype(float) ** 2).sum()) for part in parts))

    def clip(*gradients):
        return clip_by_global_norm(gradients, most)

    clipped, came = wrap(clip)(*map(ms.Tensor, parts))
    assert came.item() == pytest.approx(norm, rel=1e-6)
    for part, result in zip(parts, clipped, strict=True):
        np.testing.assert_allclose(result.asnumpy(), part * min(1, most / norm), rtol=1e-6)
    zeros, none = wrap(clip)(*(ms.Tensor(np.zeros_like(part)) for part in parts))
    assert none.item() == 0 and not any(part.asnumpy().any() for part in zeros)
