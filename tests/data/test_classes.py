"""Classes in another order: as if the annotations had been read in that order."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from tests.data.folders import noise_dataset
from yolox.data.classes import with_classes
from yolox.data.coco import read_coco
from yolox.errors import DataError


def test_the_same_as_reading_in_that_order(tmp_path):
    dataset, names = noise_dataset(tmp_path, count=5), ("bird", "dog", "cow", "cat")
    want = read_coco(str(tmp_path / "a.json"), str(tmp_path), class_names=names)
    got = with_classes(dataset, names)
    assert (got.classes[0], dataset.classes[0]) in [(1, 1), (3, 0)]
    for field in attrs.fields(type(got)):
        np.testing.assert_array_equal(getattr(got, field.name), getattr(want, field.name))


def test_classes_that_are_not_wanted_are_named(tmp_path):
    with pytest.raises(DataError, match="classes cat are none of the 1 wanted"):
        with_classes(noise_dataset(tmp_path, count=1), ("dog",))


def test_a_dataset_without_classes_gets_them(tmp_path):
    dataset = attrs.evolve(
        noise_dataset(tmp_path, count=2, boxes=0), classes=np.zeros(0, np.int32), class_names=(), category_ids=()
    )
    assert with_classes(dataset, ("a", "b")).category_ids == (1, 2)
