"""Draws a dataset, trains YOLOX-Nano on it from random weights, and shows the result.

Downloads nothing, takes about five minutes on two cores, and calls what a program of your own would call:

    python examples/demo.py --output demo

`demo` then holds `data` (drawn images, COCO JSON), `run` (checkpoints, history.csv), `metrics.json` of images
that training never saw, `pictures` with the boxes found in them, and `curves.png`. The exit status is 1 where AP50 is
below 0.70 (five seeds gave 0.87 to 0.92); a shorter demo, such as `--epochs 2`, needs `--least-ap50 0`.
"""

import json
import sys
import time
from pathlib import Path

import attrs
import cv2
import tyro
from attrs import frozen

import yolox
from yolox.data.synthetic import SHAPE_NAMES, write_synthetic
from yolox.visualize.draw import draw_detections, enlarge_small
from yolox.visualize.run_pictures import write_curves


@frozen(kw_only=True)
class Demo:
    """Draw a dataset, train nano on it, evaluate, and save pictures and curves."""

    output: Path = Path("demo")
    """Folder for everything; an earlier demo in it is replaced."""
    images: int = 640
    """Drawn training images; a quarter as many are drawn for evaluation."""
    epochs: int = 7
    """Passes over the training images."""
    input_size: int = 128
    """Side of the images in pixels."""
    batch_size: int = 8
    """Images of a step."""
    least_ap50: float = 0.70
    """AP50 on unseen images below which the demo has failed."""


def demo_recipe(demo: Demo) -> yolox.Recipe:
    """Returns Megvii's recipe of nano with few epochs, a rate for small batches, and one image size."""
    end = demo.epochs // 5
    recipe = yolox.with_input_size(yolox.megvii_recipe("nano"), (demo.input_size, demo.input_size))
    # docs/own_dataset.md compares rates: higher ones fail with some seeds
    rates = {"lr_per_image": 0.0007, "warmup_epochs": min(demo.epochs // 3, 1), "flat_epochs": end, "ema_ramp": 200.0}
    return attrs.evolve(
        recipe,
        epochs=demo.epochs,
        no_aug_epochs=end,
        eval_interval=2,
        loader=attrs.evolve(recipe.loader, batch_size=demo.batch_size, multiscale_sizes=()),
        optim=attrs.evolve(recipe.optim, **rates),
    )


def main(demo: Demo) -> int:
    """Runs the demo; returns 1 if AP50 is too low."""
    start, data = time.monotonic(), demo.output / "data"
    train_json = write_synthetic(data / "train", images=demo.images, seed=0)
    unseen_json = write_synthetic(data / "unseen", images=max(demo.images // 4, 4), seed=1)
    train_set = yolox.read_coco(train_json, data / "train/images")
    unseen = yolox.read_coco(unseen_json, data / "unseen/images")

    detector = yolox.models.yolox_nano(num_classes=len(SHAPE_NAMES))
    folder, recipe = demo.output / "run", demo_recipe(demo)
    run = yolox.train(detector, train_set, val_set=unseen, recipe=recipe, output=folder, overwrite=True)
    metrics = yolox.evaluate(run.detector, unseen)
    (demo.output / "metrics.json").write_text(json.dumps(metrics, indent=2))

    pictures = demo.output / "pictures"
    pictures.mkdir(exist_ok=True)
    paths = sorted((data / "unseen/images").glob("*.png"))[:12]
    for path, found in zip(paths, yolox.predict(run.detector, paths), strict=True):
        picture = draw_detections(*enlarge_small(cv2.imread(str(path)), found), SHAPE_NAMES)
        cv2.imwrite(str(pictures / path.name), picture)
    write_curves(folder, demo.output)
    print(f"\nAP50 {metrics['AP50'] or 0:.3f} on images that training never saw, {time.monotonic() - start:.0f} s")
    print(f"look at {pictures} and {demo.output}/curves.png")
    return judge(metrics["AP50"], demo.least_ap50)


def judge(ap50: float | None, least: float) -> int:
    """Returns the exit status for an AP50, which is None without a box to find; prints a line if it falls short."""
    if ap50 is not None and ap50 >= least:
        return 0
    print(f"error: AP50 is {ap50 or 0:.3f}, want at least {least:.2f} (--least-ap50)", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Demo)))
