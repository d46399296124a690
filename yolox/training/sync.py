"""Writes parameters outside the training step: BN statistics of several devices, and copies of the moving averages."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mindspore import Tensor, nn, ops

from yolox.distributed import Group, gather_rows, share_statistics
from yolox.graph import join_arrays, split_array
from yolox.training.progress import TrainingProgress
from yolox.training.resume import state_statistics, write_statistics
from yolox.training.step import TrainState


def sync_batch_norm(state: TrainState, group: Group, *, average: bool) -> None:
    """Makes BN statistics and their moving averages the same in every process.

    Call it before an evaluation and before a checkpoint after an epoch: batches differ, so the statistics of the devices
    drift apart within an epoch. With one process nothing changes.

    Args:
        state: written in place.
        group: the processes; all of them call this.
        average: True takes the mean over devices (Megvii), False the statistics of rank 0 (MindYOLO).
    """
    if group.world == 1:
        return
    own = state_statistics(state)
    shared = share_statistics(list(own.values()), group, average=average)
    write_statistics(state, dict(zip(own, shared, strict=True)))


def statistics_of_other_ranks(state: TrainState, progress: TrainingProgress, group: Group) -> dict[str, np.ndarray]:
    """Collects the BN statistics of all processes for a checkpoint within an epoch; after it they are the same.

    Args:
        state: of this process.
        progress: of the checkpoint.
        group: the processes; all of them call this.

    Returns:
        Tensors for `save_state`, of all ranks but 0, named ``rank<R>.`` and the name of the tensor.
    """
    own = state_statistics(state) if group.world > 1 and progress.step else {}
    if not own:
        return {}
    shapes, others = [value.shape for value in own.values()], {}
    rows = join_arrays(own.values()).astype(np.float64)[:, None]
    for rank, table in enumerate(gather_rows(rows, group)[1:], start=1):
        parts = split_array(table[:, 0].astype(np.float32), shapes)
        others |= {f"rank{rank}.{name}": part for name, part in zip(own, parts, strict=True)}
    return others


def copy_ema(state: TrainState, detector: nn.Cell) -> None:
    """Writes the moving averages of a training state into a second detector of the same layers.

    Args:
        state: after the statistics were made the same on all devices (`sync_batch_norm`).
        detector: written in place.
    """
    averages = {p.name: average for p, average in zip(state.averaged, state.ema.arrays(), strict=True)}
    write_parameters(detector, averages)


def write_parameters(detector: nn.Cell, values: Mapping[str, np.ndarray]) -> None:
    """Writes arrays into the parameters of a detector, by name.

    Args:
        detector: written in place, so that compiled steps see the values; memory that ``set_data`` replaces is not seen.
        values: an array of the same shape for every parameter.

    Raises:
        KeyError: a parameter has no value.
    """
    for parameter in detector.get_parameters():
        ops.assign(parameter, Tensor(values[parameter.name]))
