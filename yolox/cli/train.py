"""The verb ``train``: detector, weights, state and step put together, and the epochs run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
from mindspore import Tensor, nn, ops

from yolox.cli.caching import CACHE_FILE, open_cache
from yolox.cli.class_names import compare_names
from yolox.cli.endings import saved_endings
from yolox.cli.evaluate import watched_stages
from yolox.cli.events import written_events
from yolox.cli.experiment import Experiment
from yolox.cli.fetching import local_weights
from yolox.cli.freezing import freeze_parts
from yolox.cli.job import Job, check_training, describe_job, open_folder, open_job
from yolox.cli.listeners import Listeners
from yolox.cli.options import TrainOptions
from yolox.cli.patience import EarlyStop, Patience
from yolox.cli.picture_guard import try_picture
from yolox.cli.resuming import open_run
from yolox.cli.run_pictures import BestEvaluation, write_run_pictures
from yolox.cli.sheet import label_sheet
from yolox.cli.together import NoProgress, NoRecorder, SharedStatistics, agreed, open_group, own_name, statistics_of_others
from yolox.cli.watch import Marks, Watch, check_hang_seconds, watched, watched_step
from yolox.config import Recipe
from yolox.data.loader import log_surplus, report_once, train_batches
from yolox.distributed import any_of
from yolox.eval.evaluate import make_evaluator
from yolox.nn import initialise, set_precision
from yolox.training.loop import StopRequested, fit
from yolox.training.phases import is_evaluated
from yolox.training.progress import TrainingProgress, initial_progress
from yolox.training.resume import data_facts, save_state
from yolox.training.run_folder import BAD_BATCH, BATCHES, BEST, EVENTS, HISTORY, LAST, PICTURES, RunRecorder, read_history
from yolox.training.signals import Launcher, StopSignals
from yolox.training.step import TrainState, create_train_state
from yolox.training.terminal import make_progress
from yolox.weights.load import load_weights


def run(experiment: Experiment, options: TrainOptions, parse: Callable[[Recipe], TrainOptions]) -> None:
    """Train as the options say, and leave the run in the folder ``--output``; or go on with ``--resume``.

    Raises:
        UsageError: options that contradict each other, or an output folder that is not empty.
        DataError, WeightsError, CommandError, CheckpointError: files that cannot be used or written.
        Stopped: a signal came; the run is saved.
    """
    launcher = Launcher()
    sources = check_training(options)
    check_hang_seconds(options.hang_seconds)
    group = open_group(options.parallel)
    checkpoint = (options.resume or options.output) / LAST
    with watched(group, seconds=options.hang_seconds, checkpoint=checkpoint) as watch:
        _run(open_job(experiment, options, parse, sources, group, launcher), watch)


def _run(job: Job, watch: Watch) -> None:
    detector = _fill_detector(job)
    open_folder(job)
    job.console.print(describe_job(job))
    state = create_train_state(detector)
    recorder, start = _open_recorder(job, state)
    if start.epoch >= job.recipe.epochs:
        job.console.print(f"{job.folder}: all {job.recipe.epochs} epochs are done")
        return
    patience = _patience(job, start)
    if patience is not None and patience.waited_enough():
        job.console.print(f"{job.folder}: {patience.reason()}; a larger --patience goes on")
        return
    _begin(job, start)
    best = BestEvaluation()
    try:
        _train(job, detector, state, recorder, start, best, patience, watch)
    except EarlyStop as reason:
        job.console.print(str(reason))
    job.console.print(f"wrote {job.folder / BEST} and {job.folder / LAST}")
    if job.group.is_first:
        watch.at("the pictures of the run", slow=True)
        try_picture(job.folder / PICTURES, lambda: write_run_pictures(job, best, best_ap=recorder.best_ap))


def _fill_detector(job: Job) -> nn.Cell:
    names, weights = job.train_set.class_names, job.options.weights
    detector = job.experiment.build_detector(len(names))
    initialise(detector, seed=job.recipe.loader.seed)
    fresh = () if job.options.resume else tuple(parameter.name for parameter in detector.get_parameters())
    if weights is not None:
        facts = load_weights(detector, local_weights(weights))
        fresh = facts.skipped
        job.console.print(f"weights: {facts.summary()}" + (f", for {len(names)} classes" if facts.skipped else ""))
        if renamed := compare_names(facts.class_names, names):
            job.console.print(f"weights: {renamed}", markup=False)
    if job.options.freeze:
        job.console.print(f"frozen: {freeze_parts(detector, job.options.freeze, fresh=fresh)}")
    set_precision(detector, job.recipe.optim.precision)
    return detector


def _open_recorder(job: Job, state: TrainState) -> tuple[RunRecorder | NoRecorder, TrainingProgress]:
    """Begin the run's files with a first checkpoint, or read them and give where the run goes on."""
    facts = {**data_facts(job.train_set), "devices": job.group.world}
    start, best_ap = initial_progress(job.recipe.optim), None
    if job.options.resume is not None:
        start, best_ap = open_run(job.folder, state, facts, rank=job.group.rank)
    others, save_steps = partial(statistics_of_others, state, group=job.group), job.options.save_steps
    if not job.group.is_first:
        return NoRecorder(others, save_steps), start

    def save(path: Path, position: TrainingProgress, extra: dict) -> None:
        facts_of_run = {"class_names": job.train_set.class_names, "extra": {**extra, "data": facts}}
        save_state(path, state, position, recipe=job.recipe, others=others(position), **facts_of_run)

    recorder = RunRecorder(job.folder, save, best_ap=best_ap, save_steps=save_steps)
    if job.options.resume is None:
        recorder.save(start)
    return recorder, start


