"""Loads weights of any supported form into a detector: all of them, or nothing and an error that says what differs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import numpy as np
from attrs import frozen
from mindspore import Tensor, nn, ops

from yolox.config import InputSpec, OneScreen, Recipe, check_stated, first_names
from yolox.errors import CheckpointError, WeightsError
from yolox.training.checkpoint import load_checkpoint
from yolox.training.run_folder import BEST, LAST
from yolox.weights.archive import open_archive, read_npz
from yolox.weights.ckpt import read_ckpt
from yolox.weights.foreign import foreign_to_yolox, name_map_of, without_wrappers
from yolox.weights.megvii import MEGVII_INPUT, MEGVII_LEGACY_INPUT, MINDYOLO_INPUT, megvii_to_yolox, mindyolo_to_yolox
from yolox.weights.shapes import CLASS_PREDICTIONS, DARKNET_STEM_INPUT, STEM, check_fit, scale_of
from yolox.weights.torch_file import read_named_pth, read_pdparams, read_pth

SUFFIXES = (".pth", ".npz", ".ckpt", ".pdparams", ".safetensors")
"""Usual suffixes of the files that are read; the content decides."""
READERS = {"pth": read_pth, "npz": read_npz, "ckpt": read_ckpt, "pdparams": read_pdparams}
log = logging.getLogger("yolox.weights")
FOREIGN = ("megvii", "mindyolo", "mmdetection", "mmyolo", "paddledetection")
"""Sources whose files state no image size."""
TORCH_MAGIC = b"\x8a\x0a"  # a number of ten bytes begins the files of torch before 1.6
SMALL_SCALES, SMALL_SIZE = ("nano", "tiny"), (416, 416)
_ONE_SET = "{}: has one set of weights, not moving averages beside those of the last step; leave `averages` as it is"


@frozen(kw_only=True, repr=False)
class LoadedWeights(OneScreen):
    """Source, pixels, class names and parameter names of loaded weights."""

    source: str
    """`yolox`, `megvii`, `mindyolo`, `mmdetection`, `mmyolo`, `paddledetection` or `unknown` (this library's names
    without a header). LibreYOLO's names are Megvii's."""
    loaded: tuple[str, ...]
    """Parameters of the detector that were filled."""
    skipped: tuple[str, ...] = ()
    """Class predictions that kept their values, because the file is for another number of classes."""
    input: InputSpec | None = None
    """Pixels that the weights were trained on; of foreign weights the size is that of their scale."""
    size_assumed: bool = False
    """Whether the file states no image size, so that that of its scale was taken."""
    class_names: tuple[str, ...] | None = None
    """Classes of the file, where it names them."""
    recipe: Recipe | None = None
    """Recipe of the file, where it has one."""
    file_channels: int | None = None
    """Channels of the images of the file, where its first layer was carried over to another number (`carry_over_channels`)."""
    folded: bool = False
    """Whether the file has no batch normalisation, so that statistics were made up that compute the same."""

    def summary(self) -> str:
        """Returns one line: what was loaded and what was not, and what is made up."""
        line = f"{len(self.loaded)} tensors ({self.source})"
        if self.folded:
            line += (
                "; the file has no batch normalisation, which was folded into the convolutions: its statistics are made up, with "
                "the same predictions; to train, take the file that it was made of if you have it"
            )
        if self.file_channels is not None:
            line += f"; the first layer is carried over from {self.file_channels} channels"
        if not self.skipped:
            return line
        skipped = f"the class predictions ({len(self.skipped)} tensors) are new"
        return f"{line}; the file is for another number of classes, so {skipped}"


def load_weights(
    detector: nn.Cell, path: str | os.PathLike, *, legacy: bool = False, averages: bool = True
) -> LoadedWeights:
    """Fills a detector from a file: all of it, or nothing and an error that says what differs.

    Use it to evaluate, to predict and to fine-tune. Where the file was made for another number of classes,
    the class predictions keep their values and everything else is loaded. Where the detector takes images of other than three
    channels, the first layer of weights for colour is carried over (`carry_over_channels`).

    Args:
        detector: a `Detector`; its parameters are written only after every name and shape was checked.
        path: a published name such as ``megvii:nano`` or ``mindyolo:s``, which is downloaded the first time; or a file:
            Megvii's `.pth`; an `.npz` under Megvii's names, with BN or folded; MindYOLO's `.ckpt`; a `.pth` of YOLOX in
            MMDetection, mmyolo or LibreYOLO, bare or wrapped; PaddleDetection's `.pdparams`; a
            checkpoint of this library (`.safetensors`), the folder of a run, or ``RUN/last`` for
            ``RUN/last.safetensors``. The content decides, not the name.
        legacy: whether the file is one of Megvii's from before version 0.1.1, which takes normalised RGB images: nothing in
            the file shows it.
        averages: of a checkpoint of a run, True takes the moving averages of the weights, which are the better ones to use;
            False takes the weights of its last step, from which training goes on as it was.

    Returns:
        What was loaded; its `input` has the size of the scale where the file states none (`size_assumed`).
        `detector.spec` and `detector.class_names` are set where the file has them.

    Raises:
        WeightsError: the file is missing, damaged, of no supported form, holds numbers that are not finite,
            or does not fit: up to 20 names are listed with the shapes that came and were wanted, or the scale is named.
            With `averages` False, the file is no checkpoint of a run.
    """
    path = local_path(path)
    weights, about = read_weights(path, legacy=legacy, averages=averages)
    weights, about = carry_over_channels(weights, about, getattr(detector, "in_channels", 3), path=path)
    loaded, skipped = fill_parameters(detector, weights, path=path)
    if about.input is not None:  # so that `train`, `evaluate` and `predict` feed the pixels that the weights take
        detector.spec = about.input
    if about.size_assumed:
        height, width = about.input.input_size
        log.warning("%s: states no image size; %d x %d px of its scale are assumed where none is given", path, height, width)
    detector.class_names = None if skipped else about.class_names  # skipped: its class predictions are not the file's
    return attrs.evolve(about, loaded=loaded, skipped=skipped)


def local_path(path: str | os.PathLike, *, fetch: Callable[[str], Path] | None = None) -> str | os.PathLike:
    """Returns the file of a name such as ``megvii:nano`` or ``hf:ORG/REPO/FILE``, which is downloaded, or the path as it is.

    Args:
        path: a path, or a name; a file of that name comes first. Of the folder of a run the best checkpoint is taken, else
            the last; ``RUN/last`` is ``RUN/last.safetensors``.
        fetch: function of the name that downloads; None takes `yolox.weights.hub.fetch_weights`.

    Returns:
        The path of a file.

    Raises:
        WeightsError: there is no such name, the download failed, or a folder has no checkpoint of a run.
    """
    if (file := file_of(path)) is not None:
        return file
    from yolox.weights.hub import (  # it imports this module
        HUGGING_FACE,
        PUBLISHED,
        fetch_hub_file,
        fetch_weights,
        is_published_name,
    )

    if str(path).startswith(HUGGING_FACE):
        return fetch_hub_file(str(path))
    if is_published_name(str(path)):
        return (fetch or fetch_weights)(str(path))
    if Path(path).suffix or Path(path).name != str(path):
        return path  # whoever reads it says that it is missing
    raise WeightsError(f"{path}: no such file, and no published checkpoint; those are {', '.join(PUBLISHED)}")


def file_of(path: str | os.PathLike) -> str | os.PathLike | None:
    """Returns the file of this machine that a path of weights means.

    Args:
        path: of a file, of the folder of a run, or of a checkpoint without its suffix, as ``RUN/last``.

    Returns:
        The path of the file; None where there is none.

    Raises:
        WeightsError: a folder has no checkpoint of a run.
    """
    if Path(path).is_dir():
        found = [file for name in (BEST, LAST) if (file := Path(path) / name).is_file()]
        if not found:
            raise WeightsError(f"{path}: is a folder without {BEST} or {LAST}; want the folder of a run, or a file")
        return found[0]
    whole = Path(f"{path}.safetensors")
    return path if Path(path).exists() else whole if whole.is_file() else None


def read_weights(
    path: str | os.PathLike, *, legacy: bool = False, averages: bool = True
) -> tuple[dict[str, np.ndarray], LoadedWeights]:
    """Reads a weights file under this library's names, without a detector.

    Args:
        path: as for `load_weights`.
        legacy: as for `load_weights`.
        averages: as for `load_weights`.

    Returns:
        Name to array, and what is known about the file (`loaded` is empty).

    Raises:
        WeightsError: the file is missing, damaged or of no supported form; `legacy` for a file of another system; the weights
            of the last step (`averages` False) of a file that has one set of weights.
    """
    kind = file_kind(path)
    if kind == "safetensors":
        weights, about = _read_own(path, averages=averages)
    elif not averages:
        raise WeightsError(_ONE_SET.format(path))
    else:
        state, names = read_named_pth(path) if kind == "pth" else (READERS[kind](path), None)
        weights, about = _translate(state, path)
        about = attrs.evolve(about, class_names=_checked_names(names, weights, path))
    if legacy:
        if about.source not in ("megvii", "unknown"):  # a converted file has this library's names
            raise WeightsError(f"{path}: is a file of {about.source}; `legacy` is for Megvii's from before version 0.1.1")
        about = attrs.evolve(about, input=MEGVII_LEGACY_INPUT)
    if legacy or about.source in FOREIGN:
        scale = scale_of({name: array.shape for name, array in weights.items()})
        size = SMALL_SIZE if scale in SMALL_SCALES else about.input.input_size
        about = attrs.evolve(about, input=attrs.evolve(about.input, input_size=size), size_assumed=True)
    return weights, about


def file_kind(path: str | os.PathLike) -> str:
    """Returns the form of a weights file by its first bytes: `pth`, `npz`, `ckpt`, `pdparams` or `safetensors`.

    Args:
        path: of the file; its name does not matter.

    Returns:
        One of the five names.

    Raises:
        WeightsError: no such file, or none of these forms.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    with path.open("rb") as file:
        start = file.read(9)  # enough for every form
    if start[:4] == b"PK\x03\x04":
        with open_archive(path) as archive:
            return "pth" if any(name.endswith("/data.pkl") for name in archive.namelist()) else "npz"
    if start[4:9] == b"\0\0\0\0{":  # the high bytes of the header's length, and its JSON
        return "safetensors"
    if _is_message(start):
        return "ckpt"
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04") and start[2:4] != TORCH_MAGIC:
        return "pdparams"
    hint = "; torch's format before 1.6: save it again with a newer torch" if start[:1] == b"\x80" else ""
    raise WeightsError(f"{path}: starts with {start!r}, want a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file{hint}")


