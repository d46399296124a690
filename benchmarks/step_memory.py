"""Memory and arithmetic of a training step by scale, computed from shapes: what to expect where nothing was measured.

    python benchmarks/step_memory.py            the table of docs/performance.md

What the backward pass needs is counted as the outputs of every convolution, normalisation and activation in float32, as
if a compiler shared none of them; what lasts as weights, momenta and averages, with gradients. Concatenations, the work
space of the kernels, the assignment (megabytes) and the graph itself are left out.
"""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mindspore import nn, ops  # noqa: E402

from yolox.nn import ConvBNAct, count_flops, count_parameters  # noqa: E402

SCALES = {"nano": 416, "tiny": 416, "s": 640, "m": 640, "l": 640, "x": 640, "darknet53": 640}
FLOAT32 = 4


def activation_elements(detector: nn.Cell, size: int) -> int:
    """Counts the output values of the layers for one image: convolution, BN and activation of each block.

    Args:
        detector: of one of the scales.
        size: side of the image in pixels, a multiple of 32.
    """
    total = 0

    def add(_cell, _inputs, output):
        nonlocal total
        total += 3 * math.prod(output.shape[1:])

    blocks = [cell for _, cell in detector.cells_and_names() if isinstance(cell, ConvBNAct)]
    hooks = [block.register_forward_hook(add) for block in blocks]
    detector(ops.zeros((1, 3, 32, 32)))
    for hook in hooks:
        hook.remove()
    return total * (size // 32) ** 2


def step_bytes(detector: nn.Cell, size: int, batch: int) -> tuple[int, int]:
    """Compute the bytes of what lasts between steps, gradients with it, and of the activations of a batch."""
    lasting = count_parameters(detector) * FLOAT32 * 4  # weights, gradients, momenta, averages
    return lasting, activation_elements(detector, size) * FLOAT32 * batch


def table(batches: tuple[int, ...] = (1, 8, 16)) -> str:
    """Prints the table as Markdown."""
    columns = " | ".join(f"batch {batch}, GB" for batch in batches)
    head = f"| scale | size | weights to averages, MB | {columns} | TFLOP a step at batch 8 |"
    lines = [head, "|---" * (4 + len(batches)) + "|"]
    for scale, size in SCALES.items():
        detector = importlib.import_module(f"examples.yolox_{scale}").build_detector(80)
        lasting = step_bytes(detector, size, 1)[0]
        sums = [f"{sum(step_bytes(detector, size, batch)) / 1e9:.1f}" for batch in batches]
        flops = 3 * 8 * count_flops(detector, (size, size)) / 1e12  # backward twice forward
        lines.append(f"| {scale} | {size} | {lasting / 1e6:.0f} | " + " | ".join(sums) + f" | {flops:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
