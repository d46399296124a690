"""Many small tensors in one Parameter: a step updates hundreds of them with one operation."""

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from mindspore import Parameter, Tensor, ops

from yolox.graph import join_arrays, split_array, tree_map


@frozen(eq=False)
class FlatTensors:
    """Float32 tensors end to end in one Parameter, for a state that changes as a whole.

    `value` is the Parameter [N], `shapes` are those of the tensors in it. A moving average of all weights is then one
    kernel and not one for each of hundreds of tensors, each of which has to be compiled and started. There is no way back
    in graph code, from one tensor to many Parameters: MindSpore 2.7 has no kernel for it on CPU.

    Example:
        >>> pair = flat_tensors([np.zeros((2, 1), np.float32), np.ones(3, np.float32)], name="pair")
        >>> pair.value.asnumpy().tolist(), [part.shape for part in pair.arrays()]
        ([0.0, 0.0, 1.0, 1.0, 1.0], [(2, 1), (3,)])
    """

    value: Parameter
    shapes: tuple[tuple[int, ...], ...]

    def arrays(self) -> list[np.ndarray]:
        """Copies the tensors to numpy, each in its shape."""
        return [part.copy() for part in split_array(self.value.asnumpy(), self.shapes)]

    def write(self, arrays: Sequence[np.ndarray]) -> None:
        """Replaces all tensors in place: a compiled step holds the memory of the Parameter.

        Args:
            arrays: float32, of the shapes of the tensors in their order.

        Raises:
            ValueError: if number or shapes differ.
        """
        came = tuple(tuple(array.shape) for array in arrays)
        if came != self.shapes:
            first, want = came[:3], self.shapes[:3]
            raise ValueError(f"FlatTensors: got {len(came)} arrays of shapes {first}..., want {len(self.shapes)}: {want}...")
        ops.assign(self.value, Tensor(join_arrays(arrays)))


def flat_tensors(arrays: Sequence[np.ndarray], *, name: str) -> FlatTensors:
    """Concatenates arrays into one Parameter that no optimizer trains.

    Args:
        arrays: float32, any shapes; may be none.
        name: of the Parameter.

    Returns:
        FlatTensors with the arrays in their order.

    Raises:
        TypeError: for another dtype, which one long tensor could not keep.
    """
    odd = [str(array.dtype) for array in arrays if array.dtype != np.float32]
    if odd:
        raise TypeError(f"flat_tensors: {name} has a tensor of {odd[0]}, want float32")
    value = Parameter(Tensor(join_arrays(arrays)), name=name, requires_grad=False)
    return FlatTensors(value, tuple(tuple(array.shape) for array in arrays))


def _as_row(tensor):
    return tensor.reshape((-1,))


def flatten(tensors):  # ([...], [...], ...) -> [N]
    """Concatenates a tuple of tensors, in graph code.

    Args:
        tensors: tuple of at least one tensor or Parameter, all of one dtype.

    Returns:
        Tensor [N] of their elements in order.
    """
    return ops.concat(tree_map(_as_row, tensors))
