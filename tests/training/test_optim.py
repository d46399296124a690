"""Many tensors as one: there and back, in numpy and in graph code."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, ops

from yolox.training.optim import flat_tensors, flatten

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
