"""The folder of a run: best and last checkpoint, history.csv, and the recipe."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

from yolox.checkpoint import atomic_path
from yolox.cli.messages import CommandError, UsageError

RUN_FILES = ("best.safetensors", "last.safetensors", "history.csv", "recipe.json")
LOSSES = ("total", "iou", "obj", "cls", "l1")
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
HISTORY_COLUMNS = (
    "epoch",
    "lr",
    *LOSSES,
    "images_per_second",
    "data_wait_share",
    "skipped",
    "seconds",
    *METRICS,
)


def make_folder(folder: Path, *, option: str = "--output") -> Path:
    """Make a folder for output, with a message that names the option if that is not possible.

    Raises:
        CommandError: if it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CommandError(f"{option} {folder}: cannot be written ({error.strerror})") from None
    return folder


def prepare_run(folder: Path, *, overwrite: bool) -> Path:
    """Make the folder of a run, and refuse to mix a new run with an old one.

    Args:
        folder: made with its parents if it is not there.
        overwrite: remove the files of the run that is already there; other files stay.

    Returns:
        The folder.

    Raises:
        UsageError: if the folder has files and `overwrite` is False, or is a file.
        CommandError: if it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: is a file, want a folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise UsageError(
            f"--output {folder}: is not empty; give another folder, or --overwrite to replace its run"
        )
    make_folder(folder)
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)
    return folder


def write_json(path: Path, content) -> None:
    """Write indented JSON with an end of line."""
    path.write_text(json.dumps(content, indent=2) + "\n")


def history_row(report) -> dict:
    """Flatten the report of an epoch to a row of history.csv; without an evaluation, metrics are empty."""
    metrics = report.metrics or {}
    return {
        "epoch": report.epoch + 1,
        "lr": report.lr,
        **{name: report.losses[name] for name in LOSSES},
        "images_per_second": round(report.images_per_second, 2),
        "data_wait_share": round(report.data_wait_share, 4),
        "skipped": report.skipped,
        "seconds": round(report.seconds, 2),
        **{name: metrics.get(name) for name in METRICS},
    }


def read_history(path: Path) -> list[dict]:
    """Read history.csv as numbers; empty cells are None."""
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        return [{key: float(value) if value else None for key, value in row.items()} for row in rows]


class RunRecorder:
    """Listener that writes the run's files after every epoch.

    Args:
        folder: from `prepare_run`.
        save: function that writes a checkpoint to a path, given extra facts for its header.
    """

    def __init__(self, folder: Path, save: Callable[[Path, dict], None]) -> None:
        self.best_ap = -math.inf
        self._folder, self._save = folder, save

    def on_step(self, report) -> None:
        """Do nothing: the files change once an epoch."""

    def on_epoch(self, report) -> None:
        """Append to history.csv, write the last checkpoint, and the best if this is the best AP so far.

        Without an evaluation in the whole run, the last is also the best.
        """
        self._append(history_row(report))
        last = self._folder / "last.safetensors"
        self._save(last, {"epoch": report.epoch + 1, "AP": (report.metrics or {}).get("AP")})
        ap = None if report.metrics is None else report.metrics["AP"] or 0.0
        if (ap is not None and ap > self.best_ap) or (ap is None and self.best_ap == -math.inf):
            self.best_ap = self.best_ap if ap is None else ap
            with atomic_path(self._folder / "best.safetensors") as best:
                shutil.copyfile(last, best)

    def _append(self, row: dict) -> None:
        path = self._folder / "history.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, HISTORY_COLUMNS)
            if new:
                writer.writeheader()
            writer.writerow(row)

