"""What the watcher of rank 0 knows of all ranks, and its verdict."""

from __future__ import annotations

import hmac
import socket
import time
from contextlib import suppress
from typing import NamedTuple

from yolox.watching.lines import Lines, part
from yolox.watching.status import Status, judge

GATHER = 0.5  # seconds in which ends are collected: of several, the first is the cause
SILENCE = 30.0  # seconds without a word of another watcher
MOST_UNKNOWN = 256  # connections that have not said the token yet


class End(NamedTuple):
    """A rank that has ended before its time: when, in words, and whether it has told why itself."""

    time: float
    text: str
    told: bool = False


class Hub:
    """The connections to the other watchers, and what they said.

    Args:
        listener: socket that they connect to.
        token: what they say first; who does not know it is no rank of this run.
        world: number of ranks.
    """

    def __init__(self, listener: socket.socket, token: str, world: int) -> None:
        self.statuses: dict[int, Status] = {}
        self._listener, self._token, self._world = listener, token, world
        self._lines: dict[socket.socket, Lines] = {}
        self._ranks: dict[socket.socket, int] = {}
        self._unheard: dict[int, float] = {}  # rank -> seconds
        self._ends: list[End] = []
        self._gathered = 0.0

    def accept(self) -> socket.socket | None:
        """Take a connection; None where it is over before it began, or this process can open no more files.

        Of too many that nobody knows, the oldest goes: a rank says the token at once.
        """
        unknown = [connection for connection in self._lines if connection not in self._ranks]
        if len(unknown) >= MOST_UNKNOWN:
            self._refuse(unknown[0])
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return None
        self._lines[connection] = Lines(connection.fileno())
        return connection

    def hear(self, connection: socket.socket) -> bool:
        """Read what a rank says; False when the connection is over, and closed."""
        try:
            messages = self._lines[connection].read()
            for message in messages or ():
                self._take(connection, message)
        except (OSError, ValueError, TypeError, KeyError):
            messages = None
        if messages is None:
            self._lose(connection)
        return messages is not None

    def tell(self, **message) -> None:
        """Send a message to all other ranks."""
        for connection in self._ranks:
            self._lines[connection].write(**message)

    def close(self) -> None:
        """Close the connections when the ranks have read all."""
        for connection in tuple(self._ranks):
            part(connection)

    def add(self, end: End) -> None:
        """Note that a rank has ended."""
        self._ends.append(end)

    def verdict(self, seconds: float) -> End | None:
        """Say who has ended or hangs, once it is sure; call it with the time since the last call."""
        self._unheard = {rank: unheard + seconds for rank, unheard in self._unheard.items()}
        if self._ends:
            self._gathered += seconds
            return min(self._ends) if self._gathered > GATHER else None
        for rank, unheard in self._unheard.items():
            if unheard > SILENCE:
                return End(0.0, f"{self._gone(rank)}: no sign of life for {unheard:.0f} s")
        text = judge(self.statuses, self._world)
        return None if text is None else End(0.0, text)

    def _take(self, connection: socket.socket, message: dict) -> None:
        rank = self._ranks.get(connection)
        if rank is None:
            rank = message["rank"]
            known = hmac.compare_digest(str(message["token"]).encode(), self._token.encode())
            if not known or rank not in range(1, self._world) or rank in self._ranks.values():
                raise ValueError("no rank of this run")
            self._ranks[connection] = rank
        self._unheard[rank] = 0.0
        if "status" in message:
            self.statuses[rank] = Status(**message["status"])
        if "end" in message:
            self.add(End(*message["end"]))
        if "left" in message:
            self.statuses.pop(rank, None)
            self._unheard.pop(rank)
            del self._ranks[connection]

    def _refuse(self, connection: socket.socket) -> None:
        del self._lines[connection]  # whatever it has said is not read any more
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)  # this wakes `hear`, which closes it

    def _lose(self, connection: socket.socket) -> None:
        self._lines.pop(connection, None)
        rank = self._ranks.pop(connection, None)
        self._unheard.pop(rank, None)
        if rank is not None:  # its own words, if it had any, have come before
            self.add(End(time.time() + GATHER, self._gone(rank)))
        connection.close()

    def _gone(self, rank: int) -> str:
        where = self.statuses.get(rank, Status()).where
        return f"rank {rank} of {self._world} has gone (in {where})"
