"""The command ``export``: a file for other runtimes, compared with the detector before it is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import frozen

from yolox.cli.experiment import Experiment
from yolox.cli.inputs import open_detector, read_evaluation_set, recipe_of_weights
from yolox.cli.options import CommonOptions, RecipeName
from yolox.cli.predict import THRESHOLDS
from yolox.cli.sources import ValidationSet, evaluation_source
from yolox.config import InputSpec, PostprocessConfig, Recipe
from yolox.console import PlainConsole
from yolox.data.classes import names_of_classes
from yolox.data.dataset import DetectionDataset
from yolox.data.header import IMAGE_SUFFIXES
from yolox.data.image import read_image
from yolox.data.layout import find_layout, read_data
from yolox.errors import ExportError, UsageError
from yolox.eval.evaluate import evaluate
from yolox.export.quantize import Int8Config
from yolox.export.write import Int8Report, check_form, export_detector
from yolox.training.run_folder import make_folder

SETTINGS = {**THRESHOLDS, "max_detections": 300}
"""A file with NMS has as many rows as this, found or not; the recipes of evaluation keep thousands."""


@frozen(kw_only=True)
class ExportOptions(CommonOptions, ValidationSet):
    """Write a detector as ONNX, MINDIR or for OpenVINO, run the file, and keep it only if it agrees with the detector."""

    recipe: RecipeName | None = None
    """Recipe, or file of one, whose post-processing is the default; left out, that of the weights."""
    weights: Path
    """A run's folder, a file, or megvii:SCALE; files are .pth, .npz, .ckpt, .pdparams or .safetensors."""
    legacy: bool = False
    """The weights are Megvii's from before version 0.1.1: RGB, normalised; nothing in such a file shows it."""
    output: Path
    """The file."""
    format: Literal["onnx", "mindir", "openvino"] = "onnx"
    """Form of the file: onnx for ONNX Runtime and others, openvino (.xml and .bin), mindir for MindSpore."""
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
    max_ap_drop: float = 0.005
    """An int8 file is refused when its AP is lower than that of the float file by more than this."""
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
    try:
        check_form(options.output, options.format, batch, options.nms, **form)
    except ExportError as error:
        raise UsageError(str(error)) from None
    if (form["precision"] == "int8") != (options.calibrate is not None):
        raise UsageError("--int8 and --calibrate: give both, or none")
    source = evaluation_source(options) if form["precision"] == "int8" else None
    detector, metadata = open_detector(experiment, options.weights, legacy=options.legacy)
    options = with_defaults(recipe_of_weights(experiment, options.recipe, metadata))
    pixels = {"channels": options.input.channels, "max_value": options.input.max_value}
    image = None if options.image is None else read_image(str(options.image), **pixels)
    int8 = None
    if source is not None:
        dataset = read_evaluation_set(source, num_classes=detector.num_classes, class_names=metadata.class_names)
        int8 = _int8_config(options, dataset, experiment.recipes["megvii"].postprocess)
    make_folder(options.output.parent)  # weights that cannot be used leave none behind
    report = export_detector(
        detector,
        options.output,
        spec=options.input,
        class_names=names_of_classes(detector.num_classes, metadata.class_names),
        format=options.format,
        batch=batch,
        nms=options.nms,
        **form,
        postprocess=options.postprocess,
        image=image,
        int8=int8,
    )
    runs = " and ".join(str(count) for count in report.batches)
    console = PlainConsole()
    console.print(f"run with {runs} images: largest difference from the detector {report.difference:.1e}")
    if report.int8 is not None:
        console.print(_int8_line(report.int8))
    console.print(f"wrote {report.path} ({report.megabytes:.1f} MB)")


def _precision(options: ExportOptions) -> str:
    """Returns the precision that --precision, --half and --int8 name together."""
    named = {"float16": options.half, "int8": options.int8, options.precision: options.precision != "float32"}
    given = [name for name, is_given in named.items() if is_given]
    if len(given) > 1:
        raise UsageError(f"--precision: {' and '.join(given)} are asked for, want one")
    return given[0] if given else "float32"


def _int8_config(options: ExportOptions, dataset: DetectionDataset, postprocess: PostprocessConfig) -> Int8Config:
    paths = _calibration_paths(options.calibrate, options.calibrate_images)
    evaluated = {os.path.realpath(Path(dataset.image_dir, name)) for name in dataset.file_names}
    both = sum(os.path.realpath(path) in evaluated for path in paths)
    if both:
        raise UsageError(f"--calibrate {options.calibrate}: {both} of {len(paths)} images are among those evaluated, want others")

    def ap(exported) -> float:
        return evaluate(exported, dataset, postprocess=postprocess, workers=0)["AP"]

    pixels = {"channels": options.input.channels, "max_value": options.input.max_value}
    images = [read_image(str(path), max_pixels=options.max_pixels, **pixels) for path in paths]
    return Int8Config(images=images, evaluate=ap, max_ap_drop=options.max_ap_drop)


def _calibration_paths(source: Path, most: int) -> list[Path]:
    """Returns at most so many images of a folder, or of the training part of a dataset, at equal distances."""
    if most < 1:
        raise UsageError(f"--calibrate-images: got {most}, want 1 or more")
    paths = sorted(path for path in source.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        layout = find_layout(source)
        dataset = read_data(layout, next(iter(layout.parts)))
        paths = [Path(dataset.image_dir, name) for name in dataset.file_names]
    if not paths:
        raise UsageError(f"--calibrate {source}: has no images")
    return [paths[index * len(paths) // most] for index in range(most)] if len(paths) > most else paths


def _int8_line(report: Int8Report) -> str:
    layers = len(report.int8_layers) + len(report.float_layers)
    return (
        f"int8: {len(report.int8_layers)} of {layers} convolutions with {report.share:.0%} of the multiplications; "
        f"AP {report.ap:.4f}, of the float file {report.float_ap:.4f}; "
        f"most sensitive: {', '.join(report.float_layers[:3]) or 'none'}"
    )
