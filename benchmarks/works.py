"""The works that are timed: each function builds one and returns a call that waits for its result."""

from __future__ import annotations

from collections.abc import Callable

import mindspore as ms
import numpy as np

from benchmarks.loss import loss
from benchmarks.truths import make_truths
from examples import yolox_nano, yolox_s
from yolox.eval.predict import make_eval_step
from yolox.nn import initialise
from yolox.train import create_train_state

EXPERIMENTS = {"nano": yolox_nano.EXPERIMENT, "s": yolox_s.EXPERIMENT}


def _detector(scale: str):
    detector = EXPERIMENTS[scale].build_detector(80)
    initialise(detector, seed=0)
    return detector


def _images(batch: int, size: int) -> ms.Tensor:
    return ms.Tensor(np.random.default_rng(0).integers(0, 256, (batch, size, size, 3)).astype(np.uint8))


def infer(scale: str, size: int, batch: int) -> Callable[[], object]:
    """Normalise, run the network, decode."""
    detector, images = _detector(scale), _images(batch, size)
    step = make_eval_step(detector, spec=EXPERIMENTS[scale].recipes["megvii"].input)
    return lambda: step(images).asnumpy()


def train(scale: str, size: int, batch: int) -> Callable[[], object]:
    """The whole training step: normalise, forward, assignment, losses, backward, update, EMA."""
    experiment, detector = EXPERIMENTS[scale], _detector(scale)
    step = experiment.make_step(detector, create_train_state(detector), experiment.recipes["megvii"])
    tensors = (_images(batch, size), *(ms.Tensor(part) for part in make_truths(batch, size)))
    # A rate of 0 does the same work and keeps the network where it is.
    scalars = tuple(ms.Tensor(value, ms.float32) for value in (0.0, 0.9998, 0.0))
    return lambda: float(step(*tensors, *scalars)[0].asnumpy())


def bare(scale: str, size: int, batch: int) -> Callable[[], object]:
    """Forward and backward of the network alone, from the sum of its maps: what the step can't go below."""
    detector = _detector(scale)
    detector.set_train(True)
    images = ms.Tensor(np.random.default_rng(0).uniform(0, 255, (batch, 3, size, size)).astype(np.float32))

    def forward(planes):
        fine, middle, coarse = detector(planes)
        return fine.sum() + middle.sum() + coarse.sum()  # a mean's gradients end as denormal numbers, which are slow

    gradient_fn = ms.value_and_grad(forward, None, weights=ms.ParameterTuple(detector.trainable_params()))

    @ms.jit
    def step(planes):
        return gradient_fn(planes)

    return lambda: float(step(images)[0].asnumpy())


WORKS: dict[str, Callable[[], Callable[[], object]]] = {
    "infer nano 416 b1": lambda: infer("nano", 416, 1),
    "infer s 640 b1": lambda: infer("s", 640, 1),
    "loss nano 416 b8": lambda: loss(416, 8),
    "loss nano 416 b8, 120 truths": lambda: loss(416, 8, per_image=120),
    "loss s 640 b2": lambda: loss(640, 2),
    "train nano 416 b8": lambda: train("nano", 416, 8),
    "train s 640 b2": lambda: train("s", 640, 2),
    "bare nano 416 b8": lambda: bare("nano", 416, 8),
    "bare s 640 b2": lambda: bare("s", 640, 2),
}
