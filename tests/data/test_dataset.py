"""Datasets and samples whose fields do not fit each other."""

from __future__ import annotations

import numpy as np
import pytest

from yolox.data.dataset import DetectionDataset
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
