"""Row numbers as constants of the graph."""

import numpy as np
from mindspore import Tensor
from mindspore.ops import constexpr


@constexpr
def count_rows(count, dtype="int32"):  # -> [count]
    """Count 0, 1, ... as a tensor, made once while the graph is compiled.

    ``ops.arange`` does the same, but each call takes a tenth of a second to compile.

    Args:
        count: how many.
        dtype: name of the numpy dtype.

    Returns:
        ``[count]`` of `dtype`.

    Example:
        >>> count_rows(3).asnumpy().tolist()
        [0, 1, 2]
    """
    return Tensor(np.arange(count, dtype=dtype))
