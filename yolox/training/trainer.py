"""`train`: a detector, a dataset, a recipe and a folder become a trained detector and the files of a run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import attrs
import numpy as np
from attrs import field, frozen
from mindspore import nn
from rich.console import Console

from yolox.config import OneScreen, Recipe
from yolox.console import PlainConsole
from yolox.data.batches import steps_per_epoch
from yolox.data.check import check_for_training
from yolox.data.dataset import DetectionDataset, open_cache, with_pixels
from yolox.data.loader import log_dropped, report_once, train_batches
from yolox.distributed import Group, any_of, from_first, share_statistics
from yolox.errors import RunError, RunStopped, TrainingDiverged, UsageError
from yolox.eval.evaluate import make_evaluator
from yolox.graph import use_device
from yolox.nn import set_precision
from yolox.recipe_changes import with_convention
from yolox.training.callbacks import Callback, EarlyStopping, RunContext, StopTraining
from yolox.training.checkpoint import load_checkpoint
from yolox.training.freeze import freeze_parts
from yolox.training.history import read_history
from yolox.training.loop import StopRequested, TrainingStopped, fit
from yolox.training.prepare import (
    check_arguments,
    describe_pixels,
    describe_run,
    in_classes_of,
    with_class_weights,
    without_small_images,
)
from yolox.training.progress import TrainingProgress, initial_progress
from yolox.training.resume import describe_data, resume_run, save_state
from yolox.training.run_folder import (
    BAD_BATCH,
    BEST,
    CACHE_FILE,
    HISTORY,
    LAST,
    RunRecorder,
    lock_run,
    make_folder,
    own_name,
    prepare_run,
    remove_leftovers,
    write_recipe,
)
from yolox.training.signals import Launcher, StopSignals, Watchdog, stop_on_any
from yolox.training.step import TrainState, create_train_state, make_recipe_step
from yolox.training.sync import copy_ema, statistics_of_other_ranks, sync_batch_norm, write_parameters
from yolox.training.terminal import TerminalProgress


@frozen(kw_only=True, eq=False, repr=False)
class TrainingRun(OneScreen):
    """A finished run."""

    detector: nn.Cell = field(repr=False)
    """Detector with the moving averages of the best checkpoint (on other ranks than 0, of the last epoch), and `spec` and
    `class_names` to use it with."""
    folder: Path
    recipe: Recipe = field(repr=False)
    class_names: tuple[str, ...]
    best_ap: float | None
    """Highest AP of an evaluation; None without one."""
    stopped: str | None = None
    """Why the run ended before its last epoch; None where it did not."""

    @property
    def history(self) -> list[dict]:
        """Rows of history.csv as numbers, one an epoch."""
        return read_history(self.folder / HISTORY)


def train(
    detector: nn.Cell,
    train_set: DetectionDataset,
    *,
    recipe: Recipe,
    output: str | Path,
    val_set: DetectionDataset | None = None,
    callbacks: Sequence[Callback] = (),
    resume: bool = False,
    allow_changed: bool | Sequence[str] = False,
    overwrite: bool = False,
    patience: int | None = None,
    freeze: Sequence[str] = (),
    save_steps: int | None = None,
    save_every: int | None = None,
    loss_fn: Callable | None = None,
    make_step: Callable = make_recipe_step,
    compiled: bool = True,
    device: str | None = None,
    group: Group = Group(),
    hang_seconds: float = 90.0,
    launcher: Launcher | None = None,
    console: Console | None = None,
    name: str = "training",
) -> TrainingRun:
    """Trains a detector and leaves checkpoints, history and recipe in a folder.

    The detector is trained from the values that it has: random ones (`yolox.models`, `initialise`), or those of
    `load_weights`, whose input convention (`detector.spec`) then takes the place of the recipe's. The first SIGINT or
    SIGTERM lets the step end and saves the run; a run that was stopped or killed continues with ``resume=True``, to the
    same bits.

    Args:
        detector: Cell from float32 images [B,3,H,W] to raw maps; its parameters are trained in place.
        train_set: images and boxes to train on.
        recipe: epochs, schedules, augmentation, batch size, input size, post-processing.
        output: folder of the run; a new run wants an empty one.
        val_set: images for the evaluation of the moving averages; None leaves evaluation out.
        callbacks: receive events of steps and epochs after the files are written; they only read.
        resume: continue the run in `output`, with the same detector, datasets, recipe and number of devices.
        allow_changed: when resuming, True accepts other datasets, image files and recipes than the run's; a sequence accepts
            fields of the recipe, such as ``("epochs",)`` to train longer.
        overwrite: replace the run that is in `output`.
        patience: end the run when AP has not risen for so many epochs.
        freeze: beginnings of names of parameters that keep their values, such as ``backbone``.
        save_steps: write the last checkpoint also within an epoch, after so many steps.
        save_every: keep a copy of the last checkpoint after every so many epochs, as ``epoch_<number>.safetensors``.
        loss_fn: replaces the loss; see `make_recipe_step`.
        make_step: function of detector, state and recipe that returns the step; ``group=``, ``loss_fn=`` and ``compiled=``
            are passed where they are not the default.
        compiled: False runs the step eagerly, for debugging.
        device: "CPU" or "Ascend"; None keeps the device in use.
        group: the processes that train together, from `join_group`.
        hang_seconds: data workers that make no batch for so long end the run; of several processes, one that does not advance
            for so long ends, with its stack in its log; 0 never.
        launcher: watches the process that started this one; a run of several processes stops when it has ended.
        console: where progress is printed; ``Console(quiet=True)`` prints nothing.
        name: of the detector, for the first line that is printed.

    Returns:
        TrainingRun.

    Raises:
        ValueError: arguments that do not fit each other.
        UsageError: the folder is not empty, freezing leaves nothing to train, or `patience` has no evaluation to count.
        DataError: images that cannot be used, up to 20 listed; classes of `val_set` that `train_set` does not have.
        CommandError, CheckpointError: files that cannot be read or written, or a run that cannot be resumed.
        RunStopped: a signal came; the run is saved.
        RunError: the losses were not finite (the batch is saved), or the disk is full.

    Source: Megvii's trainer; deviations are listed in docs/recipes.md.
    """
    use_device(device)
    folder, console = Path(output), console or PlainConsole()
    console.quiet = console.quiet or not group.is_first
    recipe = attrs.evolve(recipe, input=with_convention(recipe.input, getattr(detector, "spec", None)))
    check_arguments(recipe, patience=patience, save_steps=save_steps, save_every=save_every, has_val=val_set is not None)
    val_set = in_classes_of(detector, train_set, val_set)
    train_set, val_set = (None if data is None else with_pixels(data, recipe.input) for data in (train_set, val_set))
    if note := describe_pixels(detector, recipe):
        console.print(note)
    loader = recipe.loader
    train_set = without_small_images(train_set, loader.min_image_side, console)
    recipe = attrs.evolve(recipe, loss=with_class_weights(recipe.loss, train_set))
    steps = steps_per_epoch(train_set, batch_size=loader.step_images, world=group.world, last_batch=loader.last_batch)
    datasets = {"train": train_set, **({} if val_set is None else {"val": val_set})}
    with ExitStack() as owned:
        watchdog = owned.enter_context(Watchdog(hang_seconds, group=group, checkpoint=folder / LAST))
        watchdog.mark("checking the datasets", slow=True)
        for line in check_for_training(datasets, input_size=recipe.input.input_size, max_gt=loader.max_gt):
            console.print(f"warning: {line}", markup=False)
        if freeze:
            console.print(f"frozen: {freeze_parts(detector, freeze)}")
        set_precision(detector, recipe.optim.precision)
        # From here on the detector is that of the dataset: weights may have brought the names of other classes.
        detector.spec, detector.class_names = recipe.input, tuple(train_set.class_names)
        # The folder is made when nothing that was given can be wrong any more.
        owned.enter_context(_owned_folder(folder, group, resume=resume))
        watchdog.mark("the start", slow=True)
        if group.is_first:
            if resume:
                remove_leftovers(folder)
            else:
                prepare_run(folder, overwrite=overwrite)
                write_recipe(folder, recipe)
        any_of(False, group)  # no process opens a file in a folder that rank 0 was refused
        console.print(f"{name}, {describe_run(train_set, val_set, recipe, steps, group)}")
        state = create_train_state(detector, optimizer=recipe.optim.optimizer)
        averaged = copy.deepcopy(detector)  # a second detector of the same layers, for the moving averages
        recorder, start = _open_recorder(
            folder, state, train_set, val_set, recipe, group, console,
            resume=resume, allow_changed=allow_changed, save_steps=save_steps, save_every=save_every,
        )  # fmt: skip
        run = partial(_finished, state, averaged, folder, recipe, recorder, group)
        context = RunContext(
            folder=folder, recipe=recipe, train_set=train_set, val_set=val_set, group=group, steps_per_epoch=steps,
            start=start, resumed=resume,
        )  # fmt: skip
        if done := start.epoch >= recipe.epochs:
            console.print(f"{folder}: all {recipe.epochs} epochs are done")
        elif patience is not None:
            callbacks = (*callbacks, EarlyStopping(patience))  # last: the others see the epoch, too
        everyone = callbacks if done else (TerminalProgress(console), *callbacks)
        stopped = None
        with ExitStack() as stack:
            evaluate = None if val_set is None else _make_evaluation(averaged, context, watchdog)
            try:
                for callback in everyone:
                    stack.callback(callback.on_end)
                    callback.on_start(context)
            except StopTraining as reason:  # a resumed run that had waited long enough before
                console.print(f"{folder}: {reason}")
                if not start.epoch:
                    return run(stopped=str(reason))
                done, stopped = True, str(reason)
            if not done:
                try:
                    if resume:
                        place = f"epoch {start.epoch + 1} of {recipe.epochs}, {start.step} steps of it are done"
                        console.print(f"continuing in {place}")
                    else:
                        recorder.save(start)
                    stop = stack.enter_context(StopSignals())
                    stack.callback((folder / own_name(CACHE_FILE, group.rank)).unlink, missing_ok=True)
                    _run_epochs(
                        detector, state, averaged, context, recorder, everyone, watchdog, stop, launcher or Launcher(),
                        evaluate, make_step=partial(make_step, **_step_options(loss_fn, compiled, group)),
                    )  # fmt: skip
                except StopTraining as reason:
                    stopped = str(reason)
                    console.print(stopped)
                console.print(f"wrote {folder / BEST} and {folder / LAST}")
            watchdog.mark("the end of the run", slow=True)
            if evaluate is not None:
                _evaluate_best(averaged, context, everyone, evaluate, watchdog)
            for callback in everyone:
                callback.on_finish()
        return run(stopped=stopped)


@contextmanager
def _owned_folder(folder: Path, group: Group, *, resume: bool) -> Iterator[None]:
    """Makes the folder of a new run and locks it on rank 0; a folder that is not there is for `resume_run` to refuse."""
    if not group.is_first or resume and not folder.is_dir():
        yield
        return
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"`output` {folder}: is a file, want a folder")
    make_folder(folder)
    with lock_run(folder):
        yield


def _run_epochs(
    detector: nn.Cell,
    state: TrainState,
    averaged: nn.Cell,
    context: RunContext,
    recorder: RunRecorder,
    callbacks: Sequence[Callback],
    watchdog: Watchdog,
    stop: StopSignals,
    launcher: Launcher,
    evaluate_averages: Callable | None,
    *,
    make_step: Callable,
) -> None:
    """Runs the loop; saves the run when it is stopped, and the batch when it diverges."""
    recipe, group, folder = context.recipe, context.group, context.folder
    average = recipe.optim.average_bn_stats
    read = open_cache(
        context.train_set, recipe.loader.cache, folder, name=own_name(CACHE_FILE, group.rank), sharers=group.world
    )
    batch_options = {"read": read, "on_dropped": report_once(log_dropped), "rank": group.rank, "world": group.world}
    batch_options["stall_seconds"] = watchdog.seconds

    def batches(epoch: int, augment: bool, first: int):
        return train_batches(context.train_set, recipe=recipe, epoch=epoch, augment=augment, first=first, **batch_options)

    def on_images(done: int) -> None:
        watchdog.mark(f"evaluation, {done} images done")
        if group.world == 1 and stop():  # several processes have different numbers of images: they go on to the end
            raise StopRequested

    def evaluate() -> tuple[dict, list]:
        copy_ema(state, averaged)  # after the BN statistics were made the same: their averages are copied, too
        return evaluate_averages(on_images)

    with saved_when_interrupted(folder, recorder, stop, group):
        fit(
            make_step(detector, state, recipe),
            recipe=recipe,
            steps_per_epoch=context.steps_per_epoch,
            train_batches=batches,
            callbacks=callbacks,
            sync=partial(sync_batch_norm, state, group, average=average),
            evaluate=None if evaluate_averages is None else evaluate,
            save_step=recorder.on_step,
            save_epoch=recorder.on_epoch,
            mark=watchdog.mark,
            parameters=state.averaged,
            start=context.start,
            stop=stop_on_any(stop, group, launcher),
            world=group.world,
        )


def _make_evaluation(averaged: nn.Cell, context: RunContext, watchdog: Watchdog) -> Callable[..., tuple[dict, list]]:
    """Returns a function of `on_images` that evaluates the second detector: metrics and detections."""
    found: list = []  # detections of the evaluation that has just run
    recipe = context.recipe
    evaluator = make_evaluator(
        averaged, spec=recipe.input, postprocess=recipe.postprocess, batch_size=recipe.loader.batch_size,
        workers=recipe.loader.workers, group=context.group, keep=found.append,
        on_stage=partial(watchdog.mark, slow=True), stall_seconds=watchdog.seconds,
    )  # fmt: skip

    def evaluate(on_images: Callable[[int], None]) -> tuple[dict, list]:
        metrics = evaluator(context.val_set, on_images)
        return metrics, found.pop()

    return evaluate


def _evaluate_best(
    averaged: nn.Cell, context: RunContext, callbacks: Sequence[Callback], evaluate: Callable, watchdog: Watchdog
) -> None:
    """Evaluates the best checkpoint for the callbacks that have no evaluation of it, as after a resume or a kill."""
    group, tensors, epoch = context.group, {}, None
    if group.is_first and (context.folder / BEST).is_file():
        best = load_checkpoint(context.folder / BEST)
        tensors, epoch = best.tensors, best.extra["epoch"]
    epoch = from_first(epoch, group)
    if epoch is None or not any_of(any([callback.wants_best(epoch) for callback in callbacks]), group):
        return
    arrays = {p.name: tensors.get(f"ema.{p.name}", np.zeros(p.shape, np.float32)) for p in averaged.get_parameters()}
    shared = share_statistics(list(arrays.values()), group, average=False)  # the file is on the disk of rank 0 only
    write_parameters(averaged, dict(zip(arrays, shared, strict=True)))
    metrics, found = evaluate(lambda done: watchdog.mark(f"evaluation of the best checkpoint, {done} images done"))
    for callback in callbacks:
        callback.on_best(epoch, metrics, found)


@contextmanager
def saved_when_interrupted(
    folder: Path, recorder: RunRecorder, stop: StopSignals, group: Group = Group()
) -> Iterator[None]:
    """Returns a context manager that saves the run when the body is stopped, and the batch when it diverges.

    Args:
        folder: of the run.
        recorder: writes its checkpoints.
        stop: holds the signal that came.
        group: the processes of the run.

    Raises:
        RunStopped: in place of `TrainingStopped`, after the checkpoint was written.
        RunError: in place of `TrainingDiverged`, after the batch was written.
        CheckpointError: the checkpoint could not be written; the last good one stays.
    """
    try:
        yield
    except TrainingStopped as stopped:
        recorder.save(stopped.progress)
        any_of(False, group)  # wait for the others: msrun kills all processes when the first ends with an error
        place = f"epoch {stopped.progress.epoch + 1}, {stopped.progress.step} steps done"
        raise RunStopped(f"stopped and saved {folder / LAST} ({place})", folder, stop.signal or 0) from None
    except TrainingDiverged as diverged:
        bad_batch = folder / own_name(BAD_BATCH, group.rank)
        np.savez_compressed(bad_batch, **diverged.batch)
        any_of(False, group)
        message = f"{diverged}\nthe batch of that step is in {bad_batch}; {folder / LAST} is from before"
        raise RunError(message, folder) from diverged


def _open_recorder(
    folder: Path,
    state: TrainState,
    train_set: DetectionDataset,
    val_set: DetectionDataset | None,
    recipe: Recipe,
    group: Group,
    console: Console,
    *,
    resume: bool,
    allow_changed: bool | Sequence[str],
    save_steps: int | None,
    save_every: int | None,
) -> tuple[RunRecorder, TrainingProgress]:
    """Returns the recorder of the run, and where the run starts; fills the state of a resumed run."""
    data, resumed = describe_data(train_set, val_set, group), None
    if resume:
        resumed = resume_run(folder, state, data, recipe=recipe, rank=group.rank, allow_changed=allow_changed)

    def save(path: Path, progress: TrainingProgress, extra: dict) -> None:
        others = statistics_of_other_ranks(state, progress, group)  # all processes take part, rank 0 writes
        if group.is_first:
            metadata = {"class_names": train_set.class_names, "history": extra.pop("history"), "extra": {**extra, **data}}
            save_state(path, state, progress, recipe=recipe, others=others, **metadata)

    options = {"save_steps": save_steps, "save_every": save_every, "writes": group.is_first}
    if resumed is None:
        return RunRecorder(folder, save, **options), initial_progress(recipe.optim)
    recorder = RunRecorder(folder, save, best_ap=resumed.best_ap, history=resumed.history, **options)
    recorder.keep_copy(resumed.progress)
    if resumed.rebuilt:
        console.print(f"{folder / HISTORY}: rows were missing or changed; written again from {LAST}")
    if resumed.changes:
        console.print(f"changed: {'; '.join(resumed.changes)}", markup=False)
        recorder.save(resumed.progress)  # before recipe.json: the same arguments are accepted again after a kill
        if group.is_first:
            write_recipe(folder, recipe)
    return recorder, resumed.progress


def _step_options(loss_fn: Callable | None, compiled: bool, group: Group) -> dict:
    """Returns only what differs from the defaults: a step of one's own may not know the other arguments."""
    options: dict = {} if loss_fn is None else {"loss_fn": loss_fn}
    options |= {} if compiled else {"compiled": False}
    return options | ({"group": group} if group.world > 1 else {})


def _finished(
    state: TrainState,
    averaged: nn.Cell,
    folder: Path,
    recipe: Recipe,
    recorder: RunRecorder,
    group: Group,
    stopped: str | None = None,
) -> TrainingRun:
    """Fills the second detector with the averages of the best checkpoint; on other ranks than 0 with the last ones."""
    if group.is_first and (folder / BEST).exists():
        tensors = load_checkpoint(folder / BEST).tensors
        write_parameters(
            averaged, {name.removeprefix("ema."): t for name, t in tensors.items() if name.startswith("ema.")}
        )
    else:  # the file is on the disk of rank 0 only
        copy_ema(state, averaged)
    return TrainingRun(
        detector=averaged, folder=folder, recipe=recipe, class_names=averaged.class_names,
        best_ap=recorder.best_ap, stopped=stopped,
    )  # fmt: skip
