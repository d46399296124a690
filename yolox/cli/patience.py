"""``train --patience``: stop when AP has not risen for a number of epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class EarlyStop(Exception):
    """The run has waited long enough; its files are complete."""


class Patience:
    """Callback that ends a run whose AP no longer rises. Put it behind the listener that writes the files.

    Args:
        epochs: how many may pass since the best AP; only evaluated epochs can end the run.
        history: rows of the evaluated epochs of a run that is resumed, as `read_history` gives them.

    Example:
        >>> patience = Patience(2, [{"epoch": 1.0, "AP": 0.3}])
        >>> patience.add(2, 0.25)
        >>> patience.add(3, 0.3)
        Traceback (most recent call last):
        yolox.cli.patience.EarlyStop: AP has not risen for 2 epochs: best 0.3000 in epoch 1, stopped by --patience 2
    """

    def __init__(self, epochs: int, history: Iterable[Mapping] = ()) -> None:
        self._epochs, self._best, self._when, self._last = epochs, -1.0, 0, 0
        for row in history:
            self._take(int(row["epoch"]), row["AP"] or 0.0)

    def on_step(self, report) -> None:
        """Do nothing."""

    def on_epoch(self, report) -> None:
        """Take the report of an epoch.

        Raises:
            EarlyStop: the best AP is too long ago.
        """
        if report.metrics is not None:
            self.add(report.epoch + 1, report.metrics["AP"] or 0.0)

    def add(self, epoch: int, ap: float) -> None:
        """Take the AP of an epoch, counted from 1.

        Raises:
            EarlyStop: the best AP is too long ago.
        """
        self._take(epoch, ap)
        if self.waited_enough():
            raise EarlyStop(self.reason())

    def waited_enough(self) -> bool:
        """Tell whether the best AP is too long ago; also of the history alone, before a resumed run goes on."""
        return self._last - self._when >= self._epochs

    def reason(self) -> str:
        """Say how long AP has not risen."""
        return (
            f"AP has not risen for {self._last - self._when} epochs: best {self._best:.4f} in epoch {self._when}, "
            f"stopped by --patience {self._epochs}"
        )

    def _take(self, epoch: int, ap: float) -> None:
        self._last = epoch
        if ap > self._best:
            self._best, self._when = ap, epoch
