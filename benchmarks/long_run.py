"""Memory of a long training run on drawn images: it has to stay flat, and nothing may be left behind.

    python benchmarks/long_run.py --steps 2000

Runs `examples/yolox_nano.py train` at 64 px with two data workers, an evaluation after every fifth epoch of 50 steps and a
checkpoint after every tenth step, and reads from outside, twice a second, what the process and all its children take
(proportional set size: pages that several processes share are counted once) and what is resident of the main one. Prints one
JSON line: megabytes (2**20 bytes) in the epoch after step 200, in the epoch after it that took the most and in the last, the
growth from the first to the second, and what was left behind. What an epoch takes is the median of what was read in it, as data
workers come and go. Exit status 1 above 5 % for all or for the main process, or if anything is left.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.leftovers import group_of, shared_memory  # noqa: E402
from yolox.data.synthetic import SyntheticConfig, write_synthetic  # noqa: E402

FROM_STEP, MOST_GROWTH = 200, 0.05
EPOCH, BATCH = 50, 2
FAREWELL = 20.0  # seconds; data workers look for their parent once a second


class Sample(NamedTuple):
    """Steps of the epochs that are done, megabytes resident in the main process and taken by all, and how many these are."""

    step: int
    main: float
    total: float
    processes: float


def proportional_mb(pid: int) -> float:
    """Returns the memory of a process in megabytes: its own pages, and its share of shared ones."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(text.split("Pss:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0  # it has ended


def observe(process: subprocess.Popen, history: Path, *, steps_per_epoch: int, pause: float = 0.5) -> list[Sample]:
    """Watch a run until it ends.

    Args:
        process: the run.
        history: its table, one line an epoch after the first.
        steps_per_epoch: of the run.
        pause: seconds between two looks.
    """
    samples = []
    while process.poll() is None:
        lines = history.read_text().count("\n") if history.exists() else 0
        try:
            tree = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
            main = psutil.Process(process.pid).memory_info().rss / 2**20
        except psutil.NoSuchProcess:
            break
        step, total = max(lines - 1, 0) * steps_per_epoch, sum(map(proportional_mb, tree))
        samples.append(Sample(step, main, total, len(tree)))
        time.sleep(pause)
    process.wait()
    return samples


def usual(samples: Sequence[Sample], first: int, end: float = float("inf")) -> Sample:
    """Returns the medians of what was read while steps from `first` on and before `end` were done.

    Raises:
        ValueError: nobody looked then.
    """
    found = [sample for sample in samples if first <= sample.step < end]
    if not found:
        raise ValueError(f"nothing was read between the steps {first} and {end}")
    return Sample(*(median(column) for column in zip(*found, strict=True)))


def left_behind(leader: int, before: set[str]) -> list[str]:
    """Name what is left of a process group that ended, and of its shared memory, after some seconds."""
    end = time.monotonic() + FAREWELL
    while True:
        left = [f"process {pid}" for pid in group_of(leader)] + sorted(shared_memory() - before)
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.2)


def command_of(folder: Path, steps: int, workers: int) -> list[str]:
    """Draws the images and returns the command: mosaic and mixup until the last quarter, a rate that stays finite."""
    argv = []
    for seed, (name, images) in enumerate({"train": BATCH * EPOCH, "val": 20}.items()):
        config = SyntheticConfig(image_size=(96, 128), sides=(20, 60))
        write_synthetic(folder / name, images=images, seed=seed, config=config)
        argv += [f"--{name}-json", folder / name / "instances.json", f"--{name}-images", folder / name / "images"]
    epochs = steps // EPOCH
    options = {
        "epochs": epochs, "plain-epochs": epochs // 4, "eval-interval": 5, "plain-eval-interval": 5, "save-steps": 10,
        "input-size": 64, "batch-size": BATCH, "max-truths": 40, "workers": workers, "mixup-prob": 1.0,
        "lr": 0.001, "warmup-epochs": 1, "flat-epochs": 1, "output": folder / "run",
    }  # fmt: skip
    argv += [part for name, value in options.items() for part in (f"--{name}", value)]
    argv += ["--multiscale-sizes"]  # none
    return [sys.executable, str(ROOT / "examples/yolox_nano.py"), "train", *map(str, argv)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    start, before = time.perf_counter(), shared_memory()
    with tempfile.TemporaryDirectory() as folder:
        command = command_of(Path(folder), options.steps, options.workers)
        process = subprocess.Popen(command, stdout=sys.stderr, start_new_session=True)
        try:
            samples = observe(process, Path(folder) / "run/history.csv", steps_per_epoch=EPOCH)
        finally:
            process.kill()  # Ctrl-C does not reach it
    left = left_behind(process.pid, before)
    first, *later = (usual(samples, step, step + EPOCH) for step in range(FROM_STEP, options.steps, EPOCH))
    growths = {name: max(getattr(e, name) for e in later) / getattr(first, name) - 1 for name in ("main", "total")}
    result = {
        "work": "memory of a long run",
        "steps": samples[-1].step,
        **{f"{name}_growth": round(value, 4) for name, value in growths.items()},
        **{f"{name}_mb_after_step_200": round(getattr(first, name)) for name in growths},
        **{f"{name}_mb_in_last_epoch": round(getattr(later[-1], name)) for name in growths},
        "left_behind": left,
        "seconds": round(time.perf_counter() - start),
    }
    print(json.dumps(result))
    return int(max(growths.values()) > MOST_GROWTH or bool(left) or process.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
