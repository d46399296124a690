"""What watchers and workers say to each other: objects of JSON, one a line."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress

LONGEST = 8192
FAREWELL = 5.0  # seconds


def part(connection: socket.socket) -> None:
    """Close a connection so that all that was written arrives: one that is closed with words unread loses them.

    Args:
        connection: a connected socket; the other end has some seconds to close it too.
    """
    connection.settimeout(FAREWELL)
    with connection, suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        until = time.monotonic() + FAREWELL
        while connection.recv(65536) and time.monotonic() < until:
            pass


class Lines:
    """Lines of JSON through a pipe or a socket, which does not block.

    Args:
        descriptor: of the file.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self._rest = descriptor, b""
        os.set_blocking(descriptor, False)

    def read(self) -> list[dict] | None:
        """Give the objects that have come; None at the end.

        Raises:
            OSError: the connection broke.
            ValueError: a line is too long, or no object, or one in too many others.
        """
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, [*lines, self._rest])) > LONGEST:
            raise ValueError(f"a line has more than {LONGEST} bytes")
        try:
            found = [json.loads(line) for line in lines]
        except RecursionError:  # a few thousand brackets do it
            raise ValueError("a line is nested too deeply") from None
        if not all(isinstance(each, dict) for each in found):
            raise ValueError("a line is no object")
        return found if data else None

    def write(self, **message) -> None:
        """Send an object; a reader that is gone, or does not read, misses it."""
        try:
            os.write(self.descriptor, json.dumps(message).encode() + b"\n")
        except OSError:
            pass
