"""The verb ``plot``: draw a run again from its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from yolox.cli.experiment import Experiment
from yolox.cli.file_options import PlotOptions
from yolox.cli.messages import CommandError
from yolox.cli.pictures import write_charts
from yolox.cli.rundir import make_folder, write_curves
from yolox.config import Recipe


def run(experiment: Experiment, options: PlotOptions, parse: Callable[[Recipe], PlotOptions]) -> None:
    """Draw curves.png from history.csv, and the charts of every evaluation's JSON in the folder.

    Raises:
        CommandError, PlotError: no such folder or file, nothing in it that can be drawn, a damaged file, or matplotlib is not
            installed.
    """
    source = options.run
    if not source.exists():
        raise CommandError(f"{source}: no such folder or file")
    folder = source if source.is_dir() else source.parent
    has_history = source.is_dir() and (source / "history.csv").is_file()
    evaluations = _evaluations(sorted(source.glob("*.json")) if source.is_dir() else [source])
    if not (has_history or evaluations):
        raise CommandError(f"{source}: has neither history.csv nor the JSON of an evaluation (eval --json)")
    target = make_folder(options.output or folder)
    written = [_curves(folder, target)] if has_history else []
    for path, analysis in evaluations:
        place = target if len(evaluations) == 1 else make_folder(target / path.stem)
        written += write_charts(place, analysis)
    for path in written:
        Console(soft_wrap=True, highlight=False).print(f"wrote {path}", markup=False)


def _evaluations(paths: list[Path]) -> list[tuple[Path, dict]]:
    found = []
    for path in paths:
        try:
            content = json.loads(path.read_text())
        except ValueError as error:
            raise CommandError(f"{path}: no JSON ({error})") from None
        if isinstance(content, dict) and "analysis" in content:
            found.append((path, content["analysis"]))
    return found


def _curves(folder: Path, target: Path) -> Path:
    try:
        return write_curves(folder, target)
    except (KeyError, ValueError, IndexError) as error:
        raise CommandError(f"{folder}/history.csv: damaged ({type(error).__name__}: {error})") from None
