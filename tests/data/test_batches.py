"""Batches of an epoch: at which steps the size changes, and which images are partners late in a long epoch."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.folders import noise_dataset
from yolox.config import AugmentConfig, InputSpec, LoaderConfig, Recipe
from yolox.data import batches
from yolox.data.batches import EvalSource, TrainSource, epoch_order


@pytest.mark.parametrize(("kind", "first"), [("buffer", 101), ("uniform", None)])
def test_a_rolling_window_holds_the_last_thousand_images(monkeypatch, kind, first):
    """Step 1100 of an epoch: the image itself and the 999 before it."""
    seen = []
    monkeypatch.setattr(batches, "train_sample", lambda *_, partners, **__: seen.append(partners))
    recipe = Recipe(augment=AugmentConfig(mosaic_partners=kind), loader=LoaderConfig(batch_size=1))
    TrainSource(dataset=range(1200), recipe=recipe, epoch=2, augment=True).samples(1100)
    (partners,) = seen
    if first is None:
        assert partners is None
    else:
        np.testing.assert_array_equal(partners, epoch_order(1200, seed=0, epoch=2)[first:1101])
        assert len(partners) == 1000


def test_no_aug_epochs_take_no_aug_samples_with_the_settings_of_the_recipe(monkeypatch):
    calls = {}
    for name in ("train_sample", "no_aug_sample"):
        monkeypatch.setattr(batches, name, lambda *_, name=name, **knobs: calls.setdefault(name, knobs))
    recipe = Recipe(augment=AugmentConfig(flip_prob=0.25), loader=LoaderConfig(batch_size=1, multiscale_sizes=(320,)))
    for augment in (True, False):
        TrainSource(dataset=range(9), recipe=recipe, epoch=0, augment=augment).samples(0)
    for knobs in calls.values():
        assert (knobs["config"], knobs["spec"], knobs["size"]) == (recipe.augment, recipe.input, (320, 320))
    assert list(calls) == ["train_sample", "no_aug_sample"]


def test_order_and_augmentations_each_follow_the_seed(monkeypatch):
    drawn = []
    monkeypatch.setattr(batches, "no_aug_sample", lambda _, index, *, rng, **__: drawn.append((index, rng.random())))
    for seed in (3, 4):
        source = TrainSource(
            dataset=range(9), recipe=Recipe(loader=LoaderConfig(batch_size=9, seed=seed)), epoch=1, augment=False
        )
        source.samples(0)
        assert [index for index, _ in drawn[-9:]] == epoch_order(9, seed=seed, epoch=1).tolist()
    assert [index for index, _ in drawn[:9]] != [index for index, _ in drawn[9:]]
    assert not {number for _, number in drawn[:9]} & {number for _, number in drawn[9:]}


def test_rows_that_fill_up_an_evaluation_batch_have_the_padding_of_the_convention(tmp_path):
    spec = InputSpec(input_size=(32, 64), pad_value=9)
    images, indices, _ = EvalSource(dataset=noise_dataset(tmp_path, count=1), spec=spec, batch_size=3)[0]
    assert indices.tolist() == [0, -1, -1]
    assert (images[1:] == 9).all() and (images[0, :, 43:] == 9).all() and (images[0, :, :42] != 9).any()
