"""The timed works: each function builds one and returns a call that waits for its result."""

from __future__ import annotations

from collections.abc import Callable

import mindspore as ms
import numpy as np

from benchmarks.folders import folder_work
from benchmarks.ground_truths import make_ground_truths
from benchmarks.loss import loss
from benchmarks.parts import measure_parts, wait
from examples import yolox_nano, yolox_s
from yolox.eval.predict import make_eval_step
from yolox.nn import initialise
from yolox.training.step import create_train_state

EXPERIMENTS = {"nano": yolox_nano.EXPERIMENT, "s": yolox_s.EXPERIMENT}


def _detector(scale: str, num_classes: int = 80):
    detector = EXPERIMENTS[scale].build_detector(num_classes)
    initialise(detector, seed=0)
    return detector


def _images(batch: int, size: int) -> ms.Tensor:
    return ms.Tensor(np.random.default_rng(0).integers(0, 256, (batch, size, size, 3)).astype(np.uint8))


def infer(scale: str, size: int, batch: int) -> Callable[[], object]:
    """Normalise, run the network, decode."""
    detector, images = _detector(scale), _images(batch, size)
    step = make_eval_step(detector, spec=EXPERIMENTS[scale].recipes["megvii"].input)
    return lambda: step(images).asnumpy()


def train_call(scale: str, size: int, batch: int, *, per_image: int = 8, num_classes: int = 80) -> Callable[[], object]:
    """The whole training step: normalise, forward, assignment, losses, backward, update, averages."""
    experiment, detector = EXPERIMENTS[scale], _detector(scale, num_classes)
    step = experiment.make_step(detector, create_train_state(detector), experiment.recipes["megvii"])
    gt = make_ground_truths(batch, size, per_image=per_image, num_classes=num_classes)
    tensors = (_images(batch, size), *(ms.Tensor(part) for part in gt))
    # A rate of 0 does the same work and keeps the network where it is.
    scalars = tuple(ms.Tensor(value, ms.float32) for value in (0.0, 0.9998, 0.0))
    return lambda: wait(step(*tensors, *scalars)[0]["total"])


def parts(scale: str, size: int, batch: int, repeats: int) -> dict:
    """The bare network, and what loss, update and averages add; called in turn in one process."""
    recipe = EXPERIMENTS[scale].recipes["megvii"]
    name = f"parts {scale} {size} b{batch}"
    return measure_parts(name, lambda: _detector(scale), _images(batch, size), recipe, repeats=repeats)


WORKS: dict[str, Callable[[], Callable[[], object]]] = {
    "infer nano 416 b1": lambda: infer("nano", 416, 1),
    "infer s 640 b1": lambda: infer("s", 640, 1),
    "loss nano 416 b8": lambda: loss(416, 8),
    "loss nano 416 b8, 120 truths": lambda: loss(416, 8, per_image=120),
    "loss s 640 b2": lambda: loss(640, 2),
    "eval s 640": lambda: folder_work("eval", "auto"),
    "eval s 640 in MindSpore": lambda: folder_work("eval", "mindspore"),
    "predict folder": lambda: folder_work("predict", "auto"),
    "predict folder in MindSpore": lambda: folder_work("predict", "mindspore"),
    "train nano 416 b8": lambda: train_call("nano", 416, 8),
    "train s 640 b2": lambda: train_call("s", 640, 2),
}

PARTS: dict[str, Callable[[int], dict]] = {
    "parts nano 416 b8": lambda repeats: parts("nano", 416, 8, repeats),
    "parts s 640 b2": lambda repeats: parts("s", 640, 2, repeats),
}
