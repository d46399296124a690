"""Forms in which ``predict --save`` writes detections: JSON, YOLO text, COCO JSON and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from yolox.cli.frames import Frame
from yolox.errors import UsageError
from yolox.eval.coco import detections_to_coco
from yolox.eval.postprocess import Detections
from yolox.training.run_folder import write_json

COLUMNS = ("image", "frame", "x1", "y1", "x2", "y2", "score", "class", "name")
LABELS = "labels"


def describe(frame: Frame, found: Detections) -> dict:
    """Put the detections of a frame into the form of predictions.json.

    Returns:
        dict of image (the path as given), boxes (xyxy in pixels of the image), scores, classes (from 0) and
        names, by falling score; and frame, its number, if it is one of a video.
    """
    number = {} if frame.number is None else {"frame": frame.number}
    return {
        "image": str(frame.file),
        **number,
        "boxes": found.boxes.tolist(),
        "scores": found.scores.tolist(),
        "classes": found.classes.tolist(),
        "names": list(found.names),
    }


class JsonFile:
    """predictions.json: a list with one object for each image, written as they come."""

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.path = folder / "predictions.json"
        self._file = self.path.open("w")
        self._separator = "["

    def add(self, frame: Frame, found: Detections) -> None:
        """Append one image."""
        self._file.write(f"{self._separator}\n{json.dumps(describe(frame, found))}")
        self._separator = ","

    def close(self) -> None:
        """End the list."""
        self._file.write("\n]\n" if self._separator == "," else "[]\n")
        self._file.close()


def check_labels(folder: Path) -> None:
    """Refuse to mix predictions with label files that are there: they may be a dataset's, or corrected by hand.

    Args:
        folder: of ``--output``.

    Raises:
        UsageError: the folder labels in it has text files.
    """
    found = next((folder / LABELS).glob("*.txt"), None)
    if found is not None:
        raise UsageError(
            f"--save txt: {folder / LABELS} has label files already, such as {found.name}, which could be overwritten; "
            "give another --output, or remove them"
        )


class TextFiles:
    """labels/NAME.txt in YOLO's form: class, centre and size as shares of the image, score."""

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.path = folder / LABELS
        self.path.mkdir(exist_ok=True)

    def add(self, frame: Frame, found: Detections) -> None:
        """Write the file of one image; without detections it is empty."""
        height, width = frame.image.shape[:2]
        lines = []
        for (x1, y1, x2, y2), score, index in zip(
            found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
        ):
            shares = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
            lines.append(" ".join([str(index), *(f"{value:.6f}" for value in (*shares, score))]) + "\n")
        (self.path / f"{frame.name}.txt").write_text("".join(lines))

    def close(self) -> None:
        """Do nothing: every file is finished."""


class CsvFile:
    """predictions.csv: one row for each detection."""

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.path = folder / "predictions.csv"
        self._file = self.path.open("w", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerow(COLUMNS)

    def add(self, frame: Frame, found: Detections) -> None:
        """Append the detections of one image."""
        number = "" if frame.number is None else frame.number
        columns = zip(found.boxes, found.scores, found.classes, found.names, strict=True)
        for box, score, index, name in columns:
            self._rows.writerow(
                [frame.file, number, *(f"{v:.2f}" for v in box), f"{score:.4f}", int(index), name]
            )

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class CocoFile:
    """predictions_coco.json: images, categories and annotations with a score; kept in memory until the end."""

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.path = folder / "predictions_coco.json"
        categories = [{"id": number, "name": name} for number, name in enumerate(class_names, start=1)]
        self._content = {"images": [], "categories": categories, "annotations": []}

    def add(self, frame: Frame, found: Detections) -> None:
        """Append one image and its detections; ids count from 1."""
        images, annotations = self._content["images"], self._content["annotations"]
        height, width = frame.image.shape[:2]
        name = str(frame.file) if frame.number is None else f"{frame.file}#{frame.number}"
        images.append({"id": len(images) + 1, "file_name": name, "height": height, "width": width})
        ids = [category["id"] for category in self._content["categories"]]
        for record in detections_to_coco([found], image_ids=[len(images)], category_ids=ids):
            area = record["bbox"][2] * record["bbox"][3]
            annotations.append({"id": len(annotations) + 1, **record, "area": area, "iscrowd": 0})

    def close(self) -> None:
        """Write the file."""
        write_json(self.path, self._content)


SINKS = {"json": JsonFile, "txt": TextFiles, "csv": CsvFile, "coco": CocoFile}
