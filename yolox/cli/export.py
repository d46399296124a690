"""The command ``export``: a file for other runtimes, compared with the detector before it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np
from attrs import frozen

from yolox.cli.experiment import Experiment
from yolox.cli.inputs import RUNS, fetch_with_bar, open_detector, read_evaluation_set, recipe_of_weights
from yolox.cli.messages import note, option_name
from yolox.cli.options import CommonOptions, RecipeName
from yolox.cli.predict import THRESHOLDS
from yolox.cli.sources import ValidationSet, evaluation_source, reading_conventions
from yolox.config import InputSpec, PostprocessConfig, Recipe
from yolox.console import PlainConsole
from yolox.data.classes import names_of_classes
from yolox.data.content import name_some
from yolox.data.dataset import DetectionDataset
from yolox.data.image import read_image
from yolox.errors import ExportError, UsageError
from yolox.export.quantize import MAX_AP_DROP, Int8Config, read_calibration_images
from yolox.export.web import fetch_web_runtime
from yolox.export.write import ENDINGS, Format, Int8Report, check_form, export_detector
from yolox.model import evaluate
from yolox.training.run_folder import make_folder, next_folder

SETTINGS = {**THRESHOLDS, "max_detections": 300}
"""A file with NMS has as many rows as this, found or not; the recipes of evaluation keep thousands."""
INT8_ONLY = ("calibrate_images", "max_ap_drop")
"""Options that only int8 reads, beside those of the images that are evaluated."""


@frozen(kw_only=True)
class ExportOptions(CommonOptions, ValidationSet):
    """Write a detector as ONNX, MINDIR, for OpenVINO, ncnn or as a web page, run the file, and keep it only if it agrees."""

    recipe: RecipeName | None = None
    """Recipe, or file of one, whose post-processing is the default; left out, that of the weights."""
    weights: Path
    """A run's folder, a file, or megvii:SCALE; files are .pth, .npz, .ckpt, .pdparams or .safetensors."""
    legacy: bool = False
    """The weights are Megvii's from before version 0.1.1: RGB, normalised; nothing in such a file shows it."""
    output: Path | None = None
    """The file; for web a folder; left out, in the next of runs/export, runs/export-2 and so on."""
    format: Format = "onnx"
    """Form: onnx for ONNX Runtime and others, openvino (.xml and .bin), ncnn (.ncnn.param, .ncnn.bin and .ncnn.json), mindir for
    MindSpore, web for a page that detects in the browser."""
    batch: int | Literal["dynamic"] = 1
    """Images at a time: a number, or any (ONNX)."""
    nms: bool = False
    """End the file with NMS: boxes, scores, classes, count (ONNX, fixed batch)."""
    raw: bool = False
    """Leave boxes undecoded, as Megvii's demos and DeepStream's parsers take them."""
    opset: int = 11
    """Version of the ONNX operator set, 11 to 21."""
    precision: Literal["float32", "float16", "int8"] = "float32"
    """Arithmetic of the network in the file (not MINDIR); input and output stay float32."""
    half: bool = False
    """The same as --precision float16."""
    int8: bool = False
    """The same as --precision int8: needs --calibrate, and images to evaluate on (--data or --val-...)."""
    calibrate: Path | None = None
    """Images to calibrate int8 on, others than those evaluated: a folder of images, or a dataset, whose part train is taken."""
    calibrate_images: int = 32
    """Most images of --calibrate that are read, at equal distances."""
    max_ap_drop: float = MAX_AP_DROP
    """An int8 file is refused when its AP is lower than that of the float file by more than this."""
    web_runtime: Path | None = None
    """For web without a network: the file of 'npm pack onnxruntime-web', or its folder; left out, it is downloaded once."""
    image: Path | None = None
    """Image to compare file and detector on; left out, one is drawn."""
    input: InputSpec = InputSpec()
    postprocess: PostprocessConfig = PostprocessConfig()

    @classmethod
    def defaults(cls, recipe: Recipe, values: Mapping[str, Any]) -> ExportOptions:
        """Returns the defaults of `CommonOptions` with the post-processing of a file."""
        return super().defaults(attrs.evolve(recipe, postprocess=attrs.evolve(recipe.postprocess, **SETTINGS)), values)


