"""Time what follows the network: decoding's answer to detections, and detections to COCO metrics.

    python benchmarks/postprocess.py                   one image of 640 px, 80 classes, score 0.001
    python benchmarks/postprocess.py --multi-label     the same, several classes per box
    python benchmarks/postprocess.py --images 5000     COCO metrics of that many images, 100 detections each

Prints one JSON line: work, median_s, min_s, max_s, first_s, peak_mb. The predictions are drawn: 60 objects
with 15 close predictions each and noise on the other points; 2,300 boxes score above 0.001 with their best
class, and 47,000 pairs of box and class.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import measure, print_json  # noqa: E402
from yolox.config import PostprocessConfig  # noqa: E402
from yolox.eval import Detections, detections_to_coco, evaluate_coco, postprocess  # noqa: E402

POINTS, CLASSES, SIZE = 8400, 80, 640


def draw_decoded(rng: np.random.Generator, *, objects: int = 60, close: int = 15) -> np.ndarray:  # [P,5+C]
    """Draws decoded predictions of one image, with the crowding of a trained network at a low threshold."""
    rows = np.empty((POINTS, 5 + CLASSES), np.float32)
    rows[:, :2], rows[:, 2:4] = rng.random((POINTS, 2)) * SIZE, np.exp(rng.uniform(2, 5.5, (POINTS, 2)))
    rows[:, 4] = 10 ** rng.uniform(-6, -2.2, POINTS)
    rows[:, 5:] = 10 ** rng.uniform(-5, 0, (POINTS, CLASSES))
    near = rng.choice(POINTS, (objects, close), replace=False)
    rows[near, :4] = rows[near[:, :1], :4] + rng.normal(size=(objects, close, 4)) * 3
    rows[near, 4] = rng.random((objects, close))
    rows[near, 5 + rng.integers(0, CLASSES, (objects, 1))] = rng.random((objects, close))
    return rows


def draw_data_set(rng: np.random.Generator, images: int) -> tuple[dict, list[Detections]]:
    """Draws objects (7 an image, 3 classes) and 100 detections an image, half of them near an object."""
    annotations, detections = [], []
    for image in range(images):
        corner, size = rng.random((7, 2)) * 500, np.exp(rng.uniform(2, 5.7, (7, 2)))
        classes = rng.choice(rng.integers(0, CLASSES, 3), 7)
        for (x, y), (w, h), c in zip(corner.tolist(), size.tolist(), classes.tolist(), strict=True):
            annotations.append(
                {"id": len(annotations), "image_id": image, "category_id": c, "bbox": [x, y, w, h]}
            )
        source, other = rng.integers(0, 7, 100), rng.integers(0, CLASSES, 100)
        boxes = np.concatenate([corner, corner + size], 1)[source] + rng.normal(size=(100, 4)) * 10
        guess = np.where(rng.random(100) < 0.5, classes[source], other)
        scores = np.sort(rng.random(100))[::-1]
        detections.append(Detections(boxes, scores, guess))
    categories = [{"id": c, "name": str(c)} for c in range(CLASSES)]
    return {
        "images": [{"id": i} for i in range(images)],
        "categories": categories,
        "annotations": annotations,
    }, detections


def main() -> None:
    """Time one work."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=0, help="time COCO metrics of this many images instead")
    parser.add_argument("--multi-label", action="store_true", help="several classes per box")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    if options.images:
        ground_truth, found = draw_data_set(rng, options.images)
        ids = {"image_ids": range(options.images), "category_ids": range(CLASSES)}
        work = f"evaluate {options.images} images, 100 detections each"
        print_json(measure(work, lambda: evaluate_coco(ground_truth, detections_to_coco(found, **ids)), repeats=1))
        return
    decoded = draw_decoded(rng)
    config = PostprocessConfig(score_threshold=0.001, multi_label=options.multi_label)
    work = "postprocess 80 classes score 0.001" + (", several classes per box" if options.multi_label else "")
    print_json(measure(work, lambda: postprocess(decoded, config=config), repeats=50))


if __name__ == "__main__":
    main()
