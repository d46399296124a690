"""Computes the gradient bytes of a step by scale, and the time of an all-reduce of them.

    python benchmarks/scaling.py            the table of docs/scaling.md

A ring all-reduce sends 2 (N - 1) / N times the bytes through each device's link; latency is left out.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from yolox.nn import count_parameters  # noqa: E402

SCALES = ("nano", "tiny", "s", "m", "l", "x", "darknet53")
LINKS = {"10 Gb/s": 1.25e9, "100 Gb/s": 12.5e9, "200 Gb/s": 25e9}  # bytes a second, as stated, none of it lost


def gradient_bytes(parameters: int) -> int:
    """Counts the bytes of all gradients of a step: each trained parameter has one in float32."""
    return 4 * parameters


def all_reduce_ms(parameters: int, devices: int, bytes_per_second: float) -> float:
    """Compute the time of a ring all-reduce of the gradients in milliseconds.

    Example:
        >>> round(all_reduce_ms(1_250_000, 2, 1.25e9), 6)
        4.0
    """
    return 1e3 * gradient_bytes(parameters) * 2 * (devices - 1) / devices / bytes_per_second


def table(devices: tuple[int, ...] = (8, 64)) -> str:
    """Prints the table as Markdown."""
    columns = [f"{name}, {n} devices" for name in LINKS for n in devices]
    lines = ["| scale | gradients, MB | " + " | ".join(columns) + " |", "|---" * (2 + len(columns)) + "|"]
    for scale in SCALES:
        detector = importlib.import_module(f"examples.yolox_{scale}").build_detector(80)
        count = count_parameters(detector)
        times = [f"{all_reduce_ms(count, n, speed):.1f}" for speed in LINKS.values() for n in devices]
        lines.append(f"| {scale} | {gradient_bytes(count) / 1e6:.1f} | " + " | ".join(times) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
