"""MindYOLO as one of the systems of benchmarks/peers.py, which starts this file; in an environment of its own."""

from __future__ import annotations

import os
from collections.abc import Callable

os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")  # its best case: with AVX-512 convolutions take up to 70 times longer
os.environ.setdefault("GLOG_v", "3")

import mindspore as ms  # noqa: E402
import numpy as np  # noqa: E402
from asked import answer_calls, split_work  # noqa: E402
from ground_truths import make_ground_truths  # noqa: E402
from mindspore import Tensor, ops  # noqa: E402
from mindyolo.models import create_loss, create_model  # noqa: E402
from mindyolo.optim import create_group_param, create_optimizer  # noqa: E402
from mindyolo.utils.config import Config  # noqa: E402
from mindyolo.utils.train_step_factory import create_train_step_fn, get_loss_scaler  # noqa: E402
from outputs import STRIDES, make_outputs  # noqa: E402

WIDTHS = {"nano": 0.25, "s": 0.5}


def wait(value: Tensor) -> np.ndarray:
    """Reads a result after a small eager operation: reading the output of a graph directly may busy-wait."""
    return (value + 0.0).asnumpy()


def describe_network(scale: str) -> Config:
    """Describe YOLOX in the package's terms, which its wheel leaves to the user: from, repeats, layer, arguments."""
    kind = "DW" if scale == "nano" else ""
    down, block = f"{kind}ConvNormAct", f"{kind}C3"
    backbone = [[-1, 1, "Focus", [64, 3]]]
    for channels, repeats in ((128, 3), (256, 9), (512, 9)):
        backbone += [[-1, 1, down, [channels, 3, 2]], [-1, repeats, block, [channels]]]
    backbone += [[-1, 1, down, [1024, 3, 2]], [-1, 1, "SPPF", [1024]], [-1, 3, block, [1024, False]]]
    head = []
    for channels, joined in ((512, 6), (256, 4)):  # from coarse to fine
        head += [[-1, 1, "ConvNormAct", [channels, 1, 1]], [-1, 1, "Upsample", [None, 2, "nearest"]]]
        head += [[[-1, joined], 1, "Concat", [1]], [-1, 3, block, [channels, False]]]
    for channels, joined in ((256, 14), (512, 10)):  # and back
        head += [[-1, 1, down, [channels, 3, 2]], [[-1, joined], 1, "Concat", [1]], [-1, 3, block, [2 * channels, False]]]
    head += [[[17, 20, 23], 1, "YOLOXHead", ["nc", "stride", f"depth_wise={scale == 'nano'}"]]]
    sizes = {"depth_multiple": 0.33, "width_multiple": WIDTHS[scale], "stride": list(STRIDES)}
    return Config({"backbone": backbone, "head": head, **sizes})


def _network(scale: str):
    return create_model("yolox", model_cfg=describe_network(scale), num_classes=80)


def _images(size: int, batch: int) -> Tensor:  # [B,3,H,W]
    return Tensor(np.random.default_rng(0).uniform(0, 1, (batch, 3, size, size)).astype(np.float32))


def _labels(size: int, batch: int) -> Tensor:  # [B,120,6]: image, class, centre and sides of 0 to 1; -1 where none is
    boxes, classes, valid = make_ground_truths(batch, size)
    centers, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    image = np.broadcast_to(np.arange(batch)[:, None], classes.shape)
    labels = np.concatenate([image[..., None], classes[..., None], centers / size, sides / size], axis=-1)
    return Tensor(np.where(valid[..., None], labels, -1).astype(np.float32))


def infer(scale: str, size: int, batch: int) -> Callable[[], object]:
    """Runs the network, which decodes."""
    network, images = _network(scale).set_train(False), _images(size, batch)
    return lambda: wait(network(images)[0])


def loss(scale: str, size: int, batch: int) -> Callable[[], object]:
    """Assignment, losses and the gradient to decoded predictions."""
    loss_fn = create_loss("YOLOXLoss", nc=80, input_size=(size, size), strides=STRIDES)
    outputs, labels = Tensor(make_outputs(batch, size)), _labels(size, batch)

    def forward(decoded, gt):
        return loss_fn(decoded, gt)[0]

    gradient_fn = ops.value_and_grad(forward, 0)

    @ms.jit
    def step(decoded, gt):
        return gradient_fn(decoded, gt)

    def call() -> float:
        value, gradient = step(outputs, labels)
        wait(gradient)
        return float(wait(value))

    return call


def train(scale: str, size: int, batch: int) -> Callable[[], object]:
    """Its own training step; a rate of 0 does the same work and keeps the network where it is."""
    network, loss_fn = _network(scale).set_train(True), create_loss("YOLOXLoss", nc=80, input_size=(size, size), strides=STRIDES)
    groups = create_group_param(network.trainable_params(), gp_weight_decay=5e-4, group_param="filter_bias_and_bn")
    optimizer = create_optimizer(groups, optimizer="momentum", lr=0.0, momentum=0.9, nesterov=True)
    step = create_train_step_fn(
        "detect", network, loss_fn, optimizer, loss_ratio=1.0, scaler=get_loss_scaler("none"), reducer=ops.identity, ms_jit=True
    )
    images, labels = _images(size, batch), _labels(size, batch)
    return lambda: float(wait(step(images, labels)[0]))


def build(work: str) -> Callable[[], object]:
    """Builds a work by its name, in the mode of the package's scripts."""
    kind, scale, size, batch = split_work(work)
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    ms.set_recursion_limit(2000)
    return {"infer": infer, "loss": loss, "train": train}[kind](scale, size, batch)


if __name__ == "__main__":
    answer_calls(build)
