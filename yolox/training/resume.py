"""Converts a training state to a checkpoint and back, so that a resumed run has the same bits."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor, ops

from yolox.config import Recipe
from yolox.data.dataset import DetectionDataset
from yolox.errors import CheckpointError, CommandError
from yolox.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from yolox.training.progress import TrainingProgress, progress_from_dict, progress_to_dict
from yolox.training.run_folder import HISTORY, LAST, copy_best, cut_history
from yolox.training.step import TrainState


def state_tensors(state: TrainState) -> dict[str, np.ndarray]:
    """Copies a training state to numpy: ``params.*`` with BN statistics, ``ema.*`` and ``momentum.*``.

    Between two steps the backup of the BN statistics equals them, so that it is not stored.

    Args:
        state: between two steps.

    Returns:
        Arrays by name, copies that later steps leave alone.
    """
    written = {name: parameter.asnumpy().copy() for name, parameter in _parameters(state)}
    return {**written, **dict(zip(_average_names(state), state.ema.arrays(), strict=True))}


def state_statistics(state: TrainState) -> dict[str, np.ndarray]:
    """Copies the tensors that differ between devices within an epoch: BN statistics and their averages.

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
    """Writes the tensors of `state_statistics` into a training state, and the backup of them.

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
    progress: TrainingProgress,
    *,
    recipe: Recipe,
    class_names: Sequence[str],
    extra: Mapping[str, Any] | None = None,
    others: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes a training state and the progress of the run as a checkpoint, whole or not at all.

    Args:
        path: the file.
        state: the state between two steps.
        progress: of a `StepEvent`, an `EpochEvent` or `TrainingStopped`.
        recipe: the recipe of the run.
        class_names: names of the classes.
        extra: more values for the header that JSON can hold.
        others: what other devices have in place of this one's, named ``rank<R>.`` and the name of the tensor.

    Raises:
        CheckpointError: as `save_checkpoint`.
    """
    metadata = {**(extra or {}), "position": progress_to_dict(progress)}  # the key of all checkpoints so far
    tensors = {**state_tensors(state), **(others or {})}
    save_checkpoint(path, tensors, recipe=recipe, class_names=class_names, extra=metadata)


def restore_state(checkpoint: Checkpoint, state: TrainState, *, rank: int = 0) -> TrainingProgress:
    """Writes a checkpoint's tensors into a training state, all of them or none.

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
        progress = progress_from_dict(checkpoint.extra["position"])
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CheckpointError(str(error)) from None
    wanted, tensors = dict(_parameters(state)), _of_rank(checkpoint.tensors, rank)
    _check_same(tensors, state_tensors(state))
    for name, parameter in wanted.items():
        _write(parameter, tensors[name])
    state.ema.write([tensors[name] for name in _average_names(state)])
    state.safe_buffers.write([buffer.asnumpy() for buffer in state.buffers])
    return progress


def dataset_fingerprint(dataset: DetectionDataset) -> dict[str, int]:
    """Returns counts and a checksum of names and boxes, by which a resumed run recognises its dataset.

    Args:
        dataset: any.

    Returns:
        `images`, `boxes` and `checksum`, whole numbers.
    """
    names = zlib.crc32("\n".join((*dataset.file_names, *dataset.class_names)).encode())
    checksum = zlib.crc32(dataset.classes.tobytes(), zlib.crc32(dataset.boxes.tobytes(), names))
    return {"images": len(dataset), "boxes": len(dataset.boxes), "checksum": checksum}


def resume_run(
    folder: Path, state: TrainState, fingerprint: Mapping[str, Any], *, rank: int = 0
) -> tuple[TrainingProgress, float | None]:
    """Fills a training state from the last checkpoint of a run, and cuts the files of the run back to it.

    Args:
        folder: of the run.
        state: of a fresh detector; written in place.
        fingerprint: `dataset_fingerprint` of the training set, and the number of devices.
        rank: of this process; rank 0 cuts the files back.

    Returns:
        Where the run continues, and the best AP so far.

    Raises:
        CommandError: there is no checkpoint, or the data are not those of the run.
        CheckpointError: the checkpoint is damaged or does not fit the detector.
    """
    path = folder / LAST
    if not path.is_file():
        raise CommandError(f"{folder}: has no {LAST}; the run stopped before its first checkpoint; start it again")
    checkpoint = load_checkpoint(path)
    before = checkpoint.extra.get("data")
    if not before or {"devices": 1, **before} != dict(fingerprint):
        raise CommandError(
            f"{folder}: was trained on {_describe(before)}, now there are {_describe(fingerprint)}; "
            "want the same annotations and number of devices"
        )
    try:
        progress = restore_state(checkpoint, state, rank=rank)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if rank == 0:
        cut_history(folder / HISTORY, progress.epoch)
        if checkpoint.extra.get("best"):  # the run may have been killed before it copied the file
            copy_best(folder)
    return progress, checkpoint.extra.get("best_AP")


def _describe(fingerprint: Mapping[str, Any] | None) -> str:
    if not fingerprint:
        return "unknown data"
    data = f"{fingerprint['images']} images with {fingerprint['boxes']} boxes (checksum {fingerprint['checksum']:08x})"
    return f"{data} on {fingerprint.get('devices', 1)} device(s)"


def _parameters(state: TrainState):
    """Pairs of the name in the checkpoint and the Parameter; the averages are apart."""
    yield from ((f"params.{p.name}", p) for p in state.averaged)
    yield from ((f"momentum.{p.name}", momentum) for p, momentum in zip(state.params, state.momenta, strict=True))


def _average_names(state: TrainState) -> list[str]:
    return [f"ema.{p.name}" for p in state.averaged]


def _of_rank(tensors: Mapping[str, np.ndarray], rank: int) -> dict[str, np.ndarray]:
    """Returns the tensors of one device, under the names of `state_tensors`."""
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
