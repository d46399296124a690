"""The watcher's own program: it reads the first line of its input, and watches its parent until that ends."""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from yolox.watching.hub import SILENCE, End, Hub
from yolox.watching.lines import FAREWELL, Lines, part
from yolox.watching.worker import Worker

TICK = 0.5
CONNECT = 30.0


class Watcher:
    """What the watchers of all ranks do: look at the worker, and end with it.

    Args:
        facts: rank, world, and what is said with a verdict: advice, where the file `checkpoint` is there.
        worker: the process that is watched.
    """

    def __init__(self, facts: dict, worker: Worker) -> None:
        self.facts, self.worker, self.selector = facts, worker, selectors.DefaultSelector()
        self._told, self._clock, self._next = False, time.monotonic(), 0.0
        self.answer(worker.lines.descriptor, worker.hear)
        if worker.descriptor is not None:
            self.answer(worker.descriptor, bool)  # it has ended: this wakes `wait`, once

    def answer(self, file, hear: Callable[[], bool]) -> None:
        """Call `hear` whenever there is something to read, until it says False."""

        def call() -> None:
            if not hear():
                self.selector.unregister(file)

        self.selector.register(file, selectors.EVENT_READ, call)

    def wait(self) -> float:
        """Answer what comes, for a tick at most; give the seconds that this process has run meanwhile."""
        for key, _ in self.selector.select(TICK):
            key.data()
        before, self._clock = self._clock, time.monotonic()
        seconds = min(self._clock - before, 2 * TICK)  # the rest, this process was stopped or the machine asleep
        self.worker.tick(seconds)
        return seconds

    def is_due(self) -> bool:
        """Tell once a tick that the others should hear something."""
        due = self._clock >= self._next
        self._next = self._clock + TICK / 2 if due else self._next
        return due

    def news(self) -> End | None:
        """Tell once that the worker has ended before its time."""
        worker = self.worker
        if self._told or worker.left or (worker.failed is None and worker.alive()):
            return None
        when, self._told = time.time(), True
        worker.hear()  # its last words
        name = f"rank {self.facts['rank']} of {self.facts['world']}"
        if worker.failed is None:
            return End(when, f"{name} has gone (in {worker.status.where})")
        return End(when, f"{name} has failed (in {worker.status.where}): {worker.failed}", True)

    def finish(self, end: End) -> None:
        """Say the verdict where this rank's output goes, and end the worker."""
        if self.worker.failed is None:  # else it says so itself
            advice = self.facts["advice"] if os.path.exists(self.facts["checkpoint"]) else ""
            print(f"\nerror: {end.text}", *advice.splitlines(), sep="\n", file=sys.stderr, flush=True)
        # one that has failed may end by itself, and so may the others if they fail in the same way
        self.worker.end(FAREWELL if end.told or self.worker.failed is not None else 0.0)


def lead(watcher: Watcher, hub: Hub, listener: socket.socket) -> None:
    """Watch for all, until the worker leaves or there is a verdict: the program of rank 0.

    Args:
        watcher: of rank 0's own worker.
        hub: what is known of all.
        listener: socket that the other watchers connect to.
    """
    watcher.answer(listener, partial(_accept, watcher, hub))
    while not watcher.worker.left:
        seconds = watcher.wait()
        hub.statuses[0] = watcher.worker.status
        if watcher.is_due():
            hub.tell(tick=True)
        if (end := watcher.news()) is not None:
            hub.add(end)
        if (verdict := hub.verdict(seconds)) is not None:
            hub.tell(verdict=verdict)
            watcher.finish(verdict)
            return
    hub.tell(over=True)


def _accept(watcher: Watcher, hub: Hub) -> bool:
    if (connection := hub.accept()) is not None:
        watcher.answer(connection, partial(hub.hear, connection))
    return True


def follow(watcher: Watcher, connection: socket.socket) -> None:
    """Tell rank 0 about one's own worker, and hear its verdict: the program of the others.

    Args:
        watcher: of one's own worker.
        connection: to the watcher of rank 0.
    """
    lines, unheard, heard = Lines(connection.fileno()), 0.0, []
    watcher.answer(connection, partial(_hear_first, lines, heard, watcher.facts["world"]))
    lines.write(rank=watcher.facts["rank"], token=watcher.facts["token"])
    while not watcher.worker.left:
        unheard += watcher.wait()
        if (end := watcher.news()) is not None:
            lines.write(end=end)
        if watcher.is_due():
            lines.write(status=asdict(watcher.worker.status))
        if unheard > SILENCE:
            heard.append(_first_gone(watcher.facts["world"], f": no sign of life for {unheard:.0f} s"))
        for message in heard:
            if "verdict" in message:
                watcher.finish(End(*message["verdict"]))
            if "verdict" in message or "over" in message:
                return
        unheard = 0.0 if heard else unheard
        heard.clear()
    lines.write(left=True)


def _hear_first(lines: Lines, heard: list[dict], world: int) -> bool:
    try:
        messages = lines.read()
    except (OSError, ValueError):
        messages = None
    heard.extend([_first_gone(world)] if messages is None else messages)
    return messages is not None


def _first_gone(world: int, more: str = "") -> dict:
    return {"verdict": End(0.0, f"rank 0 of {world} has gone{more}")}


def connect(host: str, port: int) -> socket.socket | None:
    """Find the watcher of rank 0.

    Args:
        host: its address.
        port: of its listener.

    Returns:
        The connection; None, after a warning, where it cannot be reached.
    """
    try:
        return socket.create_connection((host, port), CONNECT)
    except OSError as error:
        warning = f"the watcher of rank 0 at {host}:{port} cannot be reached ({error}); hangs of this process will not be seen"
        print(f"\nwarning: {warning}", file=sys.stderr, flush=True)
        return None


def main(pipe: int = 0) -> None:
    """Read the facts from the first line of the standard input, and watch.

    Args:
        pipe: descriptor of the standard input.
    """
    with os.fdopen(os.dup(pipe), "rb", buffering=0) as stream:
        facts = json.loads(_first_line(stream))
    watcher = Watcher(facts, Worker(facts["parent"], pipe, facts["patience"]))
    if facts["listener"] is not None:
        listener = socket.socket(fileno=facts["listener"])
        hub = Hub(listener, facts["token"], facts["world"])
        lead(watcher, hub, listener)
        hub.close()
    elif (connection := connect(facts["host"], facts["port"])) is not None:
        follow(watcher, connection)
        part(connection)


def _first_line(stream) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = stream.read(1)
        if not byte:
            break
        line += byte
    return line
