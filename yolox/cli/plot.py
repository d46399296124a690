"""The command ``plot``: draws a run again from its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import tyro
from attrs import frozen

from yolox.cli.experiment import Experiment
from yolox.cli.options import CommonOptions
from yolox.config import Recipe
from yolox.console import PlainConsole
from yolox.data.build import MAX_JSON_BYTES, read_text
from yolox.errors import CommandError, DataError
from yolox.training.run_folder import EVALUATION, HISTORY, PICTURES, REPORT, make_folder
from yolox.visualize.run_pictures import CHARTS, redraw_report, write_charts, write_curves

KEYS = {key for key, _ in CHARTS.values()}


@frozen(kw_only=True)
class PlotOptions(CommonOptions):
    """Draw a run again from its files: report.html, curves of history.csv, charts of an evaluation's JSON.

    Predictions beside ground truth need weights and images: eval --pictures draws them. The report keeps its images.
    """

    needs_model: ClassVar[bool] = False
    run: tyro.conf.Positional[Path]
    """Folder of the run, or the JSON file of an evaluation."""
    output: Path | None = None
    """Folder for the pictures; left out, that of the run."""


def run(experiment: Experiment, options: PlotOptions, with_defaults: Callable[[Recipe], PlotOptions]) -> None:
    """Draws report.html and curves.png of a run, and in `pictures` the charts of every evaluation's JSON in the folder.

    Those of the run's own evaluation.json, or of a single other file, lie in `pictures` itself, as training leaves them,
    the others in `pictures/NAME`.

    Raises:
        CommandError: no such folder or file, nothing in it that can be drawn, or a damaged file.
    """
    source = options.run
    if not source.exists():
        raise CommandError(f"{source}: no such folder or file")
    folder = source if source.is_dir() else source.parent
    has_history = source.is_dir() and (source / HISTORY).is_file()
    evaluations = _evaluations(sorted(source.glob("*.json")) if source.is_dir() else [source])
    if not (has_history or evaluations):
        raise CommandError(f"{source}: has neither {HISTORY} nor the JSON of an evaluation (eval --json)")
    target = make_folder(options.output or folder)
    written = [_of_run(folder, lambda: write_curves(folder, target), name=HISTORY)] if has_history else []
    pictures = target / PICTURES if source.is_dir() or options.output is None else target
    for path, evaluation in evaluations:
        own = len(evaluations) == 1 or path.name == EVALUATION
        written += _charts(path, evaluation, make_folder(pictures if own else pictures / path.stem))
    if has_history:
        own = next((content for path, content in evaluations if path.name == EVALUATION), {})
        written.append(_of_run(folder, lambda: redraw_report(folder, own, target), name=REPORT))
    for path in written:
        PlainConsole().print(f"wrote {path}", markup=False)


def _evaluations(paths: list[Path]) -> list[tuple[Path, dict]]:
    found = []
    for path in paths:
        try:
            content = json.loads(read_text(str(path), most=MAX_JSON_BYTES))
        except DataError as error:
            raise CommandError(str(error)) from None
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{path}: no JSON ({error})") from None
        if isinstance(content, dict) and content.keys() & KEYS:
            found.append((path, content))
    return found


def _charts(path: Path, evaluation: dict, folder: Path) -> list[Path]:
    try:
        return write_charts(folder, evaluation)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise CommandError(f"{path}: damaged ({type(error).__name__}: {error})") from None


def _of_run(folder: Path, draw: Callable[[], Path], *, name: str) -> Path:
    try:
        return draw()
    except DataError:
        raise
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise CommandError(f"{folder}/{name}: damaged ({type(error).__name__}: {error})") from None
