"""Pictures and tables of an evaluation, and the callback that writes those of a run."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import cv2
import numpy as np
from rich.console import Console

from yolox.config import Size
from yolox.config_io import recipe_from_json
from yolox.data.build import MAX_JSON_BYTES, read_text
from yolox.data.check import label_statistics
from yolox.data.content import shown_path
from yolox.data.dataset import DetectionDataset
from yolox.data.pixels import viewable
from yolox.errors import CommandError, DataError
from yolox.eval.analysis import analyse, image_ground_truth
from yolox.eval.error_kinds import analyse_errors
from yolox.eval.postprocess import Detections
from yolox.training.callbacks import Callback, EpochEvent, RunContext
from yolox.training.checkpoint import atomic_path
from yolox.training.history import read_history
from yolox.training.run_folder import (
    BATCHES,
    CURVES,
    EVALUATION,
    HISTORY,
    PICTURES,
    RECIPE,
    REPORT,
    make_folder,
    remove_evaluation,
    write_json,
)
from yolox.visualize.charts import (
    confusion_chart,
    error_chart,
    f1_chart,
    history_chart,
    label_chart,
    precision_recall_chart,
)
from yolox.visualize.grids import draw_comparison, sample_grid
from yolox.visualize.report import ReportParts, read_report, recipe_settings, report_html, write_report

MAX_IMAGES = 16
DRAWN_COLUMNS = ("epoch", "lr", "images_per_second", "AP", "AP50")  # of history.csv, beside the losses
MAX_PAGE = 64 << 20  # characters of a report that are read
LABELS, TRAIN_LABELS, ERRORS = "labels", "train_labels", "errors"
CHARTS = {  # name of the file: key of the evaluation's JSON, and what draws its value
    "precision_recall": ("analysis", precision_recall_chart),
    "f1": ("analysis", f1_chart),
    "confusion": ("analysis", confusion_chart),
    "confusion_normalised": ("analysis", partial(confusion_chart, normalised=True)),
    "errors": (ERRORS, error_chart),
    "labels": (LABELS, partial(label_chart, title="evaluated images")),
    "labels_train": (TRAIN_LABELS, partial(label_chart, title="training images")),
}


def evaluation_report(
    metrics: dict, dataset: DetectionDataset, found: Sequence[Detections], *, input_size: Size
) -> dict:
    """Returns the content of the JSON of an evaluation, from which its charts are drawn without weights and images.

    Args:
        metrics: from `evaluate_coco`, the AP of each class among them.
        dataset: that was evaluated on.
        found: detections of each image, down to low scores.
        input_size: of the network.

    Returns:
        The metrics, with `analysis`, `errors` and `labels`; `json.dumps` takes it.
    """
    objects, names = image_ground_truth(dataset), dataset.class_names
    return {
        **metrics,
        "analysis": analyse(objects, found, class_names=names),
        ERRORS: analyse_errors(objects, found, class_names=names),
        LABELS: label_statistics(dataset, input_size=input_size),
    }


def write_comparisons(folder: Path, dataset: DetectionDataset, found: Sequence[Detections], threshold: float) -> None:
    """Writes predictions beside ground truth for up to 16 images, evenly spread over the dataset.

    Args:
        folder: exists; `beside/` in it gets the pictures.
        dataset: the images.
        found: detections of each.
        threshold: detections with a score above it are drawn.

    Raises:
        DataError: an image cannot be read.
    """
    (folder / "beside").mkdir(exist_ok=True)
    for index in spread(len(dataset), MAX_IMAGES):
        name = dataset.file_names[index]
        picture = draw_comparison(dataset, index, found[index], threshold=threshold, title=Path(name).name)
        write_picture(folder / "beside" / f"{index:05d}_{Path(name).stem}.jpg", picture)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes a picture in the format of the suffix of its path.

    Args:
        path: ends in `.jpg`, `.png` or another format of OpenCV.
        picture: [H,W,3] uint8 BGR, or as `viewable` shows it.

    Raises:
        OSError: the file cannot be written; OpenCV's own writer fails without an error.
        CommandError: the picture cannot be encoded.
    """
    done, data = cv2.imencode(path.suffix, viewable(picture))
    if not done:
        raise CommandError(f"{path}: the picture cannot be encoded")
    path.write_bytes(data.tobytes())


