"""YOLO datasets: data.yaml or a file of class names, and a text file of boxes for every image."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import attrs
import yaml

from yolox.data.build import Columns, build_dataset, files_below, read_lines, read_text, relative_name
from yolox.data.classes import rename_classes
from yolox.data.content import HEAD_BYTES, OTHER_PICTURES, count_kinds, describe_content, name_some
from yolox.data.dataset import DetectionDataset
from yolox.data.header import is_image_name
from yolox.data.image import image_size
from yolox.errors import DataError

NO_LABELS = ("classes", "names", "_darknet", "readme.dataset", "readme.roboflow")  # texts that tools leave among labels

_WANTED = "a class index and four finite shares of the image (class cx cy w h)"


ScoredLabels = Literal["refuse", "drop"]


def read_yolo(
    label_dir: str,
    image_dir: str,
    *,
    class_names: Sequence[str],
    scored_labels: ScoredLabels = "refuse",
    follow_links: bool = False,
) -> DetectionDataset:
    """Reads a folder of YOLO labels.

    Args:
        label_dir: folder of the text files; sub-folders as in the image folder. Each line: class index, x and
            y of the box's centre, width, height, the four as shares of the image. An image without a file has
            no objects.
        image_dir: folder of the images, searched with its sub-folders.
        class_names: the classes by index (`read_class_names` finds them in a YAML or a text file).
        scored_labels: "drop" reads lines with a sixth number, the confidence of a prediction, without it.
        follow_links: True accepts images that are links out of the image folder.

    Returns:
        DetectionDataset with images by name, ids counted from 1, categories too; boxes
        without area are left out. Label files without an image are left out and noted.

    Raises:
        DataError: a missing folder; or, all listed together up to 20: no label file with an image, a line that
            is not an index and four finite numbers, an unknown index, a negative size, a box outside its
            image, an unreadable image.
    """
    labelled = folder_pairs(label_dir, image_dir)
    options = {"scored_labels": scored_labels, "follow_links": follow_links}
    return read_pairs(label_dir, labelled, image_dir=image_dir, class_names=class_names, **options)


@attrs.define
class LabelledImages:
    """Images with their label files, as folders or lists name them.

    Args:
        pairs: path of each image, and of its label file or None.
        problems: a line for each thing that cannot be used.
        orphans: label files without an image.
        others: files of image folders that are not read.
        repeated: images that lists name more than once.
    """

    pairs: list[tuple[str, str | None]] = attrs.Factory(list)
    problems: list[str] = attrs.Factory(list)
    orphans: list[str] = attrs.Factory(list)
    others: list[str] = attrs.Factory(list)
    repeated: list[str] = attrs.Factory(list)

    def add(self, other: LabelledImages) -> None:
        """Appends those of another folder or list; an image that is there already is not repeated."""
        have = {image for image, _ in self.pairs}
        self.pairs += [pair for pair in other.pairs if pair[0] not in have]
        self.repeated += [image for image, _ in other.pairs if image in have] + other.repeated
        self.problems += other.problems
        self.orphans += other.orphans
        self.others += other.others

    def notes(self) -> list[str]:
        """Returns a line for each kind of thing that was left out or guessed."""
        unlabelled = [os.path.basename(image) for image, label in self.pairs if label is None]
        kinds = (
            ("label files without an image were left out", [os.path.basename(name) for name in self.orphans]),
            ("images without a label file were taken as images without objects", unlabelled),
            ("images are listed more than once and were taken once", [os.path.basename(name) for name in self.repeated]),
        )
        lines = [f"{len(found)} {what} ({name_some(found)})" for what, found in kinds if found]
        others = [os.path.basename(name) for name in self.others]
        return lines + ([f"{len(others)} files of the image folders were not taken: {count_kinds(others)}"] if others else [])


def folder_pairs(label_dir: str, image_dir: str) -> LabelledImages:
    """Finds the label file of every image below a folder.

    Args:
        label_dir: folder of the text files.
        image_dir: folder of the images, with the same sub-folders.

    Returns:
        LabelledImages by name.

    Raises:
        DataError: a missing folder.
    """
    names, texts = files_below(image_dir, is_image_name), files_below(label_dir, _is_text)
    labels = {os.path.splitext(name)[0]: os.path.join(label_dir, name) for name in texts}
    stems = [os.path.splitext(name)[0] for name in names]
    pairs = [(os.path.join(image_dir, name), labels.get(stem)) for name, stem in zip(names, stems, strict=True)]
    orphans = sorted(stem for stem in set(labels) - set(stems) if os.path.basename(stem).lower() not in NO_LABELS)
    found = LabelledImages(pairs=pairs, orphans=[labels[stem] for stem in orphans])
    found.others = files_below(image_dir, lambda name: name.lower().endswith(OTHER_PICTURES))
    if pairs and orphans and not any(label for _, label in pairs):  # the wrong folder, not a few that are left over
        found.problems.append(
            f"{label_dir}: none of its {len(orphans)} label files has an image in {image_dir} ({name_some(orphans)})"
        )
    elif orphans and not pairs:
        found.problems.append(f"{image_dir}: has no images, but {label_dir} has {len(orphans)} label files")
    return found


def read_pairs(
    source: str,
    labelled: LabelledImages,
    *,
    image_dir: str,
    class_names: Sequence[str],
    scored_labels: ScoredLabels = "refuse",
    follow_links: bool = False,
    notes: Sequence[str] = (),
) -> DetectionDataset:
    """Reads images with their label files, wherever the two lie.

    Args:
        source: the file or folder that named them, for messages.
        labelled: the images, and what is wrong already.
        image_dir: folder that the dataset's file names are relative to.
        class_names: the classes by index.
        scored_labels, follow_links: as in `read_yolo`.
        notes: lines about what was left out or guessed already.

    Returns:
        DetectionDataset in the order of the images; the rest as `read_yolo`.

    Raises:
        DataError: as `read_yolo`.
    """
    columns, found = Columns(), list(labelled.problems)
    lines = _Lines(columns=columns, classes=len(class_names), drop_scores=scored_labels == "drop", problems=found)
    for image, label in labelled.pairs:
        try:
            columns.sizes.extend(image_size(image))
        except DataError as error:
            found.append(str(error))
            continue
        columns.file_names.append(os.path.relpath(image, image_dir))
        columns.image_ids.append(len(columns.image_ids) + 1)
        if label is not None:
            lines.read(label)
    names = {"class_names": class_names, "category_ids": range(1, len(class_names) + 1)}
    return build_dataset(
        source, columns, image_dir=image_dir, **names, problems=[*found, *lines.score_problem()], keep_flat=False,
        notes=[*notes, *labelled.notes(), *lines.notes()], follow_links=follow_links,
    )  # fmt: skip


def _is_text(name: str) -> bool:
    return name.lower().endswith(".txt")


def _looks_like(line: str) -> str:
    """Returns a hint at another kind of label that a line may be, by the count of its numbers."""
    count = len(line.split())
    if count == 9:
        return " has 9 numbers (corners of a rotated box, OBB?)"
    return f" has {count} numbers (segments?)" if count >= 7 and count % 2 else ""


@attrs.define(kw_only=True)
class _Lines:
    """Reads label files into columns."""

    columns: Columns
    classes: int
    drop_scores: bool
    problems: list[str]
    scored: list[str] = attrs.Factory(list)

    def read(self, path: str) -> None:
        try:
            lines = read_lines(path)
        except DataError as error:
            self.problems.append(str(error))
            return
        for number, line in enumerate(lines, 1):
            if line.strip():
                self._read_line(line, f"{path}: line {number}")

    def _read_line(self, line: str, place: str) -> None:
        columns = self.columns
        try:
            index, *shares = (float(word) for word in line.split())
        except ValueError:
            index, shares = -1.0, []
        if len(shares) == 5:
            self.scored.append(f"{place}: {line.strip()[:60]!r}")
            shares = shares[:4] if self.drop_scores else [0.5, 0.5, 0.0, 0.0]  # refused for all lines at once
        if (
            len(shares) != 4
            or not all(abs(v) < 1e6 for v in shares)
            or not abs(index) < 1e6
            or index != int(index)
        ):
            self.problems.append(f"{place}: {line.strip()[:60]!r}{_looks_like(line)}, want {_WANTED}")
        elif not 0 <= index < self.classes:
            self.problems.append(f"{place}: class {int(index)} is none of the {self.classes} classes")
        else:
            height, width = columns.sizes[-2:]
            x, y, w, h = (share * side for share, side in zip(shares, (width, height) * 2, strict=True))
            columns.image_indices.append(len(columns.file_names) - 1)
            columns.boxes.extend((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
            columns.areas.append(w * h)
            columns.classes.append(int(index))
            columns.crowd.append(False)
            columns.annotation_ids.append(len(columns.annotation_ids) + 1)

    def score_problem(self) -> list[str]:
        if self.drop_scores or not self.scored:
            return []
        return [
            f"{len(self.scored)} lines have 6 numbers (with a confidence?), want {_WANTED}; `scored_labels` drop reads them "
            f"without the last ({self.scored[0]})"
        ]

    def notes(self) -> list[str]:
        return [f"the sixth number (a confidence?) of {len(self.scored)} lines was dropped"] if self.scored else []


YAML_SUFFIXES = (".yaml", ".yml")
MOST_BYTES = 1 << 20  # a thousand names take 30 kB; the parser reads some 100 kB a second
MOST_BRACKETS = 1000  # the parser's time grows with the square of their depth


def read_yolo_data(
    path: str,
    *,
    split: str,
    image_dir: str | None = None,
    scored_labels: ScoredLabels = "refuse",
    follow_links: bool = False,
    class_map: Mapping[str, str] | None = None,
) -> DetectionDataset:
    """Reads one part of a dataset that a YAML, Darknet's obj.data or a names file describes.

    Args:
        path: a YAML with `names`, with `train`, `val` and `test` as folders of images, lists of such folders, or text
            files that list images, and perhaps with `path`, the folder that they are relative to (else the YAML's
            own). Or Darknet's ``obj.data``, lines of ``key = value`` with `names`, `train` and `valid`. Or a text file
            with a class name on each line; then images lie in ``images/SPLIT`` or ``images`` beside it.
        split: the part, such as ``train``.
        image_dir: folder of the images, in place of the folders that the file names. Where it names lists of images,
            these are looked for in the folder, and its other images are not taken.
        scored_labels: "drop" reads lines with a sixth number, the confidence of a prediction, without it.
        follow_links: True accepts images that are links out of the folder that holds them.
        class_map: other names for the classes, as in `rename_classes`.

    Returns:
        DetectionDataset as `read_yolo` returns it. The labels of ``a/images/b.jpg`` are in ``a/labels/b.txt``; where no
        folder of the path is called images, they lie beside the images.

    Raises:
        DataError: the file is none of these, or names nothing for the part; or as `read_yolo`.
    """
    content, names = _describe(path)
    places, bases, notes = _find_places(content, path, split, image_dir)
    labelled, lists = LabelledImages(), [place for place in places if not os.path.isdir(place)]
    for place in places:
        if place in lists:
            labelled.add(_listed_pairs(place, bases, image_dir))
        else:
            labelled.add(folder_pairs(labels_of(place), place))
    root = image_dir
    if image_dir is None:
        images = [os.path.dirname(image) for image, _ in labelled.pairs] if lists else []
        folders = [place for place in places if place not in lists]
        root = os.path.commonpath([os.path.abspath(p) for p in [*folders, *images, *(bases[:1] if lists else [])]])
    dataset = read_pairs(
        path, labelled, image_dir=os.fspath(root), class_names=names, notes=notes,
        scored_labels=scored_labels, follow_links=follow_links,
    )  # fmt: skip
    return rename_classes(dataset, class_map)


def read_class_names(path: str) -> list[str]:
    """Reads class names from a dataset's YAML, from Darknet's obj.data, or from a text file with a name on each line.

    Args:
        path: the file; a YAML has `names` as a list or as indices with names.

    Returns:
        names by index.

    Raises:
        DataError: the file cannot be read, is something else, names no classes, or another number of them (`nc`).
    """
    return _describe(path)[1]


def read_class_map(path: str) -> dict[str, str]:
    """Reads a file of lines ``NAME IN THE DATASET: NAME WANTED`` (YAML or JSON).

    Args:
        path: of the file.

    Returns:
        Names wanted, by the names of a dataset.

    Raises:
        DataError: the file cannot be read or holds something else than texts by texts.
    """
    content = _read_yaml(path, "want lines such as NAME IN THE DATASET: NAME WANTED")
    if not content or not all(isinstance(part, str) and part.strip() for pair in content.items() for part in pair):
        raise DataError(f"{path}: want lines such as NAME IN THE DATASET: NAME WANTED")
    return {name.strip(): wanted.strip() for name, wanted in content.items()}


def _describe(path: str) -> tuple[dict, list[str]]:
    """Returns what a file says about the dataset (nothing for a file of names), and the class names."""
    if os.path.isdir(path):
        inside = sorted(name for name in os.listdir(path) if name.lower().endswith((*YAML_SUFFIXES, ".data", ".names")))
        raise DataError(f"{path}: is a folder; want its data.yaml or file of class names" + (
            f", such as {name_some(inside)}" if inside else ""))  # fmt: skip
    if path.lower().endswith(YAML_SUFFIXES):
        content = _read_yaml(path)
    else:
        text = read_text(path)
        if re.search(r"^(names|path|nc)[ \t]*:", text, re.MULTILINE):
            content = _read_yaml(path)
        elif re.search(r"^\s*(names|train|valid|classes)\s*=", text, re.MULTILINE):
            pairs = (line.partition("=") for line in text.splitlines() if line.strip() and line.strip()[0] not in "#;")
            content = {key.strip(): value.strip() for key, _, value in pairs}
            return _from_darknet(content, path)
        else:
            return {}, _names_of_lines(text, path)
    return content, _names_of_yaml(content, path)


def _from_darknet(content: dict, path: str) -> tuple[dict, list[str]]:
    """Returns Darknet's keys as those of a YAML, and the names of the file that it points to."""
    if not content.get("names"):
        raise DataError(f"{path}: is Darknet's file of a dataset, but has no names = FILE")
    file = _resolve(content["names"], _bases(path, None))
    if file is None or not os.path.isfile(file):
        raise DataError(f"{path}: its file of names, {content['names']!r}, is not there")
    names = _names_of_lines(read_text(file), file)
    if content.get("classes", str(len(names))) != str(len(names)):
        raise DataError(f"{path}: classes is {content['classes'][:60]}, but {file} has {len(names)} names")
    parts = {"train": content.get("train"), "val": content.get("valid") or content.get("val"), "test": content.get("test")}
    return {key: value for key, value in parts.items() if value}, names


