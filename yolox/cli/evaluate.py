"""The command ``eval``: the twelve COCO metrics and the AP of each class."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen
from mindspore import nn
from rich.console import Console
from rich.table import Table

from yolox.cli.experiment import Experiment
from yolox.cli.inputs import (
    command_text,
    console_of,
    given_options,
    notes_held,
    open_group,
    open_weights,
    print_sources,
    read_evaluation_set,
    recipe_of_weights,
)
from yolox.cli.options import InferenceOptions
from yolox.cli.sources import ValidationSet, evaluation_source
from yolox.config import InputSpec, PostprocessConfig, Recipe
from yolox.data.check import crowded_warning
from yolox.data.content import shown_path
from yolox.data.dataset import DetectionDataset, crowded_images, with_pixels
from yolox.distributed import Group
from yolox.errors import UsageError
from yolox.eval.coco import METRIC_NAMES
from yolox.eval.evaluate import make_evaluator
from yolox.eval.postprocess import Detections
from yolox.export.runner import ExportedDetector
from yolox.training.run_folder import make_folder, write_json
from yolox.training.signals import Watchdog
from yolox.visualize.report import recipe_settings, report_html, write_report
from yolox.visualize.run_pictures import evaluation_report, write_charts, write_comparisons

MEANINGS = (
    "IoU 0.50 to 0.95", "IoU 0.50", "IoU 0.75", "small objects", "medium objects", "large objects",
    "1 detection an image", "10 detections an image", "100 detections an image",
    "small objects", "medium objects", "large objects",
)  # fmt: skip


@frozen(kw_only=True)
class EvalOptions(InferenceOptions, ValidationSet):
    """Evaluate weights on a COCO, VOC or YOLO dataset: twelve numbers, and AP per class."""

    json: Path | None = None
    """File for the numbers, and the curves and the confusion matrix that the command plot draws."""
    save_results: Path | None = None
    """File for the detections as COCO's results, with the dataset's ids of images and categories (loadRes takes it)."""
    pictures: Path | None = None
    """Folder for predictions beside ground truth, and for charts (pip install -c constraints.txt -e '.[plot]')."""
    report: Path | None = None
    """File for one HTML page with all numbers, charts, errors by kind, and the worst and best images."""
    rectangular: bool = False
    """Batches of images of similar shapes, with less padding; up to nine sizes are compiled, and AP hardly moves."""
    batch_size: int = 8
    """Images at a time."""
    workers: int = 2
    """Worker processes that load images; 0 loads in the main process."""
    parallel: bool = False
    """Share the images with the other processes that msrun started."""
    hang_seconds: float = 90.0
    """End where no batch comes for so long; with --parallel, where a process stands still (20 times, if it compiles); 0 never."""
    input: InputSpec = InputSpec()
    postprocess: PostprocessConfig = PostprocessConfig()


def run(experiment: Experiment, options: EvalOptions, with_defaults: Callable[[Recipe], EvalOptions]) -> None:
    """Evaluates the weights, prints the metrics, and writes them with ``--json``.

    Raises:
        WeightsError, DataError, CommandError: files that cannot be used, or do not fit each other.
    """
    group = open_group(options.parallel, seconds=options.hang_seconds)
    with Watchdog(options.hang_seconds, group=group) as watchdog:
        watchdog.mark("the start", slow=True)
        _run(experiment, options, with_defaults, group, watchdog)


def _run(
    experiment: Experiment, options: EvalOptions, with_defaults: Callable[[Recipe], EvalOptions], group: Group, watchdog: Watchdog
) -> None:
    source = evaluation_source(options)
    opened = open_weights(experiment, options.weights, legacy=options.legacy)
    metadata = opened.metadata
    options = with_defaults(recipe_of_weights(experiment, options.recipe, metadata))
    with notes_held():  # they are printed below the numbers
        dataset = read_evaluation_set(source, num_classes=opened.num_classes, class_names=metadata.class_names)
    if options.json is not None:
        make_folder(options.json.parent, name="json")
    if options.pictures is not None:
        make_folder(options.pictures, name="pictures")
    if options.save_results is not None:
        make_folder(options.save_results.parent, name="save_results")
    if options.report is not None:
        make_folder(options.report.parent, name="report")
    opened.check_input(options.input)
    if isinstance(opened.detector, nn.Cell):
        opened.detector.class_names = dataset.class_names  # matched above, and not again by the evaluator
    dataset = with_pixels(dataset, options.input)  # the pictures read it, too
    if options.rectangular and isinstance(opened.detector, ExportedDetector):
        raise UsageError("--rectangular: an exported file takes images of one size; give the weights it was made of")
    console, found = console_of(group), []
    print_sources(console, options, {"evaluation": source})
    if options.rectangular and options.engine not in ("auto", "mindspore"):
        raise UsageError(f"--engine {options.engine}: takes images of one size; leave out --rectangular or --engine")
    if not options.rectangular:
        opened = opened.in_engine(options, console, class_names=dataset.class_names, images=len(dataset))
    evaluator = make_evaluator(
        opened.detector,
        spec=options.input,
        postprocess=options.postprocess,
        batch_size=options.batch_size,
        workers=options.workers,
        group=group,
        results=options.save_results,
        keep=found.extend,
        on_stage=partial(watchdog.mark, slow=True),
        stall_seconds=options.hang_seconds,
        rectangular=options.rectangular,
    )
    with console.status(f"evaluating {len(dataset)} images") as status:

        def show(done: int) -> None:
            watchdog.mark(f"an evaluation, {done} images done")
            status.update(f"evaluated {done} of {len(dataset)} images")

        metrics = evaluator(dataset, show)
    if not group.is_first:
        return
    watchdog.mark("the numbers of the evaluation", slow=True)
    console.print(_numbers(metrics), _classes(metrics["per_class"]))
    for line in _notes(dataset, found, options.postprocess.max_detections):
        console.print(f"warning: {line}", markup=False)
    if options.save_results is not None:
        console.print(f"wrote {shown_path(options.save_results)}", markup=False)
    if options.json is not None or options.pictures is not None or options.report is not None:
        _write(options, console, dataset, found, metrics)


def _write(
    options: EvalOptions, console: Console, dataset: DetectionDataset, found: list[Detections], metrics: dict
) -> None:
    report = evaluation_report(metrics, dataset, found, input_size=options.input.input_size)
    if options.json is not None:
        write_json(options.json, report)
        console.print(f"wrote {options.json}", markup=False)
    if options.pictures is not None:
        write_comparisons(options.pictures, dataset, found, report["analysis"]["score_threshold"])
        write_charts(options.pictures, report)
        console.print(f"wrote {options.pictures}", markup=False)
    if options.report is not None:
        page = report_html(
            report, title=f"Evaluation of {shown_path(options.weights)} on {len(dataset)} images", dataset=dataset, found=found,
            settings=_settings(options), command=command_text(), notes=_notes(dataset, found, options.postprocess.max_detections),
        )  # fmt: skip
        write_report(options.report, page)
        console.print(f"wrote {shown_path(options.report)}", markup=False)


def _settings(options: EvalOptions) -> dict[str, dict[str, Any]]:
    """Returns what decides the numbers, for the report."""
    groups = recipe_settings(Recipe(input=options.input, postprocess=options.postprocess))
    kept = {name.removeprefix("recipe: "): group for name, group in groups.items() if name.endswith(("input", "postprocess"))}
    return {"options": given_options(options), **kept}


def _notes(dataset: DetectionDataset, found: list[Detections], limit: int) -> list[str]:
    """Returns what the numbers leave out: detections that were cut, and what the reader of the dataset noted."""
    crowded, full = crowded_images(dataset), sum(len(each) >= limit for each in found)
    lines = [f"{crowded_warning('`max_detections`')}: {len(crowded)}"] if crowded else []
    lines += [f"{full} images have {limit} detections, the most of `max_detections`"] if full else []
    return lines + list(dataset.notes)


def _numbers(metrics: dict) -> Table:
    table = Table("metric", "value", "meaning", title="COCO metrics", title_justify="left")
    for name, meaning in zip(METRIC_NAMES, MEANINGS, strict=True):
        table.add_row(name, _share(metrics[name]), meaning)
    for name in metrics:
        if "@" in name:
            table.add_row(name, _share(metrics[name]), f"IoU 0.50 to 0.95, {name.partition('@')[2]} detections an image")
    return table


def _classes(per_class: dict[str, float | None]) -> Table:
    table = Table("class", "AP", title="per class", title_justify="left")
    for name, value in per_class.items():
        table.add_row(name, _share(value))
    return table


def _share(value: float | None) -> str:
    return "no objects" if value is None else f"{value:.4f}"
