"""``train --tensorboard``: the numbers of a run as events that TensorBoard shows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from yolox.errors import CommandError
from yolox.eval.coco import METRIC_NAMES


def check_tensorboard() -> None:
    """Make sure that events can be written.

    Raises:
        CommandError: the package is missing.
    """
    try:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter  # noqa: F401
    except ImportError:
        raise CommandError(
            "--tensorboard needs one more package: pip install -c constraints.txt -e '.[tensorboard]' in the repository"
        ) from None


@contextmanager
def written_events(folder: Path, done: int, *, wanted: bool = True) -> Iterator[EventListener | None]:
    """Give a listener that writes events while the body runs; what it was told is on the disk at the end.

    Args:
        folder: for the events, which are added to those that are there.
        done: steps of the run so far; events of later steps, which a killed run has left, are void.
        wanted: False gives None.
    """
    listener = EventListener(folder, done) if wanted else None
    try:
        yield listener
    finally:
        if listener is not None:
            listener.close()


class EventListener:
    """Callback that writes every step's losses and rates, and every epoch's metrics at its last step.

    Args:
        folder: made if it is not there.
        done: steps of the run so far.
    """

    def __init__(self, folder: Path, done: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._step, self._event, self._writer = done, Event, EventFileWriter(str(folder))
        if done:  # readers drop what an earlier file has from this step on
            self._add(step=done + 1, session_log=SessionLog(status=SessionLog.START))

    def on_step(self, report) -> None:
        """Write the losses, the rate and the speed."""
        self._step = report.step
        losses = {f"loss/{name}": value for name, value in report.losses.items()}
        speed = {"images per second": report.images_per_second, "waiting for data": report.data_wait_share}
        self._write({**losses, "learning rate": report.lr, "positives": report.num_pos, **speed})

    def on_epoch(self, report) -> None:
        """Write the metrics, if there are any, and the AP of each class; then everything is on the disk."""
        metrics = report.metrics or {}
        classes = {f"AP of class/{name}": value for name, value in metrics.get("per_class", {}).items()}
        self._write({**{f"metrics/{name}": metrics.get(name) for name in METRIC_NAMES}, **classes})
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()

    def _write(self, scalars: Mapping[str, float | None]) -> None:
        known = [{"tag": tag, "simple_value": value} for tag, value in scalars.items() if value is not None]
        if known:
            self._add(step=self._step, summary={"value": known})

    def _add(self, **content) -> None:
        self._writer.add_event(self._event(wall_time=time.time(), **content))
