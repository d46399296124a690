"""Kernels in C++ for training and inference on CPU, switched off by YOLOX_NATIVE=0; see `docs/performance.md`."""

from yolox.native.build import NativeStatus, load_library
from yolox.native.operators import (
    average_operator,
    convolution_operator,
    depthwise_operator,
    max_pool_operator,
    norm_operators,
    planes_operator,
    runs_natively,
    sgd_operator,
    space_to_depth_operator,
    sums_operator,
    upsample_operator,
)

__all__ = [
    "NativeStatus",
    "average_operator",
    "convolution_operator",
    "depthwise_operator",
    "max_pool_operator",
    "native_status",
    "norm_operators",
    "planes_operator",
    "runs_natively",
    "sgd_operator",
    "space_to_depth_operator",
    "sums_operator",
    "upsample_operator",
]


def native_status() -> NativeStatus:
    """Returns whether the kernels run in this process; builds them where this machine has not done so yet.

    Returns:
        NativeStatus, the same in the whole process: YOLOX_NATIVE counts as it is at the first call.

    Example:
        >>> native_status().reason == "" or not native_status().active
        True
    """
    return load_library()[0]
