"""Writes a detector as a file for other runtimes, runs the file, and keeps it only if it agrees."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from attrs import evolve, frozen
from mindspore import Tensor, nn, ops

from yolox.config import InputSpec, PostprocessConfig, pixel_words
from yolox.data.letterbox import letterbox
from yolox.data.pixels import convert_channels
from yolox.decode import MAX_LOG_SIZE, flatten_levels, make_points
from yolox.environment import import_extra
from yolox.errors import ExportError
from yolox.export import ncnn
from yolox.export.compare import compare_file, compare_selected, comparison_images
from yolox.export.metadata import ExportMetadata, metadata_to_text
from yolox.export.mindir import write_mindir
from yolox.export.nms_graph import append_nms
from yolox.export.onnx_file import NEWEST, OLDEST, set_opset, write_onnx
from yolox.export.openvino import write_openvino
from yolox.export.quantize import OPSET, TOLERANCES, Int8Config, make_quantizer
from yolox.export.runner import onnx_detector, open_exported
from yolox.export.web import check_web_folder, fetch_web_runtime, read_web_runtime, write_web
from yolox.graph import write_cell_sources
from yolox.nn.fold import fold_detector, merge_focus_layers

LARGEST = {"float32": 1e-3, "float16": 0.1, "int8": float("inf")}
"""Differences that are accepted; in int8 the AP decides, and where none is evaluated, the output error."""
ENDINGS = {"onnx": ".onnx", "mindir": ".mindir", "openvino": ".xml", "ncnn": ncnn.ENDING, "web": ""}
"""Ends of names; a web page is a folder."""
Format = Literal["onnx", "mindir", "openvino", "ncnn", "web"]
Precision = Literal["float32", "float16", "int8"]
RAW_OUTPUT = "output"


@frozen(kw_only=True)
class ExportReport:
    """Result of an export: the file, and its differences from the detector."""

    path: Path
    """The file."""
    megabytes: float
    """Its size."""
    batches: tuple[int, ...]
    """Numbers of images with which it was run."""
    difference: float
    """Largest difference, see `largest_difference`."""
    int8: Int8Report | None = None
    """What was quantised; None for other precisions."""


@frozen(kw_only=True)
class Int8Report:
    """What an export in int8 measured."""

    int8_layers: tuple[str, ...]
    """Convolutions in int8."""
    float_layers: tuple[str, ...]
    """Convolutions that stayed in float, the most sensitive first."""
    share: float
    """Share of the multiplications that are done in int8."""
    error: float
    """`output_error` on calibration images."""
    ap: float | None
    """AP of the file; None where none was evaluated."""
    float_ap: float | None
    """AP of the file in float32."""


def export_detector(
    detector: nn.Cell,
    path: str | os.PathLike,
    *,
    spec: InputSpec,
    class_names: Sequence[str],
    format: Format = "onnx",
    batch: int | None = 1,
    nms: bool = False,
    raw: bool = False,
    opset: int = OLDEST,
    precision: Precision = "float32",
    postprocess: PostprocessConfig = PostprocessConfig(),  # noqa: B008  frozen
    image: np.ndarray | None = None,
    int8: Int8Config | None = None,
    web_runtime: str | os.PathLike | None = None,
) -> ExportReport:
    """Writes a detector as ONNX, MINDIR, for OpenVINO, ncnn or as a web page: BN folded, decoded, described, run and compared.

    Use it to deploy. The file takes float32 [B,3,H,W] as in its metadata and returns [B,P,5+C]: boxes
    cxcywh in pixels, objectness, class probabilities; with `nms` boxes [B,K,4] xyxy, scores [B,K], classes
    [B,K] and count [B], K being `max_detections`.

    Args:
        detector: as in the scripts of the scales; left as it is.
        path: the file; one that exists is replaced, but only when the new one agrees with the detector.
        spec: pixels that the detector takes, and their size.
        class_names: names of its classes.
        format: "onnx", "mindir"; "openvino", which is an `.xml` with its weights in a `.bin` beside it; "ncnn", a `.ncnn.param`
            with `.ncnn.bin` and, for the metadata, `.ncnn.json` beside it; or "web", a folder with a page that detects in the
            browser, the ONNX file that was compared, and ONNX Runtime Web.
        batch: images at a time; None writes a file for any number (without `nms`, not MINDIR).
        nms: whether the file selects the detections itself (ONNX).
        raw: whether boxes stay undecoded, for programs that decode them: Megvii's demos, DeepStream's parsers. The output
            is then named `output`, as Megvii's is.
        opset: version of the ONNX operator set, 11 to 21.
        precision: "float16" computes the network in float16 (ONNX), or stores it so (OpenVINO, ncnn): half the size. "int8"
            quantises the convolutions that bear it; the file then has opset 13 or later. Input, decoding and output stay float32.
        postprocess: thresholds; built in with `nms`, else only stated in the file.
        image: uint8 BGR [H,W,3], or as `spec` says, to compare on; None draws one.
        int8: calibration images, and how the AP is evaluated; for the precision int8.
        web_runtime: the npm package onnxruntime-web, as its archive or a folder; None downloads it the first time.

    Returns:
        Path, size and difference.

    Raises:
        ExportError: a combination that does not exist, a package is missing, or the file's answer differs
            from the detector's by more than 1e-3, in float16 by more than 0.1, or in int8 its AP is too low; then no file is
            left.

    Example:
        >>> from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector
        >>> tiny = Detector(CSPDarknet(0.33, 0.125), PAFPN(0.33, 0.125), DecoupledHead(1, 0.125))
        >>> spec, path = InputSpec(input_size=(32, 64)), Path(tempfile.mkdtemp()) / "tiny.onnx"
        >>> export_detector(tiny, path, spec=spec, class_names=["cat"]).difference < 1e-3
        True
    """
    path = Path(path)
    taken = getattr(detector, "in_channels", spec.channels)
    if taken != spec.channels:
        raise ExportError(f"spec states {spec.channels} channels, the detector takes {taken}")
    check_form(path, format, batch, nms, raw=raw, opset=opset, precision=precision)
    if len(class_names) != detector.num_classes:
        raise ExportError(f"{len(class_names)} class names for a detector of {detector.num_classes} classes")
    if not path.parent.is_dir():
        raise ExportError(f"{path}: there is no folder {path.parent}")
    metadata = ExportMetadata(
        class_names=tuple(class_names),
        input=spec,
        strides=tuple(detector.strides),
        postprocess=postprocess,
        nms=nms,
        decoded=not raw,
    )
    if web_runtime is not None and format != "web":
        raise ExportError(f"`web_runtime` is for the format web, the format is {format}")
    if format == "web" and (spec.channels, spec.max_value) != (3, 255):
        raise ExportError(f"a web page takes 3 channels of 8 bits, spec states {pixel_words(spec)}")
    runtime = read_web_runtime(web_runtime or fetch_web_runtime()) if format == "web" else {}
    write_cell_sources()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / ("draft.onnx" if format == "web" else f"draft{ENDINGS[format]}")
        cell = RawDetector(detector) if raw else DecodedDetector(detector, spec.input_size)
        text = metadata_to_text(evolve(metadata, nms=False))
        shape = (batch or 1, spec.channels, *spec.input_size)
        report = None
        if format == "mindir":
            write_mindir(cell, draft, shape=shape, text=text)
        else:
            source = draft.with_name("draft.onnx")
            names = {"output": RAW_OUTPUT} if raw else {}
            half = precision == "float16" and format in ("onnx", "web")
            write_onnx(cell, source, shape=shape, text=text, dynamic=batch is None, half=half, **names)
            if not nms:
                set_opset(source, opset if precision != "int8" else max(opset, OPSET))
            if precision == "int8":
                report = _quantize(source, draft, int8 or Int8Config(images=[]))
            elif format == "openvino":
                write_openvino(source, draft, half=precision == "float16")
            elif format == "ncnn":
                ncnn.write_ncnn(source, draft, shape=shape, text=text, half=precision == "float16")
        batches = (1, 3) if batch is None else (batch,)
        difference = max(compare_file(detector, draft, count, image) for count in batches)
        if nms:  # the predictions were compared first: the selected ones may be few, or none in a drawn image
            images = comparison_images(spec, batch, image)
            rows = open_exported(draft, trusted=True)(images)
            append_nms(draft, batch=batch, classes=len(class_names), config=postprocess, text=metadata_to_text(metadata))
            set_opset(draft, opset)
            difference = max(difference, compare_selected(draft, images, rows))
        if not difference <= LARGEST[precision]:
            raise ExportError(
                f"{path}: not written: its answer differs from the detector's by {difference:.2g}, "
                f"want at most {LARGEST[precision]:g}"
            )
        if format == "web":
            write_web(draft, draft.with_suffix(""), metadata, runtime=runtime)
            draft = draft.with_suffix("")
        files = _replace(draft, path)
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    return ExportReport(path=path, megabytes=megabytes, batches=batches, difference=difference, int8=report)


def _quantize(source: Path, draft: Path, config: Int8Config) -> Int8Report:
    """Writes the quantised file of a float32 ONNX file as ONNX or for OpenVINO; raises ExportError where its AP falls too far."""
    onnx = import_extra("onnx", "onnx")
    floating = onnx_detector(source.read_bytes(), path=source)
    spec = floating.metadata.input
    if len(config.images) == 0:
        raise ExportError("int8: no calibration images, want some dozens")
    kind = {"channels": spec.channels, "max_value": spec.max_value}
    images = (convert_channels(each, **kind) for each in config.images)
    canvases = np.stack([letterbox(each, spec.input_size, spec=spec)[0] for each in images])
    is_onnx = draft.suffix == ".onnx"
    if config.evaluate is not None:  # before the file is replaced
        if not is_onnx:
            write_openvino(source, draft, half=False)
        float_ap = config.evaluate(open_exported(draft, trusted=True))
    quantize = make_quantizer(source, canvases, rounded_outputs=is_onnx)
    tried = []
    for tolerance in TOLERANCES:
        found = quantize(tolerance)
        quantized = draft if is_onnx else source.with_suffix(".int8.onnx")
        onnx.save(found.model, quantized)
        if not is_onnx:
            write_openvino(quantized, draft, half=False)
        ap = None if config.evaluate is None else config.evaluate(open_exported(draft, trusted=True))
        if config.evaluate is not None and ap is None:
            raise ExportError("int8: not written: there is no AP, as the images that are evaluated have no boxes")
        if ap is None or ap >= float_ap - config.max_ap_drop:
            layers = {"int8_layers": found.int8_layers, "float_layers": found.float_layers}
            return Int8Report(**layers, share=found.share, error=found.error, ap=ap, float_ap=None if ap is None else float_ap)
        tried.append(f"{ap:.4f} with {found.share:.0%} of the multiplications in int8")
    raise ExportError(
        f"int8: not written: the AP falls from {float_ap:.4f} to {', '.join(tried)}; want at most {config.max_ap_drop:g} less. "
        "More calibration images, similar to those that are evaluated, lose less"
    )


def _replace(draft: Path, path: Path) -> list[Path]:
    """Moves a file, or the files of a folder or of a format with several, to their place, with the rights of the user's files.

    Of the files of OpenVINO and ncnn the old graph goes first and the new one comes last: no reader finds it with other weights.
    """
    pairs = [(draft, path)]
    if draft.is_dir():
        path.mkdir(exist_ok=True)
        pairs = [(file, path / file.name) for file in sorted(draft.iterdir())]
    elif draft.name.endswith(ncnn.ENDING):
        pairs = list(zip(ncnn.files_of_ncnn(draft), ncnn.files_of_ncnn(path), strict=True))
        path.unlink(missing_ok=True)
    elif draft.suffix == ENDINGS["openvino"]:
        pairs.insert(0, (draft.with_suffix(".bin"), path.with_suffix(".bin")))
        path.unlink(missing_ok=True)
    probe = draft.with_suffix(".probe")
    probe.touch()
    for made, place in pairs:
        made.chmod(probe.stat().st_mode)  # MindSpore's exporter makes files that only their owner may read
        os.replace(made, place)
    return [place for _, place in pairs]


def check_form(
    path: Path,
    format: str,
    batch: int | None,
    nms: bool,
    *,
    raw: bool = False,
    opset: int = OLDEST,
    precision: str = "float32",
) -> None:
    """Raises ExportError for a combination that does not exist, with the way out in its message.

    Args:
        path: of the file to be written.
        format: `onnx`, `mindir`, `openvino`, `ncnn` or `web`.
        batch: images a call; None for any number.
        nms: whether the file selects detections itself.
        raw: whether boxes stay undecoded.
        opset: version of the ONNX operator set.
        precision: `float32`, `float16` or `int8`.

    Raises:
        ExportError: the name does not fit the format, would replace a file of something else, or the format does not have that.
    """
    if format == "web":
        check_web_folder(path)
    elif not path.name.endswith(ENDINGS[format]):
        raise ExportError(f"{path}: a file in the format {format} wants a name that ends in {ENDINGS[format]}")
    if batch is not None and batch < 1:
        raise ExportError(f"batch is {batch}, want 1 or more, or None for any number")
    if format == "mindir" and (nms or batch is None):
        what = "NMS inside" if nms else "a dynamic batch"
        raise ExportError(f"MINDIR with {what} is not supported; want the format onnx, or a fixed batch and no NMS")
    if format == "mindir" and (opset != OLDEST or precision != "float32"):
        raise ExportError("MINDIR has no operator set, and is written in float32; want the format onnx for opset and precision")
    if format == "web" and (nms or raw or batch != 1):
        what = "NMS inside" if nms else "undecoded boxes" if raw else "a batch"
        raise ExportError(f"a web page with {what} is not supported: it takes one image and selects itself; want batch 1")
    if format == "ncnn" and (nms or batch != 1 or precision == "int8"):
        what = "NMS inside" if nms else "int8" if precision == "int8" else "a batch"
        raise ExportError(f"ncnn with {what} is not supported; want batch 1, float32 or float16, and no NMS")
    if format == "ncnn":
        ncnn.find_pnnx()
    if nms and (format == "openvino" or precision == "int8"):
        raise ExportError("NMS inside is for ONNX in float32 and float16; want another format or precision, or no NMS")
    if format == "openvino":
        import_extra("openvino", "openvino")
    beside = [path.with_suffix(".bin")] if format == "openvino" else ncnn.files_of_ncnn(path)[:2] if format == "ncnn" else []
    for file in beside:
        if file.exists() and not path.exists():
            raise ExportError(f"{file}: is there without {path.name}, so that it is of something else; want another name")
    if not OLDEST <= opset <= NEWEST:
        raise ExportError(f"opset is {opset}, want {OLDEST} to {NEWEST}")
    if nms and raw:
        raise ExportError("NMS needs decoded boxes; want one of nms and raw")
    if nms and batch is None:
        raise ExportError("NMS inside needs a fixed batch; want batch 1 or another number")


class DecodedDetector(nn.Cell):
    """A detector with its decoding, for a file that other runtimes read.

    Args:
        detector: Cell that returns raw maps, with the attribute `strides`; it is copied and folded, and not changed.
        input_size: height and width of the images in pixels.

    Returns:
        (when called) from float32 [B,3,H,W] to [B,P,5+C]: boxes cxcywh in pixels, objectness, class
        probabilities, as `yolox.decode_predictions`.

    Source: as `decode_predictions`, with the limit of sizes as a tensor: the ONNX exporter of MindSpore
        refuses a minimum with a Python number.

    Example:
        >>> from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector
        >>> tiny = Detector(CSPDarknet(0.33, 0.125), PAFPN(0.33, 0.125), DecoupledHead(3, 0.125))
        >>> DecodedDetector(tiny, (32, 64))(ops.zeros((1, 3, 32, 64))).shape
        (1, 42, 8)
    """

    def __init__(self, detector, input_size):
        super().__init__()
        self.detector = merge_focus_layers(fold_detector(detector))
        points, strides = make_points(input_size, detector.strides)
        corners = points - 0.5 * strides[:, None]
        self.corners, self.strides = Tensor(corners), Tensor(strides[:, None])
        self.limit = Tensor(np.float32(MAX_LOG_SIZE))
        self.set_train(False)

    def construct(self, images):  # [B,3,H,W] -> [B,P,5+C]
        raw = flatten_levels(self.detector(images))
        center = raw[..., :2] * self.strides + self.corners
        size = ops.exp(ops.minimum(raw[..., 2:4], self.limit)) * self.strides
        return ops.cat((center, size, ops.sigmoid(raw[..., 4:])), axis=-1)


class RawDetector(nn.Cell):
    """A detector without decoding, for programs that decode boxes themselves.

    Args:
        detector: Cell that returns raw maps; it is copied and folded, and not changed.

    Returns:
        (when called) from float32 [B,3,H,W] to [B,P,5+C]: boxes as the network returns them, objectness, class
        probabilities; rows level by level, row by row.
    """

    def __init__(self, detector):
        super().__init__()
        self.detector = merge_focus_layers(fold_detector(detector))
        self.set_train(False)

    def construct(self, images):  # [B,3,H,W] -> [B,P,5+C]
        raw = flatten_levels(self.detector(images))
        return ops.cat((raw[..., :4], ops.sigmoid(raw[..., 4:])), axis=-1)
