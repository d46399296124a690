"""Weights and datasets that options name, checked against each other before anything slow begins."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import attrs
from attrs import frozen
from mindspore import nn
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from yolox import model
from yolox.cli.experiment import Experiment, choose_recipe
from yolox.cli.messages import OptionConsole, note, option_name
from yolox.cli.sources import DataSource
from yolox.config import InputSpec, Recipe, one_line
from yolox.data.classes import match_detector
from yolox.data.content import counted, shown_path
from yolox.data.dataset import DetectionDataset, trainable
from yolox.distributed import Group, join_group
from yolox.errors import CommandError, UsageError
from yolox.eval.predict import detector_step
from yolox.export.engine import choose_engine
from yolox.export.runner import SUFFIXES, ExportedDetector
from yolox.recipe_changes import with_convention
from yolox.training.run_folder import make_folder, next_folder
from yolox.weights.hub import fetch_weights
from yolox.weights.load import LoadedWeights, local_path

RUNS = Path("runs")


def open_detector(experiment: Experiment, path: Path, *, legacy: bool = False) -> tuple[nn.Cell, LoadedWeights]:
    """Returns a scale's detector for the number of classes of a weights file, with its weights.

    Args:
        experiment: the scale.
        path: weights of any supported form, or a name such as ``megvii:s``.
        legacy: whether they are Megvii's from before version 0.1.1.

    Returns:
        The detector, and what is known about the weights.

    Raises:
        WeightsError: the file cannot be read, belongs to another scale, or names more or fewer classes than it predicts.
    """
    opened = model.open_weights(local_weights(path), build=_builder(experiment), legacy=legacy)
    return opened.detector, opened.metadata


def _builder(experiment: Experiment) -> Callable[..., nn.Cell]:
    return lambda num_classes, scale, channels=3: experiment.build(num_classes, channels)


@frozen(kw_only=True, eq=False)
class OpenedWeights(model.OpenedWeights):
    """A scale's detector with its weights, or an exported file."""

    def check_input(self, spec: InputSpec) -> None:
        """Raises UsageError where options ask an exported file for other pixels than it takes."""
        if isinstance(self.detector, ExportedDetector) and spec != self.detector.metadata.input:
            raise UsageError(
                f"--weights {self.path}: takes {one_line(self.detector.metadata.input)}; leave out --input-size, --channel-order "
                "and the like, or export again with them"
            )

    def in_engine(self, options, console: Console, *, class_names: Sequence[str], images: int) -> OpenedWeights:
        """Returns the same weights in the runtime of ``--engine``, and prints which it is.

        Args:
            options: has the fields `engine` and `input`.
            console: where the line goes.
            class_names: names of the classes of the detector.
            images: images that will be predicted, as far as that is known.

        Raises:
            UsageError: a runtime is named for an exported file.
            ExportError: the runtime is not installed, or cannot run the detector.
        """
        if not isinstance(self.detector, nn.Cell):
            if options.engine != "auto":
                raise UsageError(f"--engine {options.engine}: {self.path} is an export, and its form decides; leave out --engine")
            return self
        choice = choose_engine(self.detector, options.engine, spec=options.input, class_names=class_names, images=images)
        console.print(f"engine: {choice}", markup=False)
        return attrs.evolve(self, detector=choice.detector)

    def make_step(self, spec: InputSpec) -> Callable:
        """Returns the step from uint8 images to decoded predictions."""
        self.check_input(spec)
        return detector_step(self.detector, spec)[1]


def open_weights(experiment: Experiment, path: Path, *, legacy: bool = False) -> OpenedWeights:
    """Opens what ``--weights`` names: weights of any supported form, or a file of the command export.

    Args:
        experiment: the scale; an exported file needs none and may be of another.
        path: `.onnx`, `.mindir` and OpenVINO's `.xml` are exported files; every other one is read by `load_weights`.
        legacy: as for `open_detector`; an exported file states its pixels itself.

    Returns:
        The detector, the number of classes, and the metadata.

    Raises:
        WeightsError, ExportError: the file cannot be read, or belongs to another scale.
    """
    if legacy and path.suffix.lower() in SUFFIXES:
        raise UsageError(f"--legacy: {path} is an export, which states its pixels itself; leave out --legacy")
    opened = model.open_weights(local_weights(path), build=_builder(experiment), legacy=legacy)
    if isinstance(opened.detector, ExportedDetector):
        recipe = attrs.evolve(experiment.recipes["megvii"], input=opened.metadata.input)
        opened = attrs.evolve(opened, metadata=attrs.evolve(opened.metadata, recipe=recipe))
    return OpenedWeights(**attrs.asdict(opened, recurse=False))


