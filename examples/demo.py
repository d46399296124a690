"""Draws a dataset, trains YOLOX-Nano on it from random weights, and shows the result.

Downloads nothing, takes about five minutes on two cores, and uses the commands for a dataset of your own:

    python examples/demo.py --output demo

`demo` then holds `data` (drawn images, COCO JSON), `run` (checkpoints, history.csv), `metrics.json` of images
that training never saw, `pictures` with the boxes found in them, and `curves.png`. The exit status is 1 where AP50 is
below 0.70 (0.93 when it was measured, with nano's own mosaic); a shorter demo, such as `--epochs 2`, wants `--least-ap50 0`.
"""

import json
import sys
import time
from pathlib import Path

import tyro
from attrs import frozen
from yolox_nano import EXPERIMENT

from yolox.cli import run
from yolox.data.synthetic import write_synthetic
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


def train_settings(demo: Demo) -> list[str]:
    """Returns the options that differ from Megvii's recipe: few epochs, a rate for small batches, one size."""
    end = demo.epochs // 5
    settings = {
        "input-size": demo.input_size,
        "epochs": demo.epochs,
        "batch-size": demo.batch_size,
        "lr-per-image": 0.0015,
        "warmup-epochs": min(demo.epochs // 3, 1),
        "flat-epochs": end,
        "plain-epochs": end,
        "eval-interval": 2,
        "plain-eval-interval": 1,
        "ema-ramp": 200,
    }
    argv = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    return [*argv, "--multiscale-sizes"]


def commands(demo: Demo) -> list[list[str]]:
    """Returns the three commands; each can also be typed after `python examples/yolox_nano.py`."""
    train, unseen = demo.output / "data/train", demo.output / "data/unseen"
    best, pictures = f"{demo.output}/run/best.safetensors", f"{demo.output}/pictures"
    train_data = ["--train-json", f"{train}/instances.json", "--train-images", f"{train}/images"]
    val_data = ["--val-json", f"{unseen}/instances.json", "--val-images", f"{unseen}/images"]
    sources = [str(path) for path in sorted((unseen / "images").glob("*.png"))[:12]]
    run_folder = ["--output", f"{demo.output}/run", "--overwrite"]
    return [
        ["train", *train_data, *val_data, *run_folder, *train_settings(demo)],
        ["eval", "--weights", best, *val_data, "--json", f"{demo.output}/metrics.json"],
        ["predict", "--weights", best, "--source", *sources, "--output", pictures],
    ]


def main(demo: Demo) -> int:
    """Runs the demo; returns the status of the first command that fails, or 1 if AP50 is too low."""
    start = time.monotonic()
    write_synthetic(demo.output / "data/train", images=demo.images, seed=0)
    write_synthetic(demo.output / "data/unseen", images=max(demo.images // 4, 4), seed=1)
    for argv in commands(demo):
        print("\n$ python examples/yolox_nano.py", *argv, flush=True)
        status = run(EXPERIMENT, argv)
        if status:
            return status
    write_curves(demo.output / "run", demo.output)
    metrics = json.loads((demo.output / "metrics.json").read_text())
    print(f"\nAP50 {metrics['AP50'] or 0:.3f} on images that training never saw, {time.monotonic() - start:.0f} s")
    print(f"look at {demo.output}/pictures and {demo.output}/curves.png")
    return judge(metrics["AP50"], demo.least_ap50)


def judge(ap50: float | None, least: float) -> int:
    """Returns the exit status for an AP50, which is None without a box to find; prints a line if it falls short."""
    if ap50 is not None and ap50 >= least:
        return 0
    print(f"error: AP50 is {ap50 or 0:.3f}, want at least {least:.2f} (--least-ap50)", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Demo)))
