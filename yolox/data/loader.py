"""Batches for training and evaluation, made in worker processes by `mindspore.dataset`, with a limit on the wait for each."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from itertools import count, islice
from multiprocessing import cpu_count
from pathlib import Path
from typing import NamedTuple

import attrs
import cv2
import mindspore.dataset as ds
import numpy as np

from yolox.config import InputSpec, Recipe
from yolox.data.batches import Batch, EvalSource, TrainSource
from yolox.data.dataset import DetectionDataset
from yolox.data.letterbox import LetterboxTransform
from yolox.data.pipeline import Read
from yolox.errors import CommandError, DataError
from yolox.processes import ENDED, STATES, children_of, process_state

log = logging.getLogger("yolox.data")
OnDropped = Callable[[int, int, int], None]  # epoch, ground truths left out, max_gt


def train_batches(
    dataset: DetectionDataset,
    *,
    recipe: Recipe,
    epoch: int,
    augment: bool,
    rank: int = 0,
    world: int = 1,
    read: Read | None = None,
    first: int = 0,
    on_dropped: OnDropped | None = None,
    stall_seconds: float = 0,
) -> Iterator[Batch]:
    """Iterates over the training batches of one epoch.

    Args:
        dataset: the dataset.
        recipe: `loader` has batch size, workers, seed and sizes; `augment` and `input` the rest.
        epoch: counted from 0; sets the order and the augmentations.
        augment: False leaves out mosaic and mixup (the last epochs).
        rank: of this device; the devices share every step's global batch without overlap.
        world: number of devices.
        read: cache to read pixels from; None reads files.
        first: batch to begin with; those before it are not made, so that a resumed epoch continues.
        on_dropped: called once, at the end of an epoch in which ground truths beyond `max_gt` were left out, with the
            epoch, their number and `max_gt`; None logs it (`log_dropped`). A run of many epochs passes
            ``report_once(log_dropped)``.
        stall_seconds: workers that make no batch for so long are ended with an error (`WorkerWatch`); 0 waits for ever.

    Returns:
        Iterator of Batch, the same for any number of workers. 0 workers load here, 1 in a thread, more in
        processes, which end with the iteration or when the iterator is closed. A partial last batch is left
        out.

    Raises:
        DataError: fewer images than one step takes (at once); an image that cannot be used (while iterating).
    """
    source = TrainSource(
        dataset=dataset, recipe=recipe, epoch=epoch, augment=augment, rank=rank, world=world, read=read
    )
    len(source)  # raises at once
    return _train_batches(source, first, on_dropped or log_dropped, stall_seconds)


def log_dropped(epoch: int, dropped: int, max_gt: int) -> None:
    """Logs how many ground truths an epoch left out.

    Args:
        epoch: counted from 0.
        dropped: number of ground truths.
        max_gt: rows of a batch.
    """
    log.warning("epoch %d: left out the %d smallest ground truths of images with more than %d", epoch, dropped, max_gt)


def report_once(report: OnDropped) -> OnDropped:
    """Returns a function that passes its first call to `report` and ignores all others, for a run of many epochs.

    Args:
        report: called with epoch, number of ground truths and `max_gt`.

    Returns:
        A function of the same three.
    """
    waiting = [report]

    def once(epoch: int, dropped: int, max_gt: int) -> None:
        if waiting:
            waiting.pop()(epoch, dropped, max_gt)

    return once


def _train_batches(source: TrainSource, first: int, on_dropped: OnDropped, stall_seconds: float) -> Iterator[Batch]:
    total, loader = 0, source.recipe.loader
    for *batch, dropped in load_rows(source, columns=5, workers=loader.workers, first=first, stall_seconds=stall_seconds):
        total += int(dropped)
        yield Batch(*batch)
    if total:
        on_dropped(source.epoch, total, loader.max_gt)


class EvalBatch(NamedTuple):
    """Images of fixed shape for evaluation.

    The last batch is filled up with grey images: only the first `len(indices)` are real.

    Args:
        images: [B,H,W,3] uint8, BGR.
        indices: [n] int64 positions in the dataset, n <= B.
        transforms: n letterbox transforms.
    """

    images: np.ndarray
    indices: np.ndarray
    transforms: tuple[LetterboxTransform, ...]


def eval_batches(
    dataset: DetectionDataset,
    *,
    spec: InputSpec,
    batch_size: int,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    stall_seconds: float = 0,
    threads: bool = False,
) -> Iterator[EvalBatch]:
    """Iterates over the images of a dataset for evaluation, in order.

    Args:
        dataset: the dataset.
        spec: input convention: size, letterbox.
        batch_size: images of every batch, the last one filled up.
        workers: as in `train_batches`.
        rank: of this device, which takes images rank, rank + world, ...
        world: number of devices.
        stall_seconds: as in `train_batches`.
        threads: whether workers are threads of this process, for a network that runs outside of MindSpore.

    Returns:
        Iterator of EvalBatch; `len(batch.indices)` images of a batch are real.

    Raises:
        DataError: an image is missing, cannot be decoded, or has another size than annotated.
    """
    source = EvalSource(dataset=dataset, spec=spec, batch_size=batch_size, rank=rank, world=world)
    if threads and workers:
        rows = _rows_of_threads(source, workers=workers, stall_seconds=stall_seconds)
    else:
        rows = load_rows(source, columns=3, workers=workers, stall_seconds=stall_seconds)
    for images, indices, geometry in rows:
        real = int((indices >= 0).sum())
        transforms = tuple(LetterboxTransform(float(r), int(x), int(y)) for r, x, y in geometry[:real])
        yield EvalBatch(images, indices[:real], transforms)


def load_rows(
    source, *, columns: int, workers: int, first: int = 0, stall_seconds: float = 0
) -> Iterator[tuple[np.ndarray, ...]]:
    """Iterates over the rows of a random-access source, in order.

    Args:
        source: has a length, and returns a tuple of arrays for each index below it.
        columns: number of arrays in a row.
        workers: 0 makes rows here, 1 in a thread, more in processes; never more than the machine has
            processors, which is `mindspore.dataset`'s limit.
        first: row to begin with.
        stall_seconds: as in `train_batches`.

    Returns:
        Iterator of rows. The processes end with it, also when it is closed early.

    Raises:
        DataError: as raised by the source, from whichever process.
        CommandError: worker processes have ended, or were ended because they made no row.
    """
    if workers == 0 or first >= len(source):  # a device may have no image at all; a GeneratorDataset wants one
        yield from (source[step] for step in range(first, len(source)))
        return
    workers = min(workers, cpu_count())
    with _single_threaded_cv2():
        names = [f"column{i}" for i in range(columns)] + ["problem"]
        dataset = ds.GeneratorDataset(
            _Reporting(source, columns, first),
            names,
            shuffle=False,
            num_parallel_workers=workers,
            python_multiprocessing=workers > 1,
        )
        with WorkerWatch(stall_seconds) as watch:
            rows = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
            try:
                for number in count():
                    watch.begin(number, rows)
                    row = next(rows, None)
                    watch.end()
                    if row is None and watch.problem:
                        raise CommandError(watch.problem)
                    if row is None:
                        return
                    if row[-1].any():
                        raise DataError(row[-1].tobytes().decode())
                    yield tuple(row[:-1])
            except RuntimeError as error:  # of MindSpore, when workers have ended
                raise CommandError(watch.cause()) from error if watch.cause() else error
            finally:
                rows.release()


def _rows_of_threads(source, *, workers: int, stall_seconds: float) -> Iterator[tuple[np.ndarray, ...]]:
    """Iterates over the rows of a random-access source, in order; threads make up to two rows each in advance.

    OpenCV leaves Python's lock while it decodes and resizes, so that threads suffice where no augmentation is computed.
    """
    pool, waiting, numbers = ThreadPoolExecutor(workers, thread_name_prefix="images"), deque(), iter(range(len(source)))
    try:
        while True:
            waiting.extend(pool.submit(source.__getitem__, number) for number in islice(numbers, 2 * workers - len(waiting)))
            if not waiting:
                return
            yield waiting.popleft().result(timeout=stall_seconds or None)
    except FutureTimeout:
        raise CommandError(f"no batch for {stall_seconds:g} s; data workers: threads of this process") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@attrs.frozen(eq=False)
class _Reporting:
    """Adds a column with the message of a DataError: exceptions lose their type leaving a worker."""

    source: object
    columns: int
    first: int

    def __len__(self) -> int:
        return len(self.source) - self.first

    def __getitem__(self, step: int) -> tuple:
        try:
            return *self.source[self.first + int(step)], np.zeros(1, np.uint8)
        except DataError as error:
            nothing = [np.zeros(1, np.uint8)] * self.columns
            return *nothing, np.frombuffer(str(error).encode(errors="replace"), np.uint8)


@contextmanager
def _single_threaded_cv2():
    """Stops OpenCV's threads while workers live: threads do not survive a fork, and the workers are many."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


