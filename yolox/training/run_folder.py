"""The folder of a run, its lock, and the recorder that writes its checkpoints and history.csv."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from yolox.config_io import recipe_to_json
from yolox.errors import CommandError, RunError, UsageError
from yolox.training.checkpoint import atomic_path
from yolox.training.history import append_row, history_row
from yolox.training.progress import TrainingProgress

if TYPE_CHECKING:
    from yolox.config import Recipe
    from yolox.training.callbacks import EpochEvent, StepEvent

BEST, LAST, HISTORY, RECIPE, OPTIONS = (
    "best.safetensors", "last.safetensors", "history.csv", "recipe.json", "options.json",
)  # fmt: skip
BAD_BATCH = "bad_batch.npz"
CACHE_FILE = "images.cache"
CURVES, BATCHES = "curves.png", "first_batches.jpg"
EVENTS, PROFILE = "events", "profile"
MLRUNS, MLFLOW_RUN = "mlruns", "mlflow_run.txt"
EVALUATION, PICTURES, REPORT = "evaluation.json", "pictures", "report.html"
RUN_FILES = (BEST, LAST, HISTORY, RECIPE, OPTIONS, CURVES, BATCHES, EVALUATION, REPORT)
PICTURE_FILES = (f"{PICTURES}/*.png", f"{PICTURES}/beside/[0-9]*_*.jpg")
OTHER_FILES = (
    BAD_BATCH, MLFLOW_RUN, "epoch_[0-9]*.safetensors", f"{EVENTS}/events.out.tfevents.*", f"{PROFILE}/*.csv",
    f"{PROFILE}/*.json", *PICTURE_FILES,
)  # fmt: skip
"""Patterns of files that only some runs leave."""


def make_folder(folder: Path, *, name: str = "output") -> Path:
    """Makes a folder with its parents and checks that it can be written.

    Args:
        folder: the folder.
        name: of the argument, for the message.

    Returns:
        The folder.

    Raises:
        CommandError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CommandError(f"`{name}` {folder}: cannot be written ({error.strerror})") from None
    return folder


def next_folder(base: Path, *, make: bool = True) -> Path:
    """Makes the first folder of ``base``, ``base-2``, ``base-3`` and so on that is not there yet.

    Args:
        base: such as ``runs/train``.
        make: False only returns its name, for what makes the folder itself when all else is done.

    Returns:
        The folder, empty.

    Raises:
        CommandError: it cannot be made.
    """
    for number in count(1):
        folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
        if os.path.lexists(folder):
            continue
        if not make:
            return folder
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise CommandError(f"`output` {folder}: cannot be made ({error.strerror})") from None
        return folder


