"""The command ``export``: a file for other runtimes, compared with the detector before it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import frozen

from yolox.cli.experiment import Experiment
from yolox.cli.inputs import open_detector, recipe_of_weights
from yolox.cli.options import CommonOptions
from yolox.cli.predict import THRESHOLDS
from yolox.config import InputSpec, PostprocessConfig, Recipe
from yolox.console import PlainConsole
from yolox.data.classes import names_of_classes
from yolox.data.image import read_image
from yolox.errors import ExportError, UsageError
from yolox.export.write import check_form, export_detector
from yolox.training.run_folder import make_folder

SETTINGS = {**THRESHOLDS, "max_detections": 300}
"""A file with NMS has as many rows as this, found or not; the recipes of evaluation keep thousands."""


@frozen(kw_only=True)
class ExportOptions(CommonOptions):
    """Write a detector as ONNX or MINDIR, run the file, and keep it only if it agrees with the detector."""

    recipe: Literal["megvii", "mindyolo"] | None = None
    """Published recipe whose post-processing is the default; left out, that of the weights."""
    weights: Path
    """A run's folder, a file, or megvii:SCALE; files are .pth, .npz, .ckpt or .safetensors."""
    legacy: bool = False
    """The weights are Megvii's from before version 0.1.1: RGB, normalised; nothing in such a file shows it."""
    output: Path
    """The file."""
    format: Literal["onnx", "mindir"] = "onnx"
    """Form of the file: onnx for ONNX Runtime, OpenVINO and others, mindir for MindSpore."""
    batch: int | Literal["dynamic"] = 1
    """Images at a time: a number, or any (ONNX)."""
    nms: bool = False
    """End the file with NMS: boxes, scores, classes, count (ONNX, fixed batch)."""
    raw: bool = False
    """Leave boxes undecoded, as Megvii's demos and DeepStream's parsers take them."""
    opset: int = 11
    """Version of the ONNX operator set, 11 to 21."""
    precision: Literal["float32", "float16"] = "float32"
    """Arithmetic of the network in the file (ONNX); input and output stay float32."""
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
    form = {"raw": options.raw, "opset": options.opset, "precision": options.precision}
    try:
        check_form(options.output, options.format, batch, options.nms, **form)
    except ExportError as error:
        raise UsageError(str(error)) from None
    image = None if options.image is None else read_image(str(options.image))
    detector, metadata = open_detector(experiment, options.weights, legacy=options.legacy)
    options = with_defaults(recipe_of_weights(experiment, options.recipe, metadata))
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
    )
    runs = " and ".join(str(count) for count in report.batches)
    console = PlainConsole()
    console.print(f"run with {runs} images: largest difference from the detector {report.difference:.1e}")
    console.print(f"wrote {report.path} ({report.megabytes:.1f} MB)")
