"""Shapes and costs of the operations of an exported detector, computed before a runtime allocates or runs anything."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from yolox.errors import ExportError

MAX_ALIVE = 1 << 27  # numbers that a graph holds at a time: 512 MiB of float32, of which runtimes take up to four times as much
MAX_WORK = 10**12  # multiplications of one call, some 30 seconds: YOLOX-X takes 1.6e11 an image at 640, 6.4e11 at 1280
NUMBER_COST = 20  # multiplications that a written number, or a comparison of a pooling, takes as long as
NARROW, NARROW_COST = 8, 8  # convolutions of fewer channels a group, such as depthwise ones: so many times as long
MAX_NODES = 1 << 14
MAX_DIMS = 8

Shape = tuple[int, ...]


@frozen
class Value:
    """A value of a graph: a tensor of a known shape, a constant of numbers, a tuple, or none of them."""

    shape: Shape | None = None
    """Of a tensor; None for what is no tensor."""
    numbers: tuple[float, ...] | None = None
    """Of a small constant."""
    items: tuple[Value, ...] | None = None
    """Of a tuple of tensors."""
    parameter: bool = False
    """Whether the value is one of the graph's parameters."""
    constant: bool = False
    """Whether the value is in the file, or made of such values alone: runtimes compute it once and keep it."""


@frozen
class Node:
    """An operation with its input values; errors name the operation."""

    kind: str
    inputs: Sequence[Value]
    attributes: Mapping[str, Any]

    def shape(self, index: int) -> Shape:
        """Returns the shape of input `index`, which must be a tensor."""
        shape = self.inputs[index].shape if index < len(self.inputs) else None
        self.require(shape is not None, f"input {index} is no tensor")
        return shape

    def numbers(self, index: int, *, real: bool = False) -> tuple:
        """Returns the numbers of input `index`, which must be a constant; whole ones unless `real`."""
        numbers = self.inputs[index].numbers if index < len(self.inputs) else None
        fits = numbers is not None and (real or all(isinstance(number, int) for number in numbers))
        self.require(fits, f"input {index} is no constant of {'' if real else 'whole '}numbers")
        return numbers

    def require(self, condition: bool, message: str) -> None:
        """Raises ExportError with the operation's name where the condition does not hold."""
        if not condition:
            raise ExportError(f"the operation {self.kind}: {message}")


class Budget:
    """Counts the numbers that are held at a time, and the work of a call, against their limits."""

    def __init__(self) -> None:
        self.alive = self.work = 0

    def hold(self, node: Node, shapes: Sequence[Shape], *, work: int = 0) -> None:
        """Adds the outputs of an operation.

        Raises:
            ExportError: a shape that cannot be, or a limit is passed.
        """
        for shape in shapes:
            node.require(len(shape) <= MAX_DIMS and min(shape, default=1) >= 0, f"gives a tensor of the shape {shape}")
        made = sum(map(math.prod, shapes))
        self.alive += made
        self.work += NUMBER_COST * made + work
        node.require(self.alive <= MAX_ALIVE, f"the graph holds over {MAX_ALIVE} numbers at a time, the limit; {HINT}")
        node.require(self.work <= MAX_WORK, f"the graph takes over {MAX_WORK:.0e} multiplications, the limit; {HINT}")

    def release(self, shapes: Sequence[Shape]) -> None:
        """Takes away values that nothing reads any more."""
        self.alive -= sum(map(math.prod, shapes))


HINT = "open a file that you exported yourself with trusted=True"
Rule = Callable[[Node], tuple[list[Shape], int]]


def same(node: Node) -> tuple[list[Shape], int]:
    """Returns the shape of an operation on each number alone.

    Args:
        node: the operation, with its inputs.

    Returns:
        The shape, in a list, and the work beside writing the result.

    Raises:
        ExportError: the inputs do not fit.
    """
    return [node.shape(0)], 0


def broadcast(node: Node, *, inputs: int = 2) -> tuple[list[Shape], int]:
    """Returns the common shape of tensors.

    Args:
        node: the operation, with its inputs.
        inputs: how many it has.

    Returns:
        The shape, in a list, and the work beside writing the result.

    Raises:
        ExportError: the inputs do not fit.
    """
    node.require(len(node.inputs) == inputs, f"wants {inputs} inputs")
    shapes = [node.shape(index) for index in range(inputs)]
    rank = max(map(len, shapes))
    shape = []
    for sizes in zip(*((1,) * (rank - len(each)) + each for each in shapes), strict=True):
        own = set(sizes) - {1}
        node.require(len(own) <= 1, f"shapes {' and '.join(map(str, shapes))} do not fit")
        shape.append(own.pop() if own else 1)
    return [tuple(shape)], 0