def spread(count: int, most: int) -> list[int]:
    """Returns up to `most` indices below `count`, evenly spread.

    Args:
        count: number of items.
        most: number of indices.

    Returns:
        Ascending indices.

    Example:
        >>> spread(9, 3), spread(2, 16)
        ([0, 4, 8], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, most).round().astype(int)).tolist()


def write_charts(folder: Path, evaluation: dict) -> list[Path]:
    """Draws the charts for which the report of an evaluation has the numbers.

    Args:
        folder: exists.
        evaluation: from `evaluation_report`, or a part of it.

    Returns:
        Paths of the files.
    """
    charts = {folder / f"{name}.png": draw(evaluation[key]) for name, (key, draw) in CHARTS.items() if key in evaluation}
    for path, chart in charts.items():
        chart.savefig(path)
    return list(charts)


log = logging.getLogger("yolox.visualize")

CURVES_SECONDS = 10.0  # between two drawings of the curves, which take half a second: epochs may be as short


class RunPictures(Callback):
    """Draws first_batches.jpg, curves.png, and at the end report.html, evaluation.json and pictures of the best epoch.

    The curves are drawn after an epoch, of short ones every ten seconds, and when the run ends or is stopped. The report of a
    run that is stopped has what is known then; the end of the resumed run replaces it.

    A picture that cannot be drawn is a warning, never the end of the run. Only rank 0 draws.

    Args:
        console: where it is printed what was written; None prints nothing.
        command: that started the run, for the report; None where Python code did.
        settings: shown in the report beside the recipe, in named groups.
    """

    def __init__(
        self,
        console: Console | None = None,
        *,
        command: str | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._command, self._settings = command, settings or {}
        self._console = console or Console(quiet=True)
        self._context: RunContext | None = None
        self._epoch: int | None = None  # of the best evaluation since the run began or was resumed, counted from 1
        self._metrics: dict = {}
        self._found: list = []
        self._curves_drawn = float("-inf")  # when, by the monotonic clock
        self._curves_stale = self._is_finished = False

    def on_start(self, context: RunContext) -> None:
        """Draws the first batches of a new run."""
        if not context.group.is_first:
            return
        self._context = context
        if not context.resumed:
            path = context.folder / BATCHES
            try_picture(path, lambda: write_picture(path, sample_grid(context.train_set, context.recipe)))

    def on_epoch(self, event: EpochEvent) -> None:
        """Draws the curves; keeps the evaluation if none is better, of equal ones the last, as with the checkpoint."""
        if self._context is None:
            return
        ap = (event.metrics or {}).get("AP") or 0.0
        if event.metrics is not None and (self._epoch is None or ap >= (self._metrics["AP"] or 0.0)):
            self._epoch, self._metrics, self._found = event.epoch + 1, event.metrics, event.detections
        self._curves_stale = True
        if time.monotonic() - self._curves_drawn >= CURVES_SECONDS:
            self._draw_curves()

    def wants_best(self, epoch: int) -> bool:
        """Returns whether neither this process nor evaluation.json has the evaluation of the best checkpoint."""
        if self._epoch != epoch:  # the best was found before the run was resumed
            self._epoch = None
        return self._context is not None and epoch not in (self._epoch, self._written_epoch())

    def on_best(self, epoch: int, metrics: dict, detections: list) -> None:
        """Takes the evaluation of the best checkpoint in place of that of another epoch."""
        self._epoch, self._metrics, self._found = epoch, metrics, detections

    def on_finish(self) -> None:
        """Writes the report, evaluation.json and the pictures.

        Of a resumed run that has the pictures of its best checkpoint already, only the report is written, if epochs were added.
        """
        if self._context is None:
            return
        self._is_finished = True
        if self._epoch is not None or not (self._context.folder / EVALUATION).is_file():
            try_picture(self._context.folder / PICTURES, self._write_evaluation)
        elif self._curves_stale or self._curves_drawn > float("-inf"):
            try_picture(self._context.folder / REPORT, self._renew_report)

    def on_end(self) -> None:
        """Draws the curves of the last epochs; of a run that was stopped after an epoch, writes the report, too."""
        if self._context is not None and self._curves_stale:
            self._draw_curves()
        if not self._is_finished and self._curves_drawn > float("-inf"):
            try_picture(self._context.folder / REPORT, self._write_report_so_far)

    def _draw_curves(self) -> None:
        folder = self._context.folder
        try_picture(folder / CURVES, lambda: write_curves(folder))
        self._curves_drawn, self._curves_stale = time.monotonic(), False

    def _written_epoch(self) -> int | None:
        try:
            return json.loads(read_text(str(self._context.folder / EVALUATION), most=MAX_JSON_BYTES)).get("epoch")
        except (ValueError, AttributeError, RecursionError):
            return None

    def _write_evaluation(self) -> None:
        """Writes the pictures, then evaluation.json: where that file is, it and the pictures are whole."""
        context = self._context
        remove_evaluation(context.folder)
        folder, content, what = make_folder(context.folder / PICTURES), self._content(), "the labels"
        if self._epoch is not None:
            write_comparisons(folder, context.val_set, self._found, content["analysis"]["score_threshold"])
            what = f"the evaluation after epoch {self._epoch}"
        write_charts(folder, content)
        self._write_report(content)
        with atomic_path(context.folder / EVALUATION) as path:
            write_json(path, content)
        self._console.print(f"wrote {context.folder / EVALUATION} and {folder}: {what}")
        self._console.print(f"wrote {context.folder / REPORT}")

    def _content(self) -> dict[str, Any]:
        """Returns the numbers of the charts: those of the best evaluation where there is one, and of the training labels."""
        context, size = self._context, self._context.recipe.input.input_size
        content = {TRAIN_LABELS: label_statistics(context.train_set, input_size=size)}
        if self._epoch is None:
            return content
        evaluation = evaluation_report(self._metrics, context.val_set, self._found, input_size=size)
        return {"epoch": self._epoch, **evaluation, **content}

    def _write_report(self, content: Mapping[str, Any]) -> None:
        with_found = {} if self._epoch is None else {"dataset": self._context.val_set, "found": self._found}
        write_run_report(self._context, content, command=self._command, settings=self._settings, **with_found)

    def _write_report_so_far(self) -> None:
        """Writes the report of a run that was stopped: with its best evaluation, this process's or the one that is written."""
        written = self._context.folder / EVALUATION
        is_kept = self._epoch is None and written.is_file()
        self._write_report(json.loads(read_text(str(written), most=MAX_JSON_BYTES)) if is_kept else self._content())

    def _renew_report(self) -> None:
        """Writes the report of a run whose best checkpoint and its evaluation are older than the last epochs."""
        content = json.loads(read_text(str(self._context.folder / EVALUATION), most=MAX_JSON_BYTES))
        kept = kept_parts(self._context.folder / REPORT)
        write_run_report(self._context, content, command=self._command, settings=self._settings, kept=kept)


