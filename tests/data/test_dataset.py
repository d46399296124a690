"""Datasets and samples whose fields do not fit each other."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from tests.data.folders import coco_dict, write_image, write_json
from yolox.data.coco import read_coco
from yolox.data.dataset import DetectionDataset, ground_truth, image_labels, select_images, trainable
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
    with pytest.raises(ValueError, match=r"image has shape \(4, 4\), want \[H,W,C\]"):
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


def test_selected_images_keep_their_boxes_and_what_was_left_out(tmp_path):
    """By the ground truth that evaluation gets, which names everything by id."""
    counts = [2, 0, 3, 1]
    boxes = [(i, j) for i, count in enumerate(counts) for j in range(count)]
    rows = [(10 * i + j, i, 1 + (i + j) % 2, (j, 1, 5 + i, 5), {"iscrowd": int(j == 2)}) for i, j in boxes]
    for i in range(4):
        write_image(tmp_path / f"{i}.png", np.zeros((20 + i, 30, 3), np.uint8))
    categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    content = {**coco_dict([(i, f"{i}.png", 20 + i, 30) for i in range(4)], rows), "categories": categories}
    dataset = read_coco(write_json(tmp_path / "a.json", content), str(tmp_path))
    dataset = attrs.evolve(dataset, left_out=np.array([[2, 99], [0, 98]]))
    for indices in ([2, 0], [1], [3, 2, 1, 0], []):
        part = select_images(dataset, indices)
        whole, some = ground_truth(dataset), ground_truth(part)
        assert [image["id"] for image in some["images"]] == indices and some["categories"] == whole["categories"]
        want = [row for i in indices for row in whole["annotations"] if row["image_id"] == i]
        assert some["annotations"] == want
        assert part.left_out.tolist() == [[indices.index(i), box] for i, box in ((2, 99), (0, 98)) if i in indices]
        assert part.sizes.tolist() == [[20 + i, 30] for i in indices]
    with pytest.raises(IndexError):
        select_images(dataset, [4])
