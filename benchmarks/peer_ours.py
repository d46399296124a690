"""This library as one of the systems of benchmarks/peers.py, which starts this file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from asked import answer_calls

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.works import WORKS  # noqa: E402
from yolox.graph import use_device  # noqa: E402


def build(work: str) -> Callable[[], object]:
    """Builds a work as benchmarks/run.py does."""
    use_device("CPU")
    plain = f"{work} in MindSpore"
    return WORKS[plain if os.environ.get("YOLOX_NATIVE") == "0" and plain in WORKS else work]()


if __name__ == "__main__":
    answer_calls(build)
