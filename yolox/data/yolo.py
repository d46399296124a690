"""Reader of YOLO text labels: one text file for each image, boxes as shares of its size."""

from __future__ import annotations

import os
from collections.abc import Sequence

from yolox.data.build import Columns, build_dataset
from yolox.data.dataset import DetectionDataset
from yolox.data.header import image_size, is_image_name
from yolox.data.textfile import files_below, read_lines
from yolox.errors import DataError

NO_LABELS = ("classes", "names", "_darknet", "readme.dataset", "readme.roboflow")  # texts that tools leave among labels

_WANTED = "a class index and four finite shares of the image (class cx cy w h)"


def read_yolo(label_dir: str, image_dir: str, *, class_names: Sequence[str]) -> DetectionDataset:
    """Read a folder of YOLO labels.

    Args:
        label_dir: folder of the text files; sub-folders as in the image folder. Each line: class index, x and
            y of the box's centre, width, height, the four as shares of the image. An image without a file has
            no objects.
        image_dir: folder of the images, searched with its sub-folders.
        class_names: the classes by index (`read_class_names` finds them in a YAML or a text file).

    Returns:
        DetectionDataset with images by name, ids counted from 1, categories too; boxes
        without area are left out.

    Raises:
        DataError: a missing folder; or, all listed together up to 20: a label without an image, a line that
            is not an index and four finite numbers, an unknown index, a negative size, a box outside its
            image, an unreadable image.
    """
    pairs, offenders = folder_pairs(label_dir, image_dir)
    return read_pairs(label_dir, pairs, image_dir=image_dir, class_names=class_names, offenders=offenders)


def folder_pairs(label_dir: str, image_dir: str) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Find the label file of every image below a folder.

    Args:
        label_dir: folder of the text files.
        image_dir: folder of the images, with the same sub-folders.

    Returns:
        Pairs of an image's path and that of its label file (None where there is none), by name; and a line for each
        label file without an image.

    Raises:
        DataError: a missing folder.
    """
    names, texts = files_below(image_dir, is_image_name), files_below(label_dir, _is_text)
    labels = {os.path.splitext(name)[0]: os.path.join(label_dir, name) for name in texts}
    stems = [os.path.splitext(name)[0] for name in names]
    pairs = [(os.path.join(image_dir, name), labels.get(stem)) for name, stem in zip(names, stems, strict=True)]
    orphans = sorted(stem for stem in set(labels) - set(stems) if os.path.basename(stem).lower() not in NO_LABELS)
    return pairs, [f"{labels[stem]}: has no image in {image_dir}" for stem in orphans]


def read_pairs(
    source: str,
    pairs: Sequence[tuple[str, str | None]],
    *,
    image_dir: str,
    class_names: Sequence[str],
    offenders: Sequence[str] = (),
) -> DetectionDataset:
    """Read images with their label files, wherever the two lie.

    Args:
        source: the file or folder that named them, for messages.
        pairs: path of each image, and of its label file or None.
        image_dir: folder that the dataset's file names are relative to.
        class_names: the classes by index.
        offenders: problems found already.

    Returns:
        DetectionDataset in the order of `pairs`; the rest as `read_yolo`.

    Raises:
        DataError: as `read_yolo`.
    """
    columns, found = Columns(), list(offenders)
    for image, label in pairs:
        try:
            columns.sizes.extend(image_size(image))
        except DataError as error:
            found.append(str(error))
            continue
        columns.file_names.append(os.path.relpath(image, image_dir))
        columns.image_ids.append(len(columns.image_ids) + 1)
        if label is not None:
            _read_labels(label, columns, len(class_names), found)
    ids = range(1, len(class_names) + 1)
    names = {"class_names": class_names, "category_ids": ids}
    return build_dataset(source, columns, image_dir=image_dir, **names, offenders=found, keep_flat=False)


def _is_text(name: str) -> bool:
    return name.lower().endswith(".txt")


def _looks_like(line: str) -> str:
    """Say which other kind of label a line may be, by how many numbers it has."""
    count = len(line.split())
    if count == 6:
        return " has 6 numbers (with a confidence?)"
    if count == 9:
        return " has 9 numbers (corners of a rotated box, OBB?)"
    return f" has {count} numbers (segments?)" if count >= 7 and count % 2 else ""


def _read_labels(path: str, columns: Columns, classes: int, offenders: list[str]) -> None:
    try:
        lines = read_lines(path)
    except DataError as error:
        offenders.append(str(error))
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            _read_line(line, f"{path}: line {number}", columns, classes, offenders)


def _read_line(line: str, place: str, columns: Columns, classes: int, offenders: list[str]) -> None:
    try:
        index, *shares = (float(word) for word in line.split())
    except ValueError:
        index, shares = -1.0, []
    if (
        len(shares) != 4
        or not all(abs(v) < 1e6 for v in shares)
        or not abs(index) < 1e6
        or index != int(index)
    ):
        offenders.append(f"{place}: {line.strip()[:60]!r}{_looks_like(line)}, want {_WANTED}")
    elif not 0 <= index < classes:
        offenders.append(f"{place}: class {int(index)} is none of the {classes} classes")
    else:
        height, width = columns.sizes[-2:]
        x, y, w, h = (share * side for share, side in zip(shares, (width, height) * 2, strict=True))
        columns.owners.append(len(columns.file_names) - 1)
        columns.boxes.extend((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        columns.areas.append(w * h)
        columns.classes.append(int(index))
        columns.crowd.append(False)
        columns.annotation_ids.append(len(columns.annotation_ids) + 1)
