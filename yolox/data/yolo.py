"""YOLO datasets: data.yaml or a file of class names, and a text file of boxes for every image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

from yolox.data.build import Columns, build_dataset
from yolox.data.classes import rename_classes
from yolox.data.content import note_names
from yolox.data.dataset import DetectionDataset
from yolox.data.header import UPRIGHT, read_header
from yolox.data.image import MAX_PIXELS, image_size
from yolox.data.yolo_labels import LabelledImages, LabelLines, folder_pairs, label_dir_of, listed_pairs
from yolox.data.yolo_layout import describe_yolo, find_places, other_names
from yolox.errors import DataError, stop_at_many_problems

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
            turned += [os.path.basename(image)] * is_turned
        except DataError as error:
            found.append(str(error))
            stop_at_many_problems(source, found)
            continue
        columns.add_image(os.path.relpath(image, image_dir), size)
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
            labelled.add(listed_pairs(place, bases, image_dir))
        else:
            label_dir = label_dir_of(place)
            labelled.add(folder_pairs(label_dir, place))
            notes += other_names(label_dir, names, path)
    root = image_dir
    if image_dir is None:
        images = [os.path.dirname(image) for image, _ in labelled.pairs] if lists else []
        folders = [place for place in places if place not in lists]
        root = os.path.commonpath([os.path.abspath(p) for p in [*folders, *images, *(bases[:1] if lists else [])]])
    return FoundImages(labelled=labelled, root=os.fspath(root), class_names=names, notes=notes)