def run(experiment: Experiment, options: ExportOptions, with_defaults: Callable[[Recipe], ExportOptions]) -> None:
    """Exports the file, and prints the largest difference of its output from the detector's.

    Raises:
        UsageError: a combination of options that does not exist.
        WeightsError, DataError, CommandError: files that cannot be used or written.
        ExportError: a package is missing, or the file does not agree; then none is left.
    """
    batch = None if options.batch == "dynamic" else options.batch
    form = {"raw": options.raw, "opset": options.opset, "precision": _precision(options)}
    output = options.output or _next_file(experiment, options.format)
    try:
        check_form(output, options.format, batch, options.nms, **form)
    except ExportError as error:
        raise UsageError(str(error)) from None
    _check_int8(options)
    source = evaluation_source(options) if form["precision"] == "int8" else None
    detector, metadata = open_detector(experiment, options.weights, legacy=options.legacy)
    recipe = recipe_of_weights(experiment, options.recipe, metadata)
    options = with_defaults(recipe)
    pixels = {"channels": options.input.channels, "max_value": options.input.max_value}
    image = None if options.image is None else read_image(str(options.image), max_pixels=options.max_pixels, **pixels)
    int8 = None
    if source is not None:
        dataset = read_evaluation_set(source, num_classes=detector.num_classes, class_names=metadata.class_names)
        ap = partial(_ap, dataset=dataset, postprocess=recipe.postprocess)
        int8 = Int8Config(images=calibration_images(options, dataset), evaluate=ap, max_ap_drop=options.max_ap_drop)
    web_runtime = options.web_runtime
    if options.format == "web" and web_runtime is None:
        web_runtime = fetch_with_bar("onnxruntime-web", fetch_web_runtime)
    make_folder(output.parent)  # weights that cannot be used leave none behind
    report = export_detector(
        detector,
        output,
        spec=options.input,
        class_names=names_of_classes(detector.num_classes, metadata.class_names),
        format=options.format,
        batch=batch,
        nms=options.nms,
        **form,
        postprocess=options.postprocess,
        image=image,
        int8=int8,
        web_runtime=web_runtime,
    )
    runs = " and ".join(str(count) for count in report.batches)
    console = PlainConsole()
    noun = "image" if report.batches == (1,) else "images"
    console.print(f"run with {runs} {noun}: largest difference from the detector {report.difference:.1e}")
    if report.int8 is not None:
        console.print(_int8_line(report.int8))
    console.print(f"wrote {report.path} ({report.megabytes:.1f} MB)")


def _next_file(experiment: Experiment, format: str) -> Path:
    folder = next_folder(RUNS / "export", make=False)
    return folder if format == "web" else folder / f"{experiment.name}{ENDINGS[format]}"


def _precision(options: ExportOptions) -> str:
    """Returns the precision that --precision, --half and --int8 name together."""
    named = {"float16": options.half, "int8": options.int8, options.precision: options.precision != "float32"}
    given = [name for name, is_given in named.items() if is_given]
    if len(given) > 1:
        raise UsageError(f"--precision: {' and '.join(given)} are asked for, want one")
    return given[0] if given else "float32"


def _check_int8(options: ExportOptions) -> None:
    """Raises UsageError where int8 and what belongs to it alone are not given together."""
    if (_precision(options) == "int8") != (options.calibrate is not None):
        raise UsageError("--int8 and --calibrate: give both, or none")
    fields = {field.name: field.default for field in attrs.fields(ExportOptions)}
    names = [*INT8_ONLY, *(field.name for field in attrs.fields(ValidationSet) if field.name != "max_pixels")]
    given = [name for name in names if getattr(options, name) != fields[name]]
    if _precision(options) != "int8" and given:
        raise UsageError(f"{' and '.join(map(option_name, given))}: only --int8 calibrates and evaluates; leave it out")


def calibration_images(options, dataset: DetectionDataset | None) -> list[np.ndarray]:
    """Returns the images of ``--calibrate``; those that are evaluated, too, are left out, with a note.

    Args:
        options: has the fields `calibrate`, `calibrate_images` and `input`, and those of `DataOptions`.
        dataset: the evaluated images; None where none are.
    """
    images, left_out = read_calibration_images(
        options.calibrate, most=options.calibrate_images, evaluated=dataset, spec=options.input, **reading_conventions(options)
    )
    if left_out:
        share = f"{len(left_out)} of {len(images) + len(left_out)} images"
        note(f"--calibrate: {share} are evaluated, too, or look like one that is, and are left out: {name_some(left_out)}")

    return images


def _ap(exported: Callable, *, dataset: DetectionDataset, postprocess: PostprocessConfig) -> float | None:
    return evaluate(exported, dataset, postprocess=postprocess, workers=0)["AP"]


def _int8_line(report: Int8Report) -> str:
    layers = len(report.int8_layers) + len(report.float_layers)
    return (
        f"int8: {len(report.int8_layers)} of {layers} convolutions with {report.share:.0%} of the multiplications; "
        f"AP {report.ap:.4f}, of the float file {report.float_ap:.4f}; "
        f"most sensitive: {', '.join(report.float_layers[:3]) or 'none'}"
    )
