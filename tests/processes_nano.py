"""Nano trained by one or several processes from the loader's shards, for tests/test_distributed_nano.py.

    python tests/processes_nano.py OUTPUT_FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.yolox_nano import EXPERIMENT  # noqa: E402
from yolox.config import InputSpec, LoaderConfig, LossConfig, OptimConfig, Recipe  # noqa: E402
from yolox.data.coco import read_coco  # noqa: E402
from yolox.data.loader import train_batches  # noqa: E402
from yolox.data.synthetic import SyntheticConfig, write_synthetic  # noqa: E402
from yolox.distributed import Group, join_group  # noqa: E402
from yolox.nn import initialise  # noqa: E402
from yolox.nn.blocks import BN_MOMENTUM  # noqa: E402
from yolox.training.step import create_train_state  # noqa: E402

IMAGES, STEPS = 20, 5  # of each step four images, of which each process has its part


def recipe_of(group: Group) -> Recipe:
    """Gives every process its part of the same batch, mosaic and mixup included, and divide by the positives of all."""
    return Recipe(
        input=InputSpec(input_size=(64, 64)),
        loader=LoaderConfig(batch_size=IMAGES // STEPS // group.world, max_gt=40, workers=0),
        loss=LossConfig(loss_normalizer="global"),
        optim=OptimConfig(gradient_reduction="mean"),
    )


def fix_statistics(detector: nn.Cell, images: np.ndarray) -> None:
    """Puts BN into inference mode with the statistics of the images: with fresh ones, next to nothing reaches the loss.

    The statistics are those of a bias of 4, which is then moved into the means, so that the bias trains from 0. At 4, SiLU
    is nearly linear. At 0, a random network of 90 layers amplifies the rounding of its first convolutions, which depends on
    the batch size, to 6e-4 of the outputs; here it stays at 2e-6.
    """
    norms = [cell for _, cell in detector.cells_and_names() if isinstance(cell, nn.BatchNorm2d)]
    for cell in norms:
        cell.beta.set_data(ms.ops.full(cell.beta.shape, 4.0))
    statistics = [parameter for cell in norms for parameter in (cell.moving_mean, cell.moving_variance)]
    before = [parameter.asnumpy().copy() for parameter in statistics]
    detector.set_train()
    detector(ms.Tensor(images.transpose(0, 3, 1, 2).astype(np.float32)))
    for parameter, old in zip(statistics, before, strict=True):  # one pass has gone a part of the way
        parameter.set_data(ms.Tensor((parameter.asnumpy() - BN_MOMENTUM * old) / (1 - BN_MOMENTUM)))
    for cell in norms:
        cell.use_batch_statistics = False
        cell.moving_mean.set_data(cell.moving_mean - 4 * ms.ops.sqrt(cell.moving_variance + cell.eps))
        cell.beta.set_data(ms.ops.zeros_like(cell.beta))


def train(folder: Path, group: Group) -> dict[str, np.ndarray]:
    """Take five steps with BN in inference mode; the parameters before and after them, and what the steps said."""
    folder.mkdir()
    write_synthetic(folder, images=IMAGES, seed=0, config=SyntheticConfig(image_size=(96, 128), sides=(12, 60)))
    dataset, recipe = read_coco(str(folder / "instances.json"), str(folder / "images")), recipe_of(group)
    detector = EXPERIMENT.build_detector(len(dataset.class_names))
    initialise(detector, seed=0)
    batches = list(train_batches(dataset, recipe=recipe, epoch=0, augment=True, rank=0, world=1))  # the same in each rank
    fix_statistics(detector, np.concatenate([batch[0] for batch in batches])[: IMAGES // 2])
    state = create_train_state(detector)
    step = EXPERIMENT.make_step(detector, state, recipe, group=group)
    before, positives = {p.name: p.asnumpy().copy() for p in state.averaged}, []
    for batch in train_batches(dataset, recipe=recipe, epoch=0, augment=True, rank=group.rank, world=group.world):
        _, num_pos, *_ = step(*map(ms.Tensor, batch[:4]), *(ms.Tensor(value, ms.float32) for value in (0.01, 0.9, 1.0)))
        positives.append(float(num_pos.asnumpy()))
    after = {p.name: p.asnumpy() for p in state.averaged}
    named = {"before": before, "after": after}
    return {f"{when}.{name}": value for when, of in named.items() for name, value in of.items()} | {"positives": positives}


def main(folder: Path) -> None:
    """Run alone or as one of several, and leave what came out as rank*.npz."""
    group = join_group() if "MS_ROLE" in os.environ else Group()
    np.savez(folder / f"rank{group.rank}.npz", **train(folder / f"images{group.rank}", group))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
