"""The cache is announced before it is made, holds the files' pixels, and is refused where it does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.folders import noise_dataset
from yolox.data.dataset import load_image, open_cache
from yolox.errors import DataError
from yolox.training.run_folder import CACHE_FILE


@pytest.mark.parametrize(("kind", "place"), [("ram", "in memory"), ("disk", CACHE_FILE)])
def test_a_cache_tells_its_size_and_holds_the_pixels(tmp_path, capsys, kind, place):
    dataset = noise_dataset(tmp_path, count=3)
    read = open_cache(dataset, kind, tmp_path)
    text = capsys.readouterr().err
    assert "cache: 3 images take 0.00 GB" in text and place in text and "GB are free" in text
    for index in range(3):
        np.testing.assert_array_equal(read(index), load_image(dataset, index))
    assert (tmp_path / CACHE_FILE).exists() == (kind == "disk")


def test_no_cache_is_none(tmp_path, capsys):
    assert open_cache(noise_dataset(tmp_path, count=1), "none", tmp_path) is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_a_cache_that_does_not_fit_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("yolox.data.dataset.MAX_SHARE", 0)
    with pytest.raises(DataError, match="a cache of 2 images takes 0.00 GB, more than the 0.00 GB allowed"):
        open_cache(noise_dataset(tmp_path, count=2), kind, tmp_path)
    assert not (tmp_path / CACHE_FILE).exists()


def test_a_cache_that_cannot_be_finished_leaves_no_file(tmp_path):
    dataset = noise_dataset(tmp_path, count=2)
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="1.png: cannot be decoded"):
        open_cache(dataset, "disk", tmp_path)
    assert not (tmp_path / CACHE_FILE).exists()
