"""Builds one work and calls it once for each line of standard input, so that several systems can be timed in turns.

Used by peer_ours.py, peer_megvii.py and peer_mindyolo.py, in environments that share nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from measure import peak_mb  # this folder is on the path of its scripts; the repository is not, in a peer's environment


def split_work(work: str) -> tuple[str, str, int, int]:
    """Splits the name of a work into kind, scale, image size in px, batch.

    Example:
        >>> split_work("train nano 416 b8")
        ('train', 'nano', 416, 8)
    """
    kind, scale, size, batch = work.split()
    return kind, scale, int(size), int(batch.removeprefix("b"))


def answer_calls(build: Callable[[str], Callable[[], object]]) -> None:
    """Builds the work that the command line names, then calls it once for each line of standard input.

    Every answer is one JSON line: the seconds of the call and the peak memory of the process in MiB; the first, empty,
    says that the work is built. What a package prints goes to standard error. When memory runs out, the system ends
    this process before any other.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if (score := Path("/proc/self/oom_score_adj")).exists():
        score.write_text("1000")
    call = build(sys.argv[1])
    print("{}", file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        call()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}), file=answers, flush=True)
