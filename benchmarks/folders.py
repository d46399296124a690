"""Works on a folder of drawn photographs: evaluation and prediction with everything around the network.

The detector has random weights, so that hardly anything passes the score threshold: what is timed is reading, resizing, the
network and decoding. A call is one of `yolox.evaluate` or `yolox.predict`, as a user makes it: with MindSpore it compiles the
detector, with an engine it hashes the weights and opens the export of an earlier call. Evaluation reads in two worker
processes and ends in pycocotools.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

IMAGES, SIDES, SIZE = 31, (480, 640), 640


def write_photographs(folder: Path) -> list[Path]:
    """Writes JPEGs of noise that is smooth as photographs are; returns their paths."""
    paths = []
    for number in range(IMAGES):
        coarse = np.random.default_rng(number).integers(0, 256, (12, 16, 3)).astype(np.uint8)
        paths.append(folder / f"{number:03d}.jpg")
        cv2.imwrite(str(paths[-1]), cv2.resize(coarse, SIDES[::-1], interpolation=cv2.INTER_CUBIC))
    return paths


def _coco(folder: Path, paths: list[Path]):
    """Returns the photographs as a dataset of 80 classes with one box an image."""
    from yolox import read_coco
    from yolox.data.classes import COCO_NAMES

    images = [{"id": i, "file_name": path.name, "height": SIDES[0], "width": SIDES[1]} for i, path in enumerate(paths)]
    boxes = [{"id": i + 1, "image_id": i, "category_id": 1 + i % 80, "bbox": [50, 60, 200, 100], "area": 20000, "iscrowd": 0}
             for i in range(len(paths))]  # fmt: skip
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(COCO_NAMES)]
    file = folder / "instances.json"
    file.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return read_coco(file, folder)


def folder_work(kind: str, engine: str) -> Callable[[], object]:
    """Returns the call that evaluates S, or predicts with it, on the folder, one image at a time.

    An engine that needs an export makes it at the first call on a machine and finds it in the user's cache later.
    """
    import yolox
    from yolox.nn import initialise

    folder = tempfile.TemporaryDirectory()
    paths = write_photographs(Path(folder.name))
    detector = yolox.models.build("s", 80)
    initialise(detector, seed=0)
    if kind == "eval":
        dataset = _coco(Path(folder.name), paths)
        return lambda folder=folder: yolox.evaluate(detector, dataset, batch_size=1, engine=engine)
    return lambda folder=folder: yolox.predict(detector, paths, engine=engine)
