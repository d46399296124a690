"""Times one work in one process: the first call, the median of the others, and the peak memory."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Sequence
from statistics import median


def measure(work: str, call: Callable[[], object], *, repeats: int) -> dict:
    """Time `call`, which must wait for its result.

    Returns:
        work, median_s, min_s and max_s of the repeats, first_s of the first call (compilation included), and
        peak_mb, the largest resident memory of this process so far in MiB.
    """
    first = _seconds(call)
    times = [_seconds(call) for _ in range(repeats)]
    return {"work": work, **summary(first, times, peak_mb())}


def summary(first: float, seconds: Sequence[float], peak: float) -> dict:
    """Returns median_s, min_s, max_s, first_s and peak_mb of a work's calls."""
    return {
        "median_s": round(median(seconds), 4),
        "min_s": round(min(seconds), 4),
        "max_s": round(max(seconds), 4),
        "first_s": round(first, 3),
        "peak_mb": round(peak),
    }


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_mb() -> float:
    """Returns the largest resident memory of this process so far in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_json(result: dict) -> None:
    """Prints a result as one line."""
    print(json.dumps(result), flush=True)
