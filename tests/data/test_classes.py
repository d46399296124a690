"""Classes in another order: as if the annotations had been read in that order."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from tests.data.folders import noise_dataset
from yolox.data.classes import (
    COCO_NAMES,
    as_one_class,
    inverse_class_weights,
    match_detector,
    rename_classes,
    with_classes,
)
from yolox.data.coco import read_coco
from yolox.data.dataset import trainable
from yolox.errors import DataError


def test_the_same_as_reading_in_that_order(tmp_path):
    dataset, names = noise_dataset(tmp_path, count=5), ("bird", "dog", "cow", "cat")
    want = read_coco(str(tmp_path / "a.json"), str(tmp_path), class_names=names)
    got = with_classes(dataset, names)
    assert (got.classes[0], dataset.classes[0]) in [(1, 1), (3, 0)]
    for field in attrs.fields(type(got)):
        np.testing.assert_array_equal(getattr(got, field.name), getattr(want, field.name))


def test_classes_that_are_not_wanted_are_named(tmp_path):
    with pytest.raises(DataError, match="none of the 1 wanted: 1 of 2 .cat.\nwanted and not in the dataset: none"):
        with_classes(noise_dataset(tmp_path, count=2), ("dog",))


def named(dataset, *names):
    """Changes the class names of a dataset of two classes."""
    return attrs.evolve(dataset, class_names=names)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Four images with boxes of both classes."""
    return noise_dataset(tmp_path_factory.mktemp("two"), count=4)


def test_unused_classes_are_left_out_and_named(two):
    """A validation set of COCO with two categories more that own no box."""
    more = attrs.evolve(two, class_names=("dog", "street sign", "cat", "hat"), category_ids=(1, 5, 7, 9))
    more = attrs.evolve(more, classes=two.classes * 2)
    got = match_detector(more, ("cat", "dog"), 2)
    assert got.class_names == ("cat", "dog") and got.classes.tolist() == (1 - two.classes).tolist()
    assert got.category_ids == (7, 1)
    assert got.notes == ("left out 2 classes without a box, none of the 2 wanted (street sign, hat)",)


def test_an_unused_class_that_may_be_another_spelling_is_an_error(two):
    more = attrs.evolve(two, class_names=("dog", "cat", "tvmonitor"), category_ids=(1, 5, 7))
    with pytest.raises(DataError, match=r"tvmonitor \(tv\?\)"):
        match_detector(more, ("cat", "dog", "tv"), 3)


@pytest.mark.parametrize("spelt", ["tvmonitor", "TV", "t_v"])
def test_one_name_that_differs_is_an_error_with_the_close_spelling_and_never_matched_by_position(two, spelt):
    with pytest.raises(DataError, match=rf"{spelt} \(tv\?\)\)\nwanted and not in the dataset: tv; .*`class_map`"):
        match_detector(named(two, spelt, "dog"), ("dog", "tv"), 2)


def test_eighty_classes_without_names_are_cocos_where_any_name_is(two):
    with pytest.raises(DataError, match=r"tvmonitor \(tv\?\)"):
        match_detector(named(two, "dog", "tvmonitor"), None, 80)
    got = match_detector(named(two, "dog", "cat"), None, 80)
    assert got.class_names == COCO_NAMES and set(got.classes.tolist()) == {15, 16} and got.notes == ()
    with pytest.raises(DataError, match="has 2 classes, the detector predicts 80 without names"):
        match_detector(named(two, "cell", "wall"), None, 80)


def test_an_order_that_is_guessed_is_said(two, caplog):
    got = match_detector(named(two, "cell", "wall"), None, 2)
    assert got.class_names == ("cell", "wall") and "matched by their order in the dataset (cell, wall)" in got.notes[0]
    assert got.notes[0] in caplog.text


def test_a_class_map_renames_and_joins_classes(two):
    got = match_detector(named(two, "dog", "tvmonitor"), ("tv", "dog"), 2, class_map={"tvmonitor": "tv"})
    assert got.classes.tolist() == (1 - two.classes).tolist() and got.notes == ()
    one = rename_classes(named(two, "dog", "puppy"), {"puppy": "dog", "whelp": "wolf"})
    assert one.class_names == ("dog",) and not one.classes.any() and "whelp" in one.notes[0]
    with pytest.raises(DataError, match=r"has none of the classes of `class_map` \(cow\); it has dog, puppy"):
        rename_classes(named(two, "dog", "puppy"), {"cow": "bull"})


def test_a_dataset_without_classes_gets_them(tmp_path):
    dataset = attrs.evolve(
        noise_dataset(tmp_path, count=2, boxes=0), classes=np.zeros(0, np.int32), class_names=(), category_ids=()
    )
    assert with_classes(dataset, ("a", "b")).category_ids == (1, 2)


def test_all_classes_become_one_and_boxes_stay(two):
    one = as_one_class(two)
    assert one.class_names == ("object",) and len(one.category_ids) == 1 and not one.classes.any()
    np.testing.assert_array_equal(one.boxes, two.boxes)
    assert as_one_class(two, "cell").class_names == ("cell",)


def test_inverse_weights_by_hand_and_their_mean_over_boxes_is_one(two):
    dataset = attrs.evolve(
        two,
        classes=np.arange(len(two.classes), dtype=np.int32) % 3 // 2,  # two of the first class for one of the second
        class_names=("often", "seldom", "never"),
        category_ids=(1, 2, 3),
    )
    counts = np.bincount(dataset.classes[trainable(dataset)], minlength=3)
    weights = inverse_class_weights(dataset)
    want = [counts.sum() / 2 / counts[0], counts.sum() / 2 / counts[1], 1.0]
    np.testing.assert_allclose(weights, want)
    assert weights[1] > weights[0] and np.average(weights[:2], weights=counts[:2]) == pytest.approx(1.0)


def test_crowds_do_not_count_for_the_weights(two):
    crowd = attrs.evolve(two, crowd=two.classes == 1)
    assert inverse_class_weights(crowd) == (1.0,) * len(two.class_names)
