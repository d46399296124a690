"""Exported files as functions from images to decoded predictions, in place of an evaluation step."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import mindspore as ms
import numpy as np
from attrs import field, frozen
from mindspore import Tensor, nn

from yolox.config import InputSpec
from yolox.errors import ExportError
from yolox.export.facts import ExportFacts, facts_from_text
from yolox.export.mindir_file import read_mindir_text

SUFFIXES = (".onnx", ".mindir")


@frozen(kw_only=True)
class ExportedDetector:
    """A detector in a file: call it like the step of `make_eval_step`.

    It takes uint8 BGR images [B,H,W,3] that fill the network's input, any number of them, and gives float32
    [B,P,5+C] as numpy. A file with NMS gives its detections in the same layout, so that the rest of the way
    is the same: objectness is the score, and the class has probability 1.
    """

    facts: ExportFacts
    """What the file says about itself."""
    batch: int | None
    """Images that the file takes at a time; None for any number."""
    run: Callable[[np.ndarray], tuple[np.ndarray, ...]] = field(repr=False)
    """From float32 [b,3,H,W] to the outputs of the file."""

    def __call__(self, images) -> np.ndarray:  # [B,H,W,3] -> [B,P,5+C]
        planes = to_planes(np.asarray(images), spec=self.facts.input)
        groups = [planes] if self.batch is None else _full_groups(planes, self.batch)
        rows = np.concatenate([self._rows(self.run(group)) for group in groups])
        return rows[: len(planes)]

    def _rows(self, outputs) -> np.ndarray:
        return rows_of_detections(*outputs, len(self.facts.class_names)) if self.facts.nms else outputs[0]


def open_exported(path: str | os.PathLike) -> ExportedDetector:
    """Open an ONNX or MINDIR file that the verb export wrote.

    Args:
        path: ends in `.onnx` or `.mindir`.

    Returns:
        The detector as a function, with what the file says about itself.

    Raises:
        ExportError: the file is missing, damaged, or of another program; or ONNX Runtime is not installed.

    Example:
        >>> open_exported("nothing.onnx")
        Traceback (most recent call last):
        yolox.errors.ExportError: nothing.onnx: no such file
    """
    path = Path(path)
    if not path.is_file():
        raise ExportError(f"{path}: no such file")
    if path.suffix.lower() == ".onnx":
        return _open_onnx(path)
    if path.suffix.lower() == ".mindir":
        return _open_mindir(path)
    raise ExportError(f"{path}: want a name that ends in {' or '.join(SUFFIXES)}")


def to_planes(images: np.ndarray, *, spec: InputSpec) -> np.ndarray:  # [B,H,W,3] -> [B,3,H,W]
    """Turn images into the input of an exported file: `normalize_images` for the host.

    Args:
        images: [B,H,W,3] uint8 BGR of the size of `spec`.
        spec: channel order and scale.

    Returns:
        [B,3,H,W] float32.

    Raises:
        ValueError: images of another size or type.

    Example:
        >>> spec = InputSpec(input_size=(32, 32), channel_order="rgb", pixel_scale=0.5)
        >>> to_planes(np.full((1, 32, 32, 3), (10, 20, 30), np.uint8), spec=spec)[0, :, 0, 0].tolist()
        [15.0, 10.0, 5.0]
    """
    if images.shape[1:] != (*spec.input_size, 3) or images.dtype != np.uint8:
        raise ValueError(f"images are {images.dtype} {images.shape}, want uint8 [B,{spec.input_size},3]")
    ordered = images[..., ::-1] if spec.channel_order == "rgb" else images
    planes = np.ascontiguousarray(ordered.transpose(0, 3, 1, 2), np.float32)
    return planes if spec.pixel_scale == 1.0 else planes * np.float32(spec.pixel_scale)


def rows_of_detections(boxes, scores, classes, count, num_classes: int) -> np.ndarray:
    """Put detections into the layout of decoded predictions; rows from `count` on have objectness zero.

    Args:
        boxes: [B,K,4] xyxy px.
        scores: [B,K].
        classes: [B,K] whole numbers.
        count: [B] detections of each image.
        num_classes: C.

    Returns:
        [B,K,5+C] float32.
    """
    rows = np.zeros((*scores.shape, 5 + num_classes), np.float32)
    rows[..., :2] = (boxes[..., :2] + boxes[..., 2:]) / 2
    rows[..., 2:4] = boxes[..., 2:] - boxes[..., :2]
    rows[..., 4] = scores * (np.arange(scores.shape[1]) < np.asarray(count).reshape(-1, 1))
    np.put_along_axis(rows[..., 5:], classes.astype(np.int64)[..., None], 1.0, axis=-1)
    return rows


def _open_onnx(path: Path) -> ExportedDetector:
    try:
        import onnxruntime
    except ImportError:
        raise ExportError(f"{path}: needs ONNX Runtime: pip install -c constraints.txt -e '.[onnx]' in the repository") from None
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base class with anything else
        raise ExportError(f"{path}: ONNX Runtime cannot load it ({_first_line(error)})") from error
    facts = facts_from_text(session.get_modelmeta().custom_metadata_map, path=path)
    batch = session.get_inputs()[0].shape[0]
    name = session.get_inputs()[0].name

    def run(planes):
        return tuple(session.run(None, {name: planes}))

    return ExportedDetector(facts=facts, batch=batch if isinstance(batch, int) else None, run=run)


def _open_mindir(path: Path) -> ExportedDetector:
    text, shape = read_mindir_text(path)
    facts = facts_from_text(text, path=path)
    graph = nn.GraphCell(ms.load(str(path)))

    def run(planes):
        return (graph(Tensor(planes)).asnumpy(),)

    return ExportedDetector(facts=facts, batch=shape[0], run=run)


def _full_groups(planes: np.ndarray, size: int) -> list[np.ndarray]:
    missing = -len(planes) % size
    full = np.concatenate([planes, np.repeat(planes[-1:], missing, axis=0)])
    return [full[start : start + size] for start in range(0, len(full), size)]


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
