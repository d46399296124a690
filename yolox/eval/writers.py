"""Writers of detections: JSON, YOLO text, CSV and COCO JSON.

Each has `add(frame, found)` for one image and `close()`, and writes to `path` in the folder that it was made for.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from yolox.eval.coco import detections_to_coco
from yolox.eval.media import Frame
from yolox.eval.postprocess import Detections

COLUMNS = ("image", "frame", "x1", "y1", "x2", "y2", "score", "class", "name")
LABELS = "labels"


class JsonWriter:
    """Writes predictions.json: a list with one object for each image, as these come.

    An object has image (the path as given), boxes (xyxy in pixels of the image), scores, classes (from 0) and names, by
    falling score; a frame of a video has its number as frame.
    """

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.path = folder / "predictions.json"
        self._file = self.path.open("w")
        self._separator = "["

    def add(self, frame: Frame, found: Detections) -> None:
        """Appends one image."""
        content = {"image": str(frame.file)} | ({} if frame.number is None else {"frame": frame.number})
        content |= {name: getattr(found, name).tolist() for name in ("boxes", "scores", "classes")}
        self._file.write(f"{self._separator}\n{json.dumps({**content, 'names': list(found.names)})}")
        self._separator = ","

    def close(self) -> None:
        """Ends the list."""
        self._file.write("\n]\n" if self._separator == "," else "[]\n")
        self._file.close()


def existing_labels(folder: Path) -> Path | None:
    """Returns a label file that `YoloTextWriter` could overwrite: it may be a dataset's, or corrected by hand.

    Args:
        folder: where labels are to be written.

    Returns:
        The path of one; None where there is none.
    """
    return next((folder / LABELS).glob("*.txt"), None)


class YoloTextWriter:
    """Writes labels/NAME.txt in the format of YOLO: class, centre and size as shares of the image, score."""

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.path = folder / LABELS
        self.path.mkdir(exist_ok=True)

    def add(self, frame: Frame, found: Detections) -> None:
        """Writes the file of one image; without detections it is empty."""
        height, width = frame.image.shape[:2]
        rows = zip(found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True)
        lines = []
        for (x1, y1, x2, y2), score, index in rows:
            shares = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
            lines.append(" ".join([str(index), *(f"{value:.6f}" for value in (*shares, score))]) + "\n")
        (self.path / f"{frame.name}.txt").write_text("".join(lines))

    def close(self) -> None:
        """Does nothing: every file is finished."""


class CsvWriter:
    """Writes predictions.csv: one row for each detection."""

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.path = folder / "predictions.csv"
        self._file = self.path.open("w", newline="", errors="surrogateescape")  # names that are not UTF-8 keep their bytes
        self._rows = csv.writer(self._file)
        self._rows.writerow(COLUMNS)

    def add(self, frame: Frame, found: Detections) -> None:
        """Appends the detections of one image."""
        number = "" if frame.number is None else frame.number
        for box, score, index, name in zip(found.boxes, found.scores, found.classes, found.names, strict=True):
            self._rows.writerow([frame.file, number, *(f"{v:.2f}" for v in box), f"{score:.4f}", int(index), name])

    def close(self) -> None:
        """Finishes the file."""
        self._file.close()


class CocoWriter:
    """Writes predictions_coco.json: images, categories and annotations with a score; kept in memory until the end."""

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.path = folder / "predictions_coco.json"
        categories = [{"id": number, "name": name} for number, name in enumerate(class_names, start=1)]
        self._content = {"images": [], "categories": categories, "annotations": []}

    def add(self, frame: Frame, found: Detections) -> None:
        """Appends one image and its detections; ids count from 1."""
        images, annotations = self._content["images"], self._content["annotations"]
        height, width = frame.image.shape[:2]
        name = str(frame.file) if frame.number is None else f"{frame.file}#{frame.number}"
        images.append({"id": len(images) + 1, "file_name": name, "height": height, "width": width})
        ids = [category["id"] for category in self._content["categories"]]
        for record in detections_to_coco([found], image_ids=[len(images)], category_ids=ids):
            area = record["bbox"][2] * record["bbox"][3]
            annotations.append({"id": len(annotations) + 1, **record, "area": area, "iscrowd": 0})

    def close(self) -> None:
        """Writes the file."""
        self.path.write_text(json.dumps(self._content, indent=2) + "\n")


WRITERS = {"json": JsonWriter, "txt": YoloTextWriter, "csv": CsvWriter, "coco": CocoWriter}
