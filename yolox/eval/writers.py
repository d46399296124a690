"""Writers of detections: JSON, YOLO text, CSV and COCO JSON.

Each has `add(frame, found)` for one image and `close()`, and writes to `path` in the folder that it was made for.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from yolox.data.coco import CocoIds
from yolox.data.content import name_some, shown_path
from yolox.errors import DataError
from yolox.eval.coco import detections_to_coco, write_results
from yolox.eval.media import Frame
from yolox.eval.postprocess import Detections
from yolox.eval.sources import Stream

COLUMNS = ("image", "frame", "x1", "y1", "x2", "y2", "score", "class", "name")
LABELS = "labels"


class JsonWriter:
    """Writes predictions.json: a list with one object for each image, as these come.

    An object has image (the path as given), boxes (xyxy in pixels of the image), scores, classes (from 0) and names, by
    falling score; a frame of a video has its number as frame.
    """

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.path = unused_path(folder / "predictions.json")
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


def unused_path(path: Path) -> Path:
    """Returns a path at which nothing is: the one given, or with a number behind its stem.

    Args:
        path: of a file or folder.

    Returns:
        The path, ``a_2.png`` where ``a.png`` is there, and so on.
    """
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return free


class YoloTextWriter:
    """Writes labels/NAME.txt in the format of YOLO: class, centre and size as shares of the image.

    With `scores` a line has the score as a sixth number, which readers of labels do not take.
    """

    def __init__(self, folder: Path, class_names: Sequence[str], *, scores: bool = False) -> None:
        self.path = unused_path(folder / LABELS)
        self.path.mkdir()
        self._scores = scores

    def add(self, frame: Frame, found: Detections) -> None:
        """Writes the file of one image; without detections it is empty."""
        height, width = frame.image.shape[:2]
        rows = zip(found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True)
        lines = []
        for (x1, y1, x2, y2), score, index in rows:
            shares = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
            numbers = (*shares, score) if self._scores else shares
            lines.append(" ".join([str(index), *(f"{value:.6f}" for value in numbers)]) + "\n")
        (self.path / f"{frame.name}.txt").write_text("".join(lines))

    def close(self) -> None:
        """Does nothing: every file is finished."""


class CsvWriter:
    """Writes predictions.csv: one row for each detection."""

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.path = unused_path(folder / "predictions.csv")
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
    """Writes predictions_coco.json: images, categories and annotations with a score; kept in memory until the end.

    File names are relative to the folder that holds all images, so that the file can be read as labels of it.
    """

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.path = unused_path(folder / "predictions_coco.json")
        categories = [{"id": number, "name": name} for number, name in enumerate(class_names, start=1)]
        self._content = {"info": {}, "images": [], "categories": categories, "annotations": []}
        self._frames: list[tuple[Path | Stream, int | None]] = []

    def add(self, frame: Frame, found: Detections) -> None:
        """Appends one image and its detections; ids count from 1."""
        images, annotations = self._content["images"], self._content["annotations"]
        height, width = frame.image.shape[:2]
        self._frames.append((frame.file, frame.number))
        images.append({"id": len(images) + 1, "file_name": "", "height": height, "width": width})
        ids = [category["id"] for category in self._content["categories"]]
        for record in detections_to_coco([found], image_ids=[len(images)], category_ids=ids):
            area = record["bbox"][2] * record["bbox"][3]
            annotations.append({"id": len(annotations) + 1, **record, "area": area, "iscrowd": 0})

    def close(self) -> None:
        """Writes the file."""
        folders = [os.path.dirname(os.path.abspath(file)) for file, _ in self._frames if isinstance(file, Path)]
        folder = os.path.commonpath(folders) if folders else ""
        if folders:
            self._content["info"] = {"description": f"predictions; file names are relative to {shown_path(folder)}"}
        for image, (file, number) in zip(self._content["images"], self._frames, strict=True):
            name = os.path.relpath(os.path.abspath(file), folder) if isinstance(file, Path) else str(file)
            image["file_name"] = name + ("" if number is None else f"#{number}")
        self.path.write_text(json.dumps(self._content, indent=2) + "\n")


class ResultsWriter:
    """Writes results.json: COCO's list of results with the ids of a dataset's images and categories.

    Args:
        folder: for the file.
        class_names: of the detector, found by name among the dataset's.
        ids: of the dataset whose images are predicted.

    Raises:
        DataError: the dataset has none of the classes.
    """

    def __init__(self, folder: Path, class_names: Sequence[str], ids: CocoIds) -> None:
        self.path = unused_path(folder / "results.json")
        self._ids, self._names = [ids.categories.get(name) for name in class_names], list(class_names)
        if not any(ident is not None for ident in self._ids):
            raise DataError(
                f"{ids.source}: none of its categories ({name_some(ids.categories)}) is a class of the detector "
                f"({name_some(class_names)})"
            )
        self._source, self._by_name = ids.source, {}
        for name, ident in ids.images:
            self._by_name.setdefault(os.path.basename(name), []).append((os.path.normpath(name), ident))
        self._records: list[dict] = []
        self._strangers: list[str] = []
        self._classes: Counter[str] = Counter()

    def add(self, frame: Frame, found: Detections) -> None:
        """Appends the detections of one image of the dataset."""
        image_id = self._find(frame)
        if image_id is None:
            self._strangers.append(frame.name if frame.number is not None else frame.file.name)
            return
        self._classes.update(self._names[i] for i in found.classes.tolist() if self._ids[i] is None)
        records = detections_to_coco([found], image_ids=[image_id], category_ids=self._ids)
        self._records += [record for record in records if record["category_id"] is not None]

    def _find(self, frame: Frame) -> int | None:
        """Finds an image by the longest name that ends its path, else by the only one of its file name."""
        if frame.number is not None:
            return None
        path, alike = os.path.abspath(frame.file), self._by_name.get(frame.file.name, [])
        fits = [(len(name), ident) for name, ident in alike if os.path.join(os.sep, path).endswith(os.path.join(os.sep, name))]
        if fits:
            return max(fits)[1]
        return alike[0][1] if len(alike) == 1 else None

    def notes(self) -> list[str]:
        """Returns a line for each kind of thing that has no id in the dataset."""
        notes = []
        if self._strangers:
            notes.append(
                f"images that are not in {self._source} and have no results: {len(self._strangers)} "
                f"({name_some(self._strangers)})"
            )
        if self._classes:
            total = sum(self._classes.values())
            notes.append(f"detections of classes that it does not have: {total} ({name_some(self._classes)})")
        return notes

    def close(self) -> None:
        """Writes the file."""
        write_results(self.path, self._records)


WRITERS = {"json": JsonWriter, "txt": YoloTextWriter, "csv": CsvWriter, "coco": CocoWriter}