def _is_message(start: bytes) -> bool:
    """Returns whether the bytes begin a `.ckpt` (protobuf's field 1, a message that begins with a name), not a text."""
    if start[:1] != b"\x0a":
        return False
    last = next((i for i in range(1, 6) if start[i : i + 1] < b"\x80"), 6)  # byte of the message's length
    length = sum((byte & 127) << 7 * i for i, byte in enumerate(start[1 : last + 1]))
    name = start[last + 1 : last + 3]  # field 1, and the length of the name or a part of it
    return len(name) == 2 and name[0] == 0x0A and (name[1] & 127) + 2 <= length


def _read_own(path: str | os.PathLike, *, averages: bool) -> tuple[dict[str, np.ndarray], LoadedWeights]:
    try:
        checkpoint = load_checkpoint(path)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    try:
        check_stated(checkpoint.input, checkpoint.class_names)
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from None
    names = checkpoint.tensors
    has_averages = any(name.startswith("ema.") for name in names)
    if not averages and not has_averages:
        raise WeightsError(_ONE_SET.format(path))
    prefix = "ema." if averages and has_averages else "params."
    weights = {name.removeprefix(prefix): array for name, array in names.items() if name.startswith(prefix)}
    about = LoadedWeights(
        source="yolox",
        loaded=(),
        input=checkpoint.input,
        class_names=checkpoint.class_names,
        recipe=checkpoint.recipe,
    )
    return weights, about


