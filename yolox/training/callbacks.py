"""Callbacks of a training run: what they receive, early stopping, TensorBoard and MLflow."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from yolox.config import Recipe
from yolox.config_io import recipe_to_dict
from yolox.errors import CommandError
from yolox.schedule import is_evaluated
from yolox.training.history import read_history
from yolox.training.progress import TrainingProgress
from yolox.training.run_folder import EVENTS, HISTORY, MLFLOW_RUN, MLRUNS

if TYPE_CHECKING:
    from yolox.data.dataset import DetectionDataset
    from yolox.distributed import Group

log = logging.getLogger("yolox.training")


@frozen(kw_only=True)
class StepEvent:
    """One training step: losses are floats by name, the total among them; times are in seconds."""

    epoch: int
    """Epoch that is running, counted from 0."""
    step: int
    """Steps of the whole run, this one included."""
    losses: dict[str, float]
    num_pos: int
    finite: bool
    bad: str | None
    """The first thing that was not finite; None after a good step."""
    lr: float
    images_per_second: float
    data_wait_share: float
    seconds_left: float
    """At the pace of the last steps, those that compiled left out; NaN at the first step."""
    progress: TrainingProgress
    """Where a run that is saved now continues."""


@frozen(kw_only=True)
class EpochEvent:
    """One epoch.

    Losses are means over the applied steps, NaN where no step was applied. `metrics` is None without an evaluation.
    """

    epoch: int
    losses: dict[str, float]
    lr: float
    images_per_second: float
    data_wait_share: float
    skipped: int
    seconds: float
    metrics: dict | None
    progress: TrainingProgress
    """Where a run that is saved now continues."""
    detections: list | None = None
    """Detections of every validation image in order, where the epoch was evaluated."""


@frozen(kw_only=True, eq=False)
class RunContext:
    """What a callback can read when a run starts or continues."""

    folder: Path
    recipe: Recipe
    train_set: DetectionDataset
    val_set: DetectionDataset | None
    group: Group
    steps_per_epoch: int
    start: TrainingProgress
    """Where the run starts; epoch 0, step 0 unless it is resumed."""
    resumed: bool


class Callback:
    """Base class of callbacks. A callback reads; it never writes parameters.

    Subclasses override what they need. Of several devices, each process calls its own callbacks; those that write files
    do so on rank 0 only (`RunContext.group`).

    Example:
        >>> class PrintLoss(Callback):
        ...     def on_epoch(self, event):
        ...         print(event.epoch, event.losses["total"])
    """

    def on_start(self, context: RunContext) -> None:
        """Called once before the first step, when the folder of the run is there."""

    def on_step(self, event: StepEvent) -> None:
        """Called after every step."""

    def on_epoch(self, event: EpochEvent) -> None:
        """Called after every epoch, its evaluation and its checkpoint. May raise `StopTraining`."""

    def wants_best(self, epoch: int) -> bool:
        """Returns whether `on_best` is to be called; asked once at the end of a run with validation images.

        Args:
            epoch: of the best checkpoint, counted from 1.
        """
        return False

    def on_best(self, epoch: int, metrics: dict, detections: list) -> None:
        """Receives a new evaluation of the best checkpoint, before `on_finish`, where a callback wants it.

        Args:
            epoch: of the best checkpoint, counted from 1.
            metrics: as in `EpochEvent`.
            detections: of every validation image in order.
        """

    def on_finish(self) -> None:
        """Called once when the run is complete: after its last epoch, or when early stopping ended it."""

    def on_end(self) -> None:
        """Called once when the run is over, also when it ended with an exception. Closes what `on_start` opened."""


class StopTraining(Exception):
    """Raised by a callback to end the run after the present epoch, whose files are complete."""


class EarlyStopping(Callback):
    """Ends a run whose AP has not risen for a number of epochs.

    Only evaluated epochs can end the run. A resumed run counts the epochs in its history.

    Args:
        patience: epochs that may pass since the best AP.
        history: rows of evaluated epochs, as `read_history` returns them.

    Example:
        >>> stopping = EarlyStopping(2, [{"epoch": 1.0, "AP": 0.3}])
        >>> stopping.add(2, 0.25)
        >>> stopping.add(3, 0.3)
        Traceback (most recent call last):
        yolox.training.callbacks.StopTraining: AP has not risen for 2 epochs: best 0.3000 in epoch 1, stopped by patience=2
    """

    def __init__(self, patience: int, history: Iterable[Mapping] = ()) -> None:
        self._patience = patience
        self._best, self._best_epoch, self._last_epoch = -1.0, 0, 0
        for row in history:
            self._record(int(row["epoch"]), row["AP"] or 0.0)

    def on_start(self, context: RunContext) -> None:
        """Reads the history of a resumed run.

        Raises:
            StopTraining: the best AP is too long ago already.
        """
        if context.resumed and (context.folder / HISTORY).exists():
            for row in read_history(context.folder / HISTORY)[: context.start.epoch]:
                if is_evaluated(context.recipe, int(row["epoch"]) - 1):
                    self._record(int(row["epoch"]), row["AP"] or 0.0)
        if self.is_exhausted():
            raise StopTraining(f"{self.reason()}; a larger patience continues")

    def on_epoch(self, event: EpochEvent) -> None:
        """Counts an evaluated epoch.

        Raises:
            StopTraining: the best AP is too long ago.
        """
        if event.metrics is not None:
            self.add(event.epoch + 1, event.metrics["AP"] or 0.0)

    def add(self, epoch: int, ap: float) -> None:
        """Counts the AP of an epoch, numbered from 1.

        Raises:
            StopTraining: the best AP is too long ago.
        """
        self._record(epoch, ap)
        if self.is_exhausted():
            raise StopTraining(self.reason())

    def is_exhausted(self) -> bool:
        """Returns whether `patience` epochs or more have passed since the best AP."""
        return self._last_epoch - self._best_epoch >= self._patience

    def reason(self) -> str:
        """Returns a sentence for the log."""
        return (
            f"AP has not risen for {self._last_epoch - self._best_epoch} epochs: best {self._best:.4f} in epoch "
            f"{self._best_epoch}, stopped by patience={self._patience}"
        )

    def _record(self, epoch: int, ap: float) -> None:
        self._last_epoch = epoch
        if ap > self._best:
            self._best, self._best_epoch = ap, epoch


class TensorBoard(Callback):
    """Writes losses and rates of every step, and metrics of every epoch, as TensorBoard events on rank 0.

    Args:
        folder: for the events; None takes ``events`` in the folder of the run.

    Raises:
        CommandError: the package is missing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            raise CommandError("tensorboard is not installed: pip install 'yolox-mindspore[tensorboard]'") from None
        self._event, self._session_log, self._make_writer = Event, SessionLog, EventFileWriter
        self._folder, self._writer, self._step = folder, None, 0

    def on_start(self, context: RunContext) -> None:
        """Opens the file; of a resumed run, events of later steps than the checkpoint's become void."""
        if not context.group.is_first:
            return
        self.open(self._folder or context.folder / EVENTS, context.start.epoch * context.steps_per_epoch + context.start.step)

    def open(self, folder: Path, done: int) -> None:
        """Opens the file in a folder, after `done` steps of the run."""
        self._writer, self._step = self._make_writer(str(folder)), done
        if done:  # readers drop what an earlier file has from this step on
            self._add(step=done + 1, session_log=self._session_log(status=self._session_log.START))

    def on_step(self, event: StepEvent) -> None:
        """Writes losses, rate and speed."""
        self._step = event.step
        self._write(_step_numbers(event))

    def on_epoch(self, event: EpochEvent) -> None:
        """Writes the metrics, if there are any, and the AP of each class, and flushes the file."""
        self._write(_metric_numbers(event))
        if self._writer is not None:
            self._writer.flush()

    def on_end(self) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, scalars: Mapping[str, Any]) -> None:
        known = [{"tag": tag, "simple_value": value} for tag, value in scalars.items() if isinstance(value, int | float)]
        if known:
            self._add(step=self._step, summary={"value": known})

    def _add(self, **content) -> None:
        if self._writer is not None:
            self._writer.add_event(self._event(wall_time=time.time(), **content))


