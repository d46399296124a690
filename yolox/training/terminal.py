"""The callback that shows the progress of a run: a live bar in a terminal, plain lines in a file or pipe."""

from __future__ import annotations

import math
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from yolox.console import PlainConsole
from yolox.training.callbacks import Callback, EpochEvent, RunContext, StepEvent

LINE_SECONDS = 30.0
"""Seconds between the lines within an epoch in a file or pipe."""

MOST_CLASSES = 5
"""Classes whose AP stands in the line of an epoch."""


def format_seconds(seconds: float) -> str:
    """Returns a duration written as hours, minutes and seconds.

    Args:
        seconds: 0 or more; NaN for what is not known.

    Returns:
        Text such as 1:02:05, or a question mark.

    Example:
        >>> format_seconds(3725.4), format_seconds(59)
        ('1:02:05', '0:59')
    """
    if math.isnan(seconds):
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def format_losses(losses: dict[str, float]) -> str:
    """Returns the losses of a step or epoch as text, the total first.

    Args:
        losses: by name, the total among them.

    Returns:
        Text for a line.

    Example:
        >>> format_losses({"total": 4.2, "iou": 2.0, "obj": 1.2, "cls": 1.0, "l1": 0.0})
        'loss 4.20 (iou 2.00, obj 1.20, cls 1.00, l1 0.00)'
    """
    parts = ", ".join(f"{name} {value:.2f}" for name, value in losses.items() if name != "total")
    return f"loss {losses['total']:.2f} ({parts})"


def format_rates(event) -> str:
    """Returns learning rate, speed as text, and the share of time spent waiting for data.

    Args:
        event: of a step or an epoch.

    Returns:
        Text for a line.
    """
    return (
        f"lr {event.lr:.2e}, {event.images_per_second:.1f} images/s, "
        f"{event.data_wait_share:.0%} waiting for data"
    )


def format_epoch(event, epochs: int) -> str:
    """Returns the line for an epoch: losses, rates, skipped steps, AP where it was evaluated.

    Args:
        event: of the epoch.
        epochs: of the whole run.

    Returns:
        One line.
    """
    parts = [f"epoch {event.epoch + 1}/{epochs}", format_losses(event.losses), format_rates(event)]
    parts.append(format_seconds(event.seconds))
    if event.skipped:
        parts.append(f"{event.skipped} steps skipped: loss or gradients were not finite")
    if event.metrics is not None:
        parts.extend(f"{name} {_share(event.metrics[name])}" for name in ("AP", "AP50"))
        parts.append(format_classes(event.metrics.get("per_class", {})))
    return "  ".join(part for part in parts if part)


def format_classes(per_class: dict[str, float | None]) -> str:
    """Returns the AP of few classes, or of the five worst of many, as text; nothing for a single class.

    Args:
        per_class: AP by name of the class; None where a class has no ground truth.

    Returns:
        Text in brackets, or an empty text.

    Example:
        >>> format_classes({"cat": 0.5, "dog": None, "cow": 0.25})
        '(cat 0.500, cow 0.250)'
    """
    known = {name: value for name, value in per_class.items() if value is not None}
    if len(known) < 2:
        return ""
    worst = sorted(known, key=known.get)[:MOST_CLASSES]
    names, label = (list(known), "") if len(known) <= MOST_CLASSES else (worst, f"worst {MOST_CLASSES}: ")
    return "(" + label + ", ".join(f"{name} {known[name]:.3f}" for name in names) + ")"


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


class TerminalProgress(Callback):
    """Shows the progress of a run: a live bar in a terminal, a line after every epoch everywhere.

    Within long epochs a file or a pipe gets a line every `LINE_SECONDS`. Of several devices only rank 0 prints.

    Args:
        console: where the lines go; None takes standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or PlainConsole()
        self._bar, self._task, self._shown = None, None, True
        self._last = time.monotonic()

    def on_start(self, context: RunContext) -> None:
        """Starts the bar."""
        self.start(context.recipe.epochs, context.steps_per_epoch, shown=context.group.is_first)

    def start(self, epochs: int, steps_per_epoch: int, *, shown: bool = True) -> None:
        """Starts the bar of a run with so many epochs and steps."""
        self._epochs, self._steps, self._shown = epochs, steps_per_epoch, shown
        if shown and self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[state]}"), console=self._console)
            self._task = self._bar.add_task("compiling", total=steps_per_epoch, state="")
            self._bar.start()

    def on_step(self, event: StepEvent) -> None:
        """Moves the bar or prints a line when the last one is old, and the first of each row of skipped steps."""
        if not event.finite and event.progress.bad_in_a_row == 1:
            self._print(f"step {event.step} skipped: {event.bad} was not finite")
        left = f"{format_seconds(event.seconds_left)} left"
        epoch = f"epoch {event.epoch + 1}/{self._epochs}"
        if self._bar is not None:
            state = f"{format_losses(event.losses)}\n{format_rates(event)}, {left}"
            done = event.step - event.epoch * self._steps
            self._bar.update(self._task, description=epoch, completed=done, state=state)
        elif time.monotonic() - self._last >= LINE_SECONDS:
            self._print("  ".join((epoch, f"step {event.step}", format_losses(event.losses), format_rates(event), left)))

    def on_epoch(self, event: EpochEvent) -> None:
        """Prints the epoch."""
        self._print(format_epoch(event, self._epochs))

    def on_end(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.stop()

    def _print(self, line: str) -> None:
        if self._shown:
            console = self._console if self._bar is None else self._bar.console
            console.print(line, highlight=False, soft_wrap=True, markup=False)
            self._last = time.monotonic()
