"""Who hears of every step and epoch of a run."""

from __future__ import annotations


class Listeners:
    """Passes reports on, in order: what is shown is saved before.

    Args:
        listeners: with `on_step` and `on_epoch`; None is left out.
    """

    def __init__(self, *listeners) -> None:
        self._all = tuple(listener for listener in listeners if listener is not None)

    def on_step(self, report) -> None:
        """Pass on the report of a step."""
        for listener in self._all:
            listener.on_step(report)

    def on_epoch(self, report) -> None:
        """Pass on the report of an epoch."""
        for listener in self._all:
            listener.on_epoch(report)