def recipe_of_weights(experiment: Experiment, name: str | None, metadata: LoadedWeights) -> Recipe:
    """Returns the defaults of an evaluation: the recipe of the weights, and always their input convention.

    Args:
        experiment: the scale.
        name: recipe or file that the user asked for; None leaves the choice to the weights.
        metadata: of the weights.

    Returns:
        A recipe whose `input` is that of the weights if it is known, else that of the recipe.
    """
    published = experiment.recipes.get(metadata.source, experiment.recipes["megvii"])
    named = experiment.recipe_files.get(name)
    if named is None and name is not None:
        _, named, _ = choose_recipe(experiment.recipes, name)
    recipe = named or metadata.recipe or published
    spec = metadata.recipe.input if metadata.recipe is not None else with_convention(recipe.input, metadata.input)
    return attrs.evolve(recipe, input=spec)


@contextmanager
def notes_held() -> Iterator[None]:
    """Keeps the readers' notes on a dataset off the log, as they are printed later; all others pass, and all in an error."""
    held: list[logging.LogRecord] = []

    def passes(record: logging.LogRecord) -> bool:
        is_note = getattr(record, "is_note", False)
        held.extend([record] * is_note)
        return not is_note

    log = logging.getLogger("yolox.data")
    log.addFilter(passes)
    try:
        yield
    except BaseException:
        log.removeFilter(passes)
        for record in held:
            log.handle(record)
        raise
    finally:
        log.removeFilter(passes)


def read_training_set(source: DataSource) -> DetectionDataset:
    """Reads a dataset to train on.

    Raises:
        DataError: the file or an annotation cannot be used.
        CommandError: there is no box to learn from: none at all, or only crowd regions and boxes without area.
    """
    dataset = source.read()
    if not trainable(dataset).any():
        found = f"{counted(len(dataset), 'image')} and {_no_box(dataset)}"
        raise CommandError(f"{source.name}: {found}; nothing can be learned from it")
    return dataset


def _no_box(dataset: DetectionDataset) -> str:
    """Returns the content of a dataset that has no box to train on, for a message."""
    crowd = int(dataset.crowd.sum())
    flat = len(dataset.boxes) - crowd + len(dataset.left_out)
    flats = counted(flat, "box without area inside its image", "boxes without area inside their image")
    some = " and ".join([counted(crowd, "crowd region")] * (crowd > 0) + [flats] * (flat > 0))
    return "no box" + (f" to train on, only {some}" if some else "")


def read_evaluation_set(
    source: DataSource, *, num_classes: int, class_names: Sequence[str] | None
) -> DetectionDataset:
    """Reads a dataset to evaluate a detector on, with its classes in the order of the detector's outputs.

    Args:
        source: the dataset; may have fewer categories than the detector, found by their names.
        num_classes: classes of the detector.
        class_names: their names; None where the weights have none.

    Returns:
        Dataset of `num_classes` classes, as `match_detector` returns it.

    Raises:
        DataError: the file or an annotation cannot be used, or the detector lacks a class.
        CommandError: no images.
    """
    dataset = source.read()
    if len(dataset) == 0:
        raise CommandError(f"{source.name}: has no images; nothing can be evaluated")
    return match_detector(dataset, class_names, num_classes)


