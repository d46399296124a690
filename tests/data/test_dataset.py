"""Datasets and samples whose fields do not fit each other."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.folders import coco_dict, write_image, write_json
from yolox.data.coco import read_coco
from yolox.data.dataset import DetectionDataset, image_labels, trainable
from yolox.data.sample import Sample


def test_a_dataset_whose_fields_do_not_fit_is_refused():
    none = np.zeros(0)
    with pytest.raises(ValueError, match="do not fit"):
        DetectionDataset(
            image_dir="",
            file_names=("a",),
            image_ids=none,
            sizes=none,
            offsets=np.zeros(2, int),
            boxes=none,
            classes=none,
            crowd=none,
            areas=none,
            annotation_ids=none,
            class_names=(),
            category_ids=(),
        )


def test_a_sample_whose_rows_do_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"boxes \(2, 4\), want \(1, 4\)"):
        Sample(np.zeros((4, 4, 3), np.uint8), np.zeros((2, 4), np.float32), np.zeros(1, np.int32))
    with pytest.raises(ValueError, match=r"image has shape \(4, 4\), want \[H,W,3\]"):
        Sample(np.zeros((4, 4), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int32))


def test_what_can_be_trained_on_is_what_image_labels_returns(tmp_path):
    """Crowds, boxes without area and boxes whose area lies outside are not; checked against the boxes image by image."""
    boxes = [(1, 1, 5, 5), (1, 1, 0, 5), (-3, 2, 5, 5), (25, 15, 9, 9), (30, 3, 0, 0), (28.5, 19, 5, 0.5), (0, 0, 30, 20)]
    rows = [(i, i % 2, 1, box, {"iscrowd": int(i in (0, 6))}) for i, box in enumerate(boxes)]
    for i in range(2):
        write_image(tmp_path / f"{i}.png", np.zeros((20, 30, 3), np.uint8))
    content = coco_dict([(i, f"{i}.png", 20, 30) for i in range(2)], rows)
    dataset = read_coco(write_json(tmp_path / "a.json", content), str(tmp_path))
    mask = trainable(dataset)
    assert sorted(dataset.annotation_ids[mask].tolist()) == [2, 3, 5]
    for i in range(2):
        assert mask[dataset.offsets[i] : dataset.offsets[i + 1]].sum() == len(image_labels(dataset, i)[0]) > 0
