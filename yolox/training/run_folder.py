"""The folder of a run: best and last checkpoint, history.csv, the recipe and the options."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2

from yolox.cli.curves import draw_history
from yolox.cli.picture_guard import try_picture
from yolox.errors import CommandError, UsageError
from yolox.eval.coco import METRIC_NAMES
from yolox.training.callbacks import LOSS_NAMES
from yolox.training.checkpoint import atomic_path
from yolox.training.progress import TrainingProgress

BEST, LAST, HISTORY, RECIPE, OPTIONS = (
    "best.safetensors", "last.safetensors", "history.csv", "recipe.json", "options.json",
)  # fmt: skip
BAD_BATCH = "bad_batch.npz"
CURVES, BATCHES = "curves.png", "first_batches.jpg"
EVENTS = "events"
EVALUATION, PICTURES = "evaluation.json", "pictures"
RUN_FILES = (BEST, LAST, HISTORY, RECIPE, OPTIONS, CURVES, BATCHES, EVALUATION)
OTHER_FILES = (BAD_BATCH, f"{EVENTS}/events.out.tfevents.*", f"{PICTURES}/*.png", f"{PICTURES}/beside/[0-9]*_*.jpg")
"""Patterns of what a run may leave too."""
HISTORY_COLUMNS = (
    "epoch",
    "lr",
    *LOSS_NAMES,
    "images_per_second",
    "data_wait_share",
    "skipped",
    "seconds",
    *METRIC_NAMES,
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
    for pattern in (*RUN_FILES, *OTHER_FILES):
        for path in folder.glob(pattern):
            path.unlink()
    return folder


def write_json(path: Path, content) -> None:
    """Write indented JSON with an end of line."""
    path.write_text(json.dumps(content, indent=2) + "\n")


def history_row(report) -> dict:
    """Flatten the report of an epoch to a row of history.csv.

    Cells are empty where there is no number: metrics without an evaluation, losses where every step was skipped.
    """
    metrics = report.metrics or {}
    return {
        "epoch": report.epoch + 1,
        "lr": report.lr,
        **{name: None if math.isnan(report.losses[name]) else report.losses[name] for name in LOSS_NAMES},
        "images_per_second": round(report.images_per_second, 2),
        "data_wait_share": round(report.data_wait_share, 4),
        "skipped": report.skipped,
        "seconds": round(report.seconds, 2),
        **{name: metrics.get(name) for name in METRIC_NAMES},
    }


def read_history(path: Path) -> list[dict]:
    """Read history.csv as numbers; empty cells are None."""
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        return [{key: float(value) if value else None for key, value in row.items()} for row in rows]


def cut_history(path: Path, epochs: int) -> None:
    """Leave the rows of the first `epochs` epochs, their lines ended by LF; what a killed run wrote after its checkpoint goes.

    Args:
        path: history.csv; its last line may be torn, and it may be missing.
        epochs: epochs that are done at the checkpoint.

    Raises:
        CommandError: fewer rows than that.
    """
    before = path.read_bytes() if path.exists() else b""
    lines = before.replace(b"\r\n", b"\n").splitlines(keepends=True)
    kept = lines[: epochs + 1]
    if epochs and (len(kept) < epochs + 1 or not kept[-1].endswith(b"\n")):
        raise CommandError(f"{path}: has {max(len(lines) - 1, 0)} epochs, the checkpoint has done {epochs}")
    if not epochs:
        path.unlink(missing_ok=True)
    elif b"".join(kept) != before:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"".join(kept))


def write_curves(folder: Path, target: Path | None = None) -> Path:
    """Draw losses and AP of a run from its history.csv.

    Returns:
        The picture, curves.png in `target` or beside the history.
    """
    path = (target or folder) / CURVES
    _, data = cv2.imencode(".png", draw_history(read_history(folder / HISTORY)))
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
    return path


def is_saved(position: TrainingProgress, save_steps: int | None) -> bool:
    """Tell whether a checkpoint is written here, within an epoch."""
    return save_steps is not None and position.step % save_steps == 0


class RunRecorder:
    """Callback that writes the run's files after every epoch.

    Args:
        folder: from `prepare_run`.
        save: function that writes a checkpoint to a path, given the position and extra facts for its header.
        best_ap: of a run that is resumed.
        save_steps: also writes the last checkpoint after so many steps of an epoch; None only after epochs.
    """

    def __init__(
        self,
        folder: Path,
        save: Callable[[Path, TrainingProgress, dict], None],
        *,
        best_ap: float | None = None,
        save_steps: int | None = None,
    ) -> None:
        self.best_ap = best_ap
        self._folder, self._save, self._save_steps = folder, save, save_steps

    def save(self, position: TrainingProgress, *, ap: float | None = None, best: bool = False) -> None:
        """Write the last checkpoint; the one before stays until the new one is whole."""
        facts = {"epoch": position.epoch, "AP": ap, "best_AP": self.best_ap, "best": best}
        self._save(self._folder / LAST, position, facts)

    def on_step(self, report) -> None:
        """Write the last checkpoint at the interval of steps; a kill then loses no more than these."""
        if is_saved(report.position, self._save_steps):
            self.save(report.position)

    def on_epoch(self, report) -> None:
        """Append to history.csv, write the last checkpoint, and the best if this is the best AP so far.

        Without an evaluation in the whole run, the last is also the best. The order matters to a run that is
        killed in between: `cut_history` and `copy_best` mend what is then missing.
        """
        self._append(history_row(report))
        ap = None if report.metrics is None else report.metrics["AP"] or 0.0
        best = self.best_ap is None if ap is None else self.best_ap is None or ap > self.best_ap
        if best:
            self.best_ap = ap
        self.save(report.position, ap=(report.metrics or {}).get("AP"), best=best)
        if best:
            copy_best(self._folder)
        try_picture(self._folder / CURVES, lambda: write_curves(self._folder))

    def _append(self, row: dict) -> None:
        path = self._folder / HISTORY
        try:
            append_row(path, row)
        except OSError as error:
            raise CommandError(
                f"{path}: cannot be written ({error.strerror or error}); {self._folder / LAST} is whole\n"
                f"make room and go on with: train --resume {self._folder}"
            ) from error


def append_row(path: Path, row: dict) -> None:
    """Add a row to history.csv, with the names of the columns before the first; it is on the disk at the end.

    Raises:
        OSError: it cannot be written; `cut_history` mends what is there of it.
    """
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, HISTORY_COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
        file.flush()
        os.fsync(file.fileno())


def copy_best(folder: Path) -> None:
    """Make the last checkpoint the best."""
    with atomic_path(folder / BEST) as best:
        shutil.copyfile(folder / LAST, best)
