"""Time the training data of S at 640 (mosaic, affine, mixup, colour, flip); one JSON line for each work.

    python benchmarks/data.py                                  drawn photographs
    python benchmarks/data.py --json A.json --images DIR       a COCO dataset

Works: "data 640" (one sample, one process, files), "data 640 cache" (the same from decoded images in memory),
"loader 640 workers N" (one sample's share of an epoch of 40 batches of 8, workers started and ended with it; first_s is
the time to its first batch), and how many times faster two workers are than one, over the whole epoch and after the first
batch; that needs a machine with two idle cores.
Keys: work, median_s, min_s, max_s, and cpu_s, the median of processor seconds of the calling thread, which a
busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attrs
import cv2
import numpy as np

from yolox.config import AugmentConfig, InputSpec, LoaderConfig, Recipe
from yolox.data.coco import read_coco
from yolox.data.dataset import DetectionDataset, cache_bytes, cache_images
from yolox.data.loader import train_batches
from yolox.data.pipeline import train_sample

BATCH, BATCHES = 8, 40


def draw_dataset(folder: Path, count: int = 32) -> DetectionDataset:
    """Writes JPEGs of 640x480 that take about as long to decode as photographs, with eight boxes each."""
    rng = np.random.default_rng(0)
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    for i in range(count):
        coarse = cv2.resize(rng.integers(0, 256, (30, 40, 3)).astype(np.uint8), (640, 480))
        grain = rng.normal(0, 12, (480, 640, 1))
        cv2.imwrite(str(folder / f"{i}.jpg"), np.clip(coarse + grain, 0, 255).astype(np.uint8))
        content["images"].append({"id": i, "file_name": f"{i}.jpg", "height": 480, "width": 640})
        for x, y, w, h in rng.uniform((0, 0, 20, 20), (440, 280, 200, 200), (8, 4)).tolist():
            number = len(content["annotations"]) + 1
            content["annotations"].append(
                {"id": number, "image_id": i, "category_id": 1, "bbox": [x, y, w, h]}
            )
    (folder / "a.json").write_text(json.dumps(content))
    return read_coco(str(folder / "a.json"), str(folder))


def report(work: str, seconds: list[float], **more: float) -> None:
    """Prints one line."""
    numbers = {"median_s": median(seconds), "min_s": min(seconds), "max_s": max(seconds), **more}
    print(json.dumps({"work": work, **{k: round(v, 5) for k, v in numbers.items()}}), flush=True)


def time_calls(call: Callable[[int], object], repeats: int) -> tuple[list[float], list[float]]:
    """Returns wall and processor seconds of a call of each of the first numbers, after a few that warm up."""
    wall, processor = [], []
    for i in range(-5, repeats):
        start, spent = time.perf_counter(), time.thread_time()
        call(abs(i))
        wall.append(time.perf_counter() - start)
        processor.append(time.thread_time() - spent)
    return wall[5:], processor[5:]


def time_samples(dataset: DetectionDataset, repeats: int) -> None:
    """Time single samples, from files and from memory."""
    caches = {"data 640": None, "data 640 cache": cache_images(dataset, max_bytes=cache_bytes(dataset))}
    for work, read in caches.items():

        def sample(i: int, read=read):
            rng = np.random.default_rng((0, i))
            return train_sample(
                dataset, i % len(dataset), rng=rng, config=AugmentConfig(), spec=InputSpec(), read=read
            )

        wall, processor = time_calls(sample, repeats)
        report(work, wall, cpu_s=median(processor))


def time_loader(dataset: DetectionDataset, workers: int, repeats: int) -> tuple[float, float]:
    """Time whole epochs of batches, of a dataset repeated for that; give a sample's share of all and of all but the first."""
    recipe = Recipe(loader=LoaderConfig(batch_size=BATCH, workers=workers))
    long = repeat_images(dataset, -(-BATCHES * BATCH // len(dataset)))
    whole, after, first = [], [], []
    for i in range(repeats):
        ends, start = [], time.perf_counter()
        for _ in train_batches(long, recipe=recipe, epoch=i, augment=True):
            ends.append(time.perf_counter())
        whole.append((time.perf_counter() - start) / (len(ends) * BATCH))
        after.append((ends[-1] - ends[0]) / ((len(ends) - 1) * BATCH))
        first.append(ends[0] - start)
    report(f"loader 640 workers {workers}", whole, first_s=median(first))
    return median(whole), median(after)


def repeat_images(dataset: DetectionDataset, times: int) -> DetectionDataset:
    """Returns the dataset with every image repeated."""
    per_box = {k: np.concatenate([getattr(dataset, k)] * times)
               for k in ("boxes", "classes", "crowd", "areas", "annotation_ids")}
    counts = np.tile(np.diff(dataset.offsets), times)
    return attrs.evolve(
        dataset, file_names=dataset.file_names * times, image_ids=np.arange(len(dataset) * times),
        sizes=np.tile(dataset.sizes, (times, 1)), offsets=np.concatenate([[0], np.cumsum(counts)]), **per_box,
    )  # fmt: skip


def main() -> None:
    """Prints one line for each work."""
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--json", help="COCO annotations; without them, drawn images")
    parser.add_argument("--images", help="folder of the images")
    parser.add_argument("--repeats", type=int, default=200, help="timed samples")
    options = parser.parse_args()
    cv2.setNumThreads(1)  # one process is one thread
    with tempfile.TemporaryDirectory() as folder:
        dataset = read_coco(options.json, options.images) if options.json else draw_dataset(Path(folder))
        time_samples(dataset, options.repeats)
        _, one, two = (time_loader(dataset, workers, repeats=max(options.repeats // 60, 2)) for workers in (0, 1, 2))
        whole, after = (round(a / b, 2) for a, b in zip(one, two, strict=True))
        print(json.dumps({"work": "loader 640, two workers over one", "times": whole, "after_first": after}))


if __name__ == "__main__":
    main()
