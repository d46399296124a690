"""How a process starts its watcher."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from yolox.watching.lines import Lines

# `import yolox` takes seconds: this folder alone is imported, by a path that comes after Python's own
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from watching.process import main; main()"


def start_watcher(facts: dict) -> tuple[Lines, subprocess.Popen]:
    """Start the watcher of this process.

    Args:
        facts: host, port and token of the watcher of rank 0; rank and world; listener, a descriptor on rank 0 and None
            on the others; patience; checkpoint and advice.

    Returns:
        What the watcher reads, and its process.
    """
    program = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(Path(__file__).parents[1])]
    read, write = os.pipe()
    fds = () if facts["listener"] is None else (facts["listener"],)
    process = subprocess.Popen(program, stdin=read, pass_fds=fds, start_new_session=True)
    os.close(read)
    os.write(write, json.dumps({**facts, "parent": os.getpid()}).encode() + b"\n")
    return Lines(write), process
