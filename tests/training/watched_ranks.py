"""What the processes of tests/training/test_signals_watchdog.py run: steps of a collective, in one of which a rank fails.

    python tests/training/watched_ranks.py FAULT RANK LIMIT STEPS MODE
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import mindspore as ms
from mindspore import ops

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from yolox.distributed import join_group  # noqa: E402
from yolox.training.signals import Watchdog  # noqa: E402

ADVICE = "continue with: train --resume RUN"


def fail(fault: str) -> None:
    """Does in this process what the fault says."""
    if fault in ("kill", "stop"):
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[fault])
    time.sleep(1000 if fault == "hang" else float(fault.removeprefix("late")) if fault.startswith("late") else 0)


def main(fault: str, rank: str, limit: str, mode: str) -> None:
    """Runs 20 steps; in the tenth one the fault happens on the given rank."""
    ms.set_device("CPU")
    group = join_group(seconds=float(limit), advice=ADVICE)
    add = ops.AllReduce()

    def step(x):
        return add(x)

    step = ms.jit(step) if mode == "graph" else step
    with Watchdog(float(limit), group=group, advice=ADVICE) as watchdog:
        for number in range(20):
            watchdog.mark(f"training step {number}", slow=number == 0)
            if number == 10:
                print("FAULT", time.time(), flush=True)
                if rank in (str(group.rank), "all"):
                    fail(fault)
            assert step(ms.Tensor([1.0])).asnumpy()[0] == group.world
    print("all steps are done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
