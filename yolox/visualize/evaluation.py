"""Report and pictures of an evaluation: its analysis as JSON, charts of that, and predictions beside ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from yolox.config import Size
from yolox.data.dataset import DetectionDataset, load_sample
from yolox.data.statistics import label_statistics
from yolox.errors import CommandError
from yolox.eval.analysis import analyse, image_ground_truth
from yolox.eval.postprocess import Detections
from yolox.visualize.charts import confusion_chart, f1_chart, label_chart, precision_recall_chart
from yolox.visualize.grids import draw_beside_ground_truth

MAX_IMAGES = 16
LABELS, TRAIN_LABELS = "labels", "train_labels"
CHARTS = {  # name of the file: key of the evaluation's JSON, and what draws its value
    "precision_recall": ("analysis", precision_recall_chart),
    "f1": ("analysis", f1_chart),
    "confusion": ("analysis", confusion_chart),
    "confusion_normalised": ("analysis", partial(confusion_chart, normalised=True)),
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
        The metrics, with `analysis` and `labels`; `json.dumps` takes it.
    """
    analysis = analyse(image_ground_truth(dataset), found, class_names=dataset.class_names)
    return {**metrics, "analysis": analysis, LABELS: label_statistics(dataset, input_size=input_size)}


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
        sample = load_sample(dataset, index)
        objects = Detections(sample.boxes, np.ones(len(sample.boxes), np.float32), sample.classes)
        name = dataset.file_names[index]
        above = found[index].scores > threshold
        shown = Detections(found[index].boxes[above], found[index].scores[above], found[index].classes[above])
        picture = draw_beside_ground_truth(sample.image, objects, shown, dataset.class_names, title=Path(name).name)
        write_picture(folder / "beside" / f"{index:05d}_{Path(name).stem}.jpg", picture)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes a picture in the format of the suffix of its path.

    Args:
        path: ends in `.jpg`, `.png` or another format of OpenCV.
        picture: [H,W,3] uint8 BGR.

    Raises:
        OSError: the file cannot be written; OpenCV's own writer fails without an error.
        CommandError: the picture cannot be encoded.
    """
    done, data = cv2.imencode(path.suffix, picture)
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
