"""``train --patience``: stop when AP has not risen for a number of epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class EarlyStop(Exception):
    """The run has waited long enough; its files are complete."""


class Patience:
    """Listener that ends a run whose AP no longer rises. Put it behind the listener that writes the files.

    Args:
        epochs: how many may pass since the best AP; only evaluated epochs can end the run.
        history: rows of a run that is resumed, as `read_history` gives them.

    Example:
        >>> patience = Patience(2, [{"epoch": 1.0, "AP": 0.3}])
        >>> patience.add(2, 0.25)
        >>> patience.add(3, 0.3)
        Traceback (most recent call last):
        yolox.cli.patience.EarlyStop: AP has not risen for 2 epochs: best 0.3000 in epoch 1, stopped by --patience 2
    """

    def __init__(self, epochs: int, history: Iterable[Mapping] = ()) -> None:
        self._epochs, self._best, self._when = epochs, -1.0, 0
        for row in history:
            if row["AP"] is not None and row["AP"] > self._best:
                self._best, self._when = row["AP"], int(row["epoch"])

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
        if ap > self._best:
            self._best, self._when = ap, epoch
        elif epoch - self._when >= self._epochs:
            raise EarlyStop(
                f"AP has not risen for {epoch - self._when} epochs: best {self._best:.4f} in epoch {self._when}, "
                f"stopped by --patience {self._epochs}"
            )
