"""The data formats that commands read. A new one is a reader in a file of its own, and a line in the table `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from yolox.data.coco import read_coco
from yolox.data.dataset import DetectionDataset
from yolox.data.voc import read_voc_data
from yolox.data.yolo import read_yolo_data


@frozen(kw_only=True)
class Named:
    """A dataset as options name it."""

    path: str
    """The file or the folder."""
    image_dir: str | None
    """Folder of the images; None where it is not given."""
    split: str
    """Part of the dataset: as given, else train or val."""
    has_split: bool
    """Whether the split was given."""
    options: Any
    """Of the command."""
    common: dict[str, Any]
    """Arguments that the readers of all formats take."""


@frozen
class Format:
    """A data format.

    Args:
        read: function of a `Named` that returns a DetectionDataset, or raises DataError.
        help: of the options; `{part}` becomes train or val, and `{images}` training or validation images.
        is_single: whether a file holds one part, and needs the folder of the images.
    """

    read: Callable[[Named], DetectionDataset]
    help: str
    is_single: bool = False


def _read_coco(named: Named) -> DetectionDataset:
    return read_coco(named.path, named.image_dir, **named.common)


def _read_voc(named: Named) -> DetectionDataset:
    return read_voc_data(
        named.path,
        split=named.split,
        image_dir=named.image_dir,
        all_without_lists=not named.has_split,
        first_pixel=named.options.voc_first_pixel,
        difficult_as_crowd=named.options.voc_difficult_as_crowd,
        max_pixels=named.options.max_pixels,
        **named.common,
    )


def _read_yolo(named: Named) -> DetectionDataset:
    conventions = {"scored_labels": named.options.scored_labels, "max_pixels": named.options.max_pixels}
    return read_yolo_data(named.path, split=named.split, image_dir=named.image_dir, **conventions, **named.common)


FORMATS = {
    "json": Format(_read_coco, "COCO annotations of the {images}; --{part}-images says where these are.", is_single=True),
    "voc": Format(_read_voc, "VOC folder with Annotations and JPEGImages, or any folder of XML files."),
    "yolo": Format(_read_yolo, "YOLO's data.yaml, or a file of class names beside the folders images and labels."),
}
"""By name: the options are ``--train-NAME`` and ``--val-NAME``."""
