"""A profile of some training steps by MindSpore's profiler, as a callback."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import mindspore as ms
from attrs import frozen
from mindspore.profiler import ProfilerActivity, profile, tensorboard_trace_handler
from rich.console import Console

from yolox.console import PlainConsole
from yolox.training.callbacks import Callback, RunContext, StepEvent
from yolox.training.run_folder import PROFILE

OPERATORS = "operators.csv"
SHOWN = 8  # rows that are printed


@frozen
class OperatorTime:
    """Kernels of one type in the profiled steps."""

    type: str
    calls: int
    milliseconds: float
    share: float
    """Of the time of all kernels, in 0..1."""


class Profile(Callback):
    """Profiles some steps, and writes a trace and a table of the operators to the run's folder, for each process its own.

    ``profile/trace_view.json`` is a trace for https://ui.perfetto.dev and chrome://tracing. On CPU, ``profile/operators.csv``
    has the calls and the time of each type of kernel; on Ascend, the profiler's own folder beside them has MindSpore's tables.
    Of several processes, the files of rank N are in ``profile/rank_N``. Profiled steps take longer.

    Args:
        first: how many steps of this process come before the profile, so that compilation and the first reading are not in it.
        steps: how many steps are profiled. A run that ends earlier is profiled up to its end.
        console: where the largest rows are printed.

    Raises:
        ValueError: a number is below 1.

    Source: `mindspore.profiler.profile`.
    """

    def __init__(self, *, first: int = 10, steps: int = 5, console: Console | None = None) -> None:
        if first < 1 or steps < 1:
            raise ValueError(f"Profile: first is {first}, steps is {steps}, want 1 or more")
        self._first, self._steps, self._console = first, steps, console or PlainConsole()
        self._done, self._profiler, self._folder = 0, None, Path()

    def on_start(self, context: RunContext) -> None:
        """Empties the folder of the profile."""
        own = [] if context.group.world == 1 else [f"rank_{context.group.rank}"]
        self._folder = context.folder.joinpath(PROFILE, *own)
        shutil.rmtree(self._folder, ignore_errors=True)

    def on_step(self, event: StepEvent) -> None:
        """Starts and ends the profile."""
        self._done += 1
        if self._done == self._first:
            kinds = [ProfilerActivity.CPU, *([ProfilerActivity.NPU] if ms.get_context("device_target") == "Ascend" else [])]
            self._profiler = profile(activities=kinds, on_trace_ready=tensorboard_trace_handler(str(self._folder)))
            self._profiler.start()
        elif self._profiler is not None:
            self._profiler.step()
            if self._done == self._first + self._steps:
                self._write()

    def on_end(self) -> None:
        """Ends a profile that the end of the run cuts short; says so where no step was profiled."""
        if self._profiler is not None:
            self._write()
        elif 0 < self._done < self._first:
            self._console.print(f"no profile: the run ended after {self._done} steps, the profile begins after {self._first}")

    def _write(self) -> None:
        self._profiler.stop()
        self._profiler, steps = None, self._done - self._first
        for trace in self._folder.glob("*/ASCEND_PROFILER_OUTPUT/trace_view.json"):
            trace.replace(self._folder / trace.name)
        rows = operator_times(self._folder)
        if rows:
            with open(self._folder / OPERATORS, "w", newline="") as file:
                csv.writer(file).writerows([["operator", "calls", "milliseconds", "share"], *map(_cells, rows)])
        text = ", ".join(f"{row.type} {row.share:.0%}" for row in rows[:SHOWN])
        self._console.print(f"profile of {steps} steps: {self._folder}{f' ({text})' if text else ''}", markup=False)


def _cells(row: OperatorTime) -> list:
    return [row.type, row.calls, f"{row.milliseconds:.3f}", f"{row.share:.4f}"]


def operator_times(folder: Path) -> list[OperatorTime]:
    """Reads the table of kernels that the profiler writes on CPU.

    Args:
        folder: of the profile.

    Returns:
        The types by falling time; empty where there is no table.
    """
    rows = []
    for path in sorted(folder.glob("*/FRAMEWORK/cpu_op_type_info_*.csv")):
        with open(path, newline="") as file:
            rows += list(csv.DictReader(file))
    times = [(row["op_type"], int(row["type_occurrences"]), float(row["total_compute_time"])) for row in rows]
    total = sum(time for *_, time in times) or 1.0
    return sorted((OperatorTime(*row, row[-1] / total) for row in times), key=lambda row: -row.milliseconds)
