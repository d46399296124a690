"""A training mosaic from JPEG files that are decoded at reduced size, against full decoding, resizing, pasting, warping."""

from __future__ import annotations

import attrs
import cv2
import numpy as np
import pytest

from tests.data.folders import coco_dict, write_image, write_json
from tests.data.test_mosaic import away_from_edges, centre_of
from tests.oracles.warps import slow_mosaic_canvas, slow_warp
from yolox.config import AugmentConfig, InputSpec
from yolox.data.coco import read_coco
from yolox.data.dataset import load_image
from yolox.data.mosaic import draw_plan
from yolox.data.pipeline import train_sample

SIZE = (32, 48)
SHAPES = ((256, 384), (203, 317), (190, 120), (131, 250))  # three of them no multiples of eight
CONFIG = AugmentConfig(mixup_prob=0.0, hsv_prob=0.0, flip_prob=0.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Blurred noise that fills the grey levels: neighbours differ by a few of them, places by a hundred."""
    folder, rng, images = tmp_path_factory.mktemp("photos"), np.random.default_rng(0), []
    for i, shape in enumerate(SHAPES):
        noise = cv2.GaussianBlur(rng.normal(size=(*shape, 3)), (0, 0), max(shape) / 12)
        image = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
        write_image(folder / f"{i}.jpg", image)
        images.append((i, f"{i}.jpg", *shape))
    return read_coco(write_json(folder / "a.json", coco_dict(images, [])), str(folder))


def plain_composition(dataset, seed, config):
    """The sample of that index and seed from whole images, and the pixels away from the edges of its tiles."""
    rng = np.random.default_rng(seed)
    rng.random()  # whether there is a mosaic
    indices = [seed, *rng.choice(len(dataset), 3).tolist()]
    whole = [cv2.imread(f"{dataset.image_dir}/{dataset.file_names[i]}") for i in indices]
    plan = draw_plan([image.shape[:2] for image in whole], size=SIZE, rng=rng, config=config)
    canvas, _ = slow_mosaic_canvas(whole, [[]] * 4, centre_of(plan), SIZE, 114)
    slow, source = slow_warp(canvas, plan.matrix, SIZE, 114)
    return slow, away_from_edges(source, [tile.region for tile in plan.tiles], 1.5)


@pytest.mark.parametrize(("zoom", "reduction"), [((1.1, 1.2), 4), ((0.55, 0.7), 8), ((1.9, 2.0), 2)])
@pytest.mark.parametrize("center", [False, True])
def test_pixels_equal_the_plain_composition(photos, zoom, reduction, center):
    config, decoded = attrs.evolve(CONFIG, affine_scale=zoom, affine_center=center), []

    def read(index, reduce=1):
        decoded.append(reduce)
        return load_image(photos, index, reduce=reduce)

    for seed in range(2):
        settings = {"config": config, "spec": InputSpec(), "size": SIZE, "read": read}
        sample = train_sample(photos, seed, rng=np.random.default_rng(seed), **settings)
        slow, away = plain_composition(photos, seed, config)
        difference = np.abs(sample.image - slow)[away]
        assert away.mean() > 0.4
        assert difference.max() <= 6 and difference.mean() < 0.8
    assert reduction in decoded
