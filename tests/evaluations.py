"""An evaluation with numbers that are worth comparing, without a network: what tests/processes.py shares over processes.

The images say in their pixels which they are, and the step answers with their objects, moved, and with mistakes. All that
comes after the network is the library's own: loader, NMS, the gathering of the ranks, pycocotools.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from yolox.config import InputSpec, PostprocessConfig
from yolox.data.coco import read_coco
from yolox.data.dataset import DetectionDataset
from yolox.distributed import Group
from yolox.eval.coco import METRIC_NAMES
from yolox.eval.evaluate import make_evaluator

COUNTS = (7, 5, 3)  # images: uneven shares; of four processes and three images, one has none
SIZE, CLASSES = 224, 3
SIDES = (18, 24, 50, 80, 110, 130)  # COCO's small, medium and large


def image_objects(image: int) -> np.ndarray:  # [6,5]
    """Returns xywh and class of the objects of an image."""
    rng = np.random.default_rng(image)
    sides = np.array(SIDES)[:, None] * rng.uniform(0.9, 1.1, (len(SIDES), 2))
    low = rng.uniform(0, SIZE - sides)
    return np.column_stack([low, sides, rng.integers(0, CLASSES, len(SIDES))])


def predictions_of(image: int) -> np.ndarray:  # [12,5+C]
    """Returns what a network might have decoded: objects that are moved, as many mistakes, and scores of which many are equal."""
    rng, objects = np.random.default_rng(1000 + image), image_objects(image)
    moved = objects[:, :4] + rng.normal(0, 0.06, (len(objects), 4)) * objects[:, [2, 3, 2, 3]]
    wrong = np.column_stack([rng.uniform(0, SIZE, (len(objects), 2)), rng.uniform(15, 120, (len(objects), 2))])
    boxes = np.concatenate([moved, wrong])
    boxes[:, :2] += boxes[:, 2:] / 2
    scores = np.round(rng.uniform(0.1, 0.9, len(boxes)), 1)
    return np.column_stack([boxes, scores, np.eye(CLASSES)[np.tile(objects[:, 4].astype(int), 2)]]).astype(np.float32)


def write_set(folder: Path, count: int) -> DetectionDataset:
    """Write images of which each pixel is ten times the image's number, and their annotations."""
    folder.mkdir(parents=True)
    objects = [image_objects(image) for image in range(count)]
    for image in range(count):
        cv2.imwrite(str(folder / f"{image}.png"), np.full((SIZE, SIZE, 3), 10 * image, np.uint8))
    annotations = [
        {"image_id": image, "category_id": int(kind), "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for image, rows in enumerate(objects)
        for *box, kind in rows.tolist()
    ]
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": SIZE, "width": SIZE} for i in range(count)],
        "categories": [{"id": kind, "name": f"class {kind}"} for kind in range(CLASSES)],
        "annotations": [{"id": number, **each} for number, each in enumerate(annotations, start=1)],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return read_coco(str(folder / "instances.json"), str(folder))


class Exported:
    """Stands in for an exported file: a step with metadata."""

    metadata = SimpleNamespace(input=InputSpec(input_size=(SIZE, SIZE)), class_names=tuple(f"class {i}" for i in range(CLASSES)))

    def __call__(self, images: np.ndarray) -> np.ndarray:  # [B,H,W,3] -> [B,12,5+C]
        """Returns the predictions of the images whose number is in their pixels."""
        return np.stack([predictions_of(int(image[0, 0, 0]) // 10) for image in np.asarray(images)])


def metrics_of_shares(folder: Path, group: Group) -> dict[str, np.ndarray]:
    """Evaluate datasets together; the twelve numbers by the count of images, as this process gets them."""
    found = {}
    evaluator = make_evaluator(Exported(), postprocess=PostprocessConfig(), batch_size=2, workers=0, group=group)
    for count in COUNTS:
        metrics = evaluator(write_set(folder / f"images{count}_{group.rank}", count))
        found[f"metrics{count}"] = np.array([metrics[name] for name in METRIC_NAMES], np.float64)
    return found
