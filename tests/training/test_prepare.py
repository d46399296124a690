"""What is settled before a run: small images, class weights, classes of the validation set, and the lines that are printed."""

import attrs
import numpy as np
import pytest
from mindspore import nn
from rich.console import Console

from tests.data.folders import noise_dataset
from yolox.config import InputSpec, LoaderConfig, LossConfig, Recipe
from yolox.data.classes import inverse_class_weights
from yolox.distributed import Group
from yolox.errors import DataError, UsageError
from yolox.training.prepare import (
    check_arguments,
    describe_pixels,
    describe_run,
    describe_sizes,
    in_classes_of,
    with_class_weights,
    without_small_images,
)


@pytest.fixture
def dataset(tmp_path):
    return noise_dataset(tmp_path / "data", count=4, size=(48, 64))


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ((), ""),
        ((640,), ""),
        ((320,), " (training at height 320 px)"),
        ((704, 320, 640, 320), " (training at 3 heights, 320 to 704 px)"),
    ],
)
def test_training_sizes_are_named_where_they_are_not_the_input_size(sizes, text):
    assert describe_sizes(Recipe(loader=LoaderConfig(multiscale_sizes=sizes))) == "640 x 640 px" + text


def test_a_run_is_described_in_one_line(dataset):
    line = describe_run(dataset, None, Recipe(epochs=7), 2, Group(rank=0, world=2))
    classes, boxes = len(dataset.class_names), len(dataset.boxes)
    assert line == (
        f"640 x 640 px: 4 images, {boxes} boxes, {classes} classes; no evaluation; 7 epochs of 2 steps on 2 devices"
    )
    assert "4 images" in line and "1 for validation" not in line
    assert "; 4 for validation; " in describe_run(dataset, dataset, Recipe(), 2, Group())


def test_images_with_a_side_below_the_limit_are_left_out_and_counted(dataset, capsys):
    console = Console(width=200)
    sizes = dataset.sizes.copy()
    sizes[1] = (31, 64)
    mixed = attrs.evolve(dataset, sizes=sizes)
    left = without_small_images(mixed, 32, console)
    assert left.file_names == tuple(name for i, name in enumerate(dataset.file_names) if i != 1)
    assert f"1 of 4 training images are left out, as a side has fewer than 32 px: {dataset.file_names[1]}" in (
        capsys.readouterr().out
    )
    assert without_small_images(dataset, 32, console) is dataset and capsys.readouterr().out == ""


def test_class_weights_are_those_of_the_balance_or_one_for_each_class(dataset):
    count, plain = len(dataset.class_names), LossConfig()
    assert with_class_weights(plain, dataset) is plain
    balanced = with_class_weights(LossConfig(class_balance="inverse"), dataset)
    assert balanced.class_weights == inverse_class_weights(dataset)
    assert with_class_weights(balanced, dataset) == balanced
    with pytest.raises(UsageError, match=rf"`class_weights`: got {count + 1}, want {count}, for "):
        with_class_weights(LossConfig(class_weights=(1.0,) * (count + 1)), dataset)
    with pytest.raises(UsageError, match="are not those that `class_balance` inverse gives"):
        with_class_weights(LossConfig(class_weights=(9.0,) * count, class_balance="inverse"), dataset)


def test_the_validation_set_is_matched_by_name(dataset):
    detector, names = nn.ReLU(), dataset.class_names
    assert in_classes_of(detector, dataset, None) is None and in_classes_of(detector, dataset, dataset) is dataset
    order = np.arange(len(names))[::-1]
    turned = attrs.evolve(dataset, class_names=[names[i] for i in order], classes=order[dataset.classes].astype(np.int32))
    matched = in_classes_of(detector, dataset, turned)
    assert list(matched.class_names) == list(names) and (matched.classes == dataset.classes).all()
    with pytest.raises(DataError):
        in_classes_of(detector, attrs.evolve(dataset, class_names=["other", *names[1:]]), dataset)
    detector.num_classes = len(names) + 1
    with pytest.raises(ValueError, match=rf"the detector predicts {len(names) + 1} classes, the training set has {len(names)}"):
        in_classes_of(detector, dataset, None)


def test_pixels_of_other_kinds_are_named_and_must_fit_the_detector():
    detector = nn.ReLU()
    assert describe_pixels(detector, Recipe()) == ""
    grey = Recipe(input=InputSpec(channels=1))
    assert describe_pixels(detector, grey).startswith("images of 1 channel")
    detector.in_channels = 3
    with pytest.raises(UsageError, match="`channels` 1: the detector takes images of 3 channels"):
        describe_pixels(detector, grey)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"patience": 0, "has_val": True}, "`patience` 0: want 1 or more, and validation images"),
        ({"patience": 3, "has_val": False}, "`patience` 3: want 1 or more, and validation images"),
        ({"save_steps": 0}, "`save_steps` 0: want 1 or more"),
        ({"save_every": -1}, "`save_every` -1: want 1 or more"),
    ],
)
def test_arguments_out_of_range(given, message):
    with pytest.raises(UsageError, match=message):
        check_arguments(Recipe(), **{"patience": None, "save_steps": None, "has_val": True, **given})


def test_arguments_in_range():
    check_arguments(Recipe(), patience=1, save_steps=1, save_every=1, has_val=True)