def _step_numbers(event: StepEvent) -> dict[str, float]:
    """Returns the numbers of a step by the names that loggers show."""
    losses = {f"loss/{name}": value for name, value in event.losses.items()}
    speed = {"images per second": event.images_per_second, "waiting for data": event.data_wait_share}
    return {**losses, "learning rate": event.lr, "positives": event.num_pos, **speed}


def _metric_numbers(event: EpochEvent) -> dict[str, float | None]:
    """Returns the metrics of an epoch and the AP of each class; empty without an evaluation."""
    metrics = event.metrics or {}
    classes = {f"AP of class/{name}": value for name, value in metrics.get("per_class", {}).items()}
    return {**{f"metrics/{name}": value for name, value in metrics.items() if name != "per_class"}, **classes}


class MLflow(Callback):
    """Writes the recipe, losses and rates of every step, and metrics of every epoch to MLflow, on rank 0.

    The numbers of an epoch are sent at its end. A resumed run continues the same MLflow run, whose id is in the run's folder.

    Args:
        uri: of the tracking server or store; None takes MLFLOW_TRACKING_URI, else the folder ``mlruns`` in that of the run.
        experiment: name of the experiment, which is made if it is missing.

    Raises:
        CommandError: the package is missing, or, when the run starts, the store cannot be used. A server that fails later is
            a warning, and what could not be sent is sent with the next epoch.
    """

    def __init__(self, uri: str | None = None, *, experiment: str = "yolox") -> None:
        try:
            from mlflow.entities import Metric, Param
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise CommandError("mlflow is not installed: pip install 'yolox-mindspore[mlflow]'") from None
        self._metric, self._param, self._make_client = Metric, Param, MlflowClient
        self._uri, self._experiment = uri, experiment
        self._client, self._run, self._step, self._status = None, "", 0, "FAILED"
        self._waiting: list = []

    def on_start(self, context: RunContext) -> None:
        """Opens the MLflow run, and writes the recipe of a new one."""
        if not context.group.is_first:
            return
        uri = self._uri or os.environ.get("MLFLOW_TRACKING_URI") or (context.folder / MLRUNS).absolute().as_uri()
        if uri.startswith("file:"):  # MLflow 3 refuses folders without it
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        try:
            self._client = self._make_client(tracking_uri=uri)
            self._open(context)
        except Exception as error:  # of mlflow, or of what it uses to reach the store
            self._client = None
            raise CommandError(f"mlflow: {uri} cannot be used ({str(error).strip().splitlines()[0]})") from error

    def _open(self, context: RunContext) -> None:
        kept = context.folder / MLFLOW_RUN
        if context.resumed and kept.is_file():
            self._run = kept.read_text().strip()
            self._client.update_run(self._run, status="RUNNING")
            return
        found = self._client.get_experiment_by_name(self._experiment)
        number = found.experiment_id if found else self._client.create_experiment(self._experiment)
        self._run = self._client.create_run(number, run_name=context.folder.name).info.run_id
        kept.write_text(self._run + "\n")
        fields = _flat(recipe_to_dict(context.recipe))
        self._client.log_batch(self._run, params=[self._param(name, str(value)) for name, value in fields.items()])

    def on_step(self, event: StepEvent) -> None:
        """Keeps losses, rate and speed for the end of the epoch."""
        self._step = event.step
        self._add(_step_numbers(event))

    def on_epoch(self, event: EpochEvent) -> None:
        """Sends the numbers of the steps and the metrics of the epoch."""
        self._add(_metric_numbers(event))
        self._send()

    def on_finish(self) -> None:
        """Marks the MLflow run as finished when it is closed."""
        self._status = "FINISHED"

    def on_end(self) -> None:
        """Sends what is left, and closes the MLflow run: as failed where the run was stopped or ended with an error."""
        if self._client is not None:
            self._send()
            self._try(self._client.set_terminated, self._run, self._status)

    def _add(self, scalars: Mapping[str, float | None]) -> None:
        if self._client is not None:
            now = int(1000 * time.time())
            known = {name: value for name, value in scalars.items() if value is not None}
            self._waiting += [self._metric(_mlflow_name(name), value, now, self._step) for name, value in known.items()]

    def _send(self) -> None:
        most = 1000  # of a request
        while self._waiting and self._try(self._client.log_batch, self._run, metrics=self._waiting[:most]):
            self._waiting = self._waiting[most:]

    def _try(self, send: Callable, *arguments, **options) -> bool:
        """Returns whether a request succeeded; logs a warning where it did not."""
        try:
            send(*arguments, **options)
        except Exception as error:  # hours of training matter more
            log.warning("mlflow: %s; the run goes on", (str(error).strip() or type(error).__name__).splitlines()[0])
            return False
        return True


def _mlflow_name(name: str) -> str:
    """Returns a name such as "loss/iou" with an underscore for each character after the slash that MLflow does not take."""
    group, slash, rest = name.partition("/")
    return group + slash + "".join(letter if letter.isalnum() or letter in "- " else "_" for letter in rest)


def _flat(fields: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Returns nested fields as one level with dots."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return flat
