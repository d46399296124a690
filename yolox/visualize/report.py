"""The report of a run or of an evaluation: one HTML file that shows everything and needs no network."""

from __future__ import annotations

import base64
import io
import json
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from attrs import frozen

from yolox.config import Recipe
from yolox.config_io import recipe_to_dict
from yolox.data.content import shown_path
from yolox.data.dataset import DetectionDataset
from yolox.environment import installed_mindspore, library_version
from yolox.eval.analysis import image_ground_truth, rank_images
from yolox.eval.coco import METRIC_NAMES
from yolox.eval.error_kinds import KINDS
from yolox.eval.postprocess import Detections
from yolox.visualize.charts import (
    confusion_chart,
    error_chart,
    f1_chart,
    history_chart,
    label_chart,
    precision_recall_chart,
)
from yolox.visualize.grids import draw_comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_JPEG = "data:image/jpeg;base64,"
SHOWN = 6  # images of the worst and of the best
QUALITY = 80  # of JPEG
MAX_WIDTH = 1060  # of a chart in the page, px
LEAST = 0.67  # share of its width down to which a chart shrinks; in a narrower window it scrolls within its box
CLASS_COLUMNS = ("objects", "AP", "AP50", "best F1", "precision", "recall")
MEANINGS = {
    "classification": "an object of another class is there",
    "localisation": "an object of this class is there, overlapped too little",
    "both": "an object of another class is there, overlapped too little",
    "duplicate": "a better detection has found the object already",
    "background": "no object is there",
    "missed": "an object to which no detection belongs",
}


def report_html(
    evaluation: Mapping[str, Any] | None = None,
    *,
    title: str,
    history: Sequence[Mapping[str, float | None]] = (),
    dataset: DetectionDataset | None = None,
    found: Sequence[Detections] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    command: str | None = None,
    notes: Sequence[str] = (),
    kept: ReportParts | None = None,
) -> str:
    """Returns a page with curves, numbers, charts and images of a run or of an evaluation.

    Args:
        evaluation: from `evaluation_report`, or a part of it; its key `train_labels` may have the statistics of the training
            images. None where nothing was evaluated.
        title: of the page.
        history: rows of history.csv as numbers; empty leaves out the curves.
        dataset: the evaluated images, to show the worst and the best of them; None shows none.
        found: detections of each of them.
        settings: values by name, in named groups, such as `recipe_settings` returns them.
        command: that made the report; None where it was made from Python.
        notes: sentences that are shown below the numbers.
        kept: parts of an earlier page of the same evaluation, from `read_report`: its images where `dataset` or `found` is None,
            and its command, settings and notes where these are not given.

    Returns:
        HTML. It loads nothing from elsewhere; text of datasets, such as names of classes and files, is escaped.

    Raises:
        DataError: an image cannot be read.

    Example:
        >>> page = report_html(title="<my run>")
        >>> "<h1>&lt;my run&gt;</h1>" in page, "There is no evaluation" in page
        (True, True)
    """
    from jinja2 import Environment, StrictUndefined

    evaluation, kept = evaluation or {}, kept or ReportParts()
    groups, why = _pictures(evaluation, dataset, found)
    groups, why = (kept.images, "") if why and kept.images else (groups, why)
    parts = {  # what `read_report` reads
        "images": [(name, [picture["caption"] for picture in pictures]) for name, pictures in groups],
        "command": command or kept.command,
        "notes": notes or kept.notes,
        "settings": settings or kept.settings,
    }
    content = {
        "title": title,
        "made": f"Made on {datetime.now(timezone.utc):%Y-%m-%d at %H:%M} UTC by yolox-mindspore {library_version()}",
        "numbers": _numbers(evaluation),
        "notes": parts["notes"],
        "curves": _chart(history_chart(history), "losses and AP by epoch") if history else None,
        **_analysed(evaluation.get("analysis"), evaluation.get("per_class", {})),
        **_errors(evaluation.get("errors")),
        "groups": groups,
        "why_no_pictures": why,
        "labels": [
            _chart(label_chart(evaluation[key], title=which), f"labels of the {which}")
            for key, which in (("labels", "evaluated images"), ("train_labels", "training images"))
            if key in evaluation
        ],
        "command": parts["command"],
        "settings": {**parts["settings"], "versions": _versions()},
        "parts": parts,
    }
    has = {**content, "precision": content["classes"], "confusion": content["classes"], "images": content["classes"]}
    names = {"precision": "precision and recall", "errors": "errors by kind"}
    order = ("curves", "classes", "precision", "confusion", "errors", "images", "labels")
    content["sections"] = [(key, names.get(key, key)) for key in order if has[key]] + [("settings", "settings")]
    template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"default": str}  # in the order of the page
    return environment.from_string(template).render(content)