def _checked_names(
    names: tuple[str, ...] | None, weights: Mapping[str, np.ndarray], path: str | os.PathLike
) -> tuple[str, ...] | None:
    """Returns the class names of another system's file where they are those of its class predictions, else None and a warning."""
    if names is None:
        return None
    predicted = next((len(array) for name, array in weights.items() if name.startswith(CLASS_PREDICTIONS)), None)
    stripped = tuple(name.strip() for name in names)
    if len(names) == predicted and len(set(stripped)) == len(names) and all(stripped):
        return stripped
    how = f"names {len(names)} classes and predicts {predicted}" if len(names) != predicted else "has empty or equal class names"
    log.warning("%s: %s; its class names are not taken %s", path, how, first_names(names))
    return None


def _translate(
    state: dict[str, np.ndarray], path: str | os.PathLike
) -> tuple[dict[str, np.ndarray], LoadedWeights]:
    state = without_wrappers(state)
    try:
        if names := name_map_of(state):
            return foreign_to_yolox(state, names), LoadedWeights(source=names.system, loaded=(), input=names.input)
        if any(name.startswith("model.model.") for name in state):
            about = LoadedWeights(source="mindyolo", loaded=(), input=MINDYOLO_INPUT)
            return mindyolo_to_yolox(state), about
        if any(name.startswith("backbone.backbone.") for name in state):
            folded = any(name.endswith(".conv.bias") for name in state)
            return megvii_to_yolox(state), LoadedWeights(source="megvii", loaded=(), input=MEGVII_INPUT, folded=folded)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    return state, LoadedWeights(source="unknown", loaded=())


