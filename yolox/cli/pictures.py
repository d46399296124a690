"""The pictures that an evaluation leaves: predictions beside truths, and charts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from yolox.config import Size
from yolox.data.dataset import DetectionDataset, load_sample
from yolox.eval.postprocess import Detections
from yolox.plot import beside_truths, confusion_chart, f1_chart, label_chart, precision_recall_chart

MOST_IMAGES = 16


def write_evaluation(
    folder: Path, dataset: DetectionDataset, found: Sequence[Detections], analysis: dict, *, input_size: Size
) -> None:
    """Write predictions beside truths of some images, and the charts of an evaluation and of its labels.

    Args:
        folder: exists; `beside/` in it gets up to 16 images, evenly spread over the dataset.
        dataset: the images.
        found: detections of each, down to low scores; those above the analysis' threshold are drawn.
        analysis: from `analyse`.
        input_size: of the network.

    Raises:
        PlotError: matplotlib is not installed.
        DataError: an image cannot be read.
    """
    write_charts(folder, analysis)
    label_chart(dataset, input_size=input_size).savefig(folder / "labels.png")
    (folder / "beside").mkdir(exist_ok=True)
    for index in np.unique(np.linspace(0, len(dataset) - 1, MOST_IMAGES).round().astype(int)).tolist():
        sample = load_sample(dataset, index)
        truth = Detections(sample.boxes, np.ones(len(sample.boxes), np.float32), sample.classes)
        shown = _above(found[index], analysis["score_threshold"])
        name = dataset.file_names[index]
        picture = beside_truths(sample.image, truth, shown, dataset.class_names, title=Path(name).name)
        path = folder / "beside" / f"{index:05d}_{Path(name).stem}.jpg"
        path.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())


def write_charts(folder: Path, analysis: dict) -> list[Path]:
    """Draw the charts of an evaluation.

    Returns:
        The files: precision by recall, F1 by score, the confusion matrix in counts and in shares.

    Raises:
        PlotError: matplotlib is not installed.
    """
    charts = {
        "precision_recall": precision_recall_chart(analysis),
        "f1": f1_chart(analysis),
        "confusion": confusion_chart(analysis),
        "confusion_normalised": confusion_chart(analysis, normalised=True),
    }
    for name, chart in charts.items():
        chart.savefig(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in charts]


def _above(found: Detections, threshold: float) -> Detections:
    kept = found.scores > threshold
    return Detections(found.boxes[kept], found.scores[kept], found.classes[kept])
