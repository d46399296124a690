"""Image sizes from the first bytes of a file."""

from __future__ import annotations

import pytest

from tests.data.folders import write_image
from tests.data.test_image import smooth, with_orientation
from yolox.data.image import image_size, read_image
from yolox.errors import DataError


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tiff", ".webp"])
def test_sizes_from_headers_are_those_of_the_decoded_image(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_image(path, smooth(33, 47))
    assert image_size(str(path)) == (33, 47)
    (tmp_path / "cut").write_bytes(path.read_bytes()[:15])
    with pytest.raises(DataError, match="cut: cannot be decoded"):
        image_size(str(tmp_path / "cut"))


def test_sizes_of_turned_images_are_those_after_turning(tmp_path):
    write_image(tmp_path / "a.jpg", smooth(33, 47))
    path = tmp_path / "turned.jpg"
    path.write_bytes(with_orientation((tmp_path / "a.jpg").read_bytes(), 6))
    assert image_size(str(path)) == (47, 33) == read_image(str(path)).shape[:2]
