"""The same detections get the same numbers whichever format the annotations were read from, without a JSON on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.data.folders import noise_dataset, write_as_yolo
from yolox.data.classes import with_classes
from yolox.data.dataset import ground_truth
from yolox.data.voc import read_voc_data
from yolox.data.yolo import read_yolo_data
from yolox.eval.coco import detections_to_coco, evaluate_coco
from yolox.eval.postprocess import Detections


def shaken_boxes(dataset, seed=0):
    """Each image's boxes moved by a few pixels, some with a wrong class, in random order of score."""
    rng, found = np.random.default_rng(seed), []
    for first, last in zip(dataset.offsets, dataset.offsets[1:], strict=False):
        boxes = dataset.boxes[first:last] + rng.normal(0, 1.5, (last - first, 4)).astype(np.float32)
        classes = np.where(rng.random(last - first) < 0.2, 0, dataset.classes[first:last]).astype(np.int32)
        found.append(Detections(boxes, np.sort(rng.random(last - first))[::-1], classes))
    return found


def write_voc(dataset, folder):
    for i, name in enumerate(dataset.file_names):
        objects = "".join(
            f"<object><name>{dataset.class_names[dataset.classes[row]]}</name><bndbox>"
            + "".join(f"<{key}>{value:.9f}</{key}>" for key, value in zip(
                ("xmin", "ymin", "xmax", "ymax"), dataset.boxes[row].tolist(), strict=True)) + "</bndbox></object>"
            for row in range(dataset.offsets[i], dataset.offsets[i + 1])
        )  # fmt: skip
        size = "<size><width>{1}</width><height>{0}</height></size>".format(*dataset.sizes[i])
        (folder / name).with_suffix(".xml").write_text(f"<annotation>{size}{objects}</annotation>")


def metrics(dataset, found):
    records = detections_to_coco(found, image_ids=dataset.image_ids, category_ids=dataset.category_ids)
    return evaluate_coco(json.loads(json.dumps(ground_truth(dataset))), records)


def test_every_format_is_evaluated_alike(tmp_path):
    coco = noise_dataset(tmp_path / "images", count=6, boxes=4)
    found = shaken_boxes(coco)
    for name in ("labels", "xml"):
        (tmp_path / name).mkdir()
    write_as_yolo(coco, tmp_path / "labels")
    write_voc(coco, tmp_path / "xml")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\nval: images")
    yolo = read_yolo_data(str(tmp_path / "data.yaml"), split="val")
    voc = with_classes(read_voc_data(str(tmp_path / "xml"), split="val", image_dir=str(tmp_path / "images")), ("cat", "dog"))
    want = metrics(coco, found)
    assert 0.05 < want["AP"] < 0.9
    for dataset in (yolo, voc):
        got = metrics(dataset, found)
        assert got.pop("per_class") == pytest.approx(want["per_class"], abs=1e-6)
        assert got == pytest.approx({key: value for key, value in want.items() if key != "per_class"}, abs=1e-6)
