"""The command ``train``: options to `yolox.train`, and its errors to messages that name options."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen
from rich.console import Console

from yolox.cli.check import read_sets
from yolox.cli.experiment import Experiment
from yolox.cli.inputs import (
    RUNS,
    command_text,
    compare_names,
    console_of,
    given_options,
    local_weights,
    open_group,
    print_sources,
)
from yolox.cli.messages import option_name
from yolox.cli.options import CommonOptions, Given
from yolox.cli.restarts import run_in_processes
from yolox.cli.run_options import RememberOptions, check_options, remembered
from yolox.cli.sources import TrainingSet, ValidationSet, training_sources
from yolox.config import OptimConfig, Recipe
from yolox.config_io import check_recipe_suffix, nearest_base, save_recipe
from yolox.data.content import counted
from yolox.distributed import Group, from_first
from yolox.errors import RunError, UsageError
from yolox.export.runner import SUFFIXES
from yolox.nn import initialise
from yolox.recipe_changes import FINETUNE_RATE, with_convention, with_epochs
from yolox.training.callbacks import MLflow, TensorBoard
from yolox.training.freeze import check_frozen_loaded
from yolox.training.prepare import check_arguments
from yolox.training.profile import Profile
from yolox.training.run_folder import LAST, next_folder
from yolox.training.signals import Launcher, Watchdog
from yolox.training.trainer import train
from yolox.visualize.run_pictures import RunPictures
from yolox.weights.load import load_weights

PUBLISHED_BATCH = 64
"""Images of a step of the published runs, on 8 devices."""

KEPT = ("patience", "freeze", "save_steps", "save_every", "overwrite", "hang_seconds")
"""Options that `yolox.train` takes as they are."""


@frozen(kw_only=True)
class TrainOptions(CommonOptions, ValidationSet, TrainingSet):
    """Train on a COCO, VOC or YOLO dataset, from random weights or from any weights."""

    weights: Path | None = None
    """Start from a run's folder, a file, or megvii:SCALE; files are .pth, .npz, .ckpt, .pdparams or .safetensors; megvii:SCALE,
    mindyolo:SCALE and hf:ORG/REPO/FILE are downloaded, and the weights are random if this is left out."""
    legacy: bool = False
    """The weights are Megvii's from before version 0.1.1: RGB, normalised; nothing in such a file shows it."""
    raw_weights: bool = False
    """Of a checkpoint of a run take the weights of its last step; without this their moving averages are taken."""
    finetune: bool = False
    """Fine-tune: 40 epochs, the rate 0.005 (AdamW: half of its own), a short average; these are defaults of the options below."""
    output: Path | None = None
    """Folder of the run: checkpoints, history.csv, recipe.json; left out, the next of runs/train, runs/train-2 and so on."""
    overwrite: bool = False
    """Replace the run that is already in the folder."""
    resume: Path | None = None
    """Continue the run in this folder; its recipe and its data are kept; --epochs trains longer, other options are not needed."""
    allow_changed: bool = False
    """With --resume: accept another recipe, and other annotations and images than those of the run."""
    save_steps: int | None = None
    """Save within an epoch too, after every so many steps; an epoch's end always saves."""
    save_every: int | None = None
    """Keep a copy of the checkpoint after every so many epochs, as epoch_10.safetensors."""
    parallel: bool = False
    """Train together with the other processes that msrun started."""
    hang_seconds: float = 90.0
    """End where no batch comes for so long; with --parallel, where a process stands still (20 times, if it compiles); 0 never."""
    restarts: int = 0
    """After a crash or a kill, continue from the last checkpoint by itself, up to so many times."""
    processes: int = 1
    """Train in so many processes of this host, which msrun starts; their output goes to OUTPUT-logs."""
    patience: int | None = None
    """Stop when AP has not risen for this many epochs; the no-augmentation epochs are then left out."""
    freeze: tuple[str, ...] = ()
    """Parts that keep the values of --weights: prefixes of parameter names, such as backbone."""
    eager: bool = False
    """Run the training step without compiling it: much slower, for debugging."""
    tensorboard: bool = False
    """Also write events for TensorBoard to OUTPUT/events (pip install -c constraints.txt -e '.[tensorboard]')."""
    mlflow: bool = False
    """Also write to MLflow: to MLFLOW_TRACKING_URI, else to OUTPUT/mlruns (pip install -c constraints.txt -e '.[mlflow]')."""
    profile: bool = False
    """Profile five steps with MindSpore's profiler: OUTPUT/profile has a trace and the time of each operator."""
    save_recipe: Path | None = None
    """Also write the recipe with all options to this file (.toml, .json), for --recipe."""
    settings: Recipe = Recipe()

    @classmethod
    def adapt(cls, recipe: Recipe, given: Given) -> tuple[Recipe, list[str]]:
        """Returns the recipe with phases that fit into ``--epochs``, and on CPU of one image size; and a line for each change."""
        settings, notes = given.get("settings", Given()), []
        epochs, has_sizes = settings.get("epochs", recipe.epochs), "multiscale_sizes" in settings.get("loader", Given())
        short = with_epochs(recipe, epochs) if epochs > 0 else recipe
        changed = {
            name: (_field(recipe, name), _field(short, name))
            for name in ("warmup_epochs", "flat_epochs", "no_aug_epochs")
            if name not in settings and name not in settings.get("optim", Given())
        }
        lines = [f"{option_name(name)} {new} in place of {old}" for name, (old, new) in changed.items() if old != new]
        if lines:
            notes.append(f"--epochs {epochs} is short: {', '.join(lines)}")
        if given.get("device", "CPU") == "CPU" and recipe.loader.multiscale_sizes and not has_sizes:
            sizes = " ".join(map(str, recipe.loader.multiscale_sizes))
            notes.append(f"one image size, as each is compiled for itself on CPU; the recipe's are --multiscale-sizes {sizes}")
            short = attrs.evolve(short, loader=attrs.evolve(short.loader, multiscale_sizes=()))
        return short, notes