@frozen(kw_only=True)
class ReportParts:
    """Parts of a page of `report_html` that the files of a run do not hold."""

    images: Sequence[tuple[str, Sequence[Mapping[str, str]]]] = ()
    """Groups of images: name, and for each image its `uri` (a JPEG in base64) and its `caption`."""
    command: str | None = None
    notes: Sequence[str] = ()
    settings: Mapping[str, Mapping[str, str]] = {}


def read_report(page: str) -> ReportParts:
    """Reads from a page of `report_html` what the files of a run do not hold, so that it can be drawn again.

    Args:
        page: HTML. Of another page, which has none of the parts, nothing is taken.

    Returns:
        ReportParts; its settings are without the versions, which each page states of its own.

    Raises:
        ValueError, KeyError, IndexError, TypeError: the page is damaged.

    Example:
        >>> read_report(report_html(title="A", command="yolox eval <A>", notes=["one"])).command
        'yolox eval <A>'
    """
    found = re.search(r'<script type="application/json">(.*?)</script>', page)
    if found is None:
        return ReportParts()
    parts = json.loads(found[1])
    uris = re.findall(rf'<img src="({_JPEG}[^"]*)"', page)
    parts["images"] = [(name, [{"uri": uris.pop(0), "caption": each} for each in captions]) for name, captions in parts["images"]]
    return ReportParts(**parts)


def write_report(path: Path, page: str) -> None:
    """Writes a page; bytes of file names that are not UTF-8 become escapes.

    Args:
        path: of the file, which is replaced.
        page: from `report_html`.

    Raises:
        OSError: it cannot be written.
    """
    path.write_bytes(page.encode("utf-8", "backslashreplace"))


