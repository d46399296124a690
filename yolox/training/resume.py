"""A training state to a checkpoint and back, so that a run goes on with the same bits."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mindspore import Tensor, ops

from yolox.config import Recipe
from yolox.data.dataset import DetectionDataset
from yolox.errors import CheckpointError
from yolox.training.checkpoint import Checkpoint, save_checkpoint
from yolox.training.progress import TrainingProgress, progress_from_dict, progress_to_dict
from yolox.training.step import TrainState


def state_tensors(state: TrainState) -> dict[str, np.ndarray]:
    """Copy a training state to numpy: ``params.*`` with BN statistics, ``ema.*`` and ``momentum.*``.

    Between two steps the backup of the BN statistics equals them, so that it is not stored.

    Args:
        state: between two steps.

    Returns:
        Arrays by name, copies that later steps leave alone.
    """
    written = {name: parameter.asnumpy().copy() for name, parameter in _parameters(state)}
    return {**written, **dict(zip(_average_names(state), state.ema.arrays(), strict=True))}


def state_statistics(state: TrainState) -> dict[str, np.ndarray]:
    """Copy what differs between devices within an epoch: BN statistics, and their averages.

    Frozen parameters are buffers too, and the same everywhere.

    Args:
        state: between two steps.

    Returns:
        Arrays by the names of `state_tensors`.
    """
    moving = [p for p in state.buffers if p.name.rpartition(".")[2] in ("moving_mean", "moving_variance")]
    averages = dict(zip(_average_names(state), state.ema.arrays(), strict=True))
    own = {f"params.{p.name}": p.asnumpy().copy() for p in moving}
    return {**own, **{f"ema.{p.name}": averages[f"ema.{p.name}"] for p in moving}}


def write_statistics(state: TrainState, statistics: Mapping[str, np.ndarray]) -> None:
    """Write what `state_statistics` gave, and the backup of it.

    Args:
        state: is changed in place.
        statistics: of this device or of another, by the same names.
    """
    for buffer in state.buffers:
        if (value := statistics.get(f"params.{buffer.name}")) is not None:
            _write(buffer, value)
    state.safe_buffers.write([buffer.asnumpy() for buffer in state.buffers])
    averages = zip(_average_names(state), state.ema.arrays(), strict=True)
    state.ema.write([statistics.get(name, array) for name, array in averages])


def save_state(
    path: str | os.PathLike,
    state: TrainState,
    position: TrainingProgress,
    *,
    recipe: Recipe,
    class_names: Sequence[str],
    extra: Mapping[str, Any] | None = None,
    others: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a training state and where the run stands as a checkpoint, whole or not at all.

    Args:
        path: the file.
        state: the state between two steps.
        position: of a `StepEvent`, an `EpochEvent` or `TrainingStopped`.
        recipe: the recipe of the run.
        class_names: names of the classes.
        extra: more facts that JSON can hold.
        others: what other devices have in place of this one's, named ``rank<R>.`` and the name of the tensor.

    Raises:
        CheckpointError: as `save_checkpoint`.
    """
    facts = {**(extra or {}), "position": progress_to_dict(position)}
    tensors = {**state_tensors(state), **(others or {})}
    save_checkpoint(path, tensors, recipe=recipe, class_names=class_names, extra=facts)


def restore_state(checkpoint: Checkpoint, state: TrainState, *, rank: int = 0) -> TrainingProgress:
    """Write a checkpoint's tensors into a training state, all of them or none.

    Args:
        checkpoint: one that `save_state` wrote.
        state: of the same detector.
        rank: of this device.

    Returns:
        Where the run goes on: hand it to `fit` as `start`.

    Raises:
        CheckpointError: the checkpoint is one for inference, or its names, shapes or types differ from the state's.
    """
    if "position" not in checkpoint.extra:
        raise CheckpointError("has no position: weights for inference, or of a version that could not resume")
    try:
        position = progress_from_dict(checkpoint.extra["position"])
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CheckpointError(str(error)) from None
    wanted, tensors = dict(_parameters(state)), _of_rank(checkpoint.tensors, rank)
    _check_same(tensors, state_tensors(state))
    for name, parameter in wanted.items():
        _write(parameter, tensors[name])
    state.ema.write([tensors[name] for name in _average_names(state)])
    state.safe_buffers.write([buffer.asnumpy() for buffer in state.buffers])
    return position


def data_facts(dataset: DetectionDataset) -> dict[str, int]:
    """Describe a dataset so that a resumed run can tell another one: counts, and a checksum of names and boxes.

    Args:
        dataset: any.

    Returns:
        `images`, `boxes` and `checksum`, whole numbers.
    """
    names = zlib.crc32("\n".join((*dataset.file_names, *dataset.class_names)).encode())
    checksum = zlib.crc32(dataset.classes.tobytes(), zlib.crc32(dataset.boxes.tobytes(), names))
    return {"images": len(dataset), "boxes": len(dataset.boxes), "checksum": checksum}


def _parameters(state: TrainState):
    """Pairs of the name in the checkpoint and the Parameter; the averages are apart."""
    yield from ((f"params.{p.name}", p) for p in state.averaged)
    yield from ((f"momentum.{p.name}", momentum) for p, momentum in zip(state.params, state.momenta, strict=True))


def _average_names(state: TrainState) -> list[str]:
    return [f"ema.{p.name}" for p in state.averaged]


def _of_rank(tensors: Mapping[str, np.ndarray], rank: int) -> dict[str, np.ndarray]:
    """Leave the tensors of one device, under the names of `state_tensors`."""
    own = f"rank{rank}."
    shared = {name: tensor for name, tensor in tensors.items() if not re.match(r"rank\d+\.", name)}
    return shared | {name.removeprefix(own): tensor for name, tensor in tensors.items() if name.startswith(own)}


def _write(parameter, value: np.ndarray) -> None:
    # in place: compiled steps do not see the memory that set_data would give the parameter
    ops.assign(parameter, Tensor(value))


def _check_same(tensors: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    came = {name: (tuple(array.shape), array.dtype) for name, array in tensors.items()}
    want = {name: (tuple(array.shape), array.dtype) for name, array in wanted.items()}
    differ = [name for name in {**want, **came} if came.get(name) != want.get(name)]
    if differ:
        raise CheckpointError(
            f"{len(differ)} of {len(want)} tensors differ from the detector's, such as {', '.join(differ[:3])}; "
            "want the script and the number of classes of the run"
        )
