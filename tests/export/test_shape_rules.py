"""Shapes and limits by hand; whole files are in test_hostile."""

from __future__ import annotations

import pytest

from yolox.errors import ExportError
from yolox.export.shape_rules import (
    MAX_ALIVE,
    MAX_WORK,
    Budget,
    Node,
    Value,
    broadcast,
    concat_shape,
    convolution,
    last_uses,
    pooling,
    reshape_shape,
    slice_shape,
    transpose_shape,
)


def node(*shapes, **attributes):
    return Node("Test", [Value(shape=shape) for shape in shapes], attributes)


WINDOW = {"kernel": (3, 3), "stride": (2, 2), "dilation": (1, 1), "pads": (1, 1, 1, 1), "same": False}


def test_shapes_by_hand():
    assert broadcast(node((2, 1, 3), (4, 1))) == ([(2, 4, 3)], 0)
    assert broadcast(node((3,), (2, 1, 1), (4, 1)), inputs=3) == ([(2, 4, 3)], 0)
    assert concat_shape(node(), [(2, 3), (2, 5)], -1) == ([(2, 8)], 0)
    assert reshape_shape(node(), (2, 3, 4), (0, -1), zero_copies=True) == (2, 12)
    assert transpose_shape(node((2, 3, 4)), (2, 0, 1)) == ([(4, 2, 3)], 0)
    assert slice_shape(node((10, 6)), [1, -2], [4, 1 << 60], [0, 1]) == ([(3, 2)], 0)
    shapes, work = convolution(node((2, 8, 9, 12), (16, 4, 3, 3)), group=2, **WINDOW)
    assert shapes == [(2, 16, 5, 6)] and work == 8 * 2 * 16 * 5 * 6 * 4 * 9  # few channels a group
    assert pooling(node((1, 8, 9, 12)), **{**WINDOW, "same": True}) == ([(1, 8, 5, 6)], 20 * 8 * 5 * 6 * 9)
    assert last_uses([["a", "b"], ["a"], ["c"]]) == [["b"], ["a"], ["c"]]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda: broadcast(node((2, 3), (4, 1, 5))), "do not fit"),
        (lambda: broadcast(node((2,), (1,), (3,)), inputs=3), "do not fit"),
        (lambda: broadcast(node((2,), (1,), (2,))), "wants 2 inputs"),
        (lambda: concat_shape(node(), [(2, 3), (3, 5)], 1), "do not fit"),
        (lambda: concat_shape(node(), [(2, 3)], 2), "axis 2"),
        (lambda: reshape_shape(node(), (2, 3), (4, 2)), "from"),
        (lambda: reshape_shape(node(), (2, 3), (-1, -1)), "to the shape"),
        (lambda: reshape_shape(node(), (2, 3), (-1, 0)), "from"),
        (lambda: transpose_shape(node((2, 3)), (0, 0)), "axes"),
        (lambda: convolution(node((1, 8, 9, 9), (16, 8, 3, 3)), group=2, **WINDOW), "groups"),
        (lambda: convolution(node((1, 8, 9, 9), (16, 8, 5, 5)), group=1, **WINDOW), "kernel"),
        (lambda: pooling(node((1, 8, 2, 2)), **{**WINDOW, "pads": (0, 0, 0, 0)}), "does not fit"),
        (lambda: pooling(node((1, 8, 9, 9)), **{**WINDOW, "pads": (9, 0, 0, 0)}), "pads"),
        (lambda: node((1,)).numbers(0), "no constant"),
        (lambda: node((1,)).shape(1), "no tensor"),
    ],
)
def test_what_cannot_be_is_refused(rule, message):
    with pytest.raises(ExportError, match=f"the operation Test: .*{message}"):
        rule()


def test_a_budget_counts_what_is_held_and_all_work():
    budget = Budget()
    budget.hold(node(), [(MAX_ALIVE,)])
    budget.release([(MAX_ALIVE,)])
    budget.hold(node(), [(MAX_ALIVE - 1,)])
    with pytest.raises(ExportError, match="numbers at a time"):
        budget.hold(node(), [(2,)])
    with pytest.raises(ExportError, match="multiplications"):
        Budget().hold(node(), [(1,)], work=MAX_WORK)
