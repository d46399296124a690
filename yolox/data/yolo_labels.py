"""YOLO's label files: the image that each belongs to, and their lines, which state a class and a box each."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import attrs

from yolox.data.build import MAX_LABEL_BYTES, Columns, files_below, read_lines, relative_name
from yolox.data.content import (
    AVIF,
    HEIC,
    IMAGE,
    OTHER_PICTURES,
    Note,
    count_kinds,
    counted,
    describe_content,
    name_some,
    note_names,
    read_head,
)
from yolox.data.header import is_image_name, without_array_copies
from yolox.data.parts import has_labels_beside
from yolox.data.yolo_layout import resolve_entry
from yolox.errors import DataError, stop_at_many_problems

NO_LABELS = ("classes", "names", "_darknet", "readme.dataset", "readme.roboflow")  # texts that tools leave among labels
_OTHER_LABELS = (".xml", ".json", ".csv")
_MOST_SHARE = 2  # a box may reach over the edge of its image
_WANTED = "a class index and four finite shares of the image (class cx cy w h)"


@attrs.define
class LabelledImages:
    """Images with their label files, as folders or lists name them.

    Args:
        pairs: path of each image, and of its label file or None.
        problems: a line for each thing that cannot be used.
        orphans: label files without an image.
        others: files of image folders that are not read.
        other_labels: files of label folders that are not read, such as XML.
        shared: images that have a label file in common, as their names differ by their suffixes alone.
        beside: text files beside the images, where labels lie in another folder.
        repeated: images that lists name more than once.
        elsewhere: entries of lists whose image was found in a folder of another name, each with its path.
    """

    pairs: list[tuple[str, str | None]] = attrs.Factory(list)
    problems: list[str] = attrs.Factory(list)
    orphans: list[str] = attrs.Factory(list)
    others: list[str] = attrs.Factory(list)
    other_labels: list[str] = attrs.Factory(list)
    shared: list[str] = attrs.Factory(list)
    beside: list[str] = attrs.Factory(list)
    repeated: list[str] = attrs.Factory(list)
    elsewhere: list[str] = attrs.Factory(list)

    def add(self, other: LabelledImages) -> None:
        """Appends those of another folder or list; an image that is there already is not repeated."""
        have = {image for image, _ in self.pairs}
        self.pairs += [pair for pair in other.pairs if pair[0] not in have]
        self.repeated += [image for image, _ in other.pairs if image in have] + other.repeated
        self.problems += other.problems
        self.orphans += other.orphans
        for name in ("others", "other_labels", "shared", "beside"):
            getattr(self, name).extend(getattr(other, name))
        self.elsewhere += other.elsewhere

    def notes(self) -> list[str]:
        """Returns a line for each kind of thing that was left out or guessed."""
        unlabelled = _base_names(image for image, label in self.pairs if label is None)
        kinds = (
            ("label file without an image was left out", "label files without an image were left out", _base_names(self.orphans)),
            ("image without a label file was taken as one without objects",
             "images without a label file were taken as images without objects", unlabelled),
            ("image is listed more than once and was taken once", "images are listed more than once and were taken once",
             _base_names(self.repeated)),
            ("image is in another folder than its list says", "images are in another folder than their list says",
             self.elsewhere),
            ("image has its label file in common with another of its name",
             "images have their label file in common with others of their names", _base_names(self.shared)),
            ("text file beside the images was not read, as labels are in a folder of their own",
             "text files beside the images were not read, as labels are in a folder of their own", _base_names(self.beside)),
        )  # fmt: skip
        lines = [note_names(counted(len(found), one, many), found) for one, many, found in kinds if found]
        for others, place in ((self.others, "image"), (self.other_labels, "label")):
            what = (f"file of the {place} folders was not taken", f"files of the {place} folders were not taken")
            text = f"{counted(len(others), *what)}: {count_kinds(_base_names(others))}"
            lines += [Note(text, others)] if others else []
        return lines


def _base_names(paths: Iterable[str]) -> list[str]:
    return [os.path.basename(path) for path in paths]


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
    names = without_array_copies(files_below(image_dir, is_image_name, linked=True))
    texts = files_below(label_dir, _is_text, linked=True)
    labels = {os.path.splitext(name)[0]: os.path.join(label_dir, name) for name in texts}
    stems = [os.path.splitext(name)[0] for name in names]
    times = Counter(stems)
    several = [stem for stem, count in Counter(os.path.splitext(name)[0] for name in texts).items() if count > 1]
    for stem in stems:  # behind links that are not listed, as they lead to what the folder has under another name
        if stem not in labels and os.path.isfile(path := os.path.join(label_dir, f"{stem}.txt")):
            labels[stem] = path
    pairs = [(os.path.join(image_dir, name), labels.get(stem)) for name, stem in zip(names, stems, strict=True)]
    orphans = sorted(stem for stem in set(labels) - set(stems) if os.path.basename(stem).lower() not in NO_LABELS)
    found = LabelledImages(pairs=pairs, orphans=[labels[stem] for stem in orphans])
    found.others = [
        name
        for name in files_below(image_dir, _may_be_picture, linked=True)
        if name.lower().endswith(OTHER_PICTURES)
        or describe_content(read_head(os.path.join(image_dir, name))) in (IMAGE, HEIC, AVIF)
    ]
    found.other_labels = files_below(label_dir, lambda name: name.lower().endswith(_OTHER_LABELS), linked=True)
    found.shared = [name for name, stem in zip(names, stems, strict=True) if stem in labels and times[stem] > 1]
    if os.path.realpath(label_dir) != os.path.realpath(image_dir):
        beside = files_below(image_dir, _is_text, linked=True)
        found.beside = sorted(name for name in beside if os.path.splitext(name)[0] in times)
    if several:
        found.problems.append(f"{label_dir}: has .txt and .TXT for one image ({name_some(sorted(several))}); want one of them")
    if pairs and orphans and not any(label for _, label in pairs):  # the wrong folder, not a few that are left over
        found.problems.append(
            f"{label_dir}: none of its label files ({len(orphans)}) has an image in {image_dir} ({name_some(orphans)})"
        )
    elif orphans and not pairs:
        found.problems.append(f"{image_dir}: has no images, but {label_dir} has {counted(len(orphans), 'label file')}")
    return found


def _may_be_picture(name: str) -> bool:
    """Returns whether a file of an image folder may be an image that is not read, such as one without a suffix."""
    return not is_image_name(name) and not name.lower().endswith((".txt", *_OTHER_LABELS, ".yaml", ".yml"))


def _is_text(name: str) -> bool:
    return name.lower().endswith(".txt")


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


def label_dir_of(image_dir: str) -> str:
    """Returns the folder of labels: `labels_of` a folder of images, or that folder where the labels are there alone.

    Args:
        image_dir: folder of images.

    Returns:
        The folder of their labels, which need not be there.
    """
    usual = labels_of(image_dir)
    return image_dir if not os.path.isdir(usual) and has_labels_beside(image_dir) else usual


def listed_pairs(path: str, bases: Sequence[str], image_dir: str | None) -> LabelledImages:
    """Finds the label file of every image that a text file lists.

    Args:
        path: the list, a path on each line: relative to the list, to one of `bases`, or to a folder above.
        bases: folders.
        image_dir: folder of the images, in place of the folders that the list names: the end of a path that is there counts.

    Returns:
        LabelledImages in the order of the list. An image that is not there stays in it: whoever reads it says so.

    Raises:
        DataError: 10,000 lines are of no use; or the list cannot be read.
    """
    folder, found, seen, missing = os.path.dirname(path), LabelledImages(), set(), []
    lines = Counter(line.strip() for line in read_lines(path) if line.strip())
    found.repeated = [line for line, times in lines.items() if times > 1]
    for line in lines:
        if not is_image_name(line):
            found.problems.append(f"{path}: {line[:200]!r} has no suffix of an image")
            stop_at_many_problems(path, found.problems)
            continue
        if image_dir is None:
            image = resolve_entry(line, [folder, *bases])
            if image is None:  # whoever reads it says so, but not of millions
                image = os.path.normpath(os.path.join(folder, line))
                missing.append(f"{image[:300]}: no such image file")
                stop_at_many_problems(path, missing)
        else:
            image = _within_folder(line, folder, os.fspath(image_dir))
        if image is None:
            found.problems.append(f"{path}: {line[:200]!r} is not in the image folder {image_dir}")
            stop_at_many_problems(path, found.problems)
            continue
        stated = os.path.basename(os.path.dirname(line.replace("\\", "/")))
        if stated not in ("", ".", "..", os.path.basename(os.path.dirname(image))):
            found.elsewhere.append(f"{line}: {image}")
        if image in seen:
            found.repeated.append(line)
        else:
            found.pairs.append((image, listed_label(image)))
        seen.add(image)
    return found


def listed_label(image: str) -> str | None:
    """Returns the label file of an image that a list names; None where it is not there.

    Args:
        image: path of the image.

    Returns:
        The file at `labels_of` the image, as a text file.
    """
    label = os.path.splitext(labels_of(image))[0] + ".txt"
    return label if os.path.isfile(label) else None


def _within_folder(line: str, folder: str, image_dir: str) -> str | None:
    line = line.replace("\\", "/")
    name = relative_name(os.path.join(os.path.abspath(folder), line), image_dir)
    if not os.path.isabs(name) and os.path.isfile(os.path.join(image_dir, name)):
        return os.path.join(image_dir, name)
    parts = [part for part in line.split("/") if part not in ("", ".", "..")]
    ends = (os.path.join(image_dir, *parts[i:]) for i in range(len(parts)))
    return next((end for end in ends if os.path.isfile(end)), None)


@attrs.define(kw_only=True)
class LabelLines:
    """Reads label files into columns, for the image that was added to them last; counts lines that are no labels."""

    columns: Columns
    classes: int
    drop_scores: bool
    problems: list[str]
    scored: list[str] = attrs.Factory(list)
    others: dict[str, list[str]] = attrs.Factory(dict)  # lines that are written otherwise, by how
    other_tasks: dict[int, list[str]] = attrs.Factory(dict)  # lines of segments and the like, by their count of numbers

    def read(self, path: str) -> None:
        """Reads a label file; what is wrong with it goes to `problems`, or is counted.

        Raises:
            DataError: `problems` has 10,000 entries.
        """
        try:
            lines = read_lines(path, most=MAX_LABEL_BYTES)
        except DataError as error:
            self.problems.append(str(error))
            return
        for number, line in enumerate(lines, 1):
            if line.strip():
                self._read_line(line, f"{path}: line {number}")
                stop_at_many_problems(path, self.problems)

    def _read_line(self, line: str, place: str) -> None:
        columns = self.columns
        try:
            index, *shares = (float(word) for word in line.split())
            shares = [] if "_" in line else shares  # 0_5 is 5 for Python alone
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
            self._add_strange(line, place)
        elif max(shares) > _MOST_SHARE:
            self.others.setdefault(f"a number above {_MOST_SHARE} (pixels?)", []).append(f"{place}: {line.strip()[:60]!r}")
        elif not 0 <= index < self.classes:
            self.problems.append(f"{place}: class {int(index)} is none of the {self.classes} classes")
        else:
            height, width = columns.sizes[-2:]
            x, y, w, h = (share * side for share, side in zip(shares, (width, height) * 2, strict=True))
            columns.add_box((x - w / 2, y - h / 2, x + w / 2, y + h / 2), int(index), area=w * h)

    def _add_strange(self, line: str, place: str) -> None:
        words, shown = line.split(), f"{place}: {line.strip()[:60]!r}"
        hint = _looks_like(line)
        if hint is not None:
            self.others.setdefault(hint, []).append(shown)
        elif _is_other_task(len(words)) and _are_numbers(words):
            self.other_tasks.setdefault(len(words), []).append(shown)
        else:
            self.problems.append(f"{shown}, want {_WANTED}")

    def counted_problems(self) -> list[str]:
        """Returns a line for each kind of line that is no label."""
        kinds = dict(self.others)
        if self.other_tasks:
            kinds[_other_task(self.other_tasks)] = [line for lines in self.other_tasks.values() for line in lines]
        lines = [f"{counted(len(v), 'line has', 'lines have')} {what}, want {_WANTED} ({v[0]})" for what, v in kinds.items()]
        if self.drop_scores or not self.scored:
            return lines
        return lines + [
            f"{counted(len(self.scored), 'line has', 'lines have')} 6 numbers (with a confidence?), want {_WANTED}; "
            f"`scored_labels` drop reads them without the last ({self.scored[0]})"
        ]

    def notes(self) -> list[str]:
        """Returns what was left out, in a line."""
        lines = counted(len(self.scored), "line")
        return [Note(f"the sixth number (a confidence?) of {lines} was dropped", self.scored)] if self.scored else []


def _looks_like(line: str) -> str | None:
    """Returns how a line is written otherwise than a label, where it can be told."""
    if re.search(r"\d[,;]", line):
        return "commas between the numbers"
    words = line.split()
    if len(words) == 10 and _are_numbers(words[:8]) and not _are_numbers(words[8:9]):
        return "corners of a rotated box and a class name (DOTA?)"
    if len(words) >= 5 and _are_numbers(words[-4:]) and not _are_numbers(words[:-4]):
        return "a class name in place of its index"
    return None


def _are_numbers(words: Sequence[str]) -> bool:
    try:
        return all(math.isfinite(float(word)) for word in words)
    except ValueError:
        return False


def _is_other_task(count: int) -> bool:
    """Returns whether a line of so many numbers may state segments, a rotated box or keypoints."""
    return count >= 7 and (count % 2 == 1 or (count - 5) % 3 == 0)


def _other_task(counts: Collection[int]) -> str:
    """Returns what lines of more numbers than a box has may be, by their counts."""
    if len(counts) > 1:
        kinds = ["segments"] * all(n % 2 for n in counts) or ["segments", "keypoints"]
        return f"{min(counts)} to {max(counts)} numbers ({' or '.join(kinds)}?)"
    (count,) = counts
    if count == 9:
        return "9 numbers (corners of a rotated box, OBB, or a segment of four points?)"
    kinds = ["segments"] * (count % 2) + ["keypoints"] * ((count - 5) % 3 == 0)
    return f"{count} numbers ({' or '.join(kinds)}?)"
