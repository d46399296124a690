"""pixeltable-yolox, a copy of Megvii's code, as one of the systems of benchmarks/peers.py, which starts this file.

It runs in an environment of its own: the peer's package has the same name as this library's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from asked import answer_calls, split_work
from folders import SIZE, write_photographs
from ground_truths import make_ground_truths
from outputs import STRIDES, make_outputs


def _declare_nms() -> None:
    """Allows torchvision's usual wheel to be imported beside a torch without CUDA; no work calls the missing NMS."""
    try:
        torch.ops.load_library(Path(find_spec("torchvision").origin).with_name("_C.so"))
    except OSError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_declare_nms()

from yolox.data.data_augment import preproc  # noqa: E402
from yolox.utils.boxes import postprocess  # noqa: E402

from yolox.config import YoloxNano, YoloxS  # noqa: E402

CONFIGS = {"nano": YoloxNano, "s": YoloxS}


def _images(size: int, batch: int) -> torch.Tensor:  # [B,3,H,W]
    pixels = np.random.default_rng(0).integers(0, 256, (batch, 3, size, size))
    return torch.from_numpy(pixels.astype(np.float32))


def _labels(size: int, batch: int) -> torch.Tensor:  # [B,120,5]: class, centre and sides in px; zeros where none is
    boxes, classes, _ = make_ground_truths(batch, size)
    centers, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    return torch.from_numpy(np.concatenate([classes[..., None], centers, sides], axis=-1).astype(np.float32))


def infer(scale: str, size: int, batch: int) -> Callable[[], object]:
    """Runs the network and decodes."""
    model, images = CONFIGS[scale]().get_model().eval(), _images(size, batch)

    def call() -> torch.Tensor:
        with torch.no_grad():
            return model(images)

    return call


def loss(scale: str, size: int, batch: int) -> Callable[[], float]:
    """Assignment, losses and the gradient to decoded predictions."""
    head, labels = CONFIGS[scale]().get_model().head, _labels(size, batch)
    outputs = torch.from_numpy(make_outputs(batch, size)).requires_grad_()
    columns, rows, strides = _grid(size)

    def call() -> float:
        outputs.grad = None
        total = head.get_losses(None, columns, rows, strides, labels, outputs, [], outputs.dtype)[0]
        total.backward()
        return total.item()

    return call


def _grid(size: int) -> tuple[list[torch.Tensor], ...]:  # for each level [1,P]: column, row, stride
    sides = [size // stride for stride in STRIDES]
    cells = [torch.arange(side, dtype=torch.float32) for side in sides]
    columns = [cell.repeat(len(cell))[None] for cell in cells]
    rows = [cell.repeat_interleave(len(cell))[None] for cell in cells]
    return columns, rows, [torch.full((1, side**2), float(s)) for side, s in zip(sides, STRIDES, strict=True)]


def train(scale: str, size: int, batch: int) -> Callable[[], float]:
    """Forward, loss, backward and the optimizer's step, whose rate is 0 as at the start of the peer's warm-up."""
    config = CONFIGS[scale]()
    model, images, labels = config.get_model(), _images(size, batch), _labels(size, batch)
    optimizer = config.get_optimizer(batch)

    def call() -> float:
        total = model(images, labels)["total_loss"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        return total.item()

    return call


def folder(evaluates: bool) -> Callable[[], object]:
    """Reads, resizes, runs and filters one photograph after the other, as the peer's demo and evaluation do."""
    temporary = tempfile.TemporaryDirectory()
    paths = write_photographs(Path(temporary.name))
    model, confidence = CONFIGS["s"]().get_model().eval(), 0.001 if evaluates else 0.25

    def call(temporary=temporary) -> list:
        found = []
        with torch.no_grad():
            for path in paths:
                image, _ = preproc(cv2.imread(str(path)), (SIZE, SIZE))
                found += postprocess(model(torch.from_numpy(image)[None]), 80, confidence, 0.65 if evaluates else 0.45)
        return found

    return call


def build(work: str) -> Callable[[], object]:
    """Builds a work by its name."""
    if work in ("eval s 640", "predict folder"):
        return folder(work.startswith("eval"))
    kind, scale, size, batch = split_work(work)
    return {"infer": infer, "loss": loss, "train": train}[kind](scale, size, batch)


if __name__ == "__main__":
    answer_calls(build)
