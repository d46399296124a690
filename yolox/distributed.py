"""Data parallelism: the group of processes, reduction of gradients and positives, synchronised BN, and gathering of values.

Every function here is called by all processes at the same point of their program, as collectives want it. Alone, with
one process, nothing is sent and every value comes back as it was.
"""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import mindspore as ms
import numpy as np
from attrs import frozen
from mindspore import Tensor, nn, ops

from yolox.config import Recipe
from yolox.graph import join_arrays, split_array, tree_map
from yolox.processes import check_port, end_with_workers, set_timeouts


@frozen
class Group:
    """The processes that train together; `rank` counts from 0, the process with rank 0 writes files.

    Example:
        >>> Group().is_first, Group(rank=1, world=2).is_first
        (True, False)
    """

    rank: int = 0
    world: int = 1

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ValueError(f"Group: got rank {self.rank} of {self.world}, want 0 <= rank < world")

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0


def join_group(*, seconds: float = 90.0, advice: str = "") -> Group:
    """Joins the processes that msrun started.

    Call it once, after the device is set and before the first operation. The scheduler, which msrun starts from the same
    script, stays in here until the job ends.

    Args:
        seconds: limit for usual work, from which MindSpore's timeouts are set (`yolox.processes.set_timeouts`); 0 for none.
        advice: how the job can continue when a process fails; printed on the host of the scheduler.

    Returns:
        This process's place among them.

    Raises:
        RuntimeError: msrun did not start this process, the master port is in use, or the others do not come.
    """
    if "MS_ROLE" not in os.environ:
        raise RuntimeError("this process was not started by msrun: want msrun --worker_num=N to start each process")
    set_timeouts(seconds)  # MindSpore reads them in init()
    check_port()
    if os.environ["MS_ROLE"] == "MS_SCHED":
        end_with_workers(advice)
    ms.communication.init()
    return Group(ms.communication.get_rank(), ms.communication.get_group_size())


def gradient_reducer(group: Group, how: Literal["mean", "sum"]) -> Callable[[tuple], tuple] | None:
    """Returns the function that reduces gradients over processes, for `make_train_step`.

    Args:
        group: the processes.
        how: "mean" makes N devices of batch b one device of batch N*b (Megvii); "sum" multiplies the rate by N
            on top of that (MindYOLO, whose loss is multiplied by the number of devices before the mean).

    Returns:
        Function of a tuple of tensors to a tuple of the same shapes, for graph code; None where there is one process.
    """
    if group.world == 1:
        return None
    add, share = ops.AllReduce(ops.ReduceOp.SUM), 1.0 / group.world if how == "mean" else 1.0

    def reduce_one(gradient):
        return add(gradient) * share

    def reduce_gradients(gradients):
        return tree_map(reduce_one, gradients)

    return reduce_gradients


def positives_reducer(group: Group) -> Callable[[Tensor], Tensor] | None:
    """Returns the function that replaces a device's number of positives by the mean over devices, for `detection_loss`.

    Divided by this mean, the losses of N devices average to the loss of all their images together. (Divided by its own
    positives, a device with few of them pulls as hard as one with many.)

    Args:
        group: the processes.

    Returns:
        Function of a float32 scalar to max(sum over devices, 1) / N, for graph code; None where there is one process.
    """
    if group.world == 1:
        return None
    add, share = ops.AllReduce(ops.ReduceOp.SUM), 1.0 / group.world

    def reduce_num_pos(num_pos):
        return ops.clamp(add(num_pos), min=1.0) * share

    return reduce_num_pos


def recipe_reducers(recipe: Recipe, group: Group) -> tuple[Callable | None, Callable | None]:
    """Returns the reducers of a recipe for several devices.

    Args:
        recipe: its ``optim.gradient_reduction`` and ``loss.loss_normalizer`` count.
        group: the processes.

    Returns:
        For `make_train_step` the function that reduces gradients, and for `detection_loss` the function that reduces
        the number of positives. Each is None where there is nothing to reduce.

    Example:
        >>> recipe_reducers(Recipe(), Group())
        (None, None)
    """
    positives = positives_reducer(group) if recipe.loss.loss_normalizer == "global" else None
    return gradient_reducer(group, recipe.optim.gradient_reduction), positives


def normalize_over_devices(detector: nn.Cell, group: Group) -> None:
    """Makes batch normalisation take its statistics over the batches of all devices, in every training step.

    Call it before the step is compiled; `make_recipe_step` does where ``optim.sync_bn`` asks for it. N devices of batch b then
    normalise as one of batch N*b, moving statistics included. Use it where b is small. Inference stays as it is, and so
    do layers that are frozen. With one process nothing changes.

    Args:
        detector: its `nn.BatchNorm2d` layers are changed in place; parameters and names stay.
        group: the processes; all of them train with it.

    Source: two sums over the devices in the forward pass and their gradients in the backward pass on CPU; MindSpore's
        `nn.SyncBatchNorm` on Ascend, where it has not been tested.
    """
    if group.world == 1:
        return
    for _, cell in detector.cells_and_names():
        if isinstance(getattr(cell, "bn", None), nn.BatchNorm2d):
            cell.native = False  # the kernels of `yolox.native` take the statistics of one device
        if isinstance(cell, nn.BatchNorm2d):
            momentum = 1 - cell.momentum  # nn.BatchNorm2d keeps the share of the new value
            if ms.get_context("device_target") == "Ascend":
                cell.bn_train = nn.SyncBatchNorm(cell.num_features, eps=cell.eps, momentum=momentum).bn_train
            else:
                cell.bn_train = _synchronised_norm(group, eps=cell.eps, momentum=momentum)


