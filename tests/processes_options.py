"""What the processes of tests/test_distributed_options.py run; started by msrun, or alone for the reference.

    python tests/processes_options.py OUTPUT_FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import attrs
import mindspore as ms
import numpy as np
from mindspore import nn, ops

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.processes import CLASSES, IMAGES, SIZE, STEPS, batch  # noqa: E402
from yolox.config import InputSpec, LoaderConfig, LossConfig, OptimConfig, Recipe  # noqa: E402
from yolox.distributed import Group, join_group  # noqa: E402
from yolox.training.step import create_train_state, make_recipe_step  # noqa: E402

RECIPE = Recipe(
    input=InputSpec(input_size=(SIZE, SIZE), pixel_scale=1 / 255),
    loss=LossConfig(loss_normalizer="global", class_weights=(0.25, 1.0, 4.0)),
    optim=OptimConfig(clip_norm=0.5),
)
SYNCED = attrs.evolve(RECIPE, optim=OptimConfig(sync_bn=True))


def squares(maps, gt_boxes, gt_classes, valid, l1_weight):
    """A loss of every output and every image that compiles in a second."""
    error = [((m - gt_boxes.mean(axis=(1, 2)).reshape(-1, 1, 1, 1) / 64) ** 2).mean() for m in maps]
    return 20 * sum(error), {"iou": error[0], "obj": error[1], "cls": error[2]}, valid.astype(ms.float32).sum()


class Blocks(nn.Cell):
    """Two convolutions with BN and SiLU, and a map of each of three strides from the second."""

    def __init__(self, statistics):
        super().__init__()
        self.convs = nn.CellList([nn.Conv2d(3, 6, 3, 2), nn.Conv2d(6, 8, 3, 2)])
        self.norms = nn.CellList([nn.BatchNorm2d(c, 1e-3, 0.97, use_batch_statistics=statistics) for c in (6, 8)])
        self.preds = nn.CellList([nn.Conv2d(8, 5 + CLASSES, 1, has_bias=True) for _ in range(3)])
        rng = np.random.default_rng(0)
        for parameter in self.trainable_params():
            if not parameter.name.endswith(("gamma", "beta")):
                parameter.set_data(ms.Tensor(rng.normal(0, 0.2, parameter.shape).astype(np.float32)))

    def construct(self, x):
        for conv, norm in zip(self.convs, self.norms):  # noqa: B905 (graph code knows no keyword)
            x = ops.silu(norm(conv(x)))
        return tuple([pred(ops.avg_pool2d(x, k, k)) for pred, k in zip(self.preds, (2, 4, 8))])  # noqa: B905


def train(recipe: Recipe, group: Group, *, accumulate: int = 1, compiled: bool = True, **options) -> dict[str, np.ndarray]:
    """Five steps; parameters, BN statistics and moving averages after them, and the losses. BN without statistics of its batch
    makes all images of a step one batch, however they are divided."""
    loader = LoaderConfig(accumulate=accumulate, batch_size=IMAGES // group.world // accumulate)
    recipe, cell = attrs.evolve(recipe, loader=loader), Blocks(None if "loss_fn" in options else False)
    state = create_train_state(cell)
    step, losses = make_recipe_step(cell, state, recipe, group=group, compiled=compiled, **options), []
    for number in range(STEPS):
        parts, *_ = step(*batch(number, group), *(ms.Tensor(value, ms.float32) for value in (0.02, 0.9, 1.0)))
        losses.append(float(parts["total"].asnumpy()))
    return {
        **{p.name: p.asnumpy() for p in state.averaged},
        **{f"ema {p.name}": value for p, value in zip(state.averaged, state.ema.arrays(), strict=True)},
        "losses": np.array(losses),
    }


def main(folder: Path) -> None:
    """Run alone or as one of several, and leave what came out as rank*.npz."""
    group = join_group() if "MS_ROLE" in os.environ else Group()
    cases = {
        "whole": train(RECIPE, group),
        "parts": train(RECIPE, group, accumulate=2),
        "sync": train(SYNCED, group, loss_fn=squares),
        "eager sync": train(SYNCED, group, loss_fn=squares, compiled=False),
    }
    if group.world == 1:  # what the options change: without it a test of equality shows nothing
        plain = attrs.evolve(RECIPE, loss=LossConfig(loss_normalizer="global"))
        cases |= {"unweighted": train(plain, group), "unclipped": train(attrs.evolve(RECIPE, optim=OptimConfig()), group)}
    else:
        cases["apart"] = train(attrs.evolve(SYNCED, optim=OptimConfig()), group, loss_fn=squares)
    found = {f"{case} {name}": value for case, values in cases.items() for name, value in values.items()}
    np.savez(folder / f"rank{group.rank}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
