"""Time the published works here, with and without native kernels, and in two peers, MindYOLO and pixeltable-yolox (Megvii's
code), in turns.

    make peers                                                    the peers' environments, once
    python benchmarks/run.py --peers                              every work
    python benchmarks/run.py --peers --work "loss nano 416 b8"    one work

The processes of a work stay alive and do one call each in turn, so that all meet the same machine. One JSON line for each
system: work, system (ours, plain, megvii, mindyolo), median_s, min_s, max_s, first_s, peak_mb of its process, and for the others
ratio, ours to theirs: the median of the rounds' ratios. A work that needs more memory than is there is passed over in one
line with the reason (passed_over), and one that ends before its time has a line with its last lines (failed).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import psutil

from benchmarks.asking import AskedProcess, EndedError
from benchmarks.measure import print_json, summary

ROOT = Path(__file__).resolve().parents[1]
PLAIN = "plain"  # this library without its native kernels, and in MindSpore where it would take another engine
PYTHONS = {
    "ours": Path(sys.executable),
    PLAIN: Path(sys.executable),
    "megvii": ROOT / ".venv-megvii/bin/python",
    "mindyolo": ROOT / ".venv-mindyolo/bin/python",
}
WORKS = (
    "infer nano 416 b1", "infer s 640 b1", "eval s 640", "predict folder", "loss nano 416 b8", "loss s 640 b2",
    "train nano 416 b8", "train s 640 b2",
)  # fmt: skip
# Measured peaks in GB, rounded up. MindYOLO ran out of 24 GB in the two works that have 24 here.
NEEDS = {
    ("mindyolo", "loss nano 416 b8"): 14.0,
    ("mindyolo", "loss s 640 b2"): 24.0,
    ("mindyolo", "train nano 416 b8"): 23.0,
    ("mindyolo", "train s 640 b2"): 24.0,
    ("ours", "train nano 416 b8"): 2.5,
    ("ours", "train s 640 b2"): 2.5,
    (PLAIN, "train nano 416 b8"): 3.0,
    (PLAIN, "train s 640 b2"): 4.2,
}
NEEDS_OTHER = 2.0
LACKS = {("mindyolo", "eval s 640"), ("mindyolo", "predict folder")}  # not built here: its evaluation wants COCO itself
SPARE = 2.0  # GB that stay free for everything else on the machine


def run_peers(work: str | None, repeats: int) -> int:
    """Time one work or all of them; give the exit code: 1 if a system failed."""
    if work is not None and work not in WORKS:
        sys.exit(f"--work: got {work!r}, want with --peers one of: {', '.join(WORKS)}")
    check_environments(PYTHONS)
    failed = False
    for name in WORKS if work is None else (work,):
        for line in time_in_turns(name, PYTHONS, repeats=repeats):
            failed |= "failed" in line
            print_json(line)
    return int(failed)


def check_environments(pythons: Mapping[str, Path]) -> None:
    """End with one line if an environment is missing."""
    missing = [str(python) for python in pythons.values() if not python.exists()]
    if missing:
        sys.exit(f"--peers: no {' and no '.join(missing)}; run: make peers")


def available_gb() -> float:
    """Returns the memory in GB that can be taken without swapping."""
    return psutil.virtual_memory().available / 1e9


def too_large(system: str, work: str, available: float) -> str:
    """Returns why a work does not fit into the available GB; empty if it does."""
    needed = NEEDS.get((system, work), NEEDS_OTHER)
    if needed + SPARE <= available:
        return ""
    return f"takes {needed:.1f} GB and {SPARE:.1f} stay free; {available:.1f} are available"


def time_in_turns(work: str, pythons: Mapping[str, Path], *, repeats: int) -> list[dict]:
    """Starts each system that fits, does its first call, then `repeats` rounds of one call each; returns the lines."""
    lines: dict[str, dict] = {}
    first, rounds, running = {}, [], {}
    with ExitStack() as stack:
        for system, python in pythons.items():
            reason = "not built" if (system, work) in LACKS else too_large(system, work, available_gb())
            if reason:
                lines[system] = {"passed_over": reason}
                continue
            running[system] = stack.enter_context(start(system, python, work))
            _ask({system: running[system]}, first, lines)
        for _ in range(repeats):
            rounds.append({})
            _ask({system: process for system, process in running.items() if system not in lines}, rounds[-1], lines)
    timed = {system: result(system, first, rounds) for system in running if system not in lines}
    return [{"work": work, "system": system, **{**lines, **timed}[system]} for system in pythons]


def start(system: str, python: Path, work: str) -> AskedProcess:
    """Start a system's process, which builds the work; it is ended when too little memory is left."""
    script = Path(__file__).with_name(f"peer_{'ours' if system == PLAIN else system}.py")
    command = [str(python), "-E", str(script), work]  # -E: a PYTHONPATH to this library would hide the peer's package
    switch = {"ours": "1", PLAIN: "0"}.get(system)
    command = command if switch is None else ["env", f"YOLOX_NATIVE={switch}", *command]
    return AskedProcess(command, enough=lambda: available_gb() > SPARE / 2)


def _ask(processes: Mapping[str, AskedProcess], answers: dict, lines: dict) -> None:
    for system, process in processes.items():
        try:
            answers[system] = process.call()
        except EndedError as error:
            lines[system] = {"failed": str(error)}


def result(system: str, first: Mapping[str, dict], rounds: Sequence[Mapping[str, dict]]) -> dict:
    """Summarise a system's calls; a peer's with the ratio ours to theirs, if ours ran."""
    seconds = [answers[system]["seconds"] for answers in rounds]
    peak = max(answers[system]["peak_mb"] for answers in [first, *rounds])
    numbers = summary(first[system]["seconds"], seconds, peak)
    both = [answers["ours"]["seconds"] / answers[system]["seconds"] for answers in rounds if "ours" in answers]
    return numbers if system == "ours" or not both else {**numbers, "ratio": round(median(both), 4)}
