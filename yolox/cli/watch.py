"""``--parallel``: each process says where it is to a watcher of its own, so that a death or a hang ends all, with its name."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from yolox.cli.messages import Stopped, explain
from yolox.distributed import Group, any_of, from_first
from yolox.errors import UsageError
from yolox.watching.lines import Lines
from yolox.watching.start import start_watcher

SLOW = 20
"""What may compile, or write a large file, has so many times the time of other work."""


def check_hang_seconds(seconds: float) -> None:
    """Refuse a limit below 0.

    Raises:
        UsageError: it is.
    """
    if not seconds >= 0:
        raise UsageError(f"--hang-seconds {seconds:g}: want 0 (no limit) or more")


class Watch:
    """What a process says about itself.

    Args:
        say: takes the words as keywords.
        seconds: time that usual work has; 0 for no limit.
    """

    def __init__(self, say: Callable[..., None], seconds: float) -> None:
        self._say, self._seconds, self._known = say, seconds, set()

    def at(self, where: str, *, together: bool = False, slow: bool = False, first: Hashable = None) -> None:
        """Say where the process is now; what it did before is done.

        Args:
            where: in words that follow "in".
            together: the other processes are waited for here.
            slow: this may take long.
            first: the first time with this value may take long, since it compiles.
        """
        slow = slow or (first is not None and first not in self._known)
        self._known.add(first)
        self._say(where=where, together=together, limit=self._seconds * (SLOW if slow else 1))


def unwatched() -> Watch:
    """Make the watch of a process that is alone."""
    return Watch(lambda **_: None, 0.0)


@contextmanager
def watched(group: Group, *, seconds: float, checkpoint: Path | None = None) -> Iterator[Watch]:
    """Have the body watched: if a process of the group dies, fails or hangs in it, all end and name its rank.

    All processes leave the body together; only one that fails leaves it alone.

    Args:
        group: the processes.
        seconds: how long usual work may take; 0 for no limit.
        checkpoint: of a run that could go on.
    """
    if group.world == 1:
        yield unwatched()
        return
    lines, process = _start(group, seconds, checkpoint)
    watch = Watch(lines.write, seconds)
    watch.at("the start", slow=True)
    try:
        yield watch
        watch.at("the end", together=True)
        any_of(False, group)
    except BaseException as error:
        if not isinstance(error, Stopped):
            lines.write(failed=explain(error).splitlines()[0][:500])
            raise
        _leave(lines, process)
        raise
    _leave(lines, process)


def _leave(lines: Lines, process: subprocess.Popen) -> None:
    lines.write(left=True)
    os.close(lines.descriptor)
    process.wait()


def _start(group: Group, seconds: float, checkpoint: Path | None) -> tuple[Lines, subprocess.Popen]:
    """Start this process's watcher; that of rank 0 listens where the others can reach it."""
    with ExitStack() as stack:
        place, listener = None, None
        if group.is_first:
            server = stack.enter_context(socket.create_server((_own_address(), 0)))
            place, listener = server.getsockname()[:2], server.fileno()
        host, port, token = from_first(place and [*place, secrets.token_hex(16)], group)
        facts = {"host": host, "port": port, "token": token, "rank": group.rank, "world": group.world}
        return start_watcher({**facts, "listener": listener, "patience": seconds, **_advice(checkpoint)})


def _own_address() -> str:
    """Give this host's address as the other processes see it: that by which it reaches their scheduler."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # nothing is sent
        probe.connect((os.environ["MS_SCHED_HOST"], int(os.environ["MS_SCHED_PORT"])))
        return probe.getsockname()[0]


def _advice(checkpoint: Path | None) -> dict[str, str]:
    if checkpoint is None:
        return {"checkpoint": "", "advice": ""}
    advice = f"the last checkpoint, {checkpoint}, is whole; go on with: train --resume {checkpoint.parent}"
    return {"checkpoint": str(checkpoint.absolute()), "advice": advice}


class Marks:
    """Callback that says where the process is after every step and every epoch.

    Args:
        watch: hears it.
        where: what follows, in words.
        options: as in `Watch.at`.
    """

    def __init__(self, watch: Watch, where: str, **options: bool) -> None:
        self._watch, self._where, self._options = watch, where, options

    def on_step(self, report) -> None:
        """Say it, with the number of the step."""
        self._watch.at(f"{self._where} after step {report.step}", **self._options)

    def on_epoch(self, report) -> None:
        """Say it, with the number of the epoch."""
        self._watch.at(f"{self._where} after epoch {report.epoch + 1}", **self._options)


def watched_step(step: Callable, watch: Watch, done: int) -> Callable:
    """Make a training step that says so.

    Args:
        step: as `yolox.training.step.make_train_step` makes it.
        watch: hears it.
        done: steps of the run before the first.

    Returns:
        A function of the same arguments, and with the same answer.
    """
    number = done

    def run(images, *others):
        nonlocal number
        number += 1
        watch.at(f"training step {number}", together=True, first=images.shape)
        answer = step(images, *others)
        watch.at(f"training step {number}", together=True)
        return answer

    return run
