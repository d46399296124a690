"""What the native kernels bring: one work in two processes, with and without them, called in turns.

    python benchmarks/native.py "train nano 416 b8" --rounds 9

Prints one JSON line: the median seconds of both, the median of the rounds' ratios (with / without), the smallest and largest
ratio, and the peak memory of both processes. Ratios of neighbouring calls mean something on a machine that others use, too;
seconds do not.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.asking import AskedProcess  # noqa: E402

OURS = str(Path(__file__).with_name("peer_ours.py"))


def compare(work: str, rounds: int) -> dict:
    """Call both processes `rounds` times in turns, after a first call that compiles."""

    def process(switch: str) -> AskedProcess:
        return AskedProcess(["env", f"YOLOX_NATIVE={switch}", sys.executable, OURS, work], enough=lambda: True)

    with process("1") as native, process("0") as own:
        first = {"with": native.call(), "without": own.call()}
        answers = [(native.call(), own.call()) for _ in range(rounds)]
    ratios = [one["seconds"] / other["seconds"] for one, other in answers]
    last = dict(zip(("with", "without"), answers[-1], strict=True))
    return {
        "work": work,
        "seconds": {name: median(a[i]["seconds"] for a in answers) for i, name in enumerate(last)},
        "first_call": {name: answer["seconds"] for name, answer in first.items()},
        "peak_mb": {name: answer["peak_mb"] for name, answer in last.items()},
        "ratio": median(ratios),
        "ratios": [min(ratios), max(ratios)],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", help="a work of benchmarks/works.py")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(json.dumps(compare(options.work, options.rounds)))
