"""Detections to a table of numbers and back."""

import numpy as np
import pytest

from yolox.eval.postprocess import Detections
from yolox.eval.tables import detections_to_table, table_to_detections


def some(count, seed):
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(0, 1e4, (count, 4)).astype(np.float32)
    return Detections(boxes, rng.random(count).astype(np.float32), rng.integers(0, 80, count).astype(np.int32))


def test_a_table_comes_back_with_every_bit_and_in_the_order_of_images():
    found = [some(3, 0), some(0, 1), some(2, 2), some(0, 3)]
    table = detections_to_table([found[2], found[0], found[1], found[3]], [2, 0, 1, 3])
    for got, want in zip(table_to_detections(table, 4), found, strict=True):
        for name in ("boxes", "scores", "classes"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
            assert getattr(got, name).dtype == getattr(want, name).dtype


def test_nothing_found_is_a_table_without_rows():
    assert detections_to_table([], []).shape == detections_to_table([some(0, 0)], [0]).shape == (0, 7)
    assert [len(each) for each in table_to_detections(np.zeros((0, 7)), 2)] == [0, 0]


def test_counts_that_differ_and_unknown_images_are_refused():
    with pytest.raises(ValueError, match="got 1 detections for 2 images"):
        detections_to_table([some(1, 0)], [0, 1])
    with pytest.raises(ValueError, match="has image 5 or below 0, want 0 to 3"):
        table_to_detections(detections_to_table([some(1, 0)], [5]), 4)
