"""The verb ``train``: datasets, weights, state and step put together, and the epochs run."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import cv2
from mindspore import Tensor, nn, ops

from yolox.cli.caching import open_cache
from yolox.cli.check import quick_check, read_sets
from yolox.cli.endings import saved_endings
from yolox.cli.evaluate import measure
from yolox.cli.experiment import Experiment
from yolox.cli.fetching import local_weights
from yolox.cli.messages import UsageError
from yolox.cli.options import TrainOptions
from yolox.cli.patience import EarlyStop, Patience
from yolox.cli.progress import make_progress
from yolox.cli.resuming import check_options, open_run, remember, remembered
from yolox.cli.rundir import BATCHES, BEST, HISTORY, LAST, RunRecorder, prepare_run, read_history
from yolox.cli.sheet import label_sheet
from yolox.cli.sources import DataSource, data_source, training_source
from yolox.cli.stopping import StopSignals
from yolox.cli.together import NoProgress, NoRecorder, agreed, cache_name, console_of, open_group, share_state
from yolox.config import Recipe
from yolox.data.batches import steps_per_epoch
from yolox.data.dataset import DetectionDataset
from yolox.data.loader import log_surplus, report_once, train_batches
from yolox.fit import StopRequested, fit
from yolox.nn import initialise, set_precision
from yolox.parallel import Group
from yolox.phases import check_epochs
from yolox.position import Position, first_position
from yolox.resume import data_facts, save_state
from yolox.train import TrainState, create_train_state
from yolox.weights.load import LoadedWeights, load_weights, read_weights, with_convention


def run(experiment: Experiment, options: TrainOptions, parse: Callable[[Recipe], TrainOptions]) -> None:
    """Train as the options say, and leave the run in the folder ``--output``; or go on with ``--resume``.

    Raises:
        UsageError: options that contradict each other, or an output folder that is not empty.
        DataError, WeightsError, CommandError, CheckpointError: files that cannot be used or written.
        Stopped: a signal came; the run is saved.
    """
    sources, group = _check(options), open_group(options.parallel)
    console = console_of(group)
    datasets = read_sets(sources)
    train_set, val_set = datasets["train"], datasets.get("val")
    steps = steps_per_epoch(train_set, batch_size=options.settings.loader.batch_size, world=group.world)
    options = parse(_with_weights_input(options))
    quick_check(console, sources, datasets, options.settings)
    folder, recipe = _open_folder(options, group), options.settings
    detector = experiment.build_detector(len(train_set.class_names))
    initialise(detector, seed=recipe.loader.seed)
    if options.weights is not None:
        console.print(_describe_start(load_weights(detector, local_weights(options.weights)), train_set.class_names))
    set_precision(detector, recipe.optim.precision)
    _describe_run(console, experiment, recipe, train_set, val_set, steps)
    state = create_train_state(detector)
    recorder, start = _open_recorder(options, folder, state, train_set, group)
    if start.epoch >= recipe.epochs:
        console.print(f"{folder}: all {recipe.epochs} epochs are done")
        return
    if options.resume is None:
        (folder / BATCHES).write_bytes(cv2.imencode(".jpg", label_sheet(train_set, recipe))[1].tobytes())
    else:
        console.print(f"going on in epoch {start.epoch + 1} of {recipe.epochs}, {start.step} steps of it are done")
    read = open_cache(train_set, recipe.loader.cache, folder, name=cache_name(group))
    loading = {"read": read, "on_surplus": report_once(log_surplus), "rank": group.rank, "world": group.world}
    progress = make_progress(console, recipe, steps) if group.is_first else NoProgress()
    listener = _Listeners(recorder, progress, _patience(options, folder))
    try:
        with StopSignals() as stop, saved_endings(folder, recorder, stop):
            fit(
                experiment.make_step(detector, state, recipe, **({"group": group} if group.world > 1 else {})),
                recipe=recipe,
                steps_per_epoch=steps,
                train_batches=partial(_batches, train_set, recipe, loading),
                evaluate=None if val_set is None else _evaluator(experiment, state, recipe, val_set, group, stop),
                listener=listener,
                parameters=state.averaged,
                start=start,
                stop=agreed(stop, group),
                world=group.world,
            )
    except EarlyStop as reason:
        console.print(str(reason))
    finally:
        listener.close()
        (folder / cache_name(group)).unlink(missing_ok=True)
    console.print(f"wrote {folder / BEST} and {folder / LAST}")


def _patience(options: TrainOptions, folder: Path) -> Patience | None:
    history = folder / HISTORY
    if options.patience is None:
        return None
    return Patience(options.patience, read_history(history) if history.exists() else ())


def _open_folder(options: TrainOptions, group: Group) -> Path:
    if options.resume is not None:
        return options.resume
    if not group.is_first:
        return options.output
    folder = prepare_run(options.output, overwrite=options.overwrite)
    remember(folder, options, options.settings)
    return folder


def _open_recorder(
    options: TrainOptions, folder: Path, state: TrainState, train_set: DetectionDataset, group: Group
) -> tuple[RunRecorder | NoRecorder, Position]:
    """Begin the run's files with a first checkpoint, or read them and give where the run goes on."""
    facts, recipe = {**data_facts(train_set), "devices": group.world}, options.settings
    start, best_ap = first_position(recipe.optim), None
    if options.resume is not None:
        start, best_ap = open_run(folder, state, facts, mend=group.is_first)
    if not group.is_first:
        return NoRecorder(), start

    def save(path: Path, position: Position, extra: dict) -> None:
        extra = {**extra, "data": facts}
        save_state(path, state, position, recipe=recipe, class_names=train_set.class_names, extra=extra)

    recorder = RunRecorder(folder, save, best_ap=best_ap, save_steps=options.save_steps)
    if options.resume is None:
        recorder.save(start)
    return recorder, start