def _names_of_lines(text: str, path: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    what = describe_content(text.encode()[:HEAD_BYTES]) if lines else "empty"
    given = [line for line in lines if line]
    if what not in ("a text file", None):
        raise DataError(f"{path}: is {what}, want a YAML, Darknet's obj.data or a file with a class name on each line")
    if sum(is_image_name(line) for line in given) > len(given) / 2:
        raise DataError(
            f"{path}: is a list of images ({name_some(given, most=1)}), want class names; a list belongs into a YAML as its "
            "`train` or `val`"
        )
    if all(len(line.split()) >= 5 and _is_numbers(line) for line in given):
        raise DataError(f"{path}: is a file of labels ({given[0][:40]}), want a class name on each line")
    if "" in lines:
        raise DataError(f"{path}: line {lines.index('') + 1} is empty, which would shift the classes after it; take it out")
    return _different(lines, path)


def _is_numbers(line: str) -> bool:
    try:
        return all(math.isfinite(float(word)) for word in line.split())
    except ValueError:
        return False


def _names_of_yaml(content: dict, path: str) -> list[str]:
    names, count = content.get("names"), content.get("nc", "")
    if names in (None, "", [], {}):
        stated = f"has nc: {str(count)[:20]}, but no names" if count else "has no names"
        raise DataError(f"{path}: {stated}; want names: [FIRST, SECOND, ...]")
    if isinstance(names, dict):
        names = _by_index(names, path)
    if not isinstance(names, list):
        raise DataError(f"{path}: names is the {'text' if isinstance(names, str) else type(names).__name__} {_short(names)}, "
                        "want a list of class names")  # fmt: skip
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{path}: names has {_short(name)} for class {i}, want a text")
    if str(count) not in ("", str(len(names))):
        raise DataError(f"{path}: nc is {str(count)[:60]}, but names has {len(names)}; want one name a class")
    return _different([name.strip() for name in names], path)


def _short(value: object) -> str:
    return repr(value)[:60]


def _by_index(names: dict, path: str) -> list:
    """Returns names in the order of their indices, which count from 0."""
    wanted = [str(i) for i in range(len(names))]
    if set(names) == set(wanted):
        return [names[key] for key in wanted]
    if set(names) == {str(i + 1) for i in range(len(names))}:
        raise DataError(f"{path}: names counts from 1, want from 0: labels count classes from 0")
    wrong = [key for key in names if key not in wanted]
    gaps = [key for key in wanted if key not in names]
    raise DataError(f"{path}: names has no class {name_some(gaps)}, but {_short(wrong[0])}; want 0 to {len(names) - 1}")


def _different(names: list[str], path: str) -> list[str]:
    doubled = [name for name, times in Counter(names).items() if times > 1]
    if doubled:
        places = ", ".join(str(i) for i, name in enumerate(names) if name == doubled[0])
        raise DataError(f"{path}: the name {doubled[0]!r} stands for several classes ({places}); want different names")
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


def _read_yaml(path: str, wanted: str = "want names, train and val") -> dict:
    """Reads a YAML whose scalars all stay texts, so that a class may be called no or 1."""
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
        raise DataError(f"{path}: holds a {type(content).__name__}, {wanted}")
    return content


def _bases(path: str, stated: str | None) -> list[str]:
    """Returns the folders that names of a description may be relative to, the likeliest first."""
    folder = os.path.dirname(os.path.abspath(path))
    if stated is None:
        return [folder]
    within = [os.path.join(folder, stated), os.path.abspath(stated)]
    return [*dict.fromkeys(os.path.normpath(base) for base in within if _exists(base)), folder]


def _resolve(entry: str, bases: Sequence[str]) -> str | None:
    """Returns the first place that is there: in one of the folders, also without the entry's first folder.

    Exports often lie one folder higher or lower than they were written for (``../train`` of Roboflow, ``data/train.txt``
    of CVAT).
    """
    entry = entry.replace("\\", "/") if "\\" in entry else entry
    forms = [entry]
    if not os.path.isabs(entry):
        parts = os.path.normpath(entry).split(os.sep)
        forms += [os.path.join(*parts[1:])] if len(parts) > 1 else []
    places = (os.path.normpath(os.path.join(base, form)) for form in forms for base in bases)
    return next((place for place in places if _exists(place)), None)


def _exists(place: str) -> bool:
    try:
        return os.path.exists(place)
    except ValueError:  # a zero byte in the name
        return False


def _find_places(
    content: dict, path: str, split: str, image_dir: str | None
) -> tuple[list[str], list[str], list[str]]:  # places, bases, notes
    """Resolves what a description says about a part to folders and lists that are there."""
    stated = content.get("path") if isinstance(content.get("path"), str) else None
    bases, notes = _bases(path, stated), []
    folder = bases[-1]
    if stated is not None and len(bases) == 1:
        notes.append(f"its path {stated!r} is not there; {folder} was taken in its place")
    if not content:
        within = os.path.join(folder, "images", split)
        usual = within if os.path.isdir(within) else os.path.join(folder, "images")
        return [usual if image_dir is None else os.fspath(image_dir)], bases, notes
    entries = content.get(split)
    entries = [entries] if isinstance(entries, str) else entries
    if not isinstance(entries, list) or not entries or not all(isinstance(e, str) and e for e in entries):
        if image_dir is not None:
            return [os.fspath(image_dir)], bases, notes
        known = ", ".join(key for key in ("train", "val", "test") if content.get(key))
        raise DataError(f"{path}: names no folder of images for {split!r}; it has {known or 'none of train, val, test'}")
    if image_dir is not None:
        lists = [entry for entry in entries if entry.lower().endswith(".txt")]
        found = [(entry, _resolve(entry, bases)) for entry in lists]
        gone = [entry for entry, place in found if place is None]
        if gone:
            notes.append(f"its list {name_some(gone)} is not there; all images of {image_dir} were taken")
        return [place for _, place in found if place] or [os.fspath(image_dir)], bases, notes
    places = [_existing(entry, bases, path) for entry in entries]
    for entry, place in zip(entries, places, strict=True):
        if not any(place == os.path.normpath(os.path.join(base, entry)) for base in bases):
            notes.append(f"{entry!r} is not there; {place} was taken in its place")
    return places, bases, notes


def _existing(entry: str, bases: Sequence[str], path: str) -> str:
    place = _resolve(entry, bases)
    if place is None:
        tried = os.path.normpath(os.path.join(bases[0], entry))
        raise DataError(f"{path}: {entry!r} is neither a folder nor a file; looked for {tried}")
    if os.path.isfile(place) and not place.lower().endswith(".txt"):
        raise DataError(f"{path}: {entry!r} is a file; want a folder of images, or a .txt file that lists images")
    return place


def _listed_pairs(path: str, bases: Sequence[str], image_dir: str | None) -> LabelledImages:
    """Pairs the images that a text file lists with their label files.

    Names are relative to the list, to the dataset's `path`, or to a folder above. With an image folder, the end of a name
    that is there counts.
    """
    folder, found = os.path.dirname(path), LabelledImages()
    lines = Counter(line.strip() for line in read_lines(path) if line.strip())
    found.repeated = [line for line, times in lines.items() if times > 1]
    for line in lines:
        if not is_image_name(line):
            found.problems.append(f"{path}: {line[:200]!r} has no suffix of an image")
            continue
        if image_dir is None:
            image = _resolve(line, [folder, *bases]) or os.path.normpath(os.path.join(folder, line))
        else:
            image = _within_folder(line, folder, os.fspath(image_dir))
        if image is None:
            found.problems.append(f"{path}: {line[:200]!r} is not in the image folder {image_dir}")
            continue
        label = os.path.splitext(labels_of(image))[0] + ".txt"
        found.pairs.append((image, label if os.path.isfile(label) else None))
    return found


def _within_folder(line: str, folder: str, image_dir: str) -> str | None:
    line = line.replace("\\", "/")
    name = relative_name(os.path.join(os.path.abspath(folder), line), image_dir)
    if not os.path.isabs(name) and os.path.isfile(os.path.join(image_dir, name)):
        return os.path.join(image_dir, name)
    parts = [part for part in line.split("/") if part not in ("", ".", "..")]
    ends = (os.path.join(image_dir, *parts[i:]) for i in range(len(parts)))
    return next((end for end in ends if os.path.isfile(end)), None)
