"""Time the reference's training sample of S at 640 on the same images: `data 640` of the peer, one JSON line.

    PEER/bin/python benchmarks/data_megvii.py --json A.json --images DIR

PEER is an environment with pixeltable-yolox, a copy of Megvii's code; its package has the same name as this library's, so
that the two need environments of their own. Compare with ``benchmarks/data.py --json A.json --images DIR`` in one session.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np


def make_dataset(folder: Path, annotations: Path, images: Path):
    """Lay out the folders that the peer wants, and build its mosaic dataset with the values of S."""
    try:
        from yolox.data.data_augment import TrainTransform
        from yolox.data.datasets import CocoDataset, MosaicDetection
    except ImportError as error:
        sys.exit(f"this environment has no pixeltable-yolox ({error})")
    (folder / "annotations").mkdir()
    (folder / "annotations" / "a.json").symlink_to(annotations.resolve())
    (folder / "images").symlink_to(images.resolve())
    whole = CocoDataset(data_dir=str(folder), json_file="a.json", name="images", img_size=(640, 640),
                        preproc=TrainTransform(max_labels=50, flip_prob=0.5, hsv_prob=1.0))  # fmt: skip
    return MosaicDetection(
        whole, img_size=(640, 640), mosaic=True, preproc=TrainTransform(max_labels=120, flip_prob=0.5, hsv_prob=1.0),
        degrees=10.0, translate=0.1, mosaic_scale=(0.1, 2), mixup_scale=(0.5, 1.5), shear=2.0, enable_mixup=True,
        mosaic_prob=1.0, mixup_prob=1.0,
    )  # fmt: skip


def main() -> None:
    """Time single samples and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="COCO annotations; file names are twelve digits")
    parser.add_argument("--images", type=Path, required=True, help="folder of the images")
    parser.add_argument("--repeats", type=int, default=200, help="timed samples")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    random.seed(0)
    np.random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(Path(folder), options.json, options.images)
        seconds, processor = [], []
        for i in range(options.repeats + 5):
            start, spent = time.perf_counter(), time.thread_time()
            dataset[i % len(dataset)]
            seconds.append(time.perf_counter() - start)
            processor.append(time.thread_time() - spent)
    numbers = {"median_s": median(seconds[5:]), "min_s": min(seconds[5:]), "max_s": max(seconds[5:]),
               "cpu_s": median(processor[5:])}  # fmt: skip
    print(json.dumps({"work": "data 640, pixeltable-yolox", **{k: round(v, 5) for k, v in numbers.items()}}))


if __name__ == "__main__":
    main()