def _field(recipe: Recipe, name: str) -> int:
    return getattr(recipe if hasattr(recipe, name) else recipe.optim, name)


def run(experiment: Experiment, options: TrainOptions, with_defaults: Callable[[Recipe], TrainOptions]) -> None:
    """Trains as the options say, in the folder ``--output``, or continues with ``--resume``."""
    launcher = Launcher()  # first: it watches the process that started this one
    if options.restarts or options.processes != 1:
        run_in_processes(options)
        return
    before = None if options.resume is None else remembered(options.resume)
    sources = _check(options, before)
    known = options.resume or options.output or Path("RUN")
    advice = f"if {known / LAST} is there, it is whole; go on with: train --resume {known}"
    group = open_group(options.parallel, seconds=options.hang_seconds, advice=advice)
    console = console_of(group)
    print_sources(console, options, {"training": sources["train"], "evaluation": sources["val"]})
    with Watchdog(options.hang_seconds, group=group, advice=advice) as watchdog:
        watchdog.mark("reading the datasets", slow=True)
        datasets = read_sets(sources)
    if options.save_recipe is not None and group.is_first:
        save_recipe(options.save_recipe, options.settings, experiment.recipes)
        console.print(f"recipe: {options.save_recipe}", markup=False)
    base = options.recipe if options.recipe in experiment.recipes else nearest_base(options.settings, experiment.recipes)
    published = experiment.recipes[base].optim
    is_preset = options.finetune and options.settings.optim.lr == FINETUNE_RATE
    for line in [] if is_preset else rate_lines(options.settings.optim, published, images=_images(options, group)):
        console.print(line)
    names = datasets["train"].class_names
    detector = experiment.build(len(names), options.settings.input.channels)
    all_names = [parameter.name for parameter in detector.get_parameters()]
    initialise(detector, seed=options.settings.loader.seed)
    if options.weights is not None:
        loaded = load_weights(detector, local_weights(options.weights), legacy=options.legacy, averages=not options.raw_weights)
        classes = f", for {counted(len(names), 'class', 'classes')}" if loaded.skipped else ""
        console.print(f"weights: {loaded.summary()}{classes}")
        if renamed := compare_names(loaded.class_names, names):
            console.print(f"weights: {renamed}", markup=False)
        options = with_defaults(attrs.evolve(options.settings, input=with_convention(options.settings.input, loaded.input)))
    random = all_names if options.weights is None else loaded.skipped
    detector.spec = options.settings.input  # an option that was given wins over the convention of the weights
    folder = options.resume or options.output or _next_run(console, group)
    pictures = RunPictures(console, command=command_text(), settings={"options": given_options(options)})
    loggers = [*([TensorBoard()] if options.tensorboard else []), *([MLflow()] if options.mlflow else [])]
    profiles = [Profile(console=console)] if options.profile else []
    callbacks = [RememberOptions(options), pictures, *loggers, *profiles]
    try:
        if options.resume is None:
            check_frozen_loaded(options.freeze, random)
        train(
            detector, datasets["train"], val_set=datasets.get("val"), recipe=options.settings, callbacks=callbacks,
            output=folder, resume=options.resume is not None, allow_changed=_allowed(options, before),
            make_step=experiment.make_step, compiled=not options.eager,
            group=group, launcher=launcher, console=console, name=experiment.name,
            **{name: getattr(options, name) for name in KEPT},
        )  # fmt: skip
    except RunError as error:
        error.args = (f"{error}\ngo on with: train --resume {error.folder}",)
        raise


