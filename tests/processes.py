"""What the processes of tests/test_distributed.py run; started by msrun, or alone for the reference.

    python tests/processes.py OUTPUT_FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn, ops

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.evaluations import metrics_of_shares  # noqa: E402
from yolox.assign import simota_assign  # noqa: E402
from yolox.config import InputSpec, OptimConfig  # noqa: E402
from yolox.data.batches import evaluated_images  # noqa: E402
from yolox.distributed import (  # noqa: E402
    Group,
    any_of,
    from_first,
    gather_rows,
    gradient_reducer,
    join_group,
    positives_reducer,
    share_statistics,
)
from yolox.eval.evaluate import detections_to_table, gather_detections  # noqa: E402
from yolox.eval.postprocess import Detections  # noqa: E402
from yolox.training.step import create_train_state, make_train_step  # noqa: E402
from yolox.yolox_loss import detection_loss  # noqa: E402

IMAGES, SIZE, STEPS, CLASSES = 8, 64, 5, 3
EARLY = 2  # steps that the eager run takes, which is slow
FOUND = 9  # images of an evaluation; no multiple of the number of processes


class Maps(nn.Cell):
    """Three maps from averaged pixels, with BN in inference mode: batches of any division give the same numbers."""

    def __init__(self):
        super().__init__()
        self.convs = nn.CellList([nn.Conv2d(3, 5 + CLASSES, 1, has_bias=True) for _ in range(3)])
        self.norms = nn.CellList([nn.BatchNorm2d(5 + CLASSES, use_batch_statistics=False) for _ in range(3)])
        rng = np.random.default_rng(0)
        for parameter in self.trainable_params():
            parameter.set_data(ms.Tensor(rng.normal(0, 0.1, parameter.shape).astype(np.float32)))

    def construct(self, x):
        return (
            self.norms[0](self.convs[0](ops.avg_pool2d(x, 8, 8))),
            self.norms[1](self.convs[1](ops.avg_pool2d(x, 16, 16))),
            self.norms[2](self.convs[2](ops.avg_pool2d(x, 32, 32))),
        )


def batch(step: int, group: Group) -> tuple[ms.Tensor, ...]:
    """The part of one process of a batch of all; the first images have more objects than the last."""
    rng = np.random.default_rng(step)
    images = rng.integers(0, 256, (IMAGES, SIZE, SIZE, 3)).astype(np.uint8)
    low = rng.uniform(0, 30, (IMAGES, 4, 2))
    boxes = np.concatenate([low, low + rng.uniform(8, 30, (IMAGES, 4, 2))], -1).astype(np.float32)
    classes = rng.integers(0, CLASSES, (IMAGES, 4)).astype(np.int32)
    valid = np.arange(4)[None] < np.minimum(4, IMAGES - np.arange(IMAGES))[:, None]
    valid[-2:] = False
    mine = slice(group.rank * IMAGES // group.world, (group.rank + 1) * IMAGES // group.world)
    return tuple(ms.Tensor(part[mine]) for part in (images, boxes, classes, valid))


def train(
    group: Group, steps: int = STEPS, *, compiled: bool = True, accumulate: int = 1, **loss_options
) -> dict[str, np.ndarray]:
    """Steps with global normalisation; the parameters after them, and those after the first two, called early."""
    cell, reduce_num_pos = Maps(), positives_reducer(group)
    state = create_train_state(cell)

    def loss(maps, gt_boxes, gt_classes, valid, l1_weight):
        # the dense assignment takes less time here; tests/processes_nano.py takes the other one
        options = {"assign_fn": simota_assign, "reduce_num_pos": reduce_num_pos, **loss_options}
        return detection_loss(maps, gt_boxes, gt_classes, valid, l1_weight, **options)

    step = make_train_step(
        cell,
        loss,
        state,
        optim=OptimConfig(),
        spec=InputSpec(input_size=(SIZE, SIZE), pixel_scale=1 / 255),
        reduce_gradients=gradient_reducer(group, "mean"),
        accumulate=accumulate,
        reduce_num_pos=reduce_num_pos,
        compiled=compiled,
    )
    early = {}
    for number in range(steps):
        step(*batch(number, group), *(ms.Tensor(value, ms.float32) for value in (0.02, 0.9, 1.0)))
        if number + 1 == EARLY:
            early = {f"early {p.name}": p.asnumpy().copy() for p in state.params}
    return {p.name: p.asnumpy() for p in state.params} | early


def exchange(group: Group) -> dict[str, np.ndarray]:
    """One of each collective; every process returns what it got."""
    rows = np.random.default_rng(group.rank).normal(size=(3 * group.rank, 2)) * 1e-300  # rank 0 has none
    statistics = [np.full((2, 2), group.rank + 1.0, np.float32), np.full(3, 2.0 * group.rank, np.float32)]
    averaged, first = (share_statistics(statistics, group, average=average) for average in (True, False))
    return {
        **{f"rows{i}": table for i, table in enumerate(gather_rows(rows, group))},
        **{f"averaged{i}": value for i, value in enumerate(averaged)},
        **{f"first{i}": value for i, value in enumerate(first)},
        "any": np.array([any_of(group.rank == group.world - 1, group), any_of(False, group)]),
        "from_first": np.array(from_first({"AP": 0.1, "none": None} if group.is_first else None, group)["AP"]),
        "sum_gradient": gradient_reducer(group, "sum")((ms.Tensor([1.0, 2.0]),))[0].asnumpy(),
        "detections": detections_to_table(shared_detections(group), range(FOUND)),
    }


def detections_of(image: int) -> Detections:
    """What a detector could have found: image 3 has nothing, the others up to five boxes."""
    rng, count = np.random.default_rng(image), 0 if image == 3 else image % 6
    boxes = np.sort(rng.uniform(0, 60, (count, 2, 2)), axis=1).reshape(count, 4).astype(np.float32)
    return Detections(boxes, rng.random(count).astype(np.float32), rng.integers(0, 3, count).astype(np.int32))


def shared_detections(group: Group) -> list[Detections]:
    """Each process has its share of an odd number of images; all get everything."""
    mine = [detections_of(int(image)) for image in evaluated_images(FOUND, rank=group.rank, world=group.world)]
    return gather_detections(mine, FOUND, group)


def main(folder: Path) -> None:
    """Run alone or as one of several, and leave what came out as rank*.npz."""
    group = join_group() if "MS_ROLE" in os.environ else Group()
    exchanged = exchange(group) if group.world > 1 else {}
    others = {"eager": train(group, EARLY, compiled=False), "parts": train(group, accumulate=2)}
    named = {f"{kind} {name}": value for kind, values in others.items() for name, value in values.items()}
    np.savez(folder / f"rank{group.rank}.npz", **train(group), **named, **exchanged, **metrics_of_shares(folder, group))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
