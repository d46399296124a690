"""Statistics of labels, counted again with loops, and one case by hand."""

from __future__ import annotations

import json

import attrs
import numpy as np
import pytest

from yolox.data.check import PLACES, label_statistics
from yolox.data.coco import read_coco
from yolox.data.synthetic import write_synthetic


@pytest.fixture
def dataset(tmp_path):
    return read_coco(write_synthetic(tmp_path, images=6, seed=0), tmp_path / "images")


def test_counts_are_those_of_a_loop(dataset):
    crowd = np.arange(len(dataset.boxes)) % 5 == 0
    dataset = attrs.evolve(dataset, crowd=crowd)
    found = label_statistics(dataset, input_size=(64, 96))
    per_class, sides, places, counts = [0] * 3, [], np.zeros((PLACES, PLACES), int), []
    for image, (height, width) in enumerate(dataset.sizes):
        rows = [r for r in range(dataset.offsets[image], dataset.offsets[image + 1]) if not crowd[r]]
        counts.append(len(rows))
        for x1, y1, x2, y2 in dataset.boxes[rows].astype(float):
            sides.append(((x2 - x1) * (y2 - y1)) ** 0.5 * min(64 / height, 96 / width))
            places[int((y1 + y2) / 2 / height * PLACES), int((x1 + x2) / 2 / width * PLACES)] += 1
        for row in rows:
            per_class[dataset.classes[row]] += 1
    assert found["per_class"] == per_class and found["objects"] == len(sides) == sum(found["sides"])
    assert found["small_share"] == pytest.approx(np.mean(np.array(sides) < 8))
    edges = found["side_edges"]
    assert found["sides"] == [sum(a <= side < b for side in sides) for a, b in zip(edges, edges[1:], strict=False)]
    assert found["per_image"] == [counts.count(number) for number in range(max(counts) + 1)]
    assert found["places"] == places.tolist() and not np.array_equal(places, places.T)


def test_two_objects_by_hand(dataset):
    one = attrs.evolve(
        dataset,
        offsets=np.array([0, 2, 2, 2, 2, 2, 2]),
        boxes=np.array([[0, 0, 8, 8], [96, 0, 128, 32]], np.float32),
        classes=np.array([2, 2]),
        **{name: getattr(dataset, name)[:2] for name in ("crowd", "areas", "annotation_ids")},
    )
    found = label_statistics(one, input_size=(64, 64))  # images of 128 px, halved
    assert found["per_class"] == [0, 0, 2] and found["per_image"] == [5, 0, 1]
    assert found["small_share"] == 0.5  # 4 px and 16 px
    assert found["places"][0][0] == 1 and found["places"][3][21] == 1  # 16/128 down, 112/128 across
    assert json.loads(json.dumps(found)) == found


def test_images_without_objects_are_counted(dataset):
    none = {name: getattr(dataset, name)[:0] for name in ("boxes", "classes", "crowd", "areas", "annotation_ids")}
    found = label_statistics(attrs.evolve(dataset, offsets=np.zeros(7, int), **none), input_size=(64, 64))
    assert found["per_image"] == [6] and found["objects"] == 0 and sum(found["sides"]) == 0
