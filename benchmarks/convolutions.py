"""Times typical convolutions of S (640 px, batch 2) and nano (416 px, batch 8) on one thread: forward and both gradients.

    python benchmarks/convolutions.py                             the native kernels of this library
    python benchmarks/convolutions.py --instruction-set avx2      those of a narrower processor
    .venv-megvii/bin/python benchmarks/convolutions.py --torch    torch, after make peers

Prints one JSON line a layer, the smallest milliseconds and GFLOP/s of each computation, and one line of sums.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# batch, input channels, height, width, output channels, kernel, stride
LAYERS = (
    (2, 12, 320, 320, 32, 3, 1), (2, 32, 320, 320, 64, 3, 2), (2, 64, 160, 160, 32, 1, 1), (2, 32, 160, 160, 32, 3, 1),
    (2, 64, 80, 80, 64, 3, 1), (2, 128, 80, 80, 128, 3, 1), (2, 128, 80, 80, 256, 3, 2), (2, 256, 40, 40, 256, 1, 1),
    (2, 128, 40, 40, 128, 3, 1), (2, 256, 20, 20, 256, 3, 1), (2, 512, 20, 20, 512, 1, 1), (8, 16, 104, 104, 16, 1, 1),
    (8, 64, 52, 52, 64, 1, 1), (8, 128, 13, 13, 128, 1, 1),
)  # fmt: skip
PARTS = ("forward", "input_gradient", "weight_gradient")


def our_calls(x, weight, dy, stride: int, instruction_set: str | None) -> list[Callable[[], object]]:
    """Returns a function for each computation by the compiled library, which must have been built."""
    import ctypes

    from tests.native.calls import call
    from yolox.native.build import find_compiler, library_path

    library = ctypes.CDLL(str(library_path(find_compiler())))
    library.yolox_start(1, instruction_set.encode() if instruction_set else None)
    results = (np.empty_like(dy), np.empty_like(x), np.empty_like(weight))
    inputs = ((x, weight), (x, weight, dy), (x, weight, dy))

    def function(part, arrays, result):
        return lambda: call(library, f"convolution_{part}_{stride}", *arrays, result)

    return [function(*args) for args in zip(PARTS, inputs, results, strict=True)]


def torch_calls(x, weight, dy, stride: int) -> list[Callable[[], object]]:
    """Returns a function for each computation by torch."""
    import torch

    torch.set_num_threads(1)
    x, weight, dy = map(torch.from_numpy, (x, weight, dy))
    margin = (weight.shape[2] - 1) // 2
    settings = (None, [stride] * 2, [margin] * 2, [1, 1], False, [0, 0], 1)
    backward = torch.ops.aten.convolution_backward
    return [
        lambda: torch.conv2d(x, weight, None, stride, margin),
        lambda: backward(dy, x, weight, *settings, [True, False, False]),
        lambda: backward(dy, x, weight, *settings, [False, True, False]),
    ]


def best_seconds(function: Callable[[], object], repeats: int) -> float:
    """Returns the smallest time of some calls."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    """Reads the command line, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--instruction-set", choices=("avx2",))
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    rng, sums = np.random.default_rng(0), dict.fromkeys(PARTS, 0.0)
    for batch, channels, height, width, out, kernel, stride in LAYERS:
        sizes = (
            (batch, channels, height, width),
            (out, channels, kernel, kernel),
            (batch, out, (height - 1) // stride + 1, (width - 1) // stride + 1),
        )
        arrays = [rng.standard_normal(size, np.float32) for size in sizes]
        calls = torch_calls(*arrays, stride) if options.torch else our_calls(*arrays, stride, options.instruction_set)
        operations = 2 * arrays[2].size * channels * kernel * kernel
        line = {"layer": f"{sizes[0]} -> {out}, {kernel}x{kernel} / {stride}"}
        for part, function in zip(PARTS, calls, strict=True):
            seconds = best_seconds(function, options.repeats)
            sums[part] += seconds
            line[part] = [round(1e3 * seconds, 2), round(operations / seconds / 1e9)]
        print(json.dumps(line), flush=True)
    print(json.dumps({"sum_ms": {part: round(1e3 * seconds, 1) for part, seconds in sums.items()}}))


if __name__ == "__main__":
    main()