def write_run_report(context: RunContext, evaluation: dict, **options) -> None:
    """Writes report.html of a run from its folder and the evaluation of its best checkpoint.

    Args:
        context: of the run.
        evaluation: content of evaluation.json.
        options: `dataset`, `found`, `command`, `settings` and `kept` as for `report_html`.
    """
    settings = {**recipe_settings(context.recipe), **options.pop("settings")}
    sets = {"training": context.train_set, "validation": context.val_set}
    notes = [f"{use} images: {note}" for use, data in sets.items() if data is not None for note in data.notes]
    _write_page(context.folder, context.folder, evaluation, settings=settings, notes=notes, **options)


def redraw_report(folder: Path, evaluation: dict, target: Path) -> Path:
    """Writes report.html of a run again from the numbers in its folder; what only the page holds is taken from the old page.

    Args:
        folder: of the run.
        evaluation: content of evaluation.json; empty where there is none.
        target: folder of the new page.

    Returns:
        Path of the page.
    """
    kept = kept_parts(folder / REPORT)
    if not kept.settings and (folder / RECIPE).is_file():
        recipe = recipe_from_json(read_text(str(folder / RECIPE), most=MAX_JSON_BYTES))
        kept = attrs.evolve(kept, settings=recipe_settings(recipe))
    return _write_page(folder, target, evaluation, kept=kept)


def kept_parts(page: Path) -> ReportParts:
    """Reads from a report what the files of its run do not hold.

    Args:
        page: report.html.

    Returns:
        ReportParts, empty where the page is not there.
    """
    if not page.is_file():
        return ReportParts()
    with page.open(encoding="utf-8", errors="replace") as stream:
        return read_report(stream.read(MAX_PAGE))


def _write_page(folder: Path, target: Path, evaluation: dict, **options) -> Path:
    path = target / REPORT
    rows = _read_rows(folder / HISTORY) if (folder / HISTORY).is_file() else ()
    page = report_html(evaluation, title=f"Training run {shown_path(str(folder))}", history=rows, **options)
    with atomic_path(path) as temporary:
        write_report(temporary, page)
    return path


def write_curves(folder: Path, target: Path | None = None) -> Path:
    """Draws the losses and the AP of a run from its history.csv.

    Args:
        folder: of the run.
        target: folder for the picture; None takes that of the run.

    Returns:
        Path of the picture.

    Raises:
        DataError: history.csv has no row, lacks a column, or is damaged.
    """
    path = (target or folder) / CURVES
    chart = history_chart(_read_rows(folder / HISTORY))
    with atomic_path(path) as temporary:
        chart.savefig(temporary, format="png")
    return path


def _read_rows(history: Path) -> list[dict]:
    rows = read_history(history)
    if not rows:
        raise DataError(f"{history}: has no row; want one for each epoch")
    if missing := [name for name in DRAWN_COLUMNS if name not in rows[0]]:
        raise DataError(f"{history}: has the columns {', '.join(rows[0])}; want {', '.join(missing)} too")
    return rows


def try_picture(path: Path, write: Callable[[], object]) -> None:
    """Calls a function that draws and writes pictures; if that fails, logs a warning and goes on.

    Args:
        path: the picture or the folder of pictures, for the warning.
        write: draws and writes it.
    """
    try:
        write()
    except Exception as error:  # whatever a full disk or the drawing raises: hours of training matter more
        reason = getattr(error.__cause__ or error, "strerror", None) or str(error) or type(error).__name__
        log.warning("%s: not drawn (%s); the run is complete without it", path, reason.splitlines()[0])
