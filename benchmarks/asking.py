"""Starts a process that runs benchmarks/asked.py, requests calls, reads the times and ends it."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import tempfile
from collections.abc import Callable, Sequence

LOOK_S = 0.1  # how often the memory is looked at while an answer is awaited


class EndedError(Exception):
    """Raised when the process ended before it returned a time."""


class AskedProcess:
    """Process that holds a work and calls it on request; use it in a ``with`` statement.

    Args:
        command: of a script that calls ``asked.answer_calls``.
        enough: whether the machine still has enough memory; if not, while the process works, it is ended.
    """

    def __init__(self, command: Sequence[str], *, enough: Callable[[], bool]):
        self._enough = enough
        self._words = tempfile.TemporaryFile()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words)
        self._ready = False

    def call(self) -> dict:
        """Requests one call; the first time, waits until the work is built.

        Returns:
            seconds of the call, and peak_mb of the process so far.

        Raises:
            EndedError: if the process ended, with the last line it wrote.
        """
        if not self._ready:
            self._answer()
            self._ready = True
        with contextlib.suppress(BrokenPipeError):  # the missing answer tells
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        while not select.select([self._process.stdout], [], [], LOOK_S)[0]:
            if not self._enough():
                self._process.kill()
                raise EndedError("ended: the machine's memory ran low")
        line = self._process.stdout.readline()
        if not line:
            raise EndedError(f"ended with code {self._process.wait()}: {self._last_words()}")
        return json.loads(line)

    def _last_words(self) -> str:
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def __enter__(self) -> AskedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._words):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