def _begin(job: Job, start: TrainingProgress) -> None:
    """Show the first batches of a new run, or where an old one goes on."""
    if job.options.resume is not None:
        job.console.print(
            f"going on in epoch {start.epoch + 1} of {job.recipe.epochs}, {start.step} steps of it are done"
        )
    elif job.group.is_first:
        picture = cv2.imencode(".jpg", label_sheet(job.train_set, job.recipe))[1]
        path = job.folder / BATCHES
        try_picture(path, lambda: path.write_bytes(picture.tobytes()))


def _train(
    job: Job,
    detector: nn.Cell,
    state: TrainState,
    recorder: RunRecorder | NoRecorder,
    start: TrainingProgress,
    best: BestEvaluation,
    patience: Patience | None,
    watch: Watch,
) -> None:
    recipe, group = job.recipe, job.group
    progress = make_progress(job.console, recipe, job.steps) if group.is_first else NoProgress()
    sharing = SharedStatistics(state, group, average=recipe.optim.average_bn_stats)
    saving, loading = Marks(watch, "saving", slow=True), Marks(watch, "loading a batch")
    meeting = Marks(watch, "meeting", together=True)
    done = start.epoch * job.steps + start.step
    events = written_events(job.folder / EVENTS, done, wanted=job.options.tensorboard and group.is_first)
    try:
        endings = {"bad_batch": own_name(BAD_BATCH, group), "meet": partial(any_of, False, group)}
        with StopSignals() as stop, saved_endings(job.folder, recorder, stop, **endings), events as written:
            fit(
                watched_step(_make_step(job, detector, state), watch, done),
                recipe=recipe,
                steps_per_epoch=job.steps,
                train_batches=_batches(job),
                evaluate=None if job.val_set is None else _evaluator(job, state, sharing, best, stop, watch),
                listener=Listeners(meeting, sharing, saving, recorder, written, progress, best, patience, loading),
                parameters=state.averaged,
                start=start,
                stop=agreed(stop, group, watch, job.launcher),
                world=group.world,
            )
    finally:
        progress.close()
        (job.folder / own_name(CACHE_FILE, group)).unlink(missing_ok=True)


def _make_step(job: Job, detector: nn.Cell, state: TrainState) -> Callable:
    together = {"group": job.group} if job.group.world > 1 else {}  # steps of one's own may know no group
    return job.experiment.make_step(detector, state, job.recipe, **together)


def _patience(job: Job, start: TrainingProgress) -> Patience | None:
    history = job.folder / HISTORY
    if job.options.patience is None:
        return None
    rows = read_history(history)[: start.epoch] if history.exists() else ()
    return Patience(job.options.patience, [row for row in rows if is_evaluated(job.recipe, int(row["epoch"]) - 1)])


def _batches(job: Job) -> Callable:
    own = {"name": own_name(CACHE_FILE, job.group), "sharers": job.group.world}
    read = open_cache(job.train_set, job.recipe.loader.cache, job.folder, **own)
    settings = {"read": read, "on_surplus": report_once(log_surplus), "rank": job.group.rank, "world": job.group.world}

    def batches(epoch: int, augment: bool, first: int):
        return train_batches(job.train_set, recipe=job.recipe, epoch=epoch, augment=augment, first=first, **settings)

    return batches


def copy_averages(state: TrainState, detector: nn.Cell) -> None:
    """Set a second detector of the same layers to the moving averages of a training state."""
    averages = {p.name: average for p, average in zip(state.averaged, state.ema.arrays(), strict=True)}
    for parameter in detector.get_parameters():
        # in place: memory that set_data would replace is not seen by the compiled evaluation step
        ops.assign(parameter, Tensor(averages[parameter.name]))


def _evaluator(
    job: Job,
    state: TrainState,
    sharing: SharedStatistics,
    best: BestEvaluation,
    stop: Callable[[], bool],
    watch: Watch,
) -> Callable[[], dict]:
    recipe, group = job.recipe, job.group
    averaged = job.experiment.build_detector(len(job.val_set.class_names))
    settings = {"batch_size": recipe.loader.batch_size, "workers": recipe.loader.workers, "keep": best.take}
    settings |= {"spec": recipe.input, "postprocess": recipe.postprocess, "group": group}
    score = make_evaluator(averaged, **settings, on_stage=watched_stages(watch, group))

    def check(done: int) -> None:
        watch.at(f"an evaluation, {done} images done")
        if group.world == 1 and stop():  # several processes have different numbers of batches: they go on to the end
            raise StopRequested

    def evaluate() -> dict:
        watch.at("the beginning of an evaluation", together=True)
        sharing.share()
        copy_averages(state, averaged)
        return score(job.val_set, check)

    return evaluate
