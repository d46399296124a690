"""Resident memory of a long training run on drawn images: it has to stay flat.

    python benchmarks/long_run.py --steps 2000

Trains nano at 64 px with the real loss, loader and loop, and prints one JSON line: megabytes of the process and of
its data workers at step 200 and at the end, and the growth between them. Exit status 1 above 5 %.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from yolox_nano import EXPERIMENT  # noqa: E402

from yolox import create_train_state, fit, initialise, read_coco, train_batches  # noqa: E402
from yolox.cli.device import use_device  # noqa: E402
from yolox.config import InputSpec, LoaderConfig, OptimConfig, Recipe  # noqa: E402
from yolox.data.shapes import ShapesConfig, write_shapes  # noqa: E402

FROM_STEP, MOST_GROWTH = 200, 0.05
EPOCH = 50


def resident_mb(process: str = "self") -> float:
    """Read the resident memory of a process from /proc, in megabytes."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def workers_mb() -> float:
    """Add up the resident memory of the process's children, shared pages counted in each."""
    children = Path("/proc/self/task").glob("*/children")
    total = 0.0
    for child in " ".join(path.read_text() for path in children).split():
        try:
            total += resident_mb(child)
        except (OSError, IndexError):
            pass  # it ended meanwhile
    return total


class Memory:
    """Listener that reads the memory every ten steps."""

    def __init__(self) -> None:
        self.samples: list[tuple[int, float, float]] = []

    def on_step(self, report) -> None:
        if report.step % 10 == 0:
            self.samples.append((report.step, resident_mb(), workers_mb()))

    def on_epoch(self, report) -> None:
        print(f"step {report.position.epoch * EPOCH}: {resident_mb():.0f} MB", file=sys.stderr)


def small_recipe(steps: int, workers: int) -> Recipe:
    """Give a recipe of 64 px, mosaic and mixup until the last epochs, and a learning rate that stays finite."""
    return Recipe(
        epochs=steps // EPOCH,
        plain_epochs=steps // EPOCH // 4,
        input=InputSpec(input_size=(64, 64)),
        loader=LoaderConfig(batch_size=2, max_truths=40, workers=workers),
        optim=OptimConfig(lr=0.001, lr_per_image=None, warmup_epochs=1, flat_epochs=1),
    )


def train(folder: Path, steps: int, workers: int) -> Memory:
    """Train on 100 drawn images."""
    write_shapes(folder, images=2 * EPOCH, seed=0, config=ShapesConfig(image_size=(96, 128), sides=(20, 60)))
    dataset = read_coco(str(folder / "instances.json"), str(folder / "images"))
    recipe, memory = small_recipe(steps, workers), Memory()
    detector = EXPERIMENT.build_detector(len(dataset.class_names))
    initialise(detector, seed=0)
    state = create_train_state(detector)

    def batches(epoch, augment, first):
        return train_batches(dataset, recipe=recipe, epoch=epoch, augment=augment, first=first)

    fit(
        EXPERIMENT.make_step(detector, state, recipe),
        recipe=recipe,
        steps_per_epoch=EPOCH,
        train_batches=batches,
        listener=memory,
        parameters=state.averaged,
    )
    return memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    start = time.perf_counter()
    use_device("CPU")  # as the scripts of examples/ do
    with tempfile.TemporaryDirectory() as folder:
        samples = train(Path(folder), options.steps, options.workers).samples
    first = next(sample for sample in samples if sample[0] >= FROM_STEP)
    growth = max(rss for step, rss, _ in samples if step >= FROM_STEP) / first[1] - 1
    facts = {
        "work": "memory of a long run",
        "steps": samples[-1][0],
        "mb_at_step_200": round(first[1]),
        "mb_at_end": round(samples[-1][1]),
        "growth_to_highest": round(growth, 4),
        "workers_mb_at_end": round(samples[-1][2]),
        "seconds": round(time.perf_counter() - start),
    }
    print(json.dumps(facts))
    return int(growth > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