def prepare_run(folder: Path, *, overwrite: bool) -> Path:
    """Makes the folder of a new run, and refuses to mix two runs.

    Args:
        folder: made with its parents.
        overwrite: remove the files of the run that is already there; other files stay.

    Returns:
        The folder.

    Raises:
        UsageError: the folder has files and `overwrite` is False, or it is a file.
        CommandError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"`output` {folder}: is a file, want a folder")
    remove_leftovers(folder)
    if folder.is_dir() and any(path.name != LOCK for path in folder.iterdir()) and not overwrite:
        raise UsageError(f"`output` {folder}: is not empty; want another folder, or `overwrite` to replace its run")
    make_folder(folder)
    for pattern in (*RUN_FILES, *OTHER_FILES):
        for path in folder.glob(pattern):
            path.unlink()
    return folder


_LEFTOVERS = re.compile(r"\..+\.part|\.tmp[A-Za-z0-9]{6}|\.writable|(rank\d+\.)?" + re.escape(CACHE_FILE))


def remove_leftovers(folder: Path) -> None:
    """Removes what a killed run leaves: temporary files of `atomic_path` and of safetensors, the cache of images.

    Args:
        folder: of a run that no process works on (`lock_run`); it may be missing.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        if _LEFTOVERS.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def write_json(path: Path, content) -> None:
    """Writes indented JSON with an end of line.

    Args:
        path: the file.
        content: what JSON can hold.
    """
    path.write_text(json.dumps(content, indent=2) + "\n")


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Writes recipe.json, whole or not at all.

    Args:
        folder: of the run.
        recipe: the recipe of the run.
    """
    with atomic_path(folder / RECIPE) as path:
        path.write_text(recipe_to_json(recipe))


def own_name(name: str, rank: int) -> str:
    """Returns the name of a file that every process writes: ``bad_batch.npz`` on rank 0, ``rank1.bad_batch.npz`` on rank 1.

    Args:
        name: of the file on rank 0.
        rank: of this process.

    Returns:
        The name of this process's file.
    """
    return name if rank == 0 else f"rank{rank}.{name}"


def remove_evaluation(folder: Path) -> None:
    """Removes evaluation.json, the report and the pictures, which are not those of the next best checkpoint.

    Args:
        folder: of the run.
    """
    for path in (folder / EVALUATION, folder / REPORT, *(path for pattern in PICTURE_FILES for path in folder.glob(pattern))):
        path.unlink(missing_ok=True)


def copy_best(folder: Path) -> None:
    """Makes the last checkpoint the best, and removes the evaluation of the one before.

    Args:
        folder: of the run.
    """
    remove_evaluation(folder)
    with atomic_path(folder / BEST) as best:
        shutil.copyfile(folder / LAST, best)


class RunRecorder:
    """Writes checkpoints and history.csv of a run.

    Args:
        folder: from `prepare_run`.
        save: writes a checkpoint to a path, given the progress and metadata for its header
            (`history` among them, as `save_checkpoint` takes it). Of several devices all call it.
        best_ap: of a run that is resumed.
        history: of a run that is resumed, as its checkpoint has it.
        save_steps: writes the last checkpoint also after so many steps of an epoch; None only after epochs.
        save_every: keeps a copy of the last checkpoint after every so many epochs; None keeps none.
        writes: False on every rank but 0, which then only calls `save`.
    """

    def __init__(
        self,
        folder: Path,
        save: Callable[[Path, TrainingProgress, dict], None],
        *,
        best_ap: float | None = None,
        history: Mapping[str, list] | None = None,
        save_steps: int | None = None,
        save_every: int | None = None,
        writes: bool = True,
    ) -> None:
        self.best_ap = best_ap
        self._columns, self._rows = (list((history or {}).get(key, ())) for key in ("columns", "rows"))
        self._folder, self._save, self._save_steps, self._writes = folder, save, save_steps, writes
        self._save_every = save_every

    def save(self, progress: TrainingProgress, *, ap: float | None = None, best: bool = False) -> None:
        """Writes the last checkpoint; the one before stays until the new one is whole."""
        metadata = {"epoch": progress.epoch, "AP": ap, "best_AP": self.best_ap, "best": best}
        metadata["history"] = {"columns": self._columns, "rows": self._rows}
        self._save(self._folder / LAST, progress, metadata)

    def on_step(self, event: StepEvent) -> None:
        """Writes the last checkpoint at the interval of steps; a kill then loses no more than these."""
        if self._save_steps is not None and event.progress.step % self._save_steps == 0:
            self.save(event.progress)

    def on_epoch(self, event: EpochEvent) -> None:
        """Appends to history.csv, writes the last checkpoint, and the best if no AP so far is higher.

        Without an evaluation in the whole run, the last is also the best. The order matters to a run that is killed in
        between: `restore_history` and `copy_best` repair what is then missing.

        Raises:
            RunError: the history cannot be written.
            CheckpointError: the checkpoint cannot be written.
        """
        if not self._writes:
            self.save(event.progress)
            return
        path, row = self._folder / HISTORY, history_row(event)
        try:
            append_row(path, row)
        except OSError as error:
            last = self._folder / LAST
            reason = error.strerror or error
            raise RunError(f"{path}: cannot be written ({reason}); {last} is whole", self._folder) from error
        self._columns = self._columns or list(row)
        self._rows.append([row[name] for name in self._columns])
        ap = None if event.metrics is None else event.metrics["AP"] or 0.0
        best = self.best_ap is None if ap is None else self.best_ap is None or ap >= self.best_ap
        if best:
            self.best_ap = ap
        self.save(event.progress, ap=(event.metrics or {}).get("AP"), best=best)
        if best:
            copy_best(self._folder)
        self.keep_copy(event.progress)

    def keep_copy(self, progress: TrainingProgress) -> None:
        """Copies the last checkpoint of an epoch that is to be kept, where that is not done: a run may be killed before it.

        Args:
            progress: of the last checkpoint.
        """
        kept = self._folder / f"epoch_{progress.epoch}.safetensors"
        due = self._save_every is not None and progress.epoch and progress.epoch % self._save_every == 0
        if self._writes and due and progress.step == 0 and not kept.exists():
            with atomic_path(kept) as path:
                shutil.copyfile(self._folder / LAST, path)


LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)

log = logging.getLogger("yolox.training")
_owned: set[tuple[int, int]] = set()  # device and inode of the folders that this process owns


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Locks the folder of a run while the body runs; the operating system releases the lock when the process ends.

    The lock is a POSIX record lock on the file ``.lock`` of the folder: unlike that of ``flock``, it does not pass to forked
    data workers, which may outlive a killed process. It also holds between hosts on NFS. Where the file system has no
    locks, a warning is logged and the body runs without one.

    Args:
        folder: of the run; it exists.

    Raises:
        CommandError: another run owns it (the message has its process and host), or the file cannot be written.
    """
    try:
        status = os.stat(folder)
        key, descriptor = (status.st_dev, status.st_ino), None
        if key in _owned:  # the lock does not hold within a process, and closing the file again would end it
            raise CommandError(f"{folder}: in use by another run of this process; want one run at a time in a folder")
        descriptor = _lock(folder)
    except OSError as error:
        raise CommandError(f"{folder / LOCK}: cannot be written ({error.strerror})") from None
    _owned.add(key)
    try:
        yield
    finally:
        _owned.discard(key)
        if descriptor is not None:
            with suppress(OSError):  # before the lock ends: whoever has the file open sees that it is another one now
                os.unlink(folder / LOCK)
            os.close(descriptor)


def _lock(folder: Path) -> int | None:
    """Returns the descriptor of the locked file; None where the file system has no locks."""
    path = folder / LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # not removed by its owner in between
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on host {socket.gethostname()}\n".encode())
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                owner = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
                os.close(descriptor)
                message = f"in use by {''.join(c if c.isprintable() else '?' for c in owner)}; wait for its end or stop it"
                raise CommandError(f"{folder}: {message}") from None
            os.close(descriptor)
            if error.errno not in _NO_LOCKS:
                raise
            log.warning("%s: the file system has no locks; nothing keeps a second run out of the folder", folder)
            return None
        os.close(descriptor)