def fill_parameters(
    detector: nn.Cell, weights: Mapping[str, np.ndarray], *, path: str | os.PathLike = "weights"
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Fills a detector's parameters with arrays, where all fit.

    Call it with what `read_weights` gave, when the file was read before the detector was built; `load_weights` does both.

    Args:
        detector: its parameters are written only after every name, shape and number was checked.
        weights: name to array of floating point.
        path: names the file in the error.

    Returns:
        Names of the parameters that were filled, and of the class predictions that keep their values because the file
        is for another number of classes.

    Raises:
        WeightsError: names or shapes differ, or numbers are not finite.
    """
    parameters = list(detector.get_parameters())
    wanted = {p.name: tuple(p.shape) for p in parameters}
    skipped = check_fit(weights, wanted, path=path)
    values = {name: _float32(name, weights[name], path) for name in wanted if name not in skipped}
    for parameter in parameters:
        if parameter.name in values:
            # in place: compiled steps do not see the memory that set_data would give the parameter
            ops.assign(parameter, Tensor(values[parameter.name]))
    return tuple(values), skipped


def carry_over_channels(
    weights: Mapping[str, np.ndarray], about: LoadedWeights, channels: int, *, path: str | os.PathLike = "weights"
) -> tuple[Mapping[str, np.ndarray], LoadedWeights]:
    """Converts the first layer of weights for colour images to another number of channels.

    For grey the filters of the three colours are summed: grey images then get the predictions that they have as colour images of
    three equal channels (a mean would make a third of the layer's output). Of other numbers the first three channels keep their
    filters, and the filters of the others are zero: they do not count until they are trained.

    Args:
        weights: name to array, of a file.
        about: what is known of the file.
        channels: of the detector's images.
        path: names the file in the error.

    Returns:
        The weights and the knowledge, as they were where the file has those channels already, or its first layer is not known.

    Raises:
        WeightsError: the file's images have other than three channels, or means that are taken away from them.
    """
    name = STEM if STEM in weights else DARKNET_STEM_INPUT
    stem = weights.get(name)
    if stem is None or stem.ndim != 4:
        return weights, about
    parts = 4 if name == STEM else 1  # Focus: the channels of one quarter stay together
    own = stem.shape[1] // parts
    if own == channels or own * parts != stem.shape[1]:
        return weights, about
    if own != 3:
        want = f"want a detector for {own} (`channels`)"
        raise WeightsError(f"{path}: is for images of {own} channels, the detector for {channels}; {want}")
    spec = about.input
    if spec is not None:
        if (spec.mean, spec.std) != (InputSpec().mean, InputSpec().std):
            raise WeightsError(f"{path}: takes a mean away from each of 3 channels, which {channels} channels do not have")
        about = attrs.evolve(about, input=attrs.evolve(spec, channels=channels))
    quarters = stem.reshape(len(stem), parts, own, *stem.shape[2:])
    made = np.zeros((len(stem), parts, channels, *stem.shape[2:]), stem.dtype)
    if channels == 1:
        made[:, :, 0] = quarters.sum(axis=2)
    else:
        made[:, :, : min(3, channels)] = quarters[:, :, : min(3, channels)]
    return {**weights, name: made.reshape(len(stem), -1, *stem.shape[2:])}, attrs.evolve(about, file_channels=own)


def _float32(name: str, array: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    if array.dtype.kind != "f":
        raise WeightsError(f"{path}: {name} is of type {array.dtype}, want floating point")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: {name} has numbers that are not finite: damaged, or training diverged")
    return array
