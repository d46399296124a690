"""What a training run is made of before its first step: options that fit each other, datasets, a folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import attrs
from attrs import frozen
from rich.console import Console

from yolox.cli.check import quick_check, read_sets
from yolox.cli.events import check_tensorboard
from yolox.cli.experiment import Experiment
from yolox.cli.fetching import local_weights
from yolox.cli.options import TrainOptions
from yolox.cli.resuming import check_options, remember, remembered
from yolox.cli.sources import DataSource, data_source, training_source
from yolox.cli.together import console_of
from yolox.config import Recipe
from yolox.data.dataset import DetectionDataset
from yolox.data.order import steps_per_epoch
from yolox.distributed import Group
from yolox.errors import UsageError
from yolox.export.runner import SUFFIXES
from yolox.training.phases import check_epochs
from yolox.training.run_folder import prepare_run
from yolox.training.signals import Launcher
from yolox.weights.load import read_weights, with_convention


@frozen(kw_only=True, eq=False)
class Job:
    """A checked training run. `steps` counts the steps of an epoch, `open_folder` makes the folder."""

    experiment: Experiment
    options: TrainOptions
    group: Group
    launcher: Launcher
    console: Console
    train_set: DetectionDataset
    val_set: DetectionDataset | None
    steps: int
    folder: Path

    @property
    def recipe(self) -> Recipe:
        """The recipe, with the input convention of the weights that the run starts from."""
        return self.options.settings


def open_job(
    experiment: Experiment,
    options: TrainOptions,
    parse: Callable[[Recipe], TrainOptions],
    sources: dict[str, DataSource | None],
    group: Group,
    launcher: Launcher,
) -> Job:
    """Read and check the datasets; nothing is written yet.

    Args:
        experiment: the scale.
        options: as they were given.
        parse: reads them again, from another recipe's defaults.
        sources: from `check_training`.
        group: the processes that train together.
        launcher: what started this one of them.

    Raises:
        DataError, WeightsError, CommandError: files that cannot be used.
    """
    datasets, console = read_sets(sources), console_of(group)
    train_set, val_set = datasets["train"], datasets.get("val")
    loader = options.settings.loader
    steps = steps_per_epoch(
        train_set, batch_size=loader.batch_size, world=group.world, last_batch=loader.last_batch
    )
    options = parse(_with_weights_input(options))
    quick_check(console, sources, datasets, options.settings)
    sets = {"train_set": train_set, "val_set": val_set, "steps": steps}
    folder = options.resume or options.output
    facts = {"experiment": experiment, "options": options, "group": group, "launcher": launcher}
    return Job(**facts, console=console, folder=folder, **sets)


def open_folder(job: Job) -> None:
    """Make the folder of a new run on rank 0, with what it remembers. Call it when nothing else can be wrong.

    Raises:
        UsageError: the folder is not empty.
        CommandError: it cannot be written.
    """
    if job.options.resume is None and job.group.is_first:
        prepare_run(job.folder, overwrite=job.options.overwrite)
        remember(job.folder, job.options, job.recipe)


def describe_job(job: Job) -> str:
    """Say what will be trained on what, in a line."""
    train_set = job.train_set
    val = "no evaluation" if job.val_set is None else f"{len(job.val_set)} for validation"
    devices = f" on {job.group.world} devices" if job.group.world > 1 else ""
    return (
        f"{job.experiment.name}, {describe_sizes(job.recipe)}: {len(train_set)} images, {len(train_set.boxes)} boxes, "
        f"{len(train_set.class_names)} classes; {val}; {job.recipe.epochs} epochs of {job.steps} steps{devices}"
    )


def describe_sizes(recipe: Recipe) -> str:
    """Say how large the images are: of evaluation, and of training where that differs.

    Args:
        recipe: of the run.

    Returns:
        A few words for a line.

    Example:
        >>> from yolox.recipes import megvii_recipe
        >>> describe_sizes(megvii_recipe("s")), describe_sizes(Recipe())
        ('640 x 640 px (training at 11 heights, 480 to 800 px)', '640 x 640 px')
    """
    (height, width), sizes = recipe.input.input_size, sorted(set(recipe.loader.multiscale_sizes))
    if sizes in ([], [height]):
        return f"{height} x {width} px"
    heights = f"{len(sizes)} heights, {sizes[0]} to {sizes[-1]} px" if sizes[1:] else f"height {sizes[0]} px"
    return f"{height} x {width} px (training at {heights})"


def check_training(options: TrainOptions) -> dict[str, DataSource | None]:
    """Check that the options fit each other, and give where the images of "train" and "val" lie.

    Raises:
        UsageError: they contradict each other.
        CommandError: ``--resume`` of what is no run.
    """
    if options.resume is not None:
        check_options(options, *remembered(options.resume))
    if options.save_steps is not None and options.save_steps < 1:
        raise UsageError(f"--save-steps {options.save_steps}: want 1 or more")
    if options.weights is not None and options.weights.suffix.lower() in SUFFIXES:
        raise UsageError(f"--weights {options.weights}: an exported file cannot be trained; give the weights it was made of")
    if options.tensorboard:
        check_tensorboard()
    sources = {"train": training_source(options), "val": data_source(options, "val")}
    if options.patience is not None and (options.patience < 1 or sources["val"] is None):
        raise UsageError(f"--patience {options.patience}: want 1 or more, and validation images")
    try:
        check_epochs(options.settings)
    except ValueError as error:
        raise UsageError(_as_options(str(error))) from None
    return sources


def _as_options(text: str) -> str:
    """Turn the names of fields into those of options: ``flat_epochs`` into ``--flat-epochs``."""
    return re.sub(r"\b(?:\w+_)?epochs\b(?! of)", lambda match: "--" + match[0].replace("_", "-"), text)


def _with_weights_input(options: TrainOptions) -> Recipe:
    if options.weights is None:
        return options.settings
    _, facts = read_weights(local_weights(options.weights))
    return attrs.evolve(options.settings, input=with_convention(options.settings.input, facts.input))
