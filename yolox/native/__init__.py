"""Kernels in C++ for training and inference on CPU; see `docs/performance.md`."""

from yolox.native.build import NativeStatus, load_library
from yolox.native.operators import depthwise_operator, norm_operators, runs_natively

__all__ = ["NativeStatus", "depthwise_operator", "native_status", "norm_operators", "runs_natively"]


def native_status() -> NativeStatus:
    """Builds the kernels if that has not been done on this machine and returns whether they run in this process.

    Example:
        >>> native_status().reason == "" or not native_status().active
        True
    """
    return load_library()[0]
