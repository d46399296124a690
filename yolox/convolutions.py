"""Self-test of convolutions on CPU: whether oneDNN has a fast kernel for 3x3, and with which setting."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from mindspore import Tensor, ops

from yolox.environment import (
    DEFAULT_SETTING,
    ONEDNN_VARIABLE,
    SLOW_SETTING,
    installed_mindspore,
    known_setting,
    remember_setting,
)

log = logging.getLogger("yolox")
CHANNELS, SIDE, REPEATS = 64, 32, 3
SLOW_RATIO = 15.0
"""Time of a convolution to that of a matrix product of as many multiplications: 1 to 4 for fast kernels, about 70 for others."""
CAP = "AVX2"
_PROGRAM = "from yolox.convolutions import convolution_ratio; print(convolution_ratio())"


def convolution_ratio() -> float:
    """Measures a 3x3 convolution beside the matrix product with as many multiplications, in some milliseconds.

    Other work on the machine slows both, so that their ratio shows the kernel.

    Returns:
        Seconds of the convolution to those of the product, the fastest of three calls of each.
    """
    rng = np.random.default_rng(0)

    def tensor(*shape: int) -> Tensor:
        return Tensor(rng.normal(size=shape).astype(np.float32))

    image, weight = tensor(1, CHANNELS, SIDE, SIDE), tensor(CHANNELS, CHANNELS, 3, 3)
    rows, columns = tensor(CHANNELS, 9 * CHANNELS), tensor(9 * CHANNELS, SIDE * SIDE)
    return _fastest(lambda: ops.conv2d(image, weight, pad_mode="same")) / _fastest(lambda: ops.matmul(rows, columns))


def _fastest(call: Callable[[], Tensor]) -> float:
    call().asnumpy()  # the first call makes the kernel
    seconds = []
    for _ in range(REPEATS):
        before = time.perf_counter()
        call().asnumpy()
        seconds.append(time.perf_counter() - before)
    return min(seconds)


def check_convolutions() -> str | None:
    """Measures convolutions the first time that this MindSpore runs on this processor, and keeps which setting is fast.

    Where the setting of this process is slow, the other one is tried in a process of its own; `import yolox` uses it from
    the next start on, as oneDNN reads it once. Nothing is measured where the user has set ONEDNN_MAX_CPU_ISA or the answer
    is in the cache folder. Call it on CPU only.

    Returns:
        The warning that was logged; None where convolutions are fast.
    """
    if os.environ.get(ONEDNN_VARIABLE, CAP) != CAP:
        return None
    version, own = installed_mindspore(), os.environ.get(ONEDNN_VARIABLE, DEFAULT_SETTING)
    known = known_setting(version)
    if known is None:
        known = _find_setting(own)
        remember_setting(version, known)
    warning = None
    if known == SLOW_SETTING:
        warning = f"convolutions of MindSpore {version} are slow on this processor, whatever {ONEDNN_VARIABLE} is: try another"
    elif known != own:
        warning = f"convolutions are slow in this process; {ONEDNN_VARIABLE}={known} is fast, and is used from the next start on"
    if warning:
        log.warning("%s", warning)
    return warning


def _find_setting(own: str) -> str:
    """Returns the first of this process's setting and the other one that is fast, or `SLOW_SETTING`."""
    if convolution_ratio() < SLOW_RATIO:
        return own
    other = DEFAULT_SETTING if own == CAP else CAP
    return other if _ratio_with(other) < SLOW_RATIO else SLOW_SETTING


def _ratio_with(setting: str) -> float:
    """Returns `convolution_ratio` of a process with a setting; infinity where that fails."""
    environment = {**os.environ, ONEDNN_VARIABLE: setting}
    run = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=False)
    try:
        return float(run.stdout.split()[-1])
    except (IndexError, ValueError):
        return float("inf")
