"""The metadata of an exported file: names, pixels, thresholds. The same text in ONNX and in MINDIR."""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs
from attrs import frozen

from yolox.config import InputSpec, OneScreen, PostprocessConfig, check_stated
from yolox.config_io import recipe_from_dict
from yolox.environment import library_version
from yolox.errors import ExportError

FORMAT = 1
DECODED = "boxes cxcywh px of the input, objectness, class probabilities; a class scores objectness x probability"
UNDECODED = (
    "boxes x, y from the corner of their cell and log w, log h, in strides; objectness, class probabilities; rows level by "
    "level, row by row"
)
DETECTIONS = "boxes xyxy px of the input, scores falling, classes; rows from count on are empty"


@frozen(kw_only=True, repr=False)
class ExportMetadata(OneScreen):
    """Everything a program needs to feed an exported file and to read its answer."""

    class_names: tuple[str, ...]
    """Names of the classes in the order of the outputs."""
    input: InputSpec
    """Size, channel order, scale and letterbox of the pixels: float32 [B,3,H,W]."""
    strides: tuple[int, ...] = (8, 16, 32)
    """Pixels between points, level by level, in the order of the rows."""
    postprocess: PostprocessConfig = PostprocessConfig()
    """Thresholds that were in use; built into the file where `nms` holds."""
    nms: bool = False
    """Whether the file ends with NMS (boxes, scores, classes, count) or with decoded predictions."""
    decoded: bool = True
    """Whether boxes are in pixels, or as the network gives them, for programs that decode them (Megvii's demos)."""
    library: str = attrs.field(factory=lambda: f"yolox-mindspore {library_version()}")
    """Name and version of the library that wrote the file."""


def metadata_to_text(metadata: ExportMetadata) -> dict[str, str]:
    """Converts metadata into the text entries that ONNX and MINDIR can hold.

    Args:
        metadata: any.

    Returns:
        Name to JSON text, one entry a field, and `output`, a sentence about the layout of the answer.

    Example:
        >>> metadata = ExportMetadata(class_names=("cat",), input=InputSpec())
        >>> metadata_to_text(metadata)["class_names"], metadata_from_text(metadata_to_text(metadata)) == metadata
        ('["cat"]', True)
    """
    values = {name: json.dumps(value) for name, value in attrs.asdict(metadata).items()}
    output = DETECTIONS if metadata.nms else DECODED if metadata.decoded else UNDECODED
    return {"yolox_format": str(FORMAT), **values, "output": output}


def metadata_from_text(text: Mapping[str, str], *, path="the file") -> ExportMetadata:
    """Reads the entries of `metadata_to_text`.

    Args:
        text: all entries of a file; others are passed over.
        path: names the file in the error.

    Returns:
        ExportMetadata as they were written.

    Raises:
        ExportError: the entries are missing, damaged, or of a newer version.
    """
    if "yolox_format" not in text:
        raise ExportError(
            f"{path}: has no description of its classes and pixels; want a file of export_detector"
        )
    try:
        if int(text["yolox_format"]) > FORMAT:
            raise ExportError(f"{path}: format {text['yolox_format'][:20]}, this version reads up to {FORMAT}")
        names = [field.name for field in attrs.fields(ExportMetadata)]
        return _from_values({"decoded": True} | {name: json.loads(text[name]) for name in names if name in text})
    except ExportError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ExportError(f"{path}: its description is damaged ({type(error).__name__}: {str(error)[:300]})") from error


def _from_values(values: dict) -> ExportMetadata:
    config = recipe_from_dict({"input": values["input"], "postprocess": values["postprocess"]})  # checks every type
    names, strides = values["class_names"], values["strides"]
    if type(names) is not list or not all(type(name) is str for name in names):
        raise TypeError("class_names is no list of texts")
    if type(strides) is not list or not all(type(stride) is int and stride > 0 for stride in strides):
        raise TypeError("strides is no list of positive whole numbers")
    for name in ("nms", "decoded"):
        if type(values[name]) is not bool:
            raise TypeError(f"{name} is neither true nor false")
    check_stated(config.input, names)
    return ExportMetadata(
        class_names=tuple(names),
        input=config.input,
        strides=tuple(strides),
        postprocess=config.postprocess,
        nms=values["nms"],
        decoded=values["decoded"],
        library=str(values["library"]),
    )
