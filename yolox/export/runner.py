"""Exported files as functions from images to decoded predictions, in place of an evaluation step."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import mindspore as ms
import numpy as np
from attrs import field, frozen
from mindspore import Tensor, nn

from yolox.config import InputSpec, OneScreen
from yolox.data.pixels import swap_red_and_blue
from yolox.decode import decode_boxes, make_points
from yolox.environment import import_extra
from yolox.errors import ExportError, WeightsError
from yolox.export.metadata import ExportMetadata, metadata_from_text
from yolox.export.mindir import check_mindir, read_mindir_text
from yolox.export.ncnn import ENDING, open_ncnn
from yolox.export.onnx_check import check_onnx
from yolox.export.openvino import MAX_XML_BYTES, check_openvino, open_openvino
from yolox.wire import read_file

SUFFIXES = (".onnx", ".mindir", ".xml")
MAX_FILE_BYTES = 512 << 20  # YOLOX-X has 396 MB


@frozen(kw_only=True, repr=False)
class ExportedDetector(OneScreen):
    """A detector in a file: call it like the step of `make_eval_step`.

    It takes uint8 BGR images [B,H,W,3], or as its metadata say, that fill the network's input, any number of them, and returns
    float32 [B,P,5+C] as numpy. A file with NMS returns its detections in the same layout: objectness is the score, and the
    class has probability 1.
    """

    metadata: ExportMetadata
    """The metadata in the file."""
    batch: int | None
    """Images that the file takes at a time; None for any number."""
    run: Callable[[np.ndarray], tuple[np.ndarray, ...]] = field(repr=False)
    """From float32 [b,3,H,W] to the outputs of the file."""

    def __call__(self, images) -> np.ndarray:  # [B,H,W,3] -> [B,P,5+C]
        planes = to_planes(np.asarray(images), spec=self.metadata.input)
        groups = [planes] if self.batch is None else full_groups(planes, self.batch)
        rows = np.concatenate([self._rows(self.run(group)) for group in groups])
        return rows[: len(planes)]

    def _rows(self, outputs) -> np.ndarray:
        if self.metadata.nms:
            return rows_of_detections(*outputs, len(self.metadata.class_names))
        return outputs[0] if self.metadata.decoded else decode_rows(outputs[0], self.metadata)


def open_exported(path: str | os.PathLike, *, trusted: bool = False) -> ExportedDetector:
    """Opens an ONNX, MINDIR or OpenVINO file that `export_detector` wrote.

    The file is checked before a runtime sees it (`check_onnx`, `check_mindir`, `check_openvino`): MindSpore runs what a
    MINDIR file names.

    Args:
        path: ends in `.onnx`, `.mindir` or `.xml`, which is OpenVINO's, with a `.bin` beside it; or in `.ncnn.param`, which
            is not checked and opened only as `trusted`.
        trusted: skips the check. Only for a file that you exported yourself: a detector with layers of your own, one of
            over 512 MiB, or one for more images at a time than the limits of `shape_rules` allow.

    Returns:
        The detector as a function, with the metadata of the file.

    Raises:
        ExportError: the file is missing, damaged, or of another program; it has operations or attributes that an exported
            detector does not have, or sizes beyond the limits; or the runtime is not installed.

    Example:
        >>> open_exported("nothing.onnx")
        Traceback (most recent call last):
        yolox.errors.ExportError: nothing.onnx: no such file
    """
    path = Path(path)
    if not path.is_file():
        raise ExportError(f"{path}: no such file")
    if path.name.endswith(ENDING):
        return _open_ncnn(path, trusted)
    if path.suffix.lower() == ".onnx":
        return _open_onnx(path, trusted)
    if path.suffix.lower() == ".mindir":
        return _open_mindir(path, trusted)
    if path.suffix.lower() == ".xml":
        return _open_openvino(path, trusted)
    raise ExportError(f"{path}: want a name that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")


def to_planes(images: np.ndarray, *, spec: InputSpec) -> np.ndarray:  # [B,H,W,C] -> [B,C,H,W]
    """Converts images into the input of an exported file: `normalize_images` for the host.

    Args:
        images: [B,H,W,C] of the size, type and channels of `spec`: uint8 BGR, where it does not say otherwise.
        spec: channel order, scale, mean and standard deviation.

    Returns:
        [B,C,H,W] float32.

    Raises:
        ValueError: images of another size or type.

    Example:
        >>> spec = InputSpec(input_size=(32, 32), channel_order="rgb", pixel_scale=0.5)
        >>> to_planes(np.full((1, 32, 32, 3), (10, 20, 30), np.uint8), spec=spec)[0, :, 0, 0].tolist()
        [15.0, 10.0, 5.0]
    """
    if images.shape[1:] != (*spec.input_size, spec.channels) or images.dtype != spec.pixel_type:
        want = f"{spec.pixel_type} [B,{spec.input_size},{spec.channels}]"
        raise ValueError(f"images are {images.dtype} {images.shape}, want {want}")
    ordered = swap_red_and_blue(images) if spec.channel_order == "rgb" else images
    planes = np.ascontiguousarray(ordered.transpose(0, 3, 1, 2), np.float32)
    scale = spec.pixel_scale * 255 / spec.max_value
    planes = planes if scale == 1.0 else planes * np.float32(scale)
    if spec.mean != (0.0, 0.0, 0.0) or spec.std != (1.0, 1.0, 1.0):
        mean, std = (np.array(values, np.float32)[:, None, None] for values in (spec.mean, spec.std))
        planes = (planes - mean) / std
    return planes


def rows_of_detections(boxes, scores, classes, count, num_classes: int) -> np.ndarray:
    """Converts detections to the layout of decoded predictions; rows from `count` on have objectness zero.

    Args:
        boxes: [B,K,4] xyxy px.
        scores: [B,K].
        classes: [B,K] whole numbers.
        count: [B] detections of each image.
        num_classes: C.

    Returns:
        [B,K,5+C] float32.

    Raises:
        ExportError: boxes that are not finite, or classes beyond C.
    """
    if not np.isfinite(boxes).all() or not ((classes >= 0) & (classes < num_classes)).all():
        raise ExportError(f"the file gives boxes that are not finite, or classes beyond the {num_classes} that it names")
    rows = np.zeros((*scores.shape, 5 + num_classes), np.float32)
    rows[..., :2] = (boxes[..., :2] + boxes[..., 2:]) / 2
    rows[..., 2:4] = boxes[..., 2:] - boxes[..., :2]
    rows[..., 4] = scores * (np.arange(scores.shape[1]) < np.asarray(count).reshape(-1, 1))
    np.put_along_axis(rows[..., 5:], classes.astype(np.int64)[..., None], 1.0, axis=-1)
    return rows


def decode_rows(rows: np.ndarray, metadata: ExportMetadata) -> np.ndarray:  # [B,P,5+C] -> [B,P,5+C]
    """Decodes the predictions of a file without decoding.

    Args:
        rows: [B,P,5+C] undecoded boxes, objectness, class probabilities.
        metadata: its strides and input size are used.

    Returns:
        [B,P,5+C] float32, boxes cxcywh in pixels.
    """
    rows = rows.astype(np.float32)
    points = (Tensor(part) for part in make_points(metadata.input.input_size, metadata.strides))
    return np.concatenate([decode_boxes(Tensor(rows[..., :4]), *points).asnumpy(), rows[..., 4:]], axis=-1)


def _open_onnx(path: Path, trusted: bool) -> ExportedDetector:
    _import_onnxruntime(path)  # a missing package is named first
    # the bytes that were checked are the bytes that are loaded; of a path, the runtime would also read files beside it
    return onnx_detector(str(path) if trusted else _checked(path, check_onnx), path=path)


def open_onnx_bytes(data: bytes, *, path: str | os.PathLike, engine: Literal["onnxruntime", "openvino"]) -> ExportedDetector:
    """Opens the content of an ONNX file in one of the two runtimes that read it, after the checks of `open_exported`.

    Args:
        data: the content.
        path: names the file in errors.
        engine: the runtime.

    Returns:
        The detector, with the metadata of the file.

    Raises:
        ExportError: as from `open_exported`.
    """
    path = Path(path)
    metadata, batch = _check_content(path, data, check_onnx)
    if engine == "onnxruntime":
        return onnx_detector(data, path=path)
    return ExportedDetector(metadata=metadata, batch=batch, run=open_openvino(path, data, None)[2])


def onnx_detector(source: str | bytes, *, path: str | os.PathLike) -> ExportedDetector:
    """Opens an ONNX file, or its bytes, in ONNX Runtime on the CPU, without a check.

    Args:
        source: name of the file, or its content.
        path: names the file in errors.

    Returns:
        The detector, with the metadata of the file.

    Raises:
        ExportError: ONNX Runtime is missing, or cannot load it; the file has no metadata of this library.
    """
    onnxruntime = _import_onnxruntime(path)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # threads that wait sleep: spinning, they take the cores from the threads that read images
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what is wrong comes as an exception, too
    try:
        session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base class with anything else
        raise ExportError(f"{path}: ONNX Runtime cannot load it ({_first_line(error)})") from error
    metadata = metadata_from_text(session.get_modelmeta().custom_metadata_map, path=path)
    batch = session.get_inputs()[0].shape[0]
    name = session.get_inputs()[0].name
    kind = np.float16 if session.get_inputs()[0].type == "tensor(float16)" else np.float32

    def run(planes):
        try:
            answer = session.run(None, {name: planes.astype(kind, copy=False)})
            return tuple(part.astype(np.float32) if part.dtype == np.float16 else part for part in answer)
        except Exception as error:
            raise ExportError(f"{path}: ONNX Runtime cannot run it ({_first_line(error)})") from error

    return ExportedDetector(metadata=metadata, batch=batch if isinstance(batch, int) else None, run=run)


def _import_onnxruntime(path: str | os.PathLike):
    try:
        return import_extra("onnxruntime", "onnx")
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from None


def _open_mindir(path: Path, trusted: bool) -> ExportedDetector:
    if not trusted:
        _checked(path, check_mindir)
    text, shape = read_mindir_text(path)
    metadata = metadata_from_text(text, path=path)
    try:
        graph = nn.GraphCell(ms.load(str(path)))
    except Exception as error:
        raise ExportError(f"{path}: MindSpore cannot load it ({_first_line(error)})") from error

    def run(planes):
        try:
            return (graph(Tensor(planes)).asnumpy(),)
        except Exception as error:
            raise ExportError(f"{path}: MindSpore cannot run it ({_first_line(error)})") from error

    return ExportedDetector(metadata=metadata, batch=shape[0], run=run)


def _open_openvino(path: Path, trusted: bool) -> ExportedDetector:
    beside, weights = path.with_suffix(".bin"), None
    if not beside.is_file():
        raise ExportError(f"{path}: there is no {beside.name} beside it, which has its weights")
    if not trusted:
        weights = read_file(beside, most=MAX_FILE_BYTES)
    xml = None if trusted else _checked(path, partial(check_openvino, weights=weights), most=MAX_XML_BYTES)
    text, batch, run = open_openvino(path, xml, weights)
    return ExportedDetector(metadata=metadata_from_text(text, path=path), batch=batch, run=run)


def _open_ncnn(path: Path, trusted: bool) -> ExportedDetector:
    if not trusted:
        raise ExportError(f"{path}: files for ncnn are not checked; with trusted=True one is opened that you exported yourself")
    text, run = open_ncnn(path)
    return ExportedDetector(metadata=metadata_from_text(text, path=path), batch=1, run=run)


def _checked(path: Path, check: Callable, most: int = MAX_FILE_BYTES) -> bytes:
    """Returns the bytes of a file that holds a detector and nothing else, whose description agrees with its graph."""
    try:
        data = read_file(path, most=most)
    except WeightsError as error:
        raise ExportError(f"{path}: damaged, or no {path.suffix[1:].upper()} file ({error})") from error
    _check_content(path, data, check)
    return data


def _check_content(path: Path, data: bytes, check: Callable) -> tuple[ExportMetadata, int | None]:
    """Returns the metadata and the batch of a file's bytes; raises ExportError where they are no detector."""
    try:
        text, shape, outputs = check(data)
        metadata = metadata_from_text(text, path=path)
        _check_description(metadata, shape, outputs)
    except ExportError as error:
        raise ExportError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error.__cause__
    except Exception as error:  # bytes that are no such message raise whatever they happen to cause
        what = type(error).__name__ if not isinstance(error, WeightsError) else str(error)
        raise ExportError(f"{path}: damaged, or no {path.suffix[1:].upper()} file ({what})") from error
    return metadata, shape[0]