def copy_averages(state: TrainState, detector: nn.Cell) -> None:
    """Set a second detector of the same layers to the moving averages of a training state."""
    averages = {p.name: average for p, average in zip(state.averaged, state.ema, strict=True)}
    for parameter in detector.get_parameters():
        # in place: memory that set_data would replace is not seen by the compiled evaluation step
        ops.assign(parameter, Tensor(averages[parameter.name].asnumpy()))


def _evaluator(
    experiment: Experiment,
    state: TrainState,
    recipe: Recipe,
    dataset: DetectionDataset,
    group: Group = Group(),
    stop: Callable[[], bool] = lambda: False,
):
    averaged = experiment.build_detector(len(dataset.class_names))
    loader = {"batch_size": recipe.loader.batch_size, "workers": recipe.loader.workers}
    score = measure(averaged, spec=recipe.input, postprocess=recipe.postprocess, group=group, **loader)

    def check(_done: int) -> None:
        if group.world == 1 and stop():  # several processes have different numbers of batches: they go on to the end
            raise StopRequested

    def evaluate() -> dict:
        share_state(state, group, average=recipe.optim.average_bn_stats)
        copy_averages(state, averaged)
        return score(dataset, check)

    return evaluate


def _check(options: TrainOptions) -> dict[str, DataSource | None]:
    if options.resume is not None:
        check_options(options, remembered(options.resume)[0])
    if options.save_steps is not None and options.save_steps < 1:
        raise UsageError(f"--save-steps {options.save_steps}: want 1 or more")
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


def _describe_start(facts: LoadedWeights, class_names: tuple[str, ...]) -> str:
    if not facts.skipped:
        return f"weights: {len(facts.loaded)} tensors ({facts.source})"
    return (
        f"weights: {len(facts.loaded)} tensors ({facts.source}); the file is for another number of classes, "
        f"so the class predictions ({len(facts.skipped)} tensors) are new, for {len(class_names)} classes"
    )


def _describe_run(console, experiment, recipe, train_set, val_set, steps) -> None:
    height, width = recipe.input.input_size
    val = "no evaluation" if val_set is None else f"{len(val_set)} for validation"
    console.print(
        f"{experiment.name}, {height} x {width} px: {len(train_set)} images, {len(train_set.boxes)} boxes, "
        f"{len(train_set.class_names)} classes; {val}; {recipe.epochs} epochs of {steps} steps"
    )


def _batches(dataset: DetectionDataset, recipe: Recipe, options: dict, epoch: int, augment: bool, first: int):
    return train_batches(dataset, recipe=recipe, epoch=epoch, augment=augment, first=first, **options)


class _Listeners:
    """Passes reports on; files come before the screen, so that what is shown is saved."""

    def __init__(self, recorder: RunRecorder, progress, patience: Patience | None = None) -> None:
        self._all, self._progress = (recorder, progress, *([patience] if patience else [])), progress

    def on_step(self, report) -> None:
        for listener in self._all:
            listener.on_step(report)

    def on_epoch(self, report) -> None:
        for listener in self._all:
            listener.on_epoch(report)

    def close(self) -> None:
        self._progress.close()
