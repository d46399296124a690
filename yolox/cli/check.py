"""The command ``check``: counts and errors of a dataset, and whether a detector can learn one batch of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import attrs
from attrs import frozen
from rich.console import Console
from rich.table import Table

from yolox.cli.experiment import Experiment
from yolox.cli.inputs import output_folder, print_sources, read_evaluation_set, read_training_set
from yolox.cli.messages import OptionConsole
from yolox.cli.options import CommonOptions
from yolox.cli.sources import DataSource, TrainingSet, ValidationSet, training_sources
from yolox.config import Recipe
from yolox.data.batches import TrainSource
from yolox.data.check import EXAMPLES, DatasetReport, check_dataset, duplicate_images, probe_pixels, training_warnings
from yolox.data.dataset import DetectionDataset
from yolox.data.image import shown_path
from yolox.errors import CommandError, raise_problems
from yolox.nn import initialise, set_precision
from yolox.training.overfit import overfit
from yolox.training.run_folder import write_json
from yolox.training.step import create_train_state
from yolox.training.terminal import LINE_SECONDS
from yolox.visualize.grids import sample_grid
from yolox.visualize.run_pictures import write_picture

MOST_CLASSES = 30
COMPILING = "one batch: compiling the step"


@frozen(kw_only=True)
class CheckOptions(CommonOptions, ValidationSet, TrainingSet):
    """Check a dataset before training: counts, errors, warnings, and a picture of the labels."""

    output: Path | None = None
    """Folder for labels.png and report.json; left out, the next of runs/check, runs/check-2 and so on."""
    overfit: bool = False
    """Also train on one batch until its loss collapses, and fail if it does not."""
    overfit_steps: int = 300
    """Steps after which that fails."""
    settings: Recipe = Recipe()


def run(experiment: Experiment, options: CheckOptions, with_defaults: Callable[[Recipe], CheckOptions]) -> None:
    """Checks the datasets of the options, prints and writes the counts and warnings, and overfits one batch if asked.

    Raises:
        UsageError: options that contradict each other.
        DataError: files that training cannot use.
        CommandError: no boxes, classes that do not fit, or a batch that cannot be learned.
    """
    console = OptionConsole()
    sources = training_sources(options)
    print_sources(console, options, {"training": sources["train"], "evaluation": sources["val"]})
    folder, recipe = output_folder(options.output, "check"), options.settings
    datasets = read_sets(sources)
    with console.status("looking at every image"):
        common = {"input_size": recipe.input.input_size, "probe": probe_pixels}
        limits = {"train": recipe.loader.max_gt, "val": None}
        reports = {name: check_dataset(data, max_gt=limits[name], **common) for name, data in datasets.items()}
        duplicates = _duplicates(datasets)
    write_json(folder / "report.json", {name: attrs.asdict(report) for name, report in reports.items()})
    console.print(_counts(reports), _classes(reports))
    for line in [*training_warnings(reports, datasets), *duplicates]:
        console.print(f"warning: {line}", markup=False)
    for name, report in reports.items():
        raise_problems(sources[name].name, report.errors)
    _write_grid(console, folder / "labels.png", datasets["train"], recipe)
    if options.overfit:
        _overfit(console, experiment, options, datasets["train"])


def read_sets(sources: dict[str, DataSource | None]) -> dict[str, DetectionDataset]:
    """Reads the training set, and the validation set if there is one, with the classes of the training set."""
    train_set = read_training_set(sources["train"])
    if sources["val"] is None:
        return {"train": train_set}
    names = train_set.class_names
    return {"train": train_set, "val": read_evaluation_set(sources["val"], num_classes=len(names), class_names=names)}


def _duplicates(datasets: dict[str, DetectionDataset]) -> list[str]:
    groups = [group for group in duplicate_images(*datasets.values()) if len(set(group)) > 1]
    some = ", ".join(" = ".join(Path(path).name for path in group) for group in groups[:EXAMPLES])
    return [f"groups of image files that are equal byte for byte: {len(groups)} ({some})"] if groups else []


def _counts(reports: dict[str, DatasetReport]) -> Table:
    table = Table("", *reports, title="counts", title_justify="left")
    words = {"crowd": "of these crowd regions", "empty": "images without a box", "most": "most boxes of an image"}
    for name in ("images", "boxes", "crowd", "empty", "most"):
        table.add_row(words.get(name, name), *(str(getattr(report, name)) for report in reports.values()))
    for size in next(iter(reports.values())).per_size:
        table.add_row(f"{size} boxes", *(str(report.per_size[size]) for report in reports.values()))
    return table


def _classes(reports: dict[str, DatasetReport]) -> Table:
    table = Table("class", *reports, title="boxes of each class", title_justify="left")
    first = next(iter(reports.values())).per_class
    for name in list(first)[:MOST_CLASSES]:
        table.add_row(name, *(str(report.per_class[name]) for report in reports.values()))
    if len(first) > MOST_CLASSES:
        table.add_row(f"and {len(first) - MOST_CLASSES} more, in report.json")
    return table


def _write_grid(console: Console, path: Path, dataset: DetectionDataset, recipe: Recipe) -> None:
    write_picture(path, sample_grid(dataset, recipe))  # not by cv2.imwrite, which a path that is not UTF-8 crashes
    console.print(f"wrote {shown_path(path)}: look whether the boxes lie on the objects")


def step_lines(console: Console, update: Callable[[str], None]) -> Callable[[int, float], None]:
    """Returns a function that shows the steps of one batch: in a terminal's live line, elsewhere as a line every half minute.

    Args:
        console: what is shown on.
        update: changes the live line, which a file or pipe does not show.

    Returns:
        A function of the number of steps done and the loss.
    """
    last = time.monotonic()
    if not console.is_terminal:
        console.print(COMPILING)

    def show(number: int, loss: float) -> None:
        nonlocal last
        line = f"one batch: step {number}, loss {loss:.2f}"
        update(line)
        if not console.is_terminal and time.monotonic() - last >= LINE_SECONDS:
            console.print(line)
            last = time.monotonic()

    return show


def _overfit(console: Console, experiment: Experiment, options: CheckOptions, dataset: DetectionDataset) -> None:
    """Trains a detector of random weights on one batch of unaugmented images, and discards it."""
    size = min(options.settings.loader.batch_size, len(dataset))
    loader = attrs.evolve(options.settings.loader, batch_size=size, multiscale_sizes=())
    recipe = attrs.evolve(options.settings, loader=loader)
    detector = experiment.build_detector(len(dataset.class_names))
    initialise(detector, seed=loader.seed)
    set_precision(detector, recipe.optim.precision)
    step = experiment.make_step(detector, create_train_state(detector), recipe)
    batch = TrainSource(dataset=dataset, recipe=recipe, epoch=0, augment=False)[0][:4]
    with console.status(COMPILING) as status:
        report = overfit(step, batch, max_steps=options.overfit_steps, on_step=step_lines(console, status.update))
    if not report.sound:
        raise CommandError(f"one batch: {report.message}")
    console.print(f"one batch: {report.message}")
