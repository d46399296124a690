"""The verb ``eval``: the twelve COCO numbers and the AP of each class."""

from __future__ import annotations

from collections.abc import Callable

from mindspore import nn
from rich.console import Console
from rich.table import Table

from yolox.cli.experiment import Experiment
from yolox.cli.inputs import open_weights, read_evaluation_set, recipe_of_weights
from yolox.cli.options import EvalOptions
from yolox.cli.pictures import evaluation_facts, write_beside, write_charts
from yolox.cli.rundir import make_folder, write_json
from yolox.cli.sources import evaluation_source
from yolox.cli.together import console_of, gather_detections, open_group
from yolox.cli.watch import Watch, check_hang_seconds, unwatched, watched
from yolox.config import InputSpec, PostprocessConfig, Recipe
from yolox.data.dataset import DetectionDataset, ground_truth
from yolox.distributed import Group, from_first
from yolox.eval.coco import METRIC_NAMES, detections_to_coco, evaluate_coco
from yolox.eval.postprocess import Detections
from yolox.eval.predict import make_eval_step, predict_dataset

MEANINGS = (
    "IoU 0.50 to 0.95", "IoU 0.50", "IoU 0.75", "small objects", "medium objects", "large objects",
    "1 detection an image", "10 detections an image", "100 detections an image",
    "small objects", "medium objects", "large objects",
)  # fmt: skip


def measure(
    detector: nn.Cell,
    *,
    spec: InputSpec,
    postprocess: PostprocessConfig,
    batch_size: int,
    workers: int,
    group: Group = Group(),
    watch: Watch | None = None,
    keep: Callable[[list[Detections]], None] | None = None,
) -> Callable[[DetectionDataset], dict]:
    """Build a function from a dataset to its metrics, compiled once, that follows the detector's parameters.

    Args:
        detector: as in the scripts of the scales.
        spec: pixels that the detector takes.
        postprocess: from decoded predictions to detections.
        batch_size: images of a step.
        workers: processes that read images.
        group: the processes that share the images; each gets the metrics of all of them.
        watch: hears where this process is; None where nobody does.
        keep: is handed what was found in all images, for pictures.

    Returns:
        score(dataset) -> metrics as `yolox.eval.coco.evaluate_coco` gives them.
    """
    step, watch = make_eval_step(detector, spec=spec), watch or unwatched()

    def score(dataset: DetectionDataset, on_batch: Callable[[int], None] | None = None) -> dict:
        settings = {"batch_size": min(batch_size, len(dataset)), "workers": workers, "on_batch": on_batch}
        found = _found(step, dataset, group, watch, spec=spec, config=postprocess, **settings)
        if keep is not None:
            keep(found)
        watch.at("the numbers of an evaluation", together=not group.is_first, slow=group.is_first)
        return from_first(_metrics(dataset, found) if group.is_first else None, group)

    return score


def _found(
    step: Callable, dataset: DetectionDataset, group: Group, watch: Watch, on_batch: Callable | None = None, **settings
) -> list[Detections]:
    def on_images(done: int) -> None:
        watch.at(f"an evaluation, {done} images done")
        if on_batch is not None:
            on_batch(done)

    watch.at("the first images of an evaluation", first="evaluation")
    mine = predict_dataset(step, dataset, rank=group.rank, world=group.world, on_batch=on_images, **settings)
    watch.at("gathering an evaluation", together=True)
    return gather_detections(mine, dataset, group)


def _metrics(dataset: DetectionDataset, found: list[Detections]) -> dict:
    ids = {"image_ids": dataset.image_ids, "category_ids": dataset.category_ids}
    return evaluate_coco(ground_truth(dataset), detections_to_coco(found, **ids))


def run(experiment: Experiment, options: EvalOptions, parse: Callable[[Recipe], EvalOptions]) -> None:
    """Evaluate the weights, print the numbers, and write them with ``--json``.

    Raises:
        WeightsError, DataError, CommandError: files that cannot be used, or do not fit each other.
    """
    check_hang_seconds(options.hang_seconds)
    group = open_group(options.parallel)
    with watched(group, seconds=options.hang_seconds) as watch:
        _run(experiment, options, parse, group, watch)


def _run(
    experiment: Experiment, options: EvalOptions, parse: Callable[[Recipe], EvalOptions], group: Group, watch: Watch
) -> None:
    source = evaluation_source(options)
    opened = open_weights(experiment, options.weights)
    facts = opened.facts
    options = parse(recipe_of_weights(experiment, options.recipe, facts))
    dataset = read_evaluation_set(source, num_classes=opened.num_classes, class_names=facts.class_names)
    if options.json is not None:
        make_folder(options.json.parent, option="--json")
    if options.pictures is not None:
        make_folder(options.pictures, option="--pictures")
    step, console = opened.make_step(options.input), console_of(group)
    settings = {"batch_size": min(options.batch_size, len(dataset)), "workers": options.workers}
    with console.status(f"evaluating {len(dataset)} images") as status:

        def show(done: int) -> None:
            status.update(f"evaluated {done} of {len(dataset)} images")

        found = _found(step, dataset, group, watch, show, spec=options.input, config=options.postprocess, **settings)
        watch.at("the numbers of the evaluation", slow=True)
        if not group.is_first:
            return
        metrics = _metrics(dataset, found)
    console.print(_numbers(metrics), _classes(metrics["per_class"]))
    if options.json is not None or options.pictures is not None:
        _write(options, console, dataset, found, metrics)


def _write(
    options: EvalOptions, console: Console, dataset: DetectionDataset, found: list[Detections], metrics: dict
) -> None:
    facts = evaluation_facts(metrics, dataset, found, input_size=options.input.input_size)
    if options.json is not None:
        write_json(options.json, facts)
        console.print(f"wrote {options.json}", markup=False)
    if options.pictures is not None:
        write_beside(options.pictures, dataset, found, facts["analysis"]["score_threshold"])
        write_charts(options.pictures, facts)
        console.print(f"wrote {options.pictures}", markup=False)


def _numbers(metrics: dict) -> Table:
    table = Table("metric", "value", "meaning", title="COCO metrics", title_justify="left")
    for name, meaning in zip(METRIC_NAMES, MEANINGS, strict=True):
        table.add_row(name, _share(metrics[name]), meaning)
    return table


def _classes(per_class: dict[str, float | None]) -> Table:
    table = Table("class", "AP", title="per class", title_justify="left")
    for name, value in per_class.items():
        table.add_row(name, _share(value))
    return table


def _share(value: float | None) -> str:
    return "no truths" if value is None else f"{value:.4f}"
