"""Who hears of every step and epoch of a run."""

from __future__ import annotations

from yolox.cli.patience import Patience
from yolox.cli.rundir import RunRecorder
from yolox.cli.together import NoRecorder


class Listeners:
    """Passes reports on; files come before the screen, so that what is shown is saved."""

    def __init__(self, recorder: RunRecorder | NoRecorder, progress, patience: Patience | None = None) -> None:
        self._all, self._progress = (recorder, progress, *([patience] if patience else [])), progress

    def on_step(self, report) -> None:
        """Pass on the report of a step."""
        for listener in self._all:
            listener.on_step(report)

    def on_epoch(self, report) -> None:
        """Pass on the report of an epoch."""
        for listener in self._all:
            listener.on_epoch(report)

    def close(self) -> None:
        """Leave the screen as it is."""
        self._progress.close()
