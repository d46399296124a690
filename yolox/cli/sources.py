"""The data formats that commands read, and the datasets that options name.

A new format is a reader in a file of its own, and a line in the table `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import tyro
from attrs import frozen

from yolox.data.classes import as_one_class
from yolox.data.dataset import DetectionDataset
from yolox.data.image import MAX_PIXELS
from yolox.data.layout import find_layout, read_part
from yolox.data.parts import DataLayout, DataPart, part_of
from yolox.data.yolo_layout import read_class_map
from yolox.errors import UsageError


@frozen(kw_only=True)
class Named:
    """A dataset as options name it."""

    path: str
    """The file or the folder."""
    image_dir: str | None
    """Folder of the images; None where it is not given."""
    split: str | None
    """Part of the dataset; None where it is not given."""
    part: str
    """What it is for: train or val."""
    conventions: Mapping[str, Any]
    """Other arguments of `yolox.data.layout.read_part`, from the options of the command."""


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


def _reader(form: str) -> Callable[[Named], DetectionDataset]:
    def read(named: Named) -> DetectionDataset:
        part = DataPart(format=form, path=named.path, image_dir=named.image_dir, split=named.split)
        return read_part(part, name=named.part, **named.conventions)

    return read


FORMATS = {
    "json": Format(_reader("json"), "COCO annotations of the {images}; --{part}-images says where these are.", is_single=True),
    "voc": Format(_reader("voc"), "VOC folder with Annotations and JPEGImages, or any folder of XML files."),
    "yolo": Format(_reader("yolo"), "YOLO's data.yaml, or a file of class names beside the folders images and labels."),
}
"""By name: the options are ``--train-NAME`` and ``--val-NAME``."""


@frozen(kw_only=True, slots=False)  # the options of a command inherit several of these
class DataOptions:
    """Where a dataset is, and how annotations are read: one convention for training and validation."""

    data: Path | None = None
    """Dataset in any format, recognised by its content: a data.yaml, a VOC, Roboflow, CVAT or COCO folder, or a COCO file.
    Its parts train and val are used where the options below name no others."""
    voc_first_pixel: Literal[0, 1] = 0
    """Coordinate of the first pixel in VOC files: 1 in VOC2007 to VOC2012, 0 as most tools write them."""
    voc_difficult_as_crowd: bool = False
    """Leave VOC objects marked difficult out of training, and ignore them in evaluation, as the VOC challenge does."""
    class_map: Path | None = None
    """File that renames classes: lines 'NAME IN THE DATASET: NAME WANTED', for names that are spelt otherwise."""
    follow_links: bool = False
    """Take images that are links out of the image folder, as a split made with ln -s has them."""
    scored_labels: Literal["refuse", "drop"] = "refuse"
    """YOLO lines with a sixth number, the confidence of a prediction: refuse them, or read them without it."""
    max_pixels: int = MAX_PIXELS
    """Most pixels of an image file; one that states more is refused before it is decoded."""


@frozen(kw_only=True, slots=False)
class DetectorDataOptions(DataOptions):
    """Where a dataset of a detector is."""

    single_class: bool = False
    """Take the boxes of all classes as one class, named object."""


def _with_formats(part: str, images: str) -> type:
    """Makes a class with a path for each format."""
    fields = {}
    for name, form in FORMATS.items():
        kind = Annotated[Path | None, tyro.conf.arg(help=form.help.format(part=part, images=images))]
        fields[f"{part}_{name}"] = attrs.field(default=None, type=kind)
    return attrs.make_class("Formats", fields, bases=(DetectorDataOptions,), frozen=True, kw_only=True, slots=False)


@frozen(kw_only=True, slots=False)
class TrainingSet(_with_formats("train", "training images")):
    """Where the training images and their boxes are: --data, or one of --train-json, --train-voc and --train-yolo."""

    train_images: Path | None = None
    """Folder of the training images; VOC and YOLO find theirs without it."""
    train_split: str | None = None
    """Part of the dataset: with --data train, val or test, else a list in ImageSets/Main, a key of the YAML, or a .txt list of
    VOC names; left out, it is train, or all of a VOC folder without lists."""


@frozen(kw_only=True, slots=False)
class ValidationSet(_with_formats("val", "validation images")):
    """Where the validation images and their boxes are: --data, or at most one of --val-json, --val-voc and --val-yolo."""

    val_images: Path | None = None
    """Folder of the validation images; VOC and YOLO find theirs without it."""
    val_split: str | None = None
    """Part of the dataset, as --train-split; left out, it is val."""


@frozen(kw_only=True)
class DataSource:
    """A dataset that options name: the file or folder for messages, and a function that reads it."""

    name: str
    read: Callable[[], DetectionDataset]
    part: str | None = None
    """The part of --data that it is; None where other options name the dataset."""
    layout: DataLayout | None = None
    """What --data was recognised as; None where other options name the dataset."""


def data_source(options, part: str, *, layout: DataLayout | None = None) -> DataSource | None:
    """Returns the source that the options of one part name.

    Args:
        options: has the fields of `TrainingSet` or `ValidationSet`.
        part: ``train`` or ``val``, the first word of the fields.
        layout: what --data is; None finds it.

    Returns:
        The source; None where the options name no dataset of this part, and --data has none.

    Raises:
        DataError: --data is no dataset.
        UsageError: two formats at once, COCO annotations without a folder of images, a folder alone, a COCO file as
            YOLO's, or VOC's conventions without a VOC folder.
    """
    values = {key: getattr(options, f"{part}_{key}") for key in (*FORMATS, "images", "split")}
    given = [key for key in FORMATS if values[key] is not None]
    singles = [key for key in given if FORMATS[key].is_single]
    if not given and options.data is not None:
        return _part_source(values, part, options, layout or find_layout(options.data))
    if len(given) > 1:
        raise UsageError(f"{' and '.join(f'--{part}-{key}' for key in given)}: give one of them")
    if (not given and values["images"] is not None) or (singles and values["images"] is None):
        raise UsageError(f"--{part}-json and --{part}-images: give both, or a VOC folder or a YOLO file alone")
    if values["split"] is not None and (not given or singles):
        raise UsageError(f"--{part}-split: is for --{part}-voc and --{part}-yolo; COCO has a file for each part")
    if given == ["yolo"] and values["yolo"].suffix.lower() == ".json":
        raise UsageError(f"--{part}-yolo {values['yolo']}: is no YOLO file; COCO annotations go to --{part}-json")
    return _source(given[0], values, part, options, layout) if given else None


def _voc_conventions(options) -> dict:
    return {"first_pixel": options.voc_first_pixel, "difficult_as_crowd": options.voc_difficult_as_crowd}


def reading_conventions(options: DataOptions, layout: DataLayout | None = None) -> dict[str, Any]:
    """Returns the arguments of `read_part` that options name.

    Args:
        options: of the command.
        layout: what --data is; None where it is not given.

    Raises:
        UsageError: an option is for a format that is not read.
        DataError: the file of ``--class-map`` cannot be read.
    """
    _check_conventions(options, layout)
    class_map = None if options.class_map is None else read_class_map(str(options.class_map))
    kept = {field: getattr(options, field) for field in ("follow_links", "max_pixels", "scored_labels")}
    return {**kept, "class_map": class_map, **_voc_conventions(options)}


def _check_conventions(options, layout: DataLayout | None) -> None:
    formats = {form for form in FORMATS for part in ("train", "val") if getattr(options, f"{part}_{form}", None) is not None}
    formats |= set() if layout is None else {part.format for part in layout.parts.values()}
    changed = [f"voc-{name.replace('_', '-')}" for name, value in _voc_conventions(options).items() if value]
    wrong = [(name, "voc") for name in changed] + [("scored-labels", "yolo")] * (options.scored_labels != "refuse")
    for name, form in wrong:
        if form not in formats:
            found = "" if layout is None else f"; --data {options.data} is {layout.name}"
            raise UsageError(f"--{name}: is for --train-{form} and --val-{form}{found}")


def training_source(options, *, layout: DataLayout | None = None) -> DataSource:
    """Returns the source of the training images; raises UsageError if the options name none."""
    layout = layout or _layout_of(options)
    source = data_source(options, "train", layout=layout)
    if source is None:
        raise UsageError(_nothing("no training images", "train", options, layout))
    return source


def training_sources(options) -> dict[str, DataSource | None]:
    """Returns the sources of the training images, "train", and of the validation images, "val", which may be None.

    Raises:
        DataError, UsageError: as `training_source` and `data_source`.
    """
    layout = _layout_of(options)
    return {"train": training_source(options, layout=layout), "val": data_source(options, "val", layout=layout)}


def evaluation_source(options) -> DataSource:
    """Returns the source of the images to evaluate on; raises UsageError if the options name none.

    Of a dataset with one part alone, that is it.
    """
    layout = _layout_of(options)
    source = data_source(options, "val", layout=layout)
    if source is None and layout is not None and len(layout.parts) == 1:
        source = data_source(attrs.evolve(options, val_split=next(iter(layout.parts))), "val", layout=layout)
    if source is None:
        raise UsageError(_nothing("no images to evaluate on", "val", options, layout))
    return source


def _layout_of(options) -> DataLayout | None:
    return None if options.data is None else find_layout(options.data)


def _nothing(problem: str, part: str, options, layout: DataLayout | None) -> str:
    if layout is None:
        return f"{problem}: give --data, or --{part}-json and --{part}-images, or --{part}-voc, or --{part}-yolo"
    return f"{problem}: --data {options.data} has the parts {', '.join(layout.parts)}; choose one with --{part}-split"


def _part_source(values: dict, part: str, options, layout: DataLayout) -> DataSource | None:
    name = values["split"] or part
    if values["split"] is None and part not in layout.parts:
        return None
    found = part_of(layout, name)
    values = {**values, found.format: found.path, "split": found.split}
    values["images"] = values["images"] or found.image_dir
    return attrs.evolve(_source(found.format, values, part, options, layout), part=name, layout=layout)


def _source(name: str, values: dict, part: str, options, layout: DataLayout | None) -> DataSource:
    images, split, conventions = values["images"], values["split"], reading_conventions(options, layout)

    def read() -> DetectionDataset:
        named = Named(
            path=str(values[name]),
            image_dir=None if images is None else str(images),
            split=split,
            part=part,
            conventions=conventions,
        )
        dataset = attrs.evolve(FORMATS[name].read(named), max_pixels=options.max_pixels)
        return as_one_class(dataset) if options.single_class else dataset

    return DataSource(name=str(values[name]), read=read)
