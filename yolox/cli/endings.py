"""How a training run ends before its last epoch: stopped by a signal, or by numbers that are not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from yolox.cli.messages import Stopped
from yolox.errors import CommandError, TrainingDiverged
from yolox.training.loop import TrainingStopped
from yolox.training.run_folder import BAD_BATCH, LAST, RunRecorder
from yolox.training.signals import StopSignals


@contextmanager
def saved_endings(
    folder: Path,
    recorder: RunRecorder,
    stop: StopSignals,
    *,
    bad_batch: str = BAD_BATCH,
    meet: Callable[[], object] = bool,
) -> Iterator[None]:
    """Save the run when the body is stopped, and the batch when it diverges; say how to go on.

    Args:
        folder: of the run.
        recorder: writes its checkpoints.
        stop: knows which signal came.
        bad_batch: name of the file for the batch; each process has its own.
        meet: waits for the other processes: msrun kills all of them when the first has ended with an error.

    Raises:
        Stopped: in place of `TrainingStopped`, after the checkpoint was written.
        CommandError: in place of `TrainingDiverged`, after the batch was written.
        CheckpointError: the checkpoint could not be written; the last good one stays.
    """
    try:
        yield
    except TrainingStopped as stopped:
        recorder.save(stopped.position)
        meet()
        place = f"epoch {stopped.position.epoch + 1}, {stopped.position.step} steps done"
        message = f"stopped and saved {folder / LAST} ({place})\ngo on with: train --resume {folder}"
        raise Stopped(message, stop.signal or 0) from None
    except TrainingDiverged as diverged:
        np.savez_compressed(folder / bad_batch, **diverged.batch)
        meet()
        lines = f"{diverged}\nthe batch of that step is in {folder / bad_batch}"
        raise CommandError(f"{lines}; {folder / LAST} is from before") from diverged