def concat_shape(node: Node, shapes: Sequence[Shape], axis: int) -> tuple[list[Shape], int]:
    """Returns the shape of tensors put one after the other along an axis.

    Args:
        node: the operation, for messages.
        shapes: of the tensors.
        axis: may be negative.

    Returns:
        The shape, in a list, and the work beside writing the result.

    Raises:
        ExportError: the inputs do not fit.
    """
    node.require(bool(shapes) and all(shape is not None for shape in shapes), "wants tensors")
    axis = checked_axis(node, axis, len(shapes[0]))
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes if len(shape) == len(shapes[0])}
    node.require(len(rest) == 1 and len({len(shape) for shape in shapes}) == 1, f"shapes {list(shapes)[:4]} do not fit")
    first = shapes[0]
    return [(*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])], 0


def checked_axis(node: Node, axis: int, rank: int) -> int:
    """Returns a non-negative axis.

    Args:
        node: the operation, for messages.
        axis: may be negative.
        rank: number of dimensions of the tensor.

    Returns:
        The axis, from 0.

    Raises:
        ExportError: the inputs do not fit.
    """
    node.require(-rank <= axis < rank, f"axis {axis} of a tensor with {rank} dimensions")
    return axis % rank


def reshape_shape(node: Node, shape: Shape, target: Sequence[int], *, zero_copies: bool = False) -> Shape:
    """Returns the target shape, with -1 (and 0, where it copies) resolved.

    Args:
        node: the operation, for messages.
        shape: of the input.
        target: sizes, of which one may be -1.
        zero_copies: whether 0 stands for the size of the input.

    Returns:
        The shape, of as many numbers.

    Raises:
        ExportError: the inputs do not fit.
    """
    node.require(len(target) <= MAX_DIMS and all(-1 <= size for size in target), f"to the shape {tuple(target)[:8]}")
    sizes = [shape[i] if size == 0 and zero_copies and i < len(shape) else size for i, size in enumerate(target)]
    node.require(sizes.count(-1) <= 1, f"to the shape {tuple(target)}")
    known, count = math.prod(size for size in sizes if size != -1), math.prod(shape)
    sizes = [count // max(known, 1) if size == -1 else size for size in sizes]
    node.require(math.prod(sizes) == count, f"from {shape} to {tuple(target)}")
    return tuple(sizes)


def transpose_shape(node: Node, order: Sequence[int]) -> tuple[list[Shape], int]:
    """Returns the shape with its axes in another order.

    Args:
        node: the operation, with its inputs.
        order: the axes.

    Returns:
        The shape, in a list, and the work beside writing the result.

    Raises:
        ExportError: the inputs do not fit.
    """
    shape = node.shape(0)
    node.require(sorted(order) == list(range(len(shape))), f"axes {tuple(order)[:8]} of {len(shape)}")
    return [tuple(shape[axis] for axis in order)], 0


def window_shape(
    node: Node, *, kernel: Shape, stride: Shape, dilation: Shape, pads: Shape | None, same: bool
) -> tuple[int, int]:
    """Returns height and width of the result of a convolution or pooling.

    Args:
        node: its input 0 is [B,C,H,W].
        kernel: height and width.
        stride: down and to the right.
        dilation: down and to the right.
        pads: top, bottom, left, right; None for none; ignored with `same`.
        same: whether the size is that of the input, divided by the stride.

    Returns:
        Height and width.

    Raises:
        ExportError: the inputs do not fit.
    """
    shape = node.shape(0)
    node.require(len(shape) == 4 and len(kernel) == len(stride) == len(dilation) == 2, "wants two dimensions")
    node.require(all(size >= 1 for size in (*kernel, *stride, *dilation)), "kernel, stride and dilation start at 1")
    pads = pads or (0, 0, 0, 0)
    sizes = []
    for axis in (0, 1):
        size, before, after = shape[2 + axis], *pads[2 * axis : 2 * axis + 2]
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        if same:
            sizes.append(-(-size // stride[axis]))
            continue
        node.require(0 <= before < max(reach, 2) and 0 <= after < max(reach, 2), f"pads of {before} and {after}")
        sizes.append((size + before + after - reach) // stride[axis] + 1)
    node.require(min(sizes) >= 1, f"a window of {kernel} does not fit into {shape}")
    return sizes[0], sizes[1]


def convolution(node: Node, *, group: int, **window) -> tuple[list[Shape], int]:
    """Returns shape and multiplications of a convolution.

    Args:
        node: the operation, with its inputs.
        group: number of groups of channels.
        **window: as for `window_shape`.

    Returns:
        The shape [B,C,H,W], in a list, and the number of multiplications.

    Raises:
        ExportError: the inputs do not fit.
    """
    shape, weight = node.shape(0), node.shape(1)
    node.require(len(shape) == len(weight) == 4 and group >= 1, "wants [B,C,H,W] and a weight of four dimensions")
    node.require(weight[2:] == window["kernel"], f"a kernel of {window['kernel']} with a weight {weight}")
    fits = shape[1] == weight[1] * group and weight[0] % group == 0
    node.require(fits, f"a weight {weight} in {group} groups on {shape[1]} channels")
    result = (shape[0], weight[0], *window_shape(node, **window))
    return [result], convolution_work(result, weight[1:])


def convolution_work(result: Shape, weight: Shape) -> int:
    """Returns the multiplications of a convolution; those of few channels a group count more.

    Args:
        result: its shape.
        weight: channels of a group, and the kernel.

    Returns:
        A whole number.
    """
    return math.prod(result) * math.prod(weight) * (NARROW_COST if weight[0] < NARROW else 1)


def pooling(node: Node, **window) -> tuple[list[Shape], int]:
    """Returns shape and comparisons of a pooling.

    Args:
        node: the operation, with its inputs.
        **window: as for `window_shape`.

    Returns:
        The shape [B,C,H,W], in a list, and the number of comparisons.

    Raises:
        ExportError: the inputs do not fit.
    """
    shape = node.shape(0)
    result = (*shape[:2], *window_shape(node, **window))
    return [result], NUMBER_COST * math.prod(result) * math.prod(window["kernel"])


def slice_shape(node: Node, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int]) -> tuple[list[Shape], int]:
    """Returns the shape of a range along each of some axes.

    Args:
        node: the operation, with its inputs.
        starts: of the ranges; may be negative.
        ends: of the ranges; may be negative, or beyond the end.
        axes: one for each range.

    Returns:
        The shape, in a list, and the work beside writing the result.

    Raises:
        ExportError: the inputs do not fit.
    """
    shape = list(node.shape(0))
    node.require(len(starts) == len(ends) == len(axes) <= len(shape), "starts, ends and axes differ in length")
    for start, end, axis in zip(starts, ends, axes, strict=True):
        axis = checked_axis(node, axis, len(shape))
        start, end, _ = slice(start, end).indices(shape[axis])
        shape[axis] = max(0, end - start)
    return [tuple(shape)], 0


def topological_order(inputs: Sequence[Sequence[str]], outputs: Sequence[Sequence[str]]) -> list[int]:
    """Returns an order of nodes in which each comes after those whose results it reads.

    Converters to float16 put the casts that they add at the end of the list, which runtimes accept.

    Args:
        inputs: names that each node reads.
        outputs: names that each node makes.

    Returns:
        Indices of the nodes; as they are where they are in order. Nodes of a loop are left out.

    Example:
        >>> topological_order([["a"], ["b"], ["x"]], [["y"], ["a"], ["b"]])
        [2, 1, 0]
    """
    maker = {name: index for index, names in enumerate(outputs) for name in names}
    before = [{maker[name] for name in names if name in maker} for names in inputs]
    readers: list[list[int]] = [[] for _ in inputs]
    for index, makers in enumerate(before):
        for one in makers:
            readers[one].append(index)
    missing = [len(makers) for makers in before]
    ready = [index for index, count in enumerate(missing) if count == 0]  # rising, so that it is a heap
    found = []
    while ready:
        index = heapq.heappop(ready)
        found.append(index)
        for reader in readers[index]:
            missing[reader] -= 1
            if missing[reader] == 0:
                heapq.heappush(ready, reader)
    return found


def last_uses(names: Sequence[Sequence[str]]) -> list[list[str]]:
    """Returns for each node the names that no later node reads.

    Args:
        names: the inputs of each node.

    Returns:
        A list of names for each node.
    """
    last = {name: index for index, inputs in enumerate(names) for name in inputs}
    ends: list[list[str]] = [[] for _ in names]
    for name, index in last.items():
        ends[index].append(name)
    return ends