def _synchronised_norm(group: Group, *, eps: float, momentum: float):
    """Returns the function that takes the place of `ops.BatchNorm` in training."""
    add = ops.AllReduce(ops.ReduceOp.SUM)  # its gradient is the sum of the gradients of all processes, as their losses add up

    def normalize(x, gamma, beta, moving_mean, moving_variance):  # [B,C,H,W], 4 x [C] -> ([B,C,H,W],)
        x = ops.cast(x, ms.float32)
        count = group.world * x.shape[0] * x.shape[2] * x.shape[3]
        mean = add(x.sum(axis=(0, 2, 3))) / count
        centred = x - mean.reshape(1, -1, 1, 1)
        variance = add((centred * centred).sum(axis=(0, 2, 3))) / count  # of differences: of squares it would lose its digits
        scale = gamma * ops.rsqrt(variance + eps)
        result = centred * scale.reshape(1, -1, 1, 1) + beta.reshape(1, -1, 1, 1)
        new = (mean, variance * (count / max(count - 1, 1)))  # as ops.BatchNorm: the moving variance is the unbiased one
        written = [
            ops.assign(old, momentum * old + (1 - momentum) * ops.stop_gradient(value))
            for old, value in zip((moving_mean, moving_variance), new)  # noqa: B905 (graph code knows no keyword)
        ]
        return (ops.depend(result, tuple(written)),)

    return normalize


def share_statistics(arrays: Sequence[np.ndarray], group: Group, *, average: bool) -> list[np.ndarray]:
    """Computes the BN statistics for all devices: their mean, or those of rank 0.

    Call it before an evaluation or a checkpoint: batches differ, so the statistics of the devices drift apart.

    Args:
        arrays: moving means and variances, or their moving averages, float32.
        group: the processes.
        average: True takes the mean over devices (Megvii), False the statistics of rank 0 (MindYOLO).

    Returns:
        Arrays of the same shapes, the same in every process.
    """
    if group.world == 1 or not len(arrays):
        return list(arrays)
    flat = join_arrays(arrays)
    shared = _sum_over(flat if group.is_first else flat * 0, group)
    if average:  # as a difference: what is the same everywhere, such as frozen parameters, keeps its bits
        shared = shared + _sum_over(flat - shared, group) / group.world
    return split_array(shared.astype(np.float32), [array.shape for array in arrays])


def any_of(flag: bool, group: Group) -> bool:
    """Returns whether the flag is True in any process; the result is the same in all of them.

    Args:
        flag: of this process.
        group: the processes, of which every one has to call.

    Returns:
        True where it is True in one of them.
    """
    return flag if group.world == 1 else bool(_sum_over(np.array([flag], np.float32), group)[0])


def gather_rows(rows: np.ndarray, group: Group) -> list[np.ndarray]:  # [n,k] of this process -> N arrays [n_r,k]
    """Gathers a table from every process, without files.

    Args:
        rows: [n,k] float64; n may differ between processes and be 0, k may not.
        group: the processes.

    Returns:
        The table of each process in the order of ranks, with the same bits; every process gets all of them.
    """
    if group.world == 1:
        return [rows]
    counts = _gather(np.array([[len(rows)]], np.int32))[:, 0]
    padded = np.zeros((1, max(counts.max(), 1), rows.shape[1]), np.float64)
    padded[0, : len(rows)] = rows
    # In two halves: on CPU (2.10) AllGather returns wrong numbers for types of eight bytes, without an error.
    tables = np.ascontiguousarray(_gather(padded.view(np.int32))).view(np.float64)
    return [table[:count] for table, count in zip(tables, counts, strict=True)]


def from_first(value: Any, group: Group) -> Any:
    """Broadcasts a value of rank 0 to every process.

    Args:
        value: anything that JSON holds, on rank 0; not looked at on the others.
        group: the processes.

    Returns:
        The value of rank 0.
    """
    if group.world == 1:
        return value
    codes = np.frombuffer(json.dumps(value).encode(), np.uint8) if group.is_first else np.zeros(0)
    first, *_ = gather_rows(codes.astype(np.float64)[:, None], group)
    return json.loads(first[:, 0].astype(np.uint8).tobytes())


def _sum_over(values: np.ndarray, group: Group) -> np.ndarray:
    return ops.AllReduce(ops.ReduceOp.SUM)(Tensor(values.astype(np.float32))).asnumpy()


def _gather(values: np.ndarray) -> np.ndarray:  # [1,...] -> [N,...]
    return ops.AllGather()(Tensor(values)).asnumpy()
