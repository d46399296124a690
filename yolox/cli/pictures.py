"""The pictures that an evaluation leaves: predictions beside truths, and charts of what its JSON keeps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from yolox.config import Size
from yolox.data.dataset import DetectionDataset, load_sample
from yolox.data.statistics import label_statistics
from yolox.eval.analysis import analyse, truths_of_dataset
from yolox.eval.postprocess import Detections
from yolox.plot import beside_truths, confusion_chart, f1_chart, label_chart, precision_recall_chart

MOST_IMAGES = 16
LABELS, TRAIN_LABELS = "labels", "train_labels"
CHARTS = {  # name of the file: key of the evaluation's JSON, and what draws its value
    "precision_recall": ("analysis", precision_recall_chart),
    "f1": ("analysis", f1_chart),
    "confusion": ("analysis", confusion_chart),
    "confusion_normalised": ("analysis", partial(confusion_chart, normalised=True)),
    "labels": (LABELS, partial(label_chart, title="evaluated images")),
    "labels_train": (TRAIN_LABELS, partial(label_chart, title="training images")),
}


def evaluation_facts(
    metrics: dict, dataset: DetectionDataset, found: Sequence[Detections], *, input_size: Size
) -> dict:
    """Collect what the JSON of an evaluation keeps, so that its charts can be drawn without weights and images.

    Args:
        metrics: from `evaluate_coco`, the AP of each class among them.
        dataset: that was evaluated on.
        found: detections of each image, down to low scores.
        input_size: of the network.

    Returns:
        The metrics, with `analysis` and `labels`; `json.dumps` takes it.
    """
    analysis = analyse(truths_of_dataset(dataset), found, class_names=dataset.class_names)
    return {**metrics, "analysis": analysis, LABELS: label_statistics(dataset, input_size=input_size)}


def write_beside(folder: Path, dataset: DetectionDataset, found: Sequence[Detections], threshold: float) -> None:
    """Write predictions beside truths of up to 16 images, evenly spread over the dataset.

    Args:
        folder: exists; `beside/` in it gets the pictures.
        dataset: the images.
        found: detections of each.
        threshold: those with a score above it are drawn.

    Raises:
        DataError: an image cannot be read.
    """
    (folder / "beside").mkdir(exist_ok=True)
    for index in spread(len(dataset), MOST_IMAGES):
        sample = load_sample(dataset, index)
        truth = Detections(sample.boxes, np.ones(len(sample.boxes), np.float32), sample.classes)
        name = dataset.file_names[index]
        shown = _above(found[index], threshold)
        picture = beside_truths(sample.image, truth, shown, dataset.class_names, title=Path(name).name)
        write_picture(folder / "beside" / f"{index:05d}_{Path(name).stem}.jpg", picture)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture in the format of the path's end; OpenCV's own writer fails without an error."""
    path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())


def spread(count: int, most: int) -> list[int]:
    """Choose positions that are evenly spread.

    Example:
        >>> spread(9, 3), spread(2, 16)
        ([0, 4, 8], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, most).round().astype(int)).tolist()


def write_charts(folder: Path, evaluation: dict) -> list[Path]:
    """Draw the charts for which an evaluation's JSON has the numbers.

    Args:
        folder: exists.
        evaluation: from `evaluation_facts`, or a part of it.

    Returns:
        The files.

    Raises:
        PlotError: matplotlib is not installed.
    """
    charts = {name: draw(evaluation[key]) for name, (key, draw) in CHARTS.items() if key in evaluation}
    for name, chart in charts.items():
        chart.savefig(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in charts]


def _above(found: Detections, threshold: float) -> Detections:
    kept = found.scores > threshold
    return Detections(found.boxes[kept], found.scores[kept], found.classes[kept])
