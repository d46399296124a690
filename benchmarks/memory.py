"""Memory of a dataset of COCO's size, read from a generated annotation file; one JSON line.

    python benchmarks/memory.py                            118,000 images, 860,000 boxes
    python benchmarks/memory.py --images 5000 --boxes 36000

Keys: dataset_mb (what the flat arrays and the file names take), resident_mb (growth of the process's resident memory by
reading, everything counted that was not given back), peak_mb (growth while reading), read_s, check_s, the check before
training without the headers of the images, which are empty files here, and truths_mb (growth by the COCO ground truth in
memory, which only evaluation makes, of its own images). MB are 10**6 bytes.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attrs
import numpy as np
import psutil

from yolox.data.check import check_dataset
from yolox.data.coco import read_coco
from yolox.data.dataset import DetectionDataset, ground_truth


def write_annotations(folder: Path, images: int, boxes: int) -> Path:
    """Writes a file like COCO's instances_train2017.json, with outlines, and empty image files."""
    rng = np.random.default_rng(0)
    names = [f"{i:012d}.jpg" for i in range(images)]
    for name in names:
        os.close(os.open(folder / name, os.O_CREAT))
    corners, sides = rng.uniform(0, 300, (boxes, 2)).round(2), rng.uniform(4, 150, (boxes, 2)).round(2)
    image_indices, outlines = rng.integers(0, images, boxes).tolist(), rng.uniform(0, 300, (boxes, 24)).round(2).tolist()
    rows = zip(image_indices, np.hstack([corners, sides]).tolist(), outlines, strict=True)
    content = {
        "images": [{"id": i, "file_name": name, "height": 480, "width": 640} for i, name in enumerate(names)],
        "annotations": [{"id": i, "image_id": index, "category_id": i % 80 + 1, "bbox": box, "area": box[2] * box[3],
                         "iscrowd": 0, "segmentation": [outline]} for i, (index, box, outline) in enumerate(rows)],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, 81)],
    }  # fmt: skip
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def dataset_bytes(dataset: DetectionDataset) -> int:
    """Counts the bytes of a dataset's arrays, tuples and names."""
    values = [getattr(dataset, field.name) for field in attrs.fields(type(dataset))]
    arrays = sum(value.nbytes for value in values if isinstance(value, np.ndarray))
    tuples = [value for value in values if isinstance(value, tuple)]
    return arrays + sum(sys.getsizeof(value) + sum(map(sys.getsizeof, value)) for value in tuples)


def measure(path: Path) -> dict:
    """Reads the file in this process and measures."""
    process = psutil.Process()
    before, start = process.memory_info().rss, time.perf_counter()
    dataset = read_coco(str(path), str(path.parent))
    seconds = time.perf_counter() - start
    gc.collect()
    after, peak = process.memory_info().rss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.perf_counter()
    check_dataset(dataset, input_size=(640, 640), max_gt=120, probe=lambda *_: None)
    times = {"read_s": seconds, "check_s": time.perf_counter() - start}
    sizes = {"dataset_mb": dataset_bytes(dataset), "resident_mb": after - before, "peak_mb": peak - before}
    checked, content = process.memory_info().rss, ground_truth(dataset)
    sizes["truths_mb"] = process.memory_info().rss - checked if content else 0
    return {**{k: round(v / 1e6, 1) for k, v in sizes.items()}, **{k: round(v, 2) for k, v in times.items()}}


def main() -> None:
    """Writes the file in another process, so that only reading is measured; then reads and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--boxes", type=int, default=860_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if os.fork() == 0:
            write_annotations(Path(folder), options.images, options.boxes)
            os._exit(0)
        if os.wait()[1]:
            sys.exit("the annotation file could not be written")
        work = f"dataset of {options.images} images, {options.boxes} boxes"
        print(json.dumps({"work": work, **measure(Path(folder) / "instances.json")}))


if __name__ == "__main__":
    main()