def _check_description(metadata: ExportMetadata, shape: tuple, outputs: list[tuple]) -> None:
    """Compares the metadata of a file with its graph."""
    batch, spec, classes = shape[0] or 1, metadata.input, len(metadata.class_names)
    size = spec.input_size
    if shape[1:] != (spec.channels, *size):
        raise ExportError(f"its description states images of {size}, {spec.channels} channels, the graph takes {shape}")
    most = metadata.postprocess.max_detections
    points = sum((size[0] // stride) * (size[1] // stride) for stride in metadata.strides)
    wanted = [(batch, points, 5 + classes)]
    if metadata.nms:
        wanted = [(batch, most, 4), (batch, most), (batch, most), (batch,)]
    if outputs != wanted:
        raise ExportError(f"its description states outputs of the shapes {wanted}, the graph gives {outputs[:5]}")


def full_groups(planes: np.ndarray, size: int) -> list[np.ndarray]:
    """Splits planes into groups of one size; the last is filled up with copies of the last image.

    Args:
        planes: [B,...].
        size: images of a group.

    Returns:
        Arrays [size,...].
    """
    missing = -len(planes) % size
    full = np.concatenate([planes, np.repeat(planes[-1:], missing, axis=0)])
    return [full[start : start + size] for start in range(0, len(full), size)]


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
