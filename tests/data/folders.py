"""Small COCO folders for tests."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def coco_dict(images, annotations, categories=((1, "cat"), (2, "dog"))) -> dict:
    """Images as (id, name, height, width), annotations as (id, image, category, bbox, more)."""
    return {
        "images": [{"id": i, "file_name": n, "height": h, "width": w} for i, n, h, w in images],
        "annotations": [
            {"id": i, "image_id": m, "category_id": c, "bbox": list(b), **(more[0] if more else {})}
            for i, m, c, b, *more in annotations
        ],
        "categories": [{"id": i, "name": n} for i, n in categories],
    }


def write_json(path: Path, content) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def noise_dataset(folder: Path, *, count: int, size=(48, 64), boxes: int = 3, seed: int = 0):
    """Write `count` blurred noise images with boxes of two classes, and read them as a dataset."""
    from yolox.data.coco import read_coco

    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for i in range(count):
        pixels = cv2.GaussianBlur(rng.integers(0, 256, (*size, 3)).astype(np.uint8), (0, 0), 3)
        write_image(folder / f"{i}.png", pixels)
        images.append((i, f"{i}.png", *size))
        for _ in range(boxes):
            w, h = rng.uniform(8, size[1] / 2), rng.uniform(8, size[0] / 2)
            box = (rng.uniform(0, size[1] - w), rng.uniform(0, size[0] - h), w, h)
            annotations.append((len(annotations) + 1, i, int(rng.integers(1, 3)), box))
    return read_coco(write_json(folder / "a.json", coco_dict(images, annotations)), str(folder))


def blocks_sample(size, *, seed: int, color=None, background=0):
    """An image with one filled rectangle away from the edge, and its exact box."""
    from yolox.data.sample import Sample

    rng = np.random.default_rng(seed)
    height, width = size
    x1, y1 = int(rng.integers(2, width // 2)), int(rng.integers(2, height // 2))
    x2, y2 = int(rng.integers(x1 + width // 4, width - 2)), int(rng.integers(y1 + height // 4, height - 2))
    image = np.full((height, width, 3), background, np.uint8)
    image[y1:y2, x1:x2] = (255, 255, 255) if color is None else color
    return Sample(image, np.array([[x1, y1, x2, y2]], np.float32), np.zeros(1, np.int32))


def found_box(mask: np.ndarray):
    """Whole-pixel bounds of a mask, xyxy; None when it is empty."""
    ys, xs = np.nonzero(mask)
    return None if len(xs) == 0 else np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


def write_as_yolo(dataset, folder: Path) -> None:
    """Write the boxes of a dataset as YOLO texts, one for each image."""
    for i, name in enumerate(dataset.file_names):
        height, width = dataset.sizes[i].tolist()
        rows = slice(dataset.offsets[i], dataset.offsets[i + 1])
        boxes = dataset.boxes[rows].astype(float)
        shares = np.concatenate([boxes[:, :2] + boxes[:, 2:], 2 * (boxes[:, 2:] - boxes[:, :2])], axis=1) / 2
        shares /= (width, height, width, height)
        lines = [
            " ".join([str(c), *(f"{v:.9f}" for v in row)])
            for c, row in zip(dataset.classes[rows], shares.tolist(), strict=True)
        ]
        (folder / name).with_suffix(".txt").write_text("\n".join(lines))
