"""Graphs for tests/test_static_graph.py, compiled in a process of their own that dumps them.

    python tests/graphs.py CPU | Ascend | dynamic | fallback
"""

from __future__ import annotations

import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import ops

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).parent)]

from processes import train  # noqa: E402

from yolox.distributed import Group  # noqa: E402
from yolox.training.step import assign_fn_for  # noqa: E402


@ms.jit
def dynamic(x):
    """Its shape follows the values."""
    return ops.nonzero(x).sum()


@ms.jit
def fallback(x):
    """Part of it runs in the interpreter."""
    return x + ms.Tensor(np.random.default_rng(0).normal(size=x.asnumpy().shape).astype(np.float32))


def main(kind: str) -> None:
    """Compile one of the graphs."""
    if kind in ("CPU", "Ascend"):  # the training step with the assignment for that device, compiled on CPU
        train(Group(), steps=1, assign_fn=assign_fn_for(kind))
    else:
        {"dynamic": dynamic, "fallback": fallback}[kind](ms.Tensor([1.0, 0.0]))


if __name__ == "__main__":
    main(sys.argv[1])
