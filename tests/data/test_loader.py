"""Batches: the same for any number of workers, sizes by step, shards, faults, and no process left behind."""

from __future__ import annotations

import logging
import os
import threading

import attrs
import cv2
import numpy as np
import psutil
import pytest

from tests.data.folders import noise_dataset
from yolox.config import AugmentConfig, InputSpec, LoaderConfig, Recipe
from yolox.data import loader
from yolox.data.batches import TrainSource, epoch_order, train_size
from yolox.data.dataset import ground_truth, load_image
from yolox.data.letterbox import letterbox
from yolox.data.loader import eval_batches, log_dropped, report_once, train_batches
from yolox.errors import CommandError, DataError

RECIPE = Recipe(
    input=InputSpec(input_size=(32, 64)),
    loader=LoaderConfig(
        batch_size=2, max_gt=20, workers=0, multiscale_sizes=(32, 64), multiscale_interval=2
    ),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return noise_dataset(tmp_path_factory.mktemp("noise"), count=9)


def recipe_with(**changes):
    return attrs.evolve(RECIPE, loader=attrs.evolve(RECIPE.loader, **changes))


def batches(dataset, *, epoch=1, augment=True, recipe=RECIPE, **options):
    return list(train_batches(dataset, recipe=recipe, epoch=epoch, augment=augment, **options))


def assert_same(first, second):
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def children():
    return [
        p for p in psutil.Process(os.getpid()).children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.fixture
def two_processors():
    """Skips where two workers cannot be two processes."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("mindspore.dataset takes no more workers than processors")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("augment", [True, False])
def test_batches_do_not_depend_on_the_number_of_workers(dataset, workers, augment):
    before = len(children())
    here = batches(dataset, augment=augment)
    assert len(here) == 4
    assert_same(here, batches(dataset, augment=augment, recipe=recipe_with(workers=workers)))
    assert len(children()) == before


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_resumed_epoch_begins_with_the_batch_it_stopped_at(dataset, workers):
    whole, recipe = batches(dataset), recipe_with(workers=workers)
    for first in (1, 3):
        assert_same(whole[first:], batches(dataset, recipe=recipe, first=first))


def test_closing_early_ends_the_worker_processes(dataset, two_processors):
    before, threads = len(children()), cv2.getNumThreads()
    running = train_batches(dataset, recipe=recipe_with(workers=2), epoch=0, augment=True)
    next(running)
    assert len(children()) > before
    running.close()
    assert len(children()) == before and cv2.getNumThreads() == threads


def test_epochs_and_seeds_differ(dataset):
    first = batches(dataset, epoch=0)[0].images
    for other in (batches(dataset, epoch=1), batches(dataset, epoch=0, recipe=recipe_with(seed=1))):
        assert other[0].images.shape != first.shape or (other[0].images != first).any()


@pytest.mark.parametrize("world", [2, 4])
def test_devices_share_the_global_batch_without_overlap(dataset, world):
    """Two devices with batches of one see together what one device with batches of two sees."""
    alone = batches(dataset, recipe=recipe_with(batch_size=4))
    shares = [
        batches(dataset, recipe=recipe_with(batch_size=4 // world), rank=r, world=world) for r in range(world)
    ]
    assert len(alone) == 2
    for step, whole in enumerate(alone):
        joined = [np.concatenate(parts) for parts in zip(*(share[step] for share in shares), strict=True)]
        for a, b in zip(whole, joined, strict=True):
            np.testing.assert_array_equal(a, b)


def test_fewer_images_than_a_batch_fill_it_again(tmp_path):
    few = noise_dataset(tmp_path, count=3)
    (batch,) = batches(few, augment=False, recipe=recipe_with(batch_size=8, last_batch="fill", workers=0))
    assert batch.images.shape[0] == 8


def test_no_full_batch_is_an_error_that_says_what_to_do(dataset):
    want = r"9 images make no batch of 8 on 2 device\(s\); set the batch size to at most 4, or add images"
    with pytest.raises(DataError, match=want):
        train_batches(dataset, recipe=recipe_with(batch_size=8), epoch=0, augment=True, world=2)


def test_steps_count_on_over_epochs_for_sizes(dataset):
    source = TrainSource(dataset=dataset, recipe=RECIPE, epoch=3, augment=True)
    for step in range(len(source)):
        want = train_size(3 * 4 + step, input_size=(32, 64), config=RECIPE.loader)
        assert source[step][0].shape == (2, *want, 3)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_ground_truths_that_are_left_out_are_counted_and_reported_once(dataset, workers, caplog):
    with caplog.at_level(logging.WARNING, logger="yolox.data"):
        got = batches(dataset, augment=False, recipe=recipe_with(max_gt=1, workers=workers))
    assert all(b.gt_boxes.shape == (2, 1, 4) for b in got)
    lines = [r.getMessage() for r in caplog.records if r.name == "yolox.data"]
    assert len(lines) == 1 and "smallest ground truths of images with more than 1" in lines[0]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_bad_image_is_named_from_whichever_process(tmp_path, workers):
    broken = noise_dataset(tmp_path, count=4)
    (tmp_path / "2.png").write_bytes(b"no image")
    before = len(children())
    with pytest.raises(DataError, match="2.png: cannot be decoded"):
        batches(broken, augment=False, recipe=recipe_with(workers=workers))
    assert len(children()) == before


def test_the_partner_window_of_the_rolling_buffer(dataset, monkeypatch):
    monkeypatch.setattr("yolox.data.batches.PARTNER_WINDOW", 3)
    seen = []
    monkeypatch.setattr("yolox.data.batches.train_sample", lambda *a, partners, **k: seen.append(partners))
    recipe = attrs.evolve(RECIPE, augment=AugmentConfig(mosaic_partners="buffer"))
    source = TrainSource(dataset=dataset, recipe=recipe, epoch=0, augment=True)
    for step in range(2):
        source.samples(step)
    order = epoch_order(9, seed=0, epoch=0)
    assert [p.tolist() for p in seen] == [order[max(i - 2, 0) : i + 1].tolist() for i in range(4)]


@pytest.mark.parametrize(("workers", "threads"), [(0, False), (2, False), (2, True)])
@pytest.mark.parametrize("world", [1, 2])
def test_evaluation_sees_every_image_once_in_fixed_shapes(dataset, workers, threads, world):
    spec, seen = InputSpec(input_size=(64, 32), letterbox="center"), []
    for rank in range(world):
        share = {"rank": rank, "world": world, "threads": threads}
        for batch in eval_batches(dataset, spec=spec, batch_size=4, workers=workers, **share):
            assert batch.images.shape == (4, 64, 32, 3) and len(batch.indices) == len(batch.transforms)
            for image, index, transform in zip(batch.images, batch.indices, batch.transforms, strict=False):
                want, geometry = letterbox(load_image(dataset, index), (64, 32), spec=spec)
                np.testing.assert_array_equal(image, want)
                assert transform == geometry
            assert (batch.images[len(batch.indices) :] == 114).all()
            seen += batch.indices.tolist()
    assert sorted(seen) == list(range(9))
    assert len(ground_truth(dataset)["images"]) == 9


def test_threads_read_a_little_in_advance_and_end_with_the_iteration(dataset, monkeypatch):
    read, source = [], loader.EvalSource
    monkeypatch.setattr(source, "__getitem__", lambda self, number: read.append(number) or (None,) * 3)
    rows = loader._rows_of_threads(source(dataset=dataset, spec=InputSpec(), batch_size=1), workers=2, stall_seconds=0)
    next(rows)
    rows.close()
    assert len(read) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("images") and _lives_on(thread)]


def _lives_on(thread) -> bool:
    thread.join(timeout=5)
    return thread.is_alive()


def test_threads_pass_errors_on_and_end_where_no_image_comes(dataset, monkeypatch):
    spec, released = InputSpec(input_size=(64, 32)), threading.Event()
    with pytest.raises(DataError, match="nothing.png"):
        missing = attrs.evolve(dataset, file_names=["nothing.png"] * 9)
        list(eval_batches(missing, spec=spec, batch_size=4, workers=1, threads=True))
    monkeypatch.setattr(loader.EvalSource, "__getitem__", lambda self, number: released.wait(20))
    with pytest.raises(CommandError, match="no batch for 0.1 s"):
        list(eval_batches(dataset, spec=spec, batch_size=4, workers=1, threads=True, stall_seconds=0.1))
    released.set()


def test_ground_truths_are_padded_to_the_least_size_that_holds_them(dataset):
    """Each image of the no-augmentation epochs has three ground truths; a mosaic has more or fewer."""
    sizes = recipe_with(gt_paddings=(1, *range(3, 20, 2)))
    assert {b.valid.shape for b in batches(dataset, augment=False, recipe=sizes)} == {(2, 3)}
    whole = batches(dataset, recipe=recipe_with(max_gt=20))
    short = batches(dataset, recipe=sizes)
    assert len({b.valid.shape[1] for b in short}) > 1
    for one, other in zip(whole, short, strict=True):
        rows, most = other.valid.shape[1], int(one.valid.sum(axis=1).max())
        assert rows == min(size for size in (1, *range(3, 20, 2), 20) if size >= most)
        for a, b in zip(one[1:], other[1:], strict=True):
            np.testing.assert_array_equal(a[:, :rows], b)


def test_devices_that_train_together_have_one_padding(dataset):
    sizes = recipe_with(batch_size=1, gt_paddings=(1, 3, 8))
    assert {b.valid.shape for b in batches(dataset, recipe=sizes, world=2)} == {(1, 20)}


def test_beyond_the_largest_padding_the_smallest_boxes_are_left_out(dataset):
    with_all = batches(dataset, augment=False)
    seen = []
    options = {"augment": False, "on_dropped": lambda *values: seen.append(values)}
    for one, other in zip(
        with_all, batches(dataset, recipe=recipe_with(max_gt=2, gt_paddings=(1,)), **options), strict=True
    ):
        areas = (one.gt_boxes[..., 2:] - one.gt_boxes[..., :2]).prod(axis=-1)
        for row in range(2):
            kept = np.sort(np.argsort(-areas[row], kind="stable")[:2])
            np.testing.assert_array_equal(other.gt_boxes[row], one.gt_boxes[row][kept])
    assert seen == [(1, 8, 2)]


def test_a_run_reports_ground_truths_that_are_left_out_once(dataset, caplog):
    report = report_once(log_dropped)
    with caplog.at_level(logging.WARNING, logger="yolox.data"):
        for epoch in range(3):
            batches(dataset, epoch=epoch, augment=False, recipe=recipe_with(max_gt=1), on_dropped=report)
    assert [r.getMessage() for r in caplog.records] == [
        "epoch 0: left out the 16 smallest ground truths of images with more than 1"
    ]


@pytest.mark.parametrize("paddings", [(0,), (8, 8), (20,), (9, 4)])
def test_paddings_rise_and_stay_below_the_largest(paddings):
    with pytest.raises(ValueError, match="gt_paddings: got .* want rising positive numbers below max_gt 20"):
        recipe_with(gt_paddings=paddings)
