"""Perceptual hashes against a slow transform, copies against other pictures, and searches against loops over all pairs."""

from __future__ import annotations

import itertools

import attrs
import cv2
import numpy as np
import pytest

from tests.data.folders import noise_dataset
from yolox.data import duplicates
from yolox.data.coco import read_coco
from yolox.data.dataset import image_path
from yolox.data.duplicates import (
    MAX_DISTANCE,
    find_leaks,
    group_similar,
    hash_distance,
    hash_images,
    image_hash,
    nearest_images,
)


def scene(seed, size=(240, 320)):
    """A picture with detail at all scales, as photographs have."""
    rng, picture = np.random.default_rng(seed), np.zeros((*size, 3))
    for scale in (2, 4, 8, 16, 32):
        noise = rng.normal(0, 1, (size[0] // scale + 1, size[1] // scale + 1, 3)).astype(np.float32)
        picture += scale * cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + picture * 30 / picture.std(), 0, 255).astype(np.uint8)


def slow_hash(image):
    """The cosine transform by its sum, from the same 64 x 64 grey image."""
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (64, 64), interpolation=cv2.INTER_AREA).astype(float)
    waves = np.array([[np.cos(np.pi * (i + 0.5) * k / 64) for i in range(64)] for k in range(16)])
    scale = np.array([np.sqrt(0.5)] + [1] * 15)
    found = (waves @ grey @ waves.T * np.outer(scale, scale)).ravel()[1:]
    return np.where(found > np.median(found), 1, -1)


@pytest.mark.parametrize("seed", range(3))
def test_the_hash_is_the_sign_of_low_frequencies(seed):
    image = scene(seed)
    assert hash_distance(image_hash(image), slow_hash(image)) <= 1  # one at the median may round to the other side
    assert image_hash(image).shape == (255,)


