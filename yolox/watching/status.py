"""Where the ranks of a run are, and who of them hangs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Status:
    """Where a rank is, as its watcher knows it; times in seconds, counted while the watcher itself ran."""

    where: str = "the start"
    together: bool = False
    """It waits for the others here: it is not late as long as one of them is not."""
    limit: float = 0.0
    """It is late after so long; 0 never."""
    patience: float = 0.0
    """The same for a process that is stopped (SIGSTOP), wherever it is."""
    done: int = 0
    """How often it got further."""
    silent: float = 0.0
    stopped: float = 0.0


def judge(statuses: dict[int, Status], world: int) -> str | None:
    """Name the rank that hangs, if any.

    Who works alone is late after its own limit; those that wait for each other only when all of them are. Then the
    culprit is the one whose process is stopped, else the one that got less far than the others.

    Args:
        statuses: of the ranks that are watched.
        world: number of ranks.

    Returns:
        A line, or None.

    Example:
        >>> judge({0: Status("step 3", True, 9.0, silent=10.0), 1: Status("a batch", False, 9.0, silent=9.5)}, 2)
        'rank 1 of 2 got no further for 10 s (in a batch)'
    """
    stopped = [rank for rank, s in statuses.items() if s.patience and s.stopped > s.patience]
    late = [rank for rank, s in statuses.items() if s.limit and s.silent > s.limit]
    alone = [rank for rank in late if not statuses[rank].together]
    if not stopped and not alone and not 0 < len(late) == len(statuses):
        return None
    guilty = stopped or alone or [rank for rank in late if statuses[rank].stopped] or _least_advanced(statuses)
    if 1 < len(guilty) == len(statuses):
        return f"no rank of {world} got further for {statuses[guilty[0]].silent:.0f} s (in {statuses[guilty[0]].where})"
    return "; ".join(_late(rank, statuses[rank], world) for rank in guilty)


def _least_advanced(statuses: dict[int, Status]) -> list[int]:
    least = min(status.done for status in statuses.values())
    return [rank for rank, status in statuses.items() if status.done == least]


def _late(rank: int, status: Status, world: int) -> str:
    state = "; its process is stopped" if status.stopped else ""
    return f"rank {rank} of {world} got no further for {status.silent:.0f} s (in {status.where}{state})"
