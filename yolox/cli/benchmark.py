"""The command ``benchmark``: a table of runtimes and precisions, with size, time, difference and AP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
from attrs import frozen
from rich.table import Table

from yolox.cli.experiment import Experiment
from yolox.cli.export import calibration_images
from yolox.cli.inputs import open_detector, print_sources, read_evaluation_set, recipe_of_weights
from yolox.cli.messages import OptionConsole
from yolox.cli.options import InferenceOptions
from yolox.cli.sources import ValidationSet, data_source, evaluation_source
from yolox.config import InputSpec, PostprocessConfig, Recipe
from yolox.data.classes import names_of_classes
from yolox.data.content import shown_path
from yolox.data.image import read_image
from yolox.errors import UsageError
from yolox.export.benchmark import PRECISIONS, RUNTIMES, BenchmarkReport, Runtime, benchmark_detector
from yolox.export.quantize import MAX_AP_DROP
from yolox.export.runner import SUFFIXES
from yolox.export.write import Precision
from yolox.model import evaluate
from yolox.training.run_folder import make_folder, write_json
from yolox.visualize.charts import benchmark_chart


@frozen(kw_only=True)
class BenchmarkOptions(InferenceOptions, ValidationSet):
    """Measure weights in MindSpore, ONNX Runtime and OpenVINO: size, time, difference, and AP where there are images for it."""

    weights: Path
    """A run's folder, a file, or megvii:SCALE; files are .pth, .npz, .ckpt, .pdparams or .safetensors."""
    runtimes: tuple[Runtime, ...] = RUNTIMES
    """Runtimes; MindSpore is always measured, as the others are compared with it."""
    precisions: tuple[Precision, ...] = PRECISIONS
    """Precisions; int8 needs --calibrate."""
    calibrate: Path | None = None
    """Images to calibrate int8 on, others than those evaluated: a folder of images, or a dataset, whose part train is taken."""
    calibrate_images: int = 32
    """Most images of --calibrate that are read, at equal distances."""
    max_ap_drop: float = MAX_AP_DROP
    """An int8 file is left out when its AP is lower than that of the float file by more than this."""
    image: Path | None = None
    """Image to run on; left out, one is drawn."""
    rounds: int = 30
    """Timed runs of each; a round runs every file once."""
    json: Path | None = None
    """File for the numbers."""
    picture: Path | None = None
    """File for a chart (.png)."""
    input: InputSpec = InputSpec()
    postprocess: PostprocessConfig = PostprocessConfig()


def run(experiment: Experiment, options: BenchmarkOptions, with_defaults: Callable[[Recipe], BenchmarkOptions]) -> None:
    """Measures, prints the table, and writes it with ``--json`` and ``--picture``.

    Raises:
        UsageError: a combination of options that does not exist.
        WeightsError, DataError, CommandError: files that cannot be used or written.
    """
    if options.weights.suffix.lower() in SUFFIXES:
        raise UsageError(f"--weights {options.weights}: is an exported file; want the weights, which are exported here")
    if options.rounds < 1:
        raise UsageError(f"--rounds: got {options.rounds}, want 1 or more")
    named = data_source(options, "val") is not None or options.data is not None
    source = evaluation_source(options) if named else None
    detector, metadata = open_detector(experiment, options.weights, legacy=options.legacy)
    options = with_defaults(recipe_of_weights(experiment, options.recipe, metadata))
    pixels = {"channels": options.input.channels, "max_value": options.input.max_value, "max_pixels": options.max_pixels}
    image = None if options.image is None else read_image(str(options.image), **pixels)
    names, console, dataset = names_of_classes(detector.num_classes, metadata.class_names), OptionConsole(), None
    if source is not None:
        print_sources(console, options, {"evaluation": source})
        dataset = read_evaluation_set(source, num_classes=detector.num_classes, class_names=metadata.class_names)
        detector.class_names = dataset.class_names  # those of the weights, or matched by their order, which was said
    images = () if options.calibrate is None else calibration_images(options, dataset)
    for path, name in ((options.json, "json"), (options.picture, "picture")):
        if path is not None:
            make_folder(path.parent, name=name)
    with console.status("benchmark") as status:
        report = benchmark_detector(
            detector,
            spec=options.input,
            class_names=names,
            runtimes=options.runtimes,
            precisions=options.precisions,
            calibration=images,
            max_ap_drop=options.max_ap_drop,
            evaluate=None if dataset is None else lambda each: _ap(each, dataset, options),
            image=image,
            rounds=options.rounds,
            on_stage=status.update,
        )
    console.print(_table(report))
    for line in report.notes:
        console.print(line, markup=False)
    if options.json is not None:
        write_json(options.json, attrs.asdict(report))
        console.print(f"wrote {shown_path(options.json)}", markup=False)
    if options.picture is not None:
        benchmark_chart(attrs.asdict(report)).savefig(options.picture, format="png")
        console.print(f"wrote {shown_path(options.picture)}", markup=False)


def _ap(detector, dataset, options: BenchmarkOptions) -> float | None:
    return evaluate(detector, dataset, spec=options.input, postprocess=options.postprocess, workers=0)["AP"]


def _table(report: BenchmarkReport) -> Table:
    given = report.conditions
    size = " x ".join(map(str, given["input_size"]))
    machine = f"{given['processor']}, {given['cores']} cores, load {given['load']}"
    title = f"one image of {size} px, median of {given['rounds']}: {machine}"
    table = Table("runtime", "precision", "MB", "ms", "images/s", "difference", "AP", title=title, title_justify="left")
    for row in report.rows:
        numbers = (f"{row.megabytes:.1f}", f"{row.milliseconds:.1f}", f"{row.images_per_second:.1f}", f"{row.difference:.1e}")
        table.add_row(row.runtime, row.precision, *numbers, "" if row.ap is None else f"{row.ap:.4f}")
    return table
