"""Measures how time and memory of nano's training step grow with images, their size, objects and classes.

    python benchmarks/cost.py --output cost.json                   measures, each point in a process of its own (30 minutes)
    python benchmarks/cost.py --output cost.json --plot docs/cost.png     draws what is there; measures what is missing

With native kernels, without them, and, where its environment is there (make peers), with Megvii's code for other images and
sizes. A point is a JSON object with system, batch, size, truths, classes, median_s, first_s and peak_mb.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

BASE = {"batch": 4, "size": 320, "truths": 8, "classes": 80}
AXES = {
    "batch": (1, 2, 4, 8, 16),
    "size": (224, 320, 416, 640),
    "truths": (8, 60, 120),
    "classes": (1, 80, 320),
}
LABELS = {"ours": "native kernels", "plain": "MindSpore's kernels", "megvii": "Megvii's code, torch"}
UNITS = {"batch": "images a step", "size": "px, square", "truths": "objects an image", "classes": "classes"}
REPEATS = 5


def points() -> list[dict[str, int]]:
    """Lists the points along each axis, the other values as in `BASE`, each once."""
    every = [{**BASE, axis: value} for axis, values in AXES.items() for value in values]
    return [point for i, point in enumerate(every) if point not in every[:i]]


def measure_point(point: dict[str, int]) -> dict:
    """Time the training step at one point, in this process."""
    from benchmarks.measure import measure
    from benchmarks.works import train_call
    from yolox.graph import use_device

    use_device("CPU")
    call = train_call("nano", point["size"], point["batch"], per_image=point["truths"], num_classes=point["classes"])
    found = measure("nano", call, repeats=REPEATS)
    return {**point, **{name: found[name] for name in ("median_s", "first_s", "peak_mb")}}


def measure_theirs(point: dict[str, int]) -> dict:
    """Time the training step of Megvii's code at one point, in its own environment."""
    from benchmarks.measure import summary
    from benchmarks.peers import PYTHONS, start

    with start("megvii", PYTHONS["megvii"], f"train nano {point['size']} b{point['batch']}") as process:
        first, *others = [process.call() for _ in range(1 + REPEATS)]
    found = summary(first["seconds"], [answer["seconds"] for answer in others], others[-1]["peak_mb"])
    return {**point, **{name: found[name] for name in ("median_s", "first_s", "peak_mb")}}


def systems(point: dict[str, int]) -> list[str]:
    """Lists what is measured at a point: Megvii's work has its own objects and classes, those of `BASE`."""
    from benchmarks.peers import PYTHONS

    usual = all(point[name] == BASE[name] for name in ("truths", "classes"))
    return ["ours", "plain", *(["megvii"] if usual and PYTHONS["megvii"].exists() else [])]


def measure_missing(path: Path) -> list[dict]:
    """Measure the points that the file lacks, and write it after each."""
    done = json.loads(path.read_text()) if path.exists() else []
    for point in points():
        for system in systems(point):
            if any({"system": system, **point}.items() <= row.items() for row in done):
                continue
            if system == "megvii":
                found = measure_theirs(point)
            else:
                command = [sys.executable, __file__, "--point", json.dumps(point)]
                environment = {**os.environ, "YOLOX_NATIVE": "1" if system == "ours" else "0"}
                run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
                found = json.loads(run.stdout.splitlines()[-1])
            done.append({"system": system, **found})
            path.write_text(json.dumps(done, indent=1) + "\n")
            print(json.dumps(done[-1]), flush=True)
    return done


def draw(rows: list[dict], path: Path) -> None:
    """Draws time and peak memory along each axis, in the style of the library's charts."""
    from yolox.visualize.charts import styled

    styled(_figure)(rows).savefig(path)


def _figure(rows: list[dict]):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.6), dpi=100, layout="constrained")
    axes = figure.subplots(2, len(AXES), sharey="row")
    for column, axis in enumerate(AXES):
        for system, label in LABELS.items():
            own = [row for row in rows if row.get("system") == system]
            line = sorted((row for row in own if {**row, **BASE, axis: row[axis]} == row), key=lambda row: row[axis])
            if len(line) < 2:
                continue
            values = [row[axis] for row in line]
            for place, key in zip(axes[:, column], ("median_s", "peak_mb"), strict=True):
                place.plot(values, [row[key] for row in line], marker="o", label=label)
        for place in axes[:, column]:
            place.grid()
            place.set_ylim(bottom=0)
            place.set_xticks(AXES[axis])
        axes[1, column].set_xlabel(UNITS[axis])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    axes[0, 0].set_ylabel("step, s")
    axes[1, 0].set_ylabel("peak of the process, MB")
    base = ", ".join(f"{value} {UNITS[name]}" for name, value in BASE.items())
    figure.suptitle(f"One training step of nano on two cores; one thing changes, the others stay at: {base}", fontsize=11)
    return figure


def main(arguments: list[str] | None = None) -> None:
    """Measure, or draw, or measure one point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("cost.json"), help="file of the points")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.point:
        print(json.dumps(measure_point(options.point)))
        return
    rows = measure_missing(options.output)
    if options.plot:
        draw(rows, options.plot)


if __name__ == "__main__":
    main()
