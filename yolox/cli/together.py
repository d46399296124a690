"""``--parallel``: what a verb does differently where several processes run it."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from attrs import field, frozen
from rich.console import Console

from yolox.cli.watch import Watch
from yolox.distributed import Group, any_of, gather_rows, join_group, share_statistics
from yolox.errors import CommandError
from yolox.graph import join_arrays, split_array
from yolox.training.progress import TrainingProgress
from yolox.training.resume import state_statistics, write_statistics
from yolox.training.run_folder import is_saved
from yolox.training.signals import Launcher
from yolox.training.step import TrainState


def open_group(parallel: bool) -> Group:
    """Join the processes of msrun where ``--parallel`` asks for it.

    Raises:
        CommandError: msrun did not start this process, or started it and ``--parallel`` is missing.
    """
    if not parallel:
        if int(os.environ.get("MS_WORKER_NUM", "1")) > 1:
            raise CommandError("msrun started several processes; want --parallel, or each would train by itself")
        return Group()
    try:
        return join_group()
    except RuntimeError as error:
        raise CommandError(f"--parallel: {error}") from None


def console_of(group: Group) -> Console:
    """Make the console of a process: only that of rank 0 is seen."""
    return Console(soft_wrap=True, highlight=False, quiet=not group.is_first)


def own_name(name: str, group: Group) -> str:
    """Name a file of which each process writes its own: ``bad_batch.npz`` on rank 0, ``rank1.bad_batch.npz`` on rank 1."""
    return name if group.is_first else f"rank{group.rank}.{name}"


@frozen(eq=False)
class NoRecorder:
    """Stands where another process writes the run's files: hands it what it does not have itself.

    Args:
        hand: function of a position, called wherever the other calls it too.
        save_steps: checkpoints are written after so many steps of an epoch; None only after epochs.
    """

    hand: Callable[[TrainingProgress], object]
    save_steps: int | None = None
    best_ap = None

    def save(self, position: TrainingProgress, **_facts) -> None:
        """Write nothing."""
        self.hand(position)

    def on_step(self, report) -> None:
        """Write nothing."""
        if is_saved(report.position, self.save_steps):
            self.save(report.position)

    def on_epoch(self, _report) -> None:
        """Write nothing: after an epoch, all processes have the same."""


class NoProgress:
    """Stands where another process shows progress."""

    def on_step(self, _report) -> None:
        """Show nothing."""

    def on_epoch(self, _report) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""


def statistics_of_others(state: TrainState, position: TrainingProgress, group: Group) -> dict[str, np.ndarray]:
    """Collect the BN statistics of all processes for a checkpoint within an epoch; after it they are the same.

    Args:
        state: of this process.
        position: of the checkpoint.
        group: the processes; all of them call this.

    Returns:
        Tensors for `save_state`, of the processes but rank 0.
    """
    own = state_statistics(state) if group.world > 1 and position.step else {}
    if not own:
        return {}
    shapes, others = [value.shape for value in own.values()], {}
    rows = join_arrays(own.values()).astype(np.float64)[:, None]
    for rank, table in enumerate(gather_rows(rows, group)[1:], start=1):
        parts = split_array(table[:, 0].astype(np.float32), shapes)
        others |= {f"rank{rank}.{name}": part for name, part in zip(own, parts, strict=True)}
    return others


def agreed(stop: Callable[[], bool], group: Group, watch: Watch, launcher: Launcher) -> Callable[[], bool]:
    """Make the question whether to stop one with the same answer everywhere: a signal may reach one process only.

    Of several processes, those whose launcher has gone stop too.
    """

    def ask() -> bool:
        watch.at("the question whether to stop", together=True)
        answer = any_of(stop() or (group.world > 1 and launcher.has_gone()), group)
        if answer and group.world > 1:
            launcher.has_gone()  # says why: another process may have seen it first
        watch.at("loading a batch")
        return answer

    return ask


@frozen(eq=False)
class SharedStatistics:
    """Callback that brings the BN statistics together after every epoch, before the checkpoint is written."""

    state: TrainState
    group: Group
    average: bool = field(kw_only=True)

    def share(self) -> None:
        """Give every process the same BN statistics and averages of them; an evaluation wants that too."""
        if self.group.world == 1:
            return
        own = state_statistics(self.state)
        shared = share_statistics(list(own.values()), self.group, average=self.average)
        write_statistics(self.state, dict(zip(own, shared, strict=True)))

    def on_step(self, _report) -> None:
        """Do nothing: statistics may differ within an epoch."""

    def on_epoch(self, _report) -> None:
        """Share them."""
        self.share()
