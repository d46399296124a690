"""YOLO datasets: data.yaml or a file of class names, and a text file of boxes for every image."""

from __future__ import annotations

import os
from collections.abc import Sequence

import yaml

from yolox.data.build import Columns, build_dataset, files_below, read_lines, read_text
from yolox.data.dataset import DetectionDataset
from yolox.data.header import is_image_name
from yolox.data.image import image_size
from yolox.errors import DataError

NO_LABELS = ("classes", "names", "_darknet", "readme.dataset", "readme.roboflow")  # texts that tools leave among labels

_WANTED = "a class index and four finite shares of the image (class cx cy w h)"


def read_yolo(label_dir: str, image_dir: str, *, class_names: Sequence[str]) -> DetectionDataset:
    """Reads a folder of YOLO labels.

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
    pairs, problems = folder_pairs(label_dir, image_dir)
    return read_pairs(label_dir, pairs, image_dir=image_dir, class_names=class_names, problems=problems)


def folder_pairs(label_dir: str, image_dir: str) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Finds the label file of every image below a folder.

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
    problems: Sequence[str] = (),
) -> DetectionDataset:
    """Reads images with their label files, wherever the two lie.

    Args:
        source: the file or folder that named them, for messages.
        pairs: path of each image, and of its label file or None.
        image_dir: folder that the dataset's file names are relative to.
        class_names: the classes by index.
        problems: problems found already.

    Returns:
        DetectionDataset in the order of `pairs`; the rest as `read_yolo`.

    Raises:
        DataError: as `read_yolo`.
    """
    columns, found = Columns(), list(problems)
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
    return build_dataset(source, columns, image_dir=image_dir, **names, problems=found, keep_flat=False)


def _is_text(name: str) -> bool:
    return name.lower().endswith(".txt")


def _looks_like(line: str) -> str:
    """Returns a hint at another kind of label that a line may be, by the count of its numbers."""
    count = len(line.split())
    if count == 6:
        return " has 6 numbers (with a confidence?)"
    if count == 9:
        return " has 9 numbers (corners of a rotated box, OBB?)"
    return f" has {count} numbers (segments?)" if count >= 7 and count % 2 else ""


def _read_labels(path: str, columns: Columns, classes: int, problems: list[str]) -> None:
    try:
        lines = read_lines(path)
    except DataError as error:
        problems.append(str(error))
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            _read_line(line, f"{path}: line {number}", columns, classes, problems)


def _read_line(line: str, place: str, columns: Columns, classes: int, problems: list[str]) -> None:
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
        problems.append(f"{place}: {line.strip()[:60]!r}{_looks_like(line)}, want {_WANTED}")
    elif not 0 <= index < classes:
        problems.append(f"{place}: class {int(index)} is none of the {classes} classes")
    else:
        height, width = columns.sizes[-2:]
        x, y, w, h = (share * side for share, side in zip(shares, (width, height) * 2, strict=True))
        columns.image_indices.append(len(columns.file_names) - 1)
        columns.boxes.extend((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        columns.areas.append(w * h)
        columns.classes.append(int(index))
        columns.crowd.append(False)
        columns.annotation_ids.append(len(columns.annotation_ids) + 1)


YAML_SUFFIXES = (".yaml", ".yml")
MOST_BYTES = 1 << 20  # a thousand names take 30 kB; the parser reads some 100 kB a second
MOST_BRACKETS = 1000  # the parser's time grows with the square of their depth


def read_yolo_data(path: str, *, split: str, image_dir: str | None = None) -> DetectionDataset:
    """Reads one part of a dataset that a YAML or a names file describes.

    Args:
        path: a YAML with `names`, with `train`, `val` and `test` as folders of images, lists of such folders, or text
            files that list images, and perhaps with `path`, the folder that they are relative to (else the YAML's
            own). Or a text file with a class name on each line; then images lie in ``images/SPLIT`` or ``images``
            beside it.
        split: the part, such as ``train``.
        image_dir: folder of the images, in place of that of the file.

    Returns:
        DetectionDataset as `read_yolo` returns it. The labels of ``a/images/b.jpg`` are in ``a/labels/b.txt``; where no
        folder of the path is called images, they lie beside the images.

    Raises:
        DataError: the file names no such part; or as `read_yolo`.
    """
    names, folder = read_class_names(path), os.path.dirname(os.path.abspath(path))
    if image_dir is not None:
        places = [os.fspath(image_dir)]
    elif path.lower().endswith(YAML_SUFFIXES):
        places = _places(_read_yaml(path), path, split, folder)
    else:
        within = os.path.join(folder, "images", split)
        places = [within if os.path.isdir(within) else os.path.join(folder, "images")]
    pairs, problems = [], []
    for place in places:
        found = _listed_pairs(place) if place.lower().endswith(".txt") else folder_pairs(labels_of(place), place)
        pairs += found[0]
        problems += found[1]
    folders = [place for place in places if os.path.isdir(place)]
    root = os.path.commonpath(folders if len(folders) == len(places) else [folder, *folders])
    return read_pairs(path, pairs, image_dir=root, class_names=names, problems=problems)


def read_class_names(path: str) -> list[str]:
    """Reads class names from a dataset's YAML file (its `names`) or from a text file with a name on each line.

    Args:
        path: the file; `.yaml` and `.yml` are read as YAML with `names` as a list or as indices with names.

    Returns:
        names by index.

    Raises:
        DataError: the file cannot be read, states no names, or another number of them (`nc`).
    """
    if path.lower().endswith(YAML_SUFFIXES):
        content = _read_yaml(path)
        names, stated = _by_index(content.get("names")), content.get("nc", "")
    else:
        names, stated = [line.strip() for line in read_lines(path) if line.strip()], ""
    if not names or len(set(names)) != len(names):
        raise DataError(f"{path}: states no list of different class names")
    if stated not in ("", str(len(names))):
        raise DataError(f"{path}: nc is {str(stated)[:60]}, but names has {len(names)}; want one name a class")
    return names


def labels_of(image_path: str) -> str:
    """Returns where the labels of a folder or file of images lie: the last ``images`` of the path becomes ``labels``.

    Args:
        image_path: of a folder or a file.

    Returns:
        The path with its last `images` replaced; the same where it has none.

    Example:
        >>> labels_of("set/images/train"), labels_of("photos")
        ('set/labels/train', 'photos')
    """
    parts = os.path.normpath(image_path).split(os.sep)
    places = [i for i, part in enumerate(parts) if part.lower() == "images"]
    if places:
        parts[places[-1]] = "labels"
    return os.sep.join(parts)


def _read_yaml(path: str) -> dict:
    """Reads a YAML file whose scalars all stay texts, so that a class may be called no or 1."""
    if os.path.isfile(path) and os.path.getsize(path) > MOST_BYTES:
        raise DataError(f"{path}: is not a YAML file of a dataset (more than {MOST_BYTES} bytes)")
    text = read_text(path)
    if text.count("[") + text.count("{") > MOST_BRACKETS:
        raise DataError(f"{path}: is not a YAML file of a dataset (more than {MOST_BRACKETS} opening brackets)")
    try:
        content = yaml.load(text, Loader=_PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not a YAML file ({' '.join(str(error).split())[:200]})") from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, want names, train and val")
    return content


class _PlainLoader(yaml.BaseLoader):
    """Reads no aliases: a few hundred bytes of nested ones are gigabytes as soon as anything looks at their items."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("has aliases, which no dataset needs")
        return super().compose_node(parent, index)