def _images(options: TrainOptions, group: Group) -> int:
    return options.settings.loader.step_images * group.world


def rate_lines(optim: OptimConfig, published: OptimConfig, *, images: int) -> list[str]:
    """Returns what an absolute learning rate is for each image, and warnings: where it is eight times the recipe's or more, and
    where the rate is that of another optimizer.

    Args:
        optim: of the run.
        published: of the recipe; an absolute rate there is for `PUBLISHED_BATCH` images.
        images: of a step, on all devices.

    Example:
        >>> rate_lines(OptimConfig(lr=0.01, lr_per_image=None), OptimConfig(), images=16)
        ['--lr 0.01: 0.000625 an image, with 16 images a step; the recipe has 0.000156']
    """
    lines = []
    if optim.optimizer != published.optimizer and (optim.lr, optim.lr_per_image) == (published.lr, published.lr_per_image):
        own = f"the rate and decay of {published.optimizer}"
        lines = [f"warning: --optimizer {optim.optimizer} with {own}; --recipe rtmdet has those of adamw, megvii of sgd"]
    if optim.lr is None:
        return lines
    rate, usual = optim.lr / images, published.lr_per_image or published.lr / PUBLISHED_BATCH
    line = f"--lr {optim.lr:g}: {rate:.3g} an image, with {images} images a step; the recipe has {usual:.3g}"
    factor = rate / usual if usual else 1.0
    too_much = f"warning: --lr {optim.lr:g} is {factor:.3g} times the recipe's rate; --lr-per-image {usual:.3g} is the recipe's"
    return [*lines, line, too_much] if factor > 7.99 else [*lines, line]


def _next_run(console: Console, group: Group) -> Path:
    folder = Path(from_first(str(next_folder(RUNS / "train")) if group.is_first else "", group))
    console.print(f"output: {folder}")
    return folder


def _allowed(options: TrainOptions, before: tuple[Recipe, Mapping[str, Any]] | None) -> bool | tuple[str, ...]:
    """Returns which changes of a resumed run the options ask for: all, or the epochs that differ from those of recipe.json."""
    if before is None or options.allow_changed:
        return options.allow_changed
    return () if before[0].epochs == options.settings.epochs else ("epochs",)


def _check(options: TrainOptions, before: tuple[Recipe, Mapping[str, Any]] | None) -> dict:
    """Returns where the images of "train" and "val" are; raises UsageError for options that contradict each other."""
    if options.save_recipe is not None:
        check_recipe_suffix(options.save_recipe)
    if options.allow_changed and before is None:
        raise UsageError("--allow-changed: belongs to --resume; leave it out")
    if before is not None:
        check_options(options, *before)
    if options.weights is not None and options.weights.suffix.lower() in SUFFIXES:
        raise UsageError(f"--weights {options.weights}: an exported file cannot be trained; give the weights it was made of")
    if options.legacy and options.weights is None:
        raise UsageError("--legacy is about the file of --weights; give both or neither")
    if options.raw_weights and options.weights is None:
        raise UsageError("--raw-weights is about the checkpoint of --weights; give both or neither")
    sources = training_sources(options)
    given = {name: getattr(options, name) for name in ("patience", "save_steps", "save_every")}
    given |= {"has_val": sources["val"] is not None}
    try:
        check_arguments(options.settings, **given)
    except ValueError as error:  # that of the phases names its fields without backticks
        flags = re.sub(r"\b(?:\w+_)?epochs\b(?! of)", lambda name: option_name(name[0]), str(error))
        raise UsageError(flags) from None
    return sources
