"""The picture of images that two parts have: pairs side by side, whatever their shapes, twelve at most."""

import cv2
import numpy as np

from tests.data.folders import noise_dataset
from yolox.data.duplicates import Leak
from yolox.visualize.grids import BAR, CELL, GAP, LEAKS, leak_grid

ROW, COLUMN = BAR + CELL * 3 // 4 + 8, 2 * CELL + GAP + 16


def test_pairs_lie_side_by_side_under_their_names(tmp_path):
    sets = {}
    for part, size, color in (("train", (40, 20), (0, 0, 255)), ("val", (20, 90), (255, 0, 0))):
        sets[part] = noise_dataset(tmp_path / part, count=1, size=size)
        cv2.imwrite(str(tmp_path / part / "0.png"), np.full((*size, 3), color, np.uint8))
    leak = Leak(part="val", index=0, other="train", other_index=0, distance=7, is_equal=False)
    picture = leak_grid(sets, [leak])
    assert picture.shape == (ROW, COLUMN, 3)
    middle = ROW // 2 + BAR // 2
    assert picture[middle, 8 + CELL // 2].tolist() == [255, 0, 0]
    assert picture[middle, 8 + GAP + CELL * 3 // 2].tolist() == [0, 0, 255]
    assert (picture[middle, 8 + GAP + CELL + 20] == 255).all()  # beside the tall one
    assert all((picture[4 : 4 + BAR, start : start + CELL] < 100).any() for start in (8, 8 + GAP + CELL))
    assert leak_grid(sets, [leak] * (LEAKS + 3)).shape == (ROW * LEAKS // 2, COLUMN * 2, 3)