COPIES = {
    "half the size": lambda i: cv2.resize(i, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "twice the size": lambda i: cv2.resize(i, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
    "square": lambda i: cv2.resize(i, (416, 416)),
    "JPEG 30": lambda i: cv2.imdecode(cv2.imencode(".jpg", i, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR),
    "brighter": lambda i: cv2.convertScaleAbs(i, beta=30),
    "darker": lambda i: cv2.convertScaleAbs(i, alpha=0.6),
    "blurred": lambda i: cv2.GaussianBlur(i, (0, 0), 1.5),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_near_and_other_pictures_far(kind):
    hashes = np.stack([image_hash(scene(seed)) for seed in range(12)])
    copies = np.stack([image_hash(COPIES[kind](scene(seed))) for seed in range(12)])
    distances = hash_distance(hashes[:, None], copies[None])
    own = np.eye(12, dtype=bool)
    assert distances[own].max() < MAX_DISTANCE < distances[~own].min()


def test_copies_of_photographs_are_near_and_other_photographs_far(data_dir):
    """The figures of the module's docstring, on COCO's photographs; the pair of blood cells is a leak."""
    paths = sorted((data_dir / "coco_ccby_val/images").glob("*.jpg"))
    images = [cv2.imread(str(path)) for path in paths]
    hashes = np.stack([image_hash(image) for image in images])
    pairs = [hash_distance(a, b) for a, b in itertools.combinations(hashes, 2)]
    assert min(pairs) >= 86
    for change in COPIES.values():
        assert max(hash_distance(image_hash(change(image)), own) for image, own in zip(images, hashes, strict=True)) <= 30
    cells = {part: read_coco(str(data_dir / f"bccd/instances_{part}.json"), str(data_dir / "bccd/images"))
             for part in ("train", "val", "test")}  # fmt: skip
    (leak,) = find_leaks(cells)
    names = cells["val"].file_names[leak.index], cells["train"].file_names[leak.other_index]
    assert names == ("BloodImage_00037.jpg", "BloodImage_00038.jpg") and leak.distance == 24 and not leak.is_equal


def random_hashes(count, *, seed, centres=5):
    """Hashes around a few centres, so that pairs lie on both sides of the limit, and an image without contrast."""
    rng = np.random.default_rng(seed)
    base = rng.choice([-1, 1], (centres, 255))
    hashes = base[rng.integers(0, centres, count)] * np.where(rng.random((count, 255)) < 0.09, -1, 1)
    hashes[count // 2] = 0
    return hashes.astype(np.int8)


@pytest.mark.parametrize("cells", [1, 100, 10**6])
def test_searches_agree_with_loops(cells, monkeypatch):
    monkeypatch.setattr(duplicates, "_CELLS", cells)
    hashes, others = random_hashes(30, seed=1), random_hashes(20, seed=2)
    index, distance = nearest_images(hashes, others)
    loop = [[int((a != b).sum()) if a.any() and b.any() else 127 for b in others] for a in hashes]
    assert distance.tolist() == [min(row) for row in loop] and index.tolist() == [row.index(min(row)) for row in loop]
    groups = list(range(30))
    for i, j in itertools.combinations(range(30), 2):
        if hashes[i].any() and hashes[j].any() and (hashes[i] != hashes[j]).sum() <= MAX_DISTANCE:
            groups = [min(groups[i], groups[j]) if g in (groups[i], groups[j]) else g for g in groups]
    assert group_similar(hashes).tolist() == groups and 1 < len(set(groups)) < 30


def test_an_image_without_contrast_is_like_no_other():
    flat = np.full((50, 60, 3), 7, np.uint8)
    assert not image_hash(flat).any()
    hashes = np.stack([image_hash(flat)] * 3)
    assert group_similar(hashes).tolist() == [0, 1, 2] and nearest_images(hashes, hashes)[1].min() > MAX_DISTANCE


@pytest.fixture
def parts(tmp_path):
    """Three parts: val has a copy of a file of train and a smaller JPEG of another, test the file of val."""
    sets = {name: noise_dataset(tmp_path / name, count=4, seed=seed) for seed, name in enumerate(("train", "val", "test"))}
    for i in range(4):
        for seed, name in enumerate(sets):
            cv2.imwrite(str(tmp_path / name / f"{i}.png"), scene(10 * seed + i, (48, 64)))
    (tmp_path / "val/0.png").write_bytes((tmp_path / "train/3.png").read_bytes())
    (tmp_path / "test/2.png").write_bytes((tmp_path / "val/1.png").read_bytes())
    (tmp_path / "val/2.png").write_bytes(cv2.imencode(".jpg", scene(1, (48, 64)), [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes())
    return sets


def test_leaks_are_the_images_of_two_parts(parts):
    found = [(leak.part, leak.index, leak.other, leak.other_index, leak.is_equal) for leak in find_leaks(parts)]
    assert found == [("val", 0, "train", 3, True), ("test", 2, "val", 1, True), ("val", 2, "train", 1, False)]
    assert 0 < find_leaks(parts)[-1].distance <= MAX_DISTANCE
    assert [leak.is_equal for leak in find_leaks(parts, max_distance=0)] == [True, True]


def test_a_file_in_two_parts_is_a_leak_and_files_that_cannot_be_read_are_none(parts, tmp_path):
    assert [leak.is_equal for leak in find_leaks({"train": parts["train"], "val": parts["train"]})] == [True] * 4
    for part in ("train", "val"):
        for i in range(3):
            (tmp_path / part / f"{i}.png").write_bytes(bytes([i]) + part.encode())
    assert not hash_images(parts["val"])[:3].any()
    (tmp_path / "train/3.png").unlink()
    assert find_leaks({"train": parts["train"], "val": parts["val"]}) == []


def test_a_part_without_images_has_no_leaks(parts):
    empty = attrs.evolve(
        parts["val"], file_names=(), image_ids=np.zeros(0, int), sizes=np.zeros((0, 2), int), offsets=np.zeros(1, int),
        **{name: getattr(parts["val"], name)[:0] for name in ("boxes", "classes", "crowd", "areas", "annotation_ids")},
    )  # fmt: skip
    assert find_leaks({"train": parts["train"], "val": empty, "test": parts["test"]}) == []
    assert image_path(parts["train"], 0).endswith("0.png")


def test_large_images_are_decoded_smaller_with_nearly_the_same_hash(tmp_path):
    data = noise_dataset(tmp_path, count=1, size=(800, 900))
    cv2.imwrite(str(tmp_path / "0.png"), scene(5, (800, 900)))
    assert hash_distance(hash_images(data)[0], image_hash(scene(5, (800, 900)))) <= 8
