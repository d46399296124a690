"""Converts a training state to a checkpoint and back, so that a resumed run has the same bits."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen
from mindspore import Tensor, ops

from yolox.config import Recipe
from yolox.config_io import recipe_to_dict
from yolox.data.dataset import DetectionDataset, image_path
from yolox.distributed import Group
from yolox.errors import CheckpointError, CommandError
from yolox.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from yolox.training.history import restore_history, stored_history
from yolox.training.progress import TrainingProgress, progress_from_dict, progress_to_dict
from yolox.training.run_folder import BEST, HISTORY, LAST, copy_best
from yolox.training.step import TrainState

PIXEL_BUDGET = 256 << 20
"""Bytes of image files that are compared at every start."""
SAME_NUMBERS = ("loader.workers",)
"""Fields of the recipe that change no number of a run."""


def state_tensors(state: TrainState) -> dict[str, np.ndarray]:
    """Copies a training state to numpy: ``params.*`` with BN statistics, ``ema.*`` and ``momentum.*`` or
    what else the optimizer keeps.

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
    history: Mapping[str, list] | None = None,
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
        history: `columns` and `rows` of history.csv.

    Raises:
        CheckpointError: as `save_checkpoint`.
    """
    metadata = {**(extra or {}), "position": progress_to_dict(progress)}  # the key of all checkpoints so far
    tensors = {**state_tensors(state), **(others or {})}
    save_checkpoint(path, tensors, recipe=recipe, class_names=class_names, extra=metadata, history=history)


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


def pixel_checksum(dataset: DetectionDataset, *, budget: int = PIXEL_BUDGET) -> int:
    """Returns a checksum of the image files: the sizes of all, and the content of as many as the budget allows.

    Args:
        dataset: any; files that are missing count as empty.
        budget: bytes that are read, about; the files are evenly spread over the dataset, and all of a small dataset.

    Returns:
        A whole number, which does not depend on where the files lie.
    """
    paths, sizes = [image_path(dataset, index) for index in range(len(dataset))], []
    for path in paths:
        try:
            status = os.stat(path)
            sizes.append(status.st_size if stat.S_ISREG(status.st_mode) else 0)
        except (OSError, ValueError):
            sizes.append(0)
    value = zlib.crc32(np.array(sizes, np.int64).tobytes())
    for index in range(0, len(paths), 1 + sum(sizes) // budget):
        if sizes[index]:
            with open(paths[index], "rb") as file:
                while part := file.read(1 << 20):
                    value = zlib.crc32(part, value)
    return value


def describe_data(train_set: DetectionDataset, val_set: DetectionDataset | None, group: Group) -> dict[str, Any]:
    """Returns what a checkpoint stores of its data, for `resume_run`.

    Args:
        train_set: the training images.
        val_set: the validation images.
        group: the processes; rank 0 reads the files, too.

    Returns:
        `data` and `val_data`: the fingerprint of each dataset and, on rank 0, the checksum of its files as `pixels`; None
        without validation images. `data` has the number of `devices`.
    """

    def describe(dataset: DetectionDataset) -> dict[str, int]:
        return {**dataset_fingerprint(dataset), **({"pixels": pixel_checksum(dataset)} if group.is_first else {})}

    data = {**describe(train_set), "devices": group.world}
    return {"data": data, "val_data": None if val_set is None else describe(val_set)}


@frozen(kw_only=True)
class ResumedRun:
    """What `resume_run` found."""

    progress: TrainingProgress
    best_ap: float | None
    history: dict[str, list] = field(repr=False)
    """`columns` and `rows` of history.csv."""
    changes: tuple[str, ...] = ()
    """Changes that were allowed, as text."""
    rebuilt: bool = False
    """True where history.csv was written again from the checkpoint."""


def resume_run(
    folder: Path,
    state: TrainState,
    data: Mapping[str, Any],
    *,
    recipe: Recipe,
    rank: int = 0,
    allow_changed: bool | Sequence[str] = False,
) -> ResumedRun:
    """Fills a training state from the last checkpoint of a run, and makes the files of the run those of it.

    Args:
        folder: of the run.
        state: of a fresh detector; written in place.
        data: `describe_data` of the present datasets.
        recipe: with which the run continues.
        rank: of this process; rank 0 writes files.
        allow_changed: True accepts another recipe and other data; a sequence accepts fields of the recipe, such as
            ``epochs``.

    Returns:
        ResumedRun.

    Raises:
        CommandError: there is no checkpoint; the recipe or the data are not those of the run; another number of devices.
        CheckpointError: the checkpoint is damaged or does not fit the detector.
    """
    path = folder / LAST
    if not path.is_file():
        raise CommandError(f"{folder}: has no {LAST}; the run stopped before its first checkpoint; start it again")
    checkpoint = load_checkpoint(path)
    changes = run_changes(checkpoint, data, recipe)
    wrong = [text for name, text in changes.items() if allow_changed is False or name not in _names(allow_changed, changes)]
    if wrong:
        want = "want the same annotations, images, recipe and number of devices"
        raise CommandError(f"{folder}: {'; '.join(wrong)}; {want}" + ("" if "devices" in changes else ", or `allow_changed`"))
    try:
        progress, rebuilt = restore_state(checkpoint, state, rank=rank), False
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    best_ap = checkpoint.extra.get("best_AP")
    if best_ap is not None and (type(best_ap) not in (int, float) or not math.isfinite(best_ap)):
        raise CheckpointError(f"{path}: best_AP: got {json.dumps(best_ap)[:100]}, want a number or null")
    history = checkpoint.history or stored_history(folder / HISTORY, progress.epoch)
    if rank == 0:
        rebuilt = restore_history(folder / HISTORY, history)
        if checkpoint.extra.get("best") and not _same_epoch(folder / BEST, checkpoint):  # killed before it was copied
            copy_best(folder)
    if {"val_set", "val_images"} & changes.keys():
        best_ap = None  # an AP on other images cannot be compared with the coming ones
    return ResumedRun(
        progress=progress, best_ap=best_ap, history=history, changes=tuple(changes.values()), rebuilt=rebuilt
    )


def run_changes(checkpoint: Checkpoint, data: Mapping[str, Any], recipe: Recipe) -> dict[str, str]:
    """Compares data and recipe with those that a checkpoint carries.

    Args:
        checkpoint: of `save_state`, with `describe_data` in its header.
        data: `describe_data` of the present datasets; what either side does not know is not compared.
        recipe: the present recipe; fields of `SAME_NUMBERS` may differ.

    Returns:
        Text by name of what changed: ``train_set``, ``train_images``, ``val_set``, ``val_images``, ``devices``, or the
        field of the recipe.
    """
    before, now = {"devices": 1, **(checkpoint.extra.get("data") or {})}, data["data"]
    changes = _data_changes("train", "was trained on", before, now)
    if before["devices"] != now["devices"]:
        changes["devices"] = f"was trained on {before['devices']} device(s), now there are {now['devices']}"
    if "val_data" in checkpoint.extra:
        changes |= _data_changes("val", "was evaluated on", checkpoint.extra["val_data"], data["val_data"])
    old, new = (dict(_fields(recipe_to_dict(each))) for each in (checkpoint.recipe, recipe))
    names = [name for name in new if old[name] != new[name] and name not in SAME_NUMBERS]
    return changes | {name: f"{name} was {json.dumps(old[name])}, now it is {json.dumps(new[name])}" for name in names}


def _names(allow_changed: bool | Sequence[str], changes: Mapping[str, str]) -> set[str]:
    """Returns the changes that are allowed; statistics of another number of devices cannot be divided."""
    return {*changes} - {"devices"} if allow_changed is True else {*allow_changed}


def _data_changes(kind: str, use: str, before: Mapping | None, now: Mapping | None) -> dict[str, str]:
    keys = ("images", "boxes", "checksum")
    if [(before or {}).get(key) for key in keys] != [(now or {}).get(key) for key in keys]:
        return {f"{kind}_set": f"{use} {_describe(before)}, now there are {_describe(now)}"}
    if before and now and "pixels" in before and "pixels" in now and before["pixels"] != now["pixels"]:
        return {f"{kind}_images": f"{use} image files of other content than those that are there now"}
    return {}


def _fields(data: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{path}{name}.")
        else:
            yield path + name, value


def _same_epoch(best: Path, checkpoint: Checkpoint) -> bool:
    """Returns whether the best checkpoint is that of the epoch already, and readable."""
    try:
        return load_checkpoint(best).extra == checkpoint.extra
    except CheckpointError:
        return False


def _describe(fingerprint: Mapping[str, Any] | None) -> str:
    if not fingerprint or "images" not in fingerprint:
        return "no images"
    return f"{fingerprint['images']} images with {fingerprint['boxes']} boxes (checksum {fingerprint['checksum']:08x})"


def _parameters(state: TrainState):
    """Pairs of the name in the checkpoint and the Parameter; the averages are apart."""
    yield from ((f"params.{p.name}", p) for p in state.averaged)
    for slot, tensors in state.slots.items():
        yield from ((f"{slot}.{p.name}", tensor) for p, tensor in zip(state.params, tensors, strict=True))
    if state.updates is not None:
        yield "optimizer_updates", state.updates


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
