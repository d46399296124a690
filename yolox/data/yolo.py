"""Reader of YOLO text labels: one text file for each image, boxes as shares of its size."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .build import Columns, build_dataset
from .dataset import DetectionDataset
from .errors import DataError
from .header import image_size, is_image_name


def read_yolo(label_dir: str, image_dir: str, *, class_names: Sequence[str]) -> DetectionDataset:
    """Read a folder of YOLO labels.

    Args:
        label_dir: folder of the text files; sub-folders as in the image folder. Each line: class index, x and
            y of the box's centre, width, height, the four as shares of the image. An image without a file has
            no objects.
        image_dir: folder of the images, searched with its sub-folders.
        class_names: the classes by index (`read_class_names` reads them from a YAML or a text file).

    Returns:
        DetectionDataset with images by name, ids counted from 1, categories too; boxes
        without area are left out.

    Raises:
        DataError: a missing folder; or, all listed together up to 20: a label without an image, a line that
            is not an index and four finite numbers, an unknown index, a negative size, a box outside its
            image, an unreadable image.
    """
    offenders: list[str] = []
    columns, names = Columns(), _files(image_dir, is_image_name)
    labels = {
        os.path.splitext(name)[0]: name for name in _files(label_dir, lambda n: n.lower().endswith(".txt"))
    }
    for name in names:
        try:
            columns.sizes.append(image_size(os.path.join(image_dir, name)))
        except DataError as error:
            offenders.append(str(error))
            continue
        columns.file_names.append(name)
        columns.image_ids.append(len(columns.image_ids) + 1)
        label = labels.pop(os.path.splitext(name)[0], None)
        if label is not None:
            _read_labels(os.path.join(label_dir, label), columns, len(class_names), offenders)
    without = [labels[key] for key in labels if os.path.basename(key).lower() not in ("classes", "names")]
    offenders += [f"{os.path.join(label_dir, label)}: has no image in {image_dir}" for label in without]
    return build_dataset(
        label_dir,
        columns,
        image_dir=image_dir,
        class_names=class_names,
        category_ids=range(1, len(class_names) + 1),
        offenders=offenders,
        keep_flat=False,
    )


def read_class_names(path: str) -> list[str]:
    """Read class names from a dataset's YAML file (its `names`) or from a text file with a name on each line.

    Args:
        path: the file; `.yaml` and `.yml` are read as YAML with `names` as a list or as indices with names.

    Returns:
        names by index.

    Raises:
        DataError: the file cannot be read or states no names.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{path}: is not a text file ({error})") from None
    yaml = path.lower().endswith((".yaml", ".yml"))
    names = _yaml_names(lines) if yaml else [line.strip() for line in lines if line.strip()]
    if not names or len(set(names)) != len(names):
        raise DataError(f"{path}: states no list of different class names")
    return names


def _files(folder: str, wanted) -> list[str]:
    """List files below a folder that are wanted, by name relative to it."""
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder")
    paths = (
        os.path.join(place, name) for place, _, files in os.walk(folder) for name in files if wanted(name)
    )
    return sorted(os.path.relpath(path, folder) for path in paths)


def _read_labels(path: str, columns: Columns, classes: int, offenders: list[str]) -> None:
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, ValueError) as error:
        offenders.append(f"{path}: cannot be read ({error})")
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
        offenders.append(
            f"{place}: {line.strip()[:60]!r}, want a class index and four finite shares of the image"
        )
    elif not 0 <= index < classes:
        offenders.append(f"{place}: class {int(index)} is none of the {classes} classes")
    else:
        height, width = columns.sizes[-1]
        x, y, w, h = (share * side for share, side in zip(shares, (width, height) * 2, strict=True))
        columns.owners.append(len(columns.file_names) - 1)
        columns.boxes.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        columns.areas.append(w * h)
        columns.classes.append(int(index))
        columns.crowd.append(False)
        columns.annotation_ids.append(len(columns.annotation_ids) + 1)


def _yaml_names(lines: list[str]) -> list[str]:
    """Read `names` of the plain YAML in use: [a, b], {0: a, 1: b}, lines "- a", or lines "0: a"."""
    starts = [i for i, line in enumerate(lines) if line.startswith("names:")]
    if not starts:
        return []
    first = _uncomment(lines[starts[0]][6:])
    if first:
        while not first.endswith(("]", "}")) and starts[0] + 1 < len(lines):  # a list over several lines
            starts[0] += 1
            first += " " + _uncomment(lines[starts[0]])
        entries = [entry.strip() for entry in first.strip("[]{}").split(",") if entry.strip()]
    else:
        entries = []
        for line in lines[starts[0] + 1 :]:
            if line.strip() and not line.startswith((" ", "\t", "-", "#")):
                break
            if _uncomment(line):
                entries.append(_uncomment(line).removeprefix("- "))
    return _by_index(entries)


def _by_index(entries: list[str]) -> list[str]:
    keyed = [entry.split(":", 1) for entry in entries]
    if all(len(pair) == 2 and pair[0].strip().isdecimal() for pair in keyed):
        named = {int(key): _unquote(name) for key, name in keyed}
        return [named[i] for i in sorted(named)] if sorted(named) == list(range(len(entries))) else []
    return [_unquote(entry) for entry in entries]


def _uncomment(line: str) -> str:
    return line.split(" #", 1)[0].strip() if not line.lstrip().startswith("#") else ""


def _unquote(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
