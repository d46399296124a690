"""Which images and sizes a step has: every image once, endless orders cut at epochs, sizes by interval and seed."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from tests.data.folders import noise_dataset
from yolox.config import LoaderConfig, Recipe
from yolox.data.batches import TrainSource, endless_order, epoch_order, steps_per_epoch, train_size
from yolox.errors import DataError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return noise_dataset(tmp_path_factory.mktemp("noise"), count=9)


def test_every_image_is_seen_once_in_an_epoch():
    order = epoch_order(50, seed=3, epoch=4)
    assert sorted(order) == list(range(50))
    assert (order != epoch_order(50, seed=3, epoch=5)).any()


def test_the_partial_last_batch_is_left_out(dataset):
    assert [steps_per_epoch(dataset, batch_size=b) for b in (1, 2, 4, 9)] == [9, 4, 2, 1]


def test_a_filled_last_batch_counts(dataset):
    def steps(**options):
        return steps_per_epoch(dataset, last_batch="fill", **options)

    assert [steps(batch_size=b) for b in (1, 2, 4, 9, 10)] == [9, 5, 3, 1, 1]
    # Megvii: 9 images over 2 devices are 4 for each, over 16 devices none.
    assert [steps(batch_size=2, world=w) for w in (2, 4, 16)] == [2, 1, 1]


def test_filled_epochs_follow_each_other_without_a_gap(dataset):
    recipe = Recipe(loader=LoaderConfig(batch_size=4, last_batch="fill"))
    epochs = [TrainSource(dataset=dataset, recipe=recipe, epoch=e, augment=True) for e in range(3)]
    assert [len(epoch) for epoch in epochs] == [3, 3, 3]
    seen = np.concatenate([epoch.order for epoch in epochs])
    shuffles = [epoch_order(9, seed=recipe.loader.seed, epoch=turn) for turn in range(4)]
    assert seen.tolist() == np.concatenate(shuffles)[:36].tolist()


@pytest.mark.parametrize("start, length", [(0, 9), (4, 5), (4, 6), (8, 1), (17, 20)])
def test_the_endless_order_is_the_shuffles_end_to_end(start, length):
    whole = [index for turn in range(6) for index in epoch_order(9, seed=2, epoch=turn)]
    assert endless_order(9, seed=2, start=start, length=length).tolist() == whole[start : start + length]


def test_no_image_is_an_error_where_batches_are_filled():
    class Empty:
        image_dir = "photos"

        def __len__(self):
            return 0

    with pytest.raises(DataError, match="0 images make no batch"):
        steps_per_epoch(Empty(), batch_size=2, last_batch="fill")


def test_sizes_change_every_interval_and_depend_on_seed_and_step_alone():
    config = LoaderConfig(multiscale_sizes=(320, 416, 640), multiscale_interval=10, seed=5)
    sizes = [train_size(step, input_size=(416, 416), config=config) for step in range(300)]
    assert sizes == [train_size(step, input_size=(416, 416), config=config) for step in range(300)]
    assert all(len(set(sizes[i : i + 10])) == 1 for i in range(0, 300, 10))
    assert set(sizes) == {(320, 320), (416, 416), (640, 640)}
    other = attrs.evolve(config, seed=6)
    assert sizes != [train_size(step, input_size=(416, 416), config=other) for step in range(300)]
    assert train_size(0, input_size=(416, 640), config=LoaderConfig(multiscale_sizes=(320,))) == (320, 480)


@pytest.mark.parametrize("interval", [1, 3, 25])
def test_the_size_changes_at_multiples_of_the_interval(interval):
    config = LoaderConfig(multiscale_sizes=(320, 416, 640), multiscale_interval=interval)
    sizes = [train_size(step, input_size=(416, 416), config=config) for step in range(100 * interval)]
    changes = {step for step in range(1, len(sizes)) if sizes[step] != sizes[step - 1]}
    assert all(step % interval == 0 for step in changes)
    assert 50 < len(changes) < 85  # two draws of three differ in two cases of three
