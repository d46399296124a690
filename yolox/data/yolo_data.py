"""YOLO's description of a dataset: a YAML, or a file of class names beside the folders images and labels."""

from __future__ import annotations

import os

import yaml

from yolox.data.dataset import DetectionDataset
from yolox.data.header import is_image_name
from yolox.data.textfile import read_lines, read_text
from yolox.data.yolo import folder_pairs, read_pairs
from yolox.errors import DataError

YAML_SUFFIXES = (".yaml", ".yml")
MOST_BYTES = 1 << 20  # a thousand names take 30 kB; the parser reads some 100 kB a second
MOST_BRACKETS = 1000  # the parser's time grows with the square of their depth


def read_yolo_data(path: str, *, split: str, image_dir: str | None = None) -> DetectionDataset:
    """Read one part of a dataset that a YAML or a names file describes.

    Args:
        path: a YAML with `names`, with `train`, `val` and `test` as folders of images, lists of such folders, or text
            files that list images, and perhaps with `path`, the folder that they are relative to (else the YAML's
            own). Or a text file with a class name on each line; then images lie in ``images/SPLIT`` or ``images``
            beside it.
        split: the part, such as ``train``.
        image_dir: folder of the images, in place of what the file says.

    Returns:
        DetectionDataset as `read_yolo` gives it. The labels of ``a/images/b.jpg`` are in ``a/labels/b.txt``; where no
        folder of the path is called images, they lie beside the images.

    Raises:
        DataError: the file says nothing about the part; or as `read_yolo`.
    """
    names, folder = read_class_names(path), os.path.dirname(os.path.abspath(path))
    if image_dir is not None:
        places = [os.fspath(image_dir)]
    elif path.lower().endswith(YAML_SUFFIXES):
        places = _places(_read_yaml(path), path, split, folder)
    else:
        within = os.path.join(folder, "images", split)
        places = [within if os.path.isdir(within) else os.path.join(folder, "images")]
    pairs, offenders = [], []
    for place in places:
        found = _listed_pairs(place) if place.lower().endswith(".txt") else folder_pairs(labels_of(place), place)
        pairs += found[0]
        offenders += found[1]
    folders = [place for place in places if os.path.isdir(place)]
    root = os.path.commonpath(folders if len(folders) == len(places) else [folder, *folders])
    return read_pairs(path, pairs, image_dir=root, class_names=names, offenders=offenders)


def read_class_names(path: str) -> list[str]:
    """Read class names from a dataset's YAML file (its `names`) or from a text file with a name on each line.

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
    """Tell where the labels of a folder or file of images lie: under labels where the last images stands.

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
    """Read a YAML whose scalars all stay texts, so that a class may be called no or 1."""
    if os.path.isfile(path) and os.path.getsize(path) > MOST_BYTES:
        raise DataError(f"{path}: is not a YAML file of a dataset (more than {MOST_BYTES} bytes)")
    text = read_text(path)
    if text.count("[") + text.count("{") > MOST_BRACKETS:
        raise DataError(f"{path}: is not a YAML file of a dataset (more than {MOST_BRACKETS} opening brackets)")
    try:
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not a YAML file ({' '.join(str(error).split())[:200]})") from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, want names, train and val")
    return content


def _by_index(names) -> list[str]:
    """Put names into order; an empty list stands for anything that is no list of texts."""
    if isinstance(names, dict):
        keys = [str(i) for i in range(len(names))]
        names = [names[key] for key in keys] if set(names) == set(keys) else []
    texts = isinstance(names, list) and all(isinstance(name, str) and name.strip() for name in names)
    return [name.strip() for name in names] if texts else []


def _places(content: dict, path: str, split: str, folder: str) -> list[str]:
    """Resolve what the YAML says about a part to paths that are there."""
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
    """Pair the images that a text file lists, relative to it, with their label files."""
    folder, pairs = os.path.dirname(path), []
    for line in read_lines(path):
        if line.strip():
            image = os.path.normpath(os.path.join(folder, line.strip()))
            label = os.path.splitext(labels_of(image))[0] + ".txt"
            pairs.append((image, label if os.path.isfile(label) else None))
    wrong = [f"{path}: {image!r} has no suffix of an image" for image, _ in pairs if not is_image_name(image)]
    return [pair for pair in pairs if is_image_name(pair[0])], wrong