def _by_index(names) -> list[str]:
    """Returns the names in order, or an empty list for anything that is no list of texts."""
    if isinstance(names, dict):
        keys = [str(i) for i in range(len(names))]
        names = [names[key] for key in keys] if set(names) == set(keys) else []
    texts = isinstance(names, list) and all(isinstance(name, str) and name.strip() for name in names)
    return [name.strip() for name in names] if texts else []


def _places(content: dict, path: str, split: str, folder: str) -> list[str]:
    """Returns the existing paths that the YAML names for a part."""
    entries, base = content.get(split), content.get("path")
    entries = [entries] if isinstance(entries, str) else entries
    if not isinstance(entries, list) or not entries or not all(isinstance(e, str) and e for e in entries):
        known = ", ".join(key for key in ("train", "val", "test") if content.get(key))
        raise DataError(f"{path}: names no folder of images for {split!r}; it has {known or 'none of train, val, test'}")
    base = os.path.join(folder, base) if isinstance(base, str) else folder
    return [_existing(base if os.path.isdir(base) else folder, entry, path) for entry in entries]


def _existing(base: str, entry: str, path: str) -> str:
    inside = entry[3:] if entry.startswith("../") else entry  # an export's usual slip: its YAML lies one folder higher
    tried = [os.path.normpath(os.path.join(base, name)) for name in (entry, inside)]
    for place in tried:
        if os.path.isfile(place) and not place.lower().endswith(".txt"):
            raise DataError(f"{path}: {entry!r} is a file; want a folder of images, or a .txt file that lists images")
        if _exists(place):
            return place
    raise DataError(f"{path}: {entry!r} is neither a folder nor a file; looked for {tried[0]}")


def _exists(place: str) -> bool:
    try:
        return os.path.exists(place)
    except ValueError:  # a zero byte in the name
        return False


def _listed_pairs(path: str) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Pairs the images that a text file lists, relative to it, with their label files."""
    folder, pairs = os.path.dirname(path), []
    for line in read_lines(path):
        if line.strip():
            image = os.path.normpath(os.path.join(folder, line.strip()))
            label = os.path.splitext(labels_of(image))[0] + ".txt"
            pairs.append((image, label if os.path.isfile(label) else None))
    wrong = [f"{path}: {image!r} has no suffix of an image" for image, _ in pairs if not is_image_name(image)]
    return [pair for pair in pairs if is_image_name(pair[0])], wrong