def recipe_settings(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Returns the fields of a recipe in groups, as `report_html` shows them.

    Args:
        recipe: of the run.

    Returns:
        Values by name: the fields of the recipe itself first, then those of each part.

    Example:
        >>> list(recipe_settings(Recipe()))[0], recipe_settings(Recipe())["recipe: input"]["input_size"]
        ('recipe', '640 x 640')
    """
    fields = recipe_to_dict(recipe)
    parts = {name: value for name, value in fields.items() if isinstance(value, dict)}
    groups = {"recipe": {name: value for name, value in fields.items() if name not in parts}}
    groups |= {f"recipe: {name}": value for name, value in parts.items()}
    return {name: {key: _shown(key, value) for key, value in group.items()} for name, group in groups.items()}


def _shown(name: str, value: Any) -> str:
    if isinstance(value, list | tuple):
        return (" x " if name.endswith("_size") else ", ").join(str(part) for part in value) or "none"
    return "none" if value is None else str(value)


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("numpy", "matplotlib", "pycocotools")}
    return {
        "yolox-mindspore": library_version(), "MindSpore": installed_mindspore(), "OpenCV": cv2.__version__, **packages,
        "Python": platform.python_version(), "system": platform.platform(),
    }  # fmt: skip


def _number(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else format(value, form)


def _numbers(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    known = [name for name in (*METRIC_NAMES, *(key for key in evaluation if "@" in key)) if name in evaluation]
    first = [("epoch", str(evaluation["epoch"]))] if known and "epoch" in evaluation else []
    return first + [(name, _number(evaluation[name])) for name in known]


def _analysed(analysis: Mapping[str, Any] | None, per_class: Mapping[str, float | None]) -> dict:
    """Returns the table by class, and the charts of precision, recall and confusion."""
    if analysis is None:
        return {"classes": [], "class_columns": CLASS_COLUMNS, "iou": "", "score": "", "precision": [], "confusion": []}
    table = np.array(analysis["confusion"], float)
    right, true, predicted = np.diag(table)[:-1], table[:-1].sum(1), table[:, :-1].sum(0)
    rows = []
    for index, name in enumerate(analysis["class_names"]):
        curve, f1 = analysis["precision"][index], analysis["f1"][index]
        values = (
            per_class.get(name), None if curve is None else np.mean(curve), None if f1 is None else max(f1),
            right[index] / predicted[index] if predicted[index] else None, right[index] / true[index] if true[index] else None,
        )  # fmt: skip
        rows.append((name, [str(analysis["truths"][index]), *map(_number, values)]))
    return {
        "classes": rows,
        "class_columns": CLASS_COLUMNS,
        "iou": f"{analysis['iou_threshold']:g}",
        "score": f"{analysis['score_threshold']:g}",
        "precision": [
            _chart(precision_recall_chart(analysis), "precision by recall"), _chart(f1_chart(analysis), "F1 by score"),
        ],
        "confusion": [
            _chart(confusion_chart(analysis), "confusion matrix, counts"),
            _chart(confusion_chart(analysis, normalised=True), "confusion matrix, shares of each row"),
        ],
    }  # fmt: skip


def _errors(errors: Mapping[str, Any] | None) -> dict:
    if errors is None:
        return {"errors": [], "error_chart": None}
    rows = [(kind, _number(errors["dAP"][kind]), sum(errors["counts"][kind]), MEANINGS[kind]) for kind in KINDS]
    return {"errors": rows, "error_chart": _chart(error_chart(errors), "what fixing each kind of error adds to AP")}


def _pictures(evaluation: Mapping[str, Any], dataset: DetectionDataset | None, found: Sequence[Detections] | None):
    """Returns the worst and the best images, and why there are none."""
    if "analysis" not in evaluation or dataset is None or found is None:
        return [], "The images are not at hand: they are shown where the evaluation itself makes the report."
    analysis = evaluation["analysis"]
    limits = {name: analysis[name] for name in ("class_names", "iou_threshold", "score_threshold")}
    ranked = rank_images(image_ground_truth(dataset), found, **limits)
    if not ranked:
        return [], "No image has an object or a detection."
    worst = [each for each in ranked if each[1] < 1][:SHOWN]
    best = [each for each in reversed(ranked) if each[1] > 0 and each not in worst][:SHOWN]
    named = (("The worst", worst), ("The best", best))
    return [(name, [_picture(dataset, found, each, analysis) for each in group]) for name, group in named], ""


def _picture(dataset: DetectionDataset, found: Sequence[Detections], ranked: tuple[int, float], analysis) -> dict[str, str]:
    index, f1 = ranked
    picture = draw_comparison(dataset, index, found[index], threshold=analysis["score_threshold"])
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return {"uri": _JPEG + base64.b64encode(data).decode(), "caption": f"{shown_path(dataset.file_names[index])}: F1 {f1:.2f}"}


def _chart(figure: Figure, alt: str) -> dict[str, Any]:
    """Returns a chart as SVG within its address; one with nothing to draw as the sentence that says why."""
    from matplotlib import rc_context

    if not figure.axes:
        return {"why": figure.texts[0].get_text()}
    file = io.StringIO()
    with rc_context({"svg.hashsalt": "yolox"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    width = min(round(figure.get_size_inches()[0] * 100), MAX_WIDTH)
    uri = _data_uri("image/svg+xml", file.getvalue().encode())
    return {"uri": uri, "alt": alt, "width": width, "least": round(LEAST * width), "why": ""}


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