def compare_names(weights: Sequence[str] | None, dataset: Sequence[str]) -> str | None:
    """Returns a warning if weights and dataset have the same number of classes with different names.

    Their class predictions are kept, which is right for names that were only spelt otherwise, and a bad start for
    other classes or another order.

    Args:
        weights: class names of the weights; None where the file names none.
        dataset: class names of the dataset.

    Returns:
        A line, or None where nothing is known to differ: the same names, no names, or another number of classes, whose
        predictions are not kept.

    Example:
        >>> compare_names(["cat", "dog"], ["cat", "cow"])
        "the weights' names of 1 of 2 classes are others than the dataset's (class 1: dog, now cow); their predictions are kept"
    """
    if weights is None or len(weights) != len(dataset):
        return None
    differ = [i for i, pair in enumerate(zip(weights, dataset, strict=True)) if pair[0] != pair[1]]
    if not differ:
        return None
    first = differ[0]
    return (
        f"the weights' names of {len(differ)} of {len(dataset)} classes are others than the dataset's "
        f"(class {first}: {weights[first]}, now {dataset[first]}); their predictions are kept"
    )


def local_weights(path: Path) -> Path:
    """Returns the file for an option ``--weights``; a bar on stderr shows a download, a note names the file of a folder.

    Args, Raises: as `yolox.weights.load.local_path`.
    """
    found = Path(local_path(path, fetch=lambda name: fetch_with_bar(name, partial(fetch_weights, name))))
    if path.is_dir():
        note(f"--weights {shown_path(path)}: {shown_path(found)} is taken")
    return found


def fetch_with_bar(name: str, fetch: Callable[..., Path]) -> Path:
    """Returns the path of a download; a bar on stderr shows it.

    Args:
        name: stands before the bar.
        fetch: function of the keyword `on_progress`.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=None, visible=False)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        return fetch(on_progress=show)


def open_group(parallel: bool, *, seconds: float = 90.0, advice: str = "") -> Group:
    """Joins the processes of msrun where ``--parallel`` asks for it.

    Args:
        parallel: the option.
        seconds: limit for usual work, from ``--hang-seconds``.
        advice: printed when a process fails.

    Raises:
        UsageError: the limit is below 0.
        CommandError: msrun did not start this process, or started it and ``--parallel`` is missing; the port is in use.
    """
    if not seconds >= 0:
        raise UsageError(f"--hang-seconds {seconds:g}: want 0 (no limit) or more")
    if not parallel:
        if int(os.environ.get("MS_WORKER_NUM", "1")) > 1:
            raise CommandError("msrun started several processes; want --parallel, or each would train by itself")
        return Group()
    try:
        return join_group(seconds=seconds, advice=advice)
    except RuntimeError as error:
        raise CommandError(f"--parallel: {error}") from None


def output_folder(given: Path | None, command: str) -> Path:
    """Returns the folder of ``--output``, made if it is missing, else the next of runs/COMMAND, runs/COMMAND-2 and so on."""
    return next_folder(RUNS / command) if given is None else make_folder(given)


def print_sources(console: Console, options, sources: Mapping[str, DataSource | None]) -> None:
    """Prints what ``--data`` was recognised as, and for what its parts are used; nothing where it was not given.

    Args:
        console: where the line goes.
        options: has the field `data`.
        sources: by use, such as ``training``.
    """
    if options.data is None:
        return
    layout = next((source.layout for source in sources.values() if source is not None and source.layout), "not used")
    used = [f"{use} on {source.part}" for use, source in sources.items() if source is not None and source.part]
    used += [f"no {use}" for use, source in sources.items() if source is None]
    console.print(f"data: {shown_path(options.data)}: {layout}; {', '.join(used)}", markup=False)


def console_of(group: Group) -> Console:
    """Returns the console of a process: only that of rank 0 prints, and messages name options instead of fields."""
    return OptionConsole(quiet=not group.is_first)


def command_text() -> str:
    """Returns the command of this process as a shell takes it, for the report."""
    program = Path(sys.argv[0])
    name = f"python -m {program.parent.name}" if program.name == "__main__.py" else program.name
    name = f"python {shown_path(sys.argv[0])}" if program.suffix == ".py" and program.name != "__main__.py" else name
    return shown_path(" ".join([name, shlex.join(sys.argv[1:])]).strip())


def given_options(options) -> dict[str, str]:
    """Returns the options of a command that are not as they are by default, by flag, without those of a recipe."""
    fields = [field for field in attrs.fields(type(options)) if not attrs.has(type(getattr(options, field.name)))]
    values = {field.name: getattr(options, field.name) for field in fields if getattr(options, field.name) != field.default}
    return {option_name(name): shown_path(value) if isinstance(value, Path) else str(value) for name, value in values.items()}
