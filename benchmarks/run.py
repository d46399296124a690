"""Time the works of this library; each runs in a process of its own and prints one JSON line.

    python benchmarks/run.py                              every work
    python benchmarks/run.py --work "train nano 416 b8"   one work
    python benchmarks/run.py --repeats 20                 more repeats
    python benchmarks/run.py --peers                      beside MindYOLO and Megvii's code, see benchmarks/peers.py

Keys: work, median_s, min_s, max_s (of the repeats), first_s (first call, with compilation), peak_mb (of the process).
The works "parts ..." print the training step's bare network (bare_s) and what is added to it, see benchmarks/parts.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", help="one work by name; without it, all of them")
    parser.add_argument("--repeats", type=int, default=8, help="timed calls after the first")
    parser.add_argument("--peers", action="store_true", help="time the peers beside ours, in turns")
    return parser.parse_args(arguments)


def _run_here(work: str, repeats: int) -> None:
    from benchmarks.measure import measure, print_json
    from benchmarks.works import PARTS, WORKS
    from yolox.graph import use_device

    if work not in WORKS and work not in PARTS:
        sys.exit(f"--work: got {work!r}, want one of: {', '.join([*WORKS, *PARTS])}")
    use_device("CPU")  # as the scripts of examples/ do
    print_json(PARTS[work](repeats) if work in PARTS else measure(work, WORKS[work](), repeats=repeats))


def _run_all(repeats: int) -> int:
    from benchmarks.works import PARTS, WORKS

    command = [sys.executable, __file__, "--repeats", str(repeats), "--work"]
    return max(subprocess.run([*command, work], check=False).returncode for work in [*WORKS, *PARTS])


def main(arguments: list[str] | None = None) -> int:
    """Runs one work here, or every work in its own process."""
    options = _parse(arguments)
    if options.peers:
        from benchmarks.peers import run_peers

        return run_peers(options.work, options.repeats)
    if options.work is None:
        return _run_all(options.repeats)
    _run_here(options.work, options.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
