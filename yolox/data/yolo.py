"""YOLO datasets: data.yaml or a file of class names, and a text file of boxes for every image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import attrs

from yolox.data.build import Columns, build_dataset, files_below, read_lines, relative_name
from yolox.data.classes import rename_classes
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
from yolox.data.dataset import DetectionDataset
from yolox.data.header import UPRIGHT, is_image_name, read_header, without_array_copies
from yolox.data.image import MAX_PIXELS, image_size
from yolox.data.parts import has_labels_beside
from yolox.data.yolo_layout import describe_yolo, find_places, other_names, resolve_entry
from yolox.data.yolo_labels import LabelLines
from yolox.errors import DataError, stop_at_many_problems

NO_LABELS = ("classes", "names", "_darknet", "readme.dataset", "readme.roboflow")  # texts that tools leave among labels

_OTHER_LABELS = (".xml", ".json", ".csv")


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


def read_pairs(
    source: str,
    labelled: LabelledImages,
    *,
    image_dir: str,
    class_names: Sequence[str],
    scored_labels: ScoredLabels = "refuse",
    max_pixels: int = MAX_PIXELS,
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
        max_pixels: images that state more are refused.
        notes: lines about what was left out or guessed already.

    Returns:
        DetectionDataset in the order of the images; the rest as `read_yolo`.

    Raises:
        DataError: as `read_yolo`.
    """
    columns, found, turned = Columns(), list(labelled.problems), []
    lines = LabelLines(columns=columns, classes=len(class_names), drop_scores=scored_labels == "drop", problems=found)
    for image, label in labelled.pairs:
        try:
            size, is_turned = _upright_size(image, max_pixels)
            columns.sizes.extend(size)
            turned += [os.path.basename(image)] * is_turned
        except DataError as error:
            found.append(str(error))
            stop_at_many_problems(source, found)
            continue
        columns.file_names.append(os.path.relpath(image, image_dir))
        columns.image_ids.append(len(columns.image_ids) + 1)
        if label is not None:
            lines.read(label)
    names = {"class_names": class_names, "category_ids": range(1, len(class_names) + 1)}
    what = "photos that their EXIF data turn; their boxes are taken for the upright image, as labels state no size"
    turned_notes = [note_names(f"{what}: {len(turned)}", turned)] if turned else []
    return build_dataset(
        source, columns, image_dir=image_dir, **names, problems=[*found, *lines.counted_problems()], keep_flat=False,
        notes=[*notes, *labelled.notes(), *lines.notes(), *turned_notes], follow_links=follow_links,
    )  # fmt: skip


def _upright_size(image: str, max_pixels: int) -> tuple[tuple[int, int], bool]:
    """Returns height and width of an image as it is shown, and whether its header says that it is turned for that."""
    header = read_header(image)
    if header is None or header.shown is None:
        return image_size(image, max_pixels=max_pixels), False
    return header.shown, header.orientation != UPRIGHT


def _may_be_picture(name: str) -> bool:
    """Returns whether a file of an image folder may be an image that is not read, such as one without a suffix."""
    return not is_image_name(name) and not name.lower().endswith((".txt", *_OTHER_LABELS, ".yaml", ".yml"))


def _is_text(name: str) -> bool:
    return name.lower().endswith(".txt")


def read_yolo_data(
    path: str,
    *,
    split: str,
    image_dir: str | None = None,
    scored_labels: ScoredLabels = "refuse",
    max_pixels: int = MAX_PIXELS,
    follow_links: bool = False,
    class_map: Mapping[str, str] | None = None,
) -> DetectionDataset:
    """Reads one part of a dataset that a YAML, Darknet's obj.data or a names file describes.

    Args:
        path: a YAML with `names`, with `train`, `val` and `test` as folders of images, lists of such folders, or text
            files that list images, and perhaps with `path`, the folder that they are relative to (else the YAML's
            own). Or Darknet's ``obj.data``, lines of ``key = value`` with `names`, `train` and `valid`. Or a text file
            with a class name on each line; then images lie beside it, in ``images/SPLIT``, ``images``, ``SPLIT/images`` or
            ``SPLIT``, or in its own folder.
        split: the part, such as ``train``.
        image_dir: folder of the images, in place of the folders that the file names. Where it names lists of images,
            these are looked for in the folder, and its other images are not taken.
        scored_labels: "drop" reads lines with a sixth number, the confidence of a prediction, without it.
        max_pixels: images that state more are refused.
        follow_links: True accepts images that are links out of the folder that holds them.
        class_map: other names for the classes, as in `rename_classes`.

    Returns:
        DetectionDataset as `read_yolo` returns it. The labels of ``a/images/b.jpg`` are in ``a/labels/b.txt``; where no
        folder of the path is called images, or there is no such folder of labels, they lie beside the images.

    Raises:
        DataError: the file is none of these, or names nothing for the part; or as `read_yolo`.
    """
    found = find_labelled(path, split=split, image_dir=image_dir)
    dataset = read_pairs(
        path, found.labelled, image_dir=found.root, class_names=found.class_names, notes=found.notes,
        scored_labels=scored_labels, follow_links=follow_links, max_pixels=max_pixels,
    )  # fmt: skip
    return rename_classes(dataset, class_map)


@attrs.frozen(kw_only=True)
class FoundImages:
    """The images of one part of a dataset with their label files.

    Args:
        labelled: the images and labels.
        root: the folder that holds all images.
        class_names: the classes by index.
        notes: a line for each guess.
    """

    labelled: LabelledImages
    root: str
    class_names: list[str]
    notes: list[str]


def find_labelled(path: str, *, split: str, image_dir: str | None = None) -> FoundImages:
    """Finds the images and label files of one part of a dataset, without reading them.

    Args:
        path, split, image_dir: as for `read_yolo_data`.

    Returns:
        FoundImages.

    Raises:
        DataError: the file is no description of a dataset, or names nothing for the part.
    """
    content, names = describe_yolo(path)
    places, bases, notes = find_places(content, path, split, image_dir)
    labelled, lists = LabelledImages(), [place for place in places if not os.path.isdir(place)]
    for place in places:
        if place in lists:
            labelled.add(_listed_pairs(place, bases, image_dir))
        else:
            label_dir = _label_dir(place)
            labelled.add(folder_pairs(label_dir, place))
            notes += other_names(label_dir, names, path)
    root = image_dir
    if image_dir is None:
        images = [os.path.dirname(image) for image, _ in labelled.pairs] if lists else []
        folders = [place for place in places if place not in lists]
        root = os.path.commonpath([os.path.abspath(p) for p in [*folders, *images, *(bases[:1] if lists else [])]])
    return FoundImages(labelled=labelled, root=os.fspath(root), class_names=names, notes=notes)


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


def _label_dir(image_dir: str) -> str:
    """Returns the folder of labels: `labels_of` a folder of images, or that folder where the labels are there alone."""
    usual = labels_of(image_dir)
    return image_dir if not os.path.isdir(usual) and has_labels_beside(image_dir) else usual


def _listed_pairs(path: str, bases: Sequence[str], image_dir: str | None) -> LabelledImages:
    """Pairs the images that a text file lists with their label files.

    Names are relative to the list, to the dataset's `path`, or to a folder above. With an image folder, the end of a name
    that is there counts.
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