FIRST_SECONDS = 60.0
"""Least limit of the first batch, before which the workers start."""


class WorkerWatch:
    """Context manager that ends the worker processes when the wait for a batch exceeds a limit.

    MindSpore then sends this process a SIGTERM, and mostly raises a RuntimeError where the batch is waited for. Where the
    signal does not end the process, about one wait in a hundred went on for ever (2.10.0): the thread that collects the
    workers' results is told to end, too, and the iterator then ends early. Without worker processes nothing can be ended:
    the stacks of all threads are printed.

    Args:
        seconds: limit; 0 for none.
    """

    def __init__(self, seconds: float) -> None:
        self.problem, self._iterator = "", None
        self._seconds, self._deadline, self._ended = seconds, float("inf"), threading.Event()
        self._before, self._workers = child_processes(), set()

    def __enter__(self) -> WorkerWatch:
        if self._seconds > 0:
            threading.Thread(target=self._end_when_late, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()

    def begin(self, batch: int, iterator: object) -> None:
        """Starts the limit of a batch, counted from 0; called before MindSpore's iterator is asked for it."""
        self._iterator = iterator
        if batch < 2:  # the workers are there at the second at the latest
            self._workers = child_processes() - self._before
        limit = self._seconds if batch else max(self._seconds, FIRST_SECONDS)
        self._deadline = time.monotonic() + limit if self._seconds > 0 else float("inf")

    def end(self) -> None:
        """Ends the limit; called with each batch."""
        self._deadline = float("inf")

    def cause(self) -> str:
        """Returns what was wrong with the workers when MindSpore raised an error; empty for other errors."""
        if self.problem:
            return self.problem
        ended = sorted(pid for pid in self._workers if process_state(pid) in ENDED)
        if not ended:
            return ""
        return f"data worker process {ended[0]} has ended: killed, or out of memory (fewer `workers` take less)"

    def _end_when_late(self) -> None:
        while not self._ended.wait(0.2):
            if time.monotonic() <= self._deadline:
                continue
            self._deadline = float("inf")
            self._workers |= child_processes() - self._before
            states = [f"process {pid} is {STATES.get(process_state(pid), 'running')}" for pid in sorted(self._workers)]
            self.problem = f"no batch for {self._seconds:g} s; data workers: {', '.join(states) or 'threads of this process'}"
            print(f"\n{self.problem}", file=sys.__stderr__, flush=True)
            if not self._workers:
                with suppress(Exception):  # a standard error without a file
                    faulthandler.dump_traceback(sys.__stderr__)
                continue
            for pid in self._workers:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            _end_collection(self._iterator)


def _end_collection(iterator: object) -> None:
    """Ends the thread that waits for the workers' results: it looks at this event, never at the workers' states.

    The event that is there is shared with the workers, and its lock is lost with a worker that held it: it is replaced.
    """
    collector = getattr(getattr(iterator, "dataset", None), "sample_fn", None)
    if collector is not None:
        collector.eof = threading.Event()
        collector.eof.set()


def child_processes() -> set[int]:
    """Returns the ids of this process's children that run the same program.

    Returns:
        Process ids; none where the system is not Linux.
    """
    return {pid for pid in children_of(os.getpid()) if _command(pid) == _command(os.getpid())}


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
