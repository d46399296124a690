"""The workarounds of `yolox.graph`: each test fails when MindSpore's behaviour makes the workaround wrong or needless."""

import mindspore as ms
import numpy as np
from mindspore import Tensor

from yolox.graph import constant_arange, materialize, tree_map


def _double(x):
    return x * 2


@ms.jit
def _mapped(tensors):
    return tree_map(_double, tensors)


@ms.jit
def _counted(x):
    return x + constant_arange(x.shape[0], "float32")


@ms.jit
def _looped(x, turns):
    x = materialize(x)
    total, i = x * 0, turns * 0
    while i < turns:
        total = total + x
        i = i + 1
    return total


def test_tree_map_keeps_the_order_of_a_tuple():
    one, two = _mapped((Tensor([1.0]), Tensor([2.0, 3.0])))
    assert one.asnumpy().tolist() == [2.0] and two.asnumpy().tolist() == [4.0, 6.0]


def test_constant_arange_in_graph_and_eager_code():
    assert _counted(Tensor([1.0, 1.0, 1.0])).asnumpy().tolist() == [1.0, 2.0, 3.0]
    assert constant_arange(2).dtype == ms.int32


def test_a_materialized_view_has_the_right_numbers_in_a_loop():
    base = np.arange(12, dtype=np.float32).reshape(2, 6)
    view = Tensor(base)[:, 4]
    assert _looped(view, Tensor(3)).asnumpy().tolist() == (base[:, 4] * 3).tolist()
