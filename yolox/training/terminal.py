"""What a training run shows: a live line in a terminal, plain lines in a file or pipe."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from yolox.config import Recipe

PLAIN_SECONDS = 30.0
"""Seconds between the plain lines within an epoch."""

MOST_CLASSES = 5
"""Classes whose AP stands in the line of an epoch."""


def format_seconds(seconds: float) -> str:
    """Write a duration as hours, minutes and seconds.

    Example:
        >>> format_seconds(3725.4), format_seconds(59)
        ('1:02:05', '0:59')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def format_losses(losses: dict[str, float]) -> str:
    """Write the losses of a step or epoch, the total first.

    Example:
        >>> format_losses({"total": 4.2, "iou": 2.0, "obj": 1.2, "cls": 1.0, "l1": 0.0})
        'loss 4.20 (iou 2.00, obj 1.20, cls 1.00, l1 0.00)'
    """
    parts = ", ".join(f"{name} {value:.2f}" for name, value in losses.items() if name != "total")
    return f"loss {losses['total']:.2f} ({parts})"


def format_rates(report) -> str:
    """Write learning rate, speed and the share of time spent waiting for data."""
    return (
        f"lr {report.lr:.2e}, {report.images_per_second:.1f} images/s, "
        f"{report.data_wait_share:.0%} waiting for data"
    )


def format_epoch(report, epochs: int) -> str:
    """Write the line that ends an epoch: losses, rates, skipped steps, AP where it was evaluated."""
    parts = [f"epoch {report.epoch + 1}/{epochs}", format_losses(report.losses), format_rates(report)]
    parts.append(format_seconds(report.seconds))
    if report.skipped:
        parts.append(f"{report.skipped} steps skipped: loss or gradients were not finite")
    if report.metrics is not None:
        parts.extend(f"{name} {_share(report.metrics[name])}" for name in ("AP", "AP50"))
        parts.append(format_classes(report.metrics.get("per_class", {})))
    return "  ".join(part for part in parts if part)


def format_classes(per_class: dict[str, float | None]) -> str:
    """Write the AP of a few classes, of many the five worst; nothing for a single class.

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


def is_first_bad(report) -> bool:
    """Tell whether a step is the first of a row that was not finite."""
    return not report.finite and report.position.bad_in_a_row == 1


def format_bad(report) -> str:
    """Write the line for a step that was skipped."""
    return f"step {report.step} skipped: {report.bad} was not finite"


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


class PlainProgress:
    """Callback that prints a line after every epoch, and within long epochs every half minute.

    Args:
        console: where the lines go.
        recipe: of the run, for the number of epochs.
    """

    def __init__(self, console: Console, recipe: Recipe) -> None:
        self._console, self._epochs = console, recipe.epochs
        self._last = time.monotonic()

    def on_step(self, report) -> None:
        """Print the step if the last line is half a minute old, and the first of each row of bad steps."""
        if is_first_bad(report):
            self._print(format_bad(report))
        if time.monotonic() - self._last < PLAIN_SECONDS:
            return
        left = f"{format_seconds(report.seconds_left)} left"
        parts = (
            f"epoch {report.epoch + 1}/{self._epochs}",
            f"step {report.step}",
            format_losses(report.losses),
        )
        self._print("  ".join((*parts, format_rates(report), left)))

    def on_epoch(self, report) -> None:
        """Print the epoch."""
        self._print(format_epoch(report, self._epochs))

    def close(self) -> None:
        """Do nothing: plain lines leave nothing open."""

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)
        self._last = time.monotonic()


class LiveProgress:
    """Callback that keeps one live bar in a terminal, and leaves a line behind for every epoch.

    Args:
        console: a terminal.
        recipe: of the run.
        steps_per_epoch: length of the bar.
    """

    def __init__(self, console: Console, recipe: Recipe, steps_per_epoch: int) -> None:
        self._epochs, self._steps = recipe.epochs, steps_per_epoch
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn())
        self._progress = Progress(*columns, TextColumn("{task.fields[state]}"), console=console)
        self._task = self._progress.add_task("compiling", total=steps_per_epoch, state="")
        self._progress.start()

    def on_step(self, report) -> None:
        """Move the bar and show losses, rates and the time left."""
        if is_first_bad(report):
            self._progress.console.print(format_bad(report), highlight=False)
        left = f"{format_seconds(report.seconds_left)} left"
        state = f"{format_losses(report.losses)}\n{format_rates(report)}, {left}"
        name = f"epoch {report.epoch + 1}/{self._epochs}"
        done = report.step - report.epoch * self._steps
        self._progress.update(self._task, description=name, completed=done, state=state)

    def on_epoch(self, report) -> None:
        """Print the epoch above the bar."""
        self._progress.console.print(format_epoch(report, self._epochs), highlight=False)

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()


def make_progress(console: Console, recipe: Recipe, steps_per_epoch: int) -> PlainProgress | LiveProgress:
    """Choose the live bar for a terminal and plain lines for everything else."""
    if console.is_terminal:
        return LiveProgress(console, recipe, steps_per_epoch)
    return PlainProgress(console, recipe)
