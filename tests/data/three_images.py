"""COCO files of three small images with unusual ids and names."""

from __future__ import annotations

import numpy as np

from tests.data.folders import coco_dict, write_image, write_json
from yolox.data.coco import read_coco

NAMES = ("b c/dé.PNG", "sub/a.png", "12.png")


def write_images(folder):
    """Three images of 20x30 (height, width), one in a sub-folder with a space, one in another."""
    for level, name in enumerate(NAMES):
        write_image(folder / name, np.full((20, 30, 3), 50 * level, np.uint8))
    return folder


def images(*ids):
    return [(ids[i] if ids else i, name, 20, 30) for i, name in enumerate(NAMES)]


def read(folder, annotations=(), *, image_rows=None, categories=((900, "dog"), (7, "cat")), **options):
    content = coco_dict(image_rows or images(55, -3, 10**12), annotations, categories)
    return read_coco(write_json(folder / "a.json", content), str(folder), **options)
