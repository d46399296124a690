"""Checks a dataset before training: counts, errors and warnings, and statistics of its labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from attrs import frozen

from yolox.config import Size
from yolox.data.content import note_names
from yolox.data.dataset import DetectionDataset, crowded_images, image_path, load_image
from yolox.data.header import UPRIGHT, read_header
from yolox.data.unread import unread_of
from yolox.errors import MAX_LISTED, DataError, raise_problems

EDGES = ("small", 32.0**2), ("medium", 96.0**2), ("large", np.inf)  # areas in px**2, as COCO's evaluation has them
FEWEST_PIXELS = 2.0
EXAMPLES = 3
MIRRORED = (
    "photos that their EXIF data mirror or turn without a change of size; their boxes are taken for the upright image, "
    "look at a few in labels.png"
)
DAMAGED = "image files that are damaged, of which the decoder says"
Probe = Callable[[DetectionDataset, int], tuple[str, str] | None]  # one of these kinds, and the image


@frozen(kw_only=True)
class DatasetReport:
    """Counts of a dataset, and the errors and warnings of a check.

    Args:
        images: number of images.
        boxes: number of boxes, crowds included.
        crowd: number of crowd regions, which training leaves out.
        per_class: boxes of each class, by name.
        per_size: boxes by area in the pixels of their images: small, medium, large as COCO sorts them.
        empty: images without a box.
        most: most boxes of one image.
        errors: a line for each file that training cannot use.
        warnings: a line for each kind of doubtful thing, with its count and a few examples.
    """

    images: int
    boxes: int
    crowd: int
    per_class: dict[str, int]
    per_size: dict[str, int]
    empty: int
    most: int
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def check_dataset(
    dataset: DetectionDataset, *, input_size: Size, max_gt: int | None, probe: Probe | None = None
) -> DatasetReport:
    """Counts images and boxes of a dataset and collects errors and warnings.

    Args:
        dataset: the dataset; its reader refuses what cannot be read at all.
        input_size: (height, width) px of the network, to find boxes too small for it.
        max_gt: largest number of ground truths of a training sample; images with more are reported. None stands for a
            dataset that is evaluated on: images with more objects of a class than COCO's metrics count are reported.
        probe: function of dataset and index that raises DataError for a file that training cannot use and returns a
            doubt (its kind, and the image) or None; None reads headers (`probe_header`). `probe_pixels` decodes every image.

    Returns:
        DatasetReport; it does not raise for what it finds.
    """
    counts = np.diff(dataset.offsets)
    areas = [int(n) for n in _between(dataset.areas, [edge for _, edge in EDGES])]
    errors, doubts = _probe_all(dataset, probe or probe_header)
    return DatasetReport(
        images=len(dataset),
        boxes=len(dataset.boxes),
        crowd=int(dataset.crowd.sum()),
        per_class=dict(zip(dataset.class_names, _per_class(dataset), strict=True)),
        per_size=dict(zip([name for name, _ in EDGES], areas, strict=True)),
        empty=int((counts == 0).sum()),
        most=int(counts.max(initial=0)),
        errors=tuple(errors),
        warnings=(*dataset.notes, *_doubtful_boxes(dataset, input_size), *_doubtful_images(dataset, max_gt), *doubts),
    )


def probe_header(dataset: DetectionDataset, index: int) -> tuple[str, str] | None:
    """Reads the header of an image file and compares its size with the annotated one.

    Args:
        dataset: the dataset.
        index: of the image.

    Returns:
        A kind of `yolox.data.unread` and the image's name where something of it is not read; `MIRRORED` and the name where
        its size does not show whether the boxes belong to the stored or the upright pixels; else None.

    Raises:
        DataError: the file cannot be read, is cut off or has another size than annotated.
    """
    path, size = image_path(dataset, index), tuple(dataset.sizes[index].tolist())
    header = read_header(path)
    fits = header is not None and size in (header.size, header.shown)
    if not fits or not header.whole or size[0] * size[1] > dataset.max_pixels:
        load_image(dataset, index)  # names what is wrong, if anything is
    unread = unread_of(path, channels=dataset.channels, max_value=dataset.max_value)
    if unread is not None:
        return unread.kind, f"{dataset.file_names[index]} {unread.what}"
    if dataset.channels not in (1, 3):  # the stored pixels are read there, whatever EXIF data say
        return None
    if header is not None and header.orientation not in (None, UPRIGHT) and header.size == header.shown:
        return MIRRORED, dataset.file_names[index]
    return None


def probe_pixels(
    dataset: DetectionDataset, index: int, *, see: Callable[[np.ndarray], object] | None = None
) -> tuple[str, str] | None:
    """Decodes an image file; result and errors as in `probe_header`, and `DAMAGED` where the decoder complains.

    Args:
        dataset: the dataset.
        index: of the image.
        see: function that gets the pixels, [H,W,3] uint8 BGR, such as one that hashes them.

    Returns:
        As `probe_header`.

    Raises:
        DataError: as `probe_header`, and where the pixels cannot be decoded.
    """
    complaints: list[str] = []
    image = load_image(dataset, index, complaints=complaints)
    if see is not None:
        see(image)
    if complaints:
        return DAMAGED, f"{dataset.file_names[index]}: {complaints[0]}"
    return probe_header(dataset, index)


def check_for_training(datasets: Mapping[str, DetectionDataset], *, input_size: Size, max_gt: int) -> list[str]:
    """Checks datasets before training: all boxes, and the headers of all images.

    Args:
        datasets: by name: "train", and "val" where there is one.
        input_size: (height, width) px of the network.
        max_gt: boxes of an image that training keeps.

    Returns:
        Warnings, a line each.

    Raises:
        DataError: files that training cannot use, up to 20 listed.
    """
    limits = {"train": max_gt}  # an evaluation keeps every ground truth
    reports = {name: check_dataset(data, input_size=input_size, max_gt=limits.get(name)) for name, data in datasets.items()}
    for name, report in reports.items():
        raise_problems(datasets[name].source or datasets[name].image_dir, report.errors)
    return training_warnings(reports, datasets)


def training_warnings(reports: Mapping[str, DatasetReport], datasets: Mapping[str, DetectionDataset]) -> list[str]:
    """Returns the warnings of reports, and one about images that are in both datasets.

    Args:
        reports: of the datasets, by name.
        datasets: as in `check_for_training`.

    Returns:
        A line each.
    """
    lines = [f"{name}: {line}" for name, report in reports.items() for line in report.warnings]
    shared = shared_images(datasets["val"], datasets["train"]) if "val" in datasets else []
    if shared:
        lines += _several("images for validation that are trained on too", shared)
    return lines


def shared_images(one: DetectionDataset, other: DetectionDataset) -> list[str]:
    """Returns the file names of `one` whose files are in `other` too; links are found, duplicates are not.

    Args:
        one: a dataset.
        other: another, such as the one for validation.

    Returns:
        Names as `one` has them, in its order.
    """
    files = set(_identities(other)) - {None}
    return [name for name, identity in zip(one.file_names, _identities(one), strict=True) if identity in files]


def _identities(dataset: DetectionDataset) -> list[tuple[int, int] | None]:
    """Returns device and inode of the file of each image, None where there is no file."""
    found = []
    for index in range(len(dataset)):
        try:
            state = os.stat(image_path(dataset, index))
        except OSError:
            found.append(None)
        else:
            found.append((state.st_dev, state.st_ino))
    return found


def _probe_all(dataset: DetectionDataset, probe: Probe) -> tuple[list[str], list[str]]:
    errors: list[str] = []
    doubts: dict[str, list[str]] = {}
    for index in range(len(dataset)):
        try:
            doubt = probe(dataset, index)
        except DataError as error:
            errors.append(str(error))
        else:
            if doubt is not None:
                doubts.setdefault(doubt[0], []).append(doubt[1])
    return errors, [line for kind, found in doubts.items() for line in _several(kind, found, most=MAX_LISTED)]


def _per_class(dataset: DetectionDataset) -> list[int]:
    return np.bincount(dataset.classes, minlength=len(dataset.class_names)).tolist()


def _between(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Counts the values up to each edge and above the one before."""
    return np.diff([0, *(int((values <= edge).sum()) for edge in edges)])


def _doubtful_boxes(dataset: DetectionDataset, input_size: Size) -> list[str]:
    image_indices = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))
    sides = dataset.boxes[:, 2:] - dataset.boxes[:, :2]
    least = sides.min(axis=1, initial=np.inf)
    limits = np.tile(dataset.sizes[image_indices][:, ::-1], 2).astype(np.float32)
    over = np.maximum(-dataset.boxes, dataset.boxes - limits).max(axis=1, initial=-np.inf)
    ratios = (np.array(input_size) / dataset.sizes).min(axis=1)[image_indices]
    tiny = (least > 0) & (least < FEWEST_PIXELS)
    kinds = (
        (f"boxes with a side below {FEWEST_PIXELS:g} px", tiny),
        (
            f"boxes with a side below {FEWEST_PIXELS:g} px at the network's {input_size[1]}x{input_size[0]}; "
            "a larger `input_size` shows them",
            (least > 0) & ~tiny & (least * ratios < FEWEST_PIXELS),
        ),
        ("boxes over the edge of their image by more than 1 px; training clips them", over > 1),
        ("boxes that repeat another one of their image and class", _repeated_boxes(dataset, image_indices)),
    )
    flat = np.concatenate([dataset.left_out, _named_boxes(dataset, image_indices, least <= 0)])
    return [
        *_several("boxes without area; training leaves them out", _annotations(dataset, flat), most=MAX_LISTED),
        *(
            line
            for what, mask in kinds
            for line in _several(what, _annotations(dataset, _named_boxes(dataset, image_indices, mask)))
        ),
    ]


def _repeated_boxes(dataset: DetectionDataset, image_indices: np.ndarray) -> np.ndarray:  # [M] bool
    rows = np.column_stack([image_indices, dataset.classes, dataset.boxes.astype(np.float64)])
    first = np.unique(rows, axis=0, return_index=True)[1]
    repeated = np.ones(len(rows), bool)
    repeated[first] = False
    return repeated


def _named_boxes(dataset: DetectionDataset, image_indices: np.ndarray, mask: np.ndarray) -> np.ndarray:  # [n,2]
    """Returns image index and annotation id of the boxes that a mask [M] selects."""
    return np.column_stack([image_indices[mask], dataset.annotation_ids[mask]])


def _annotations(dataset: DetectionDataset, boxes: np.ndarray) -> list[str]:
    return [f"annotation {ident} of image {dataset.file_names[index]}" for index, ident in boxes.tolist()]


def _crowded(dataset: DetectionDataset, max_gt: int | None) -> list[str]:
    """Returns warnings about images with more objects than training or evaluation takes."""
    counts, names = np.diff(dataset.offsets), dataset.file_names
    if max_gt is None:
        images, what = crowded_images(dataset), crowded_warning("`max_detections`")
    else:
        images = np.flatnonzero(counts > max_gt)
        what = f"images with more boxes than `max_gt` ({max_gt}); the smallest are left out"
    return _several(what, [f"image {names[i]} ({counts[i]})" for i in images])


def crowded_warning(option: str) -> str:
    """Returns what a count of `crowded_images` means, for a warning.

    Args:
        option: name of the argument that counts more detections.

    Returns:
        Text that a number follows.
    """
    return (
        "images with more than 100 objects of a class; COCO's AP counts the 100 best detections of each, "
        f"a second line up to {option}"
    )


def _doubtful_images(dataset: DetectionDataset, max_gt: int | None) -> list[str]:
    counts, names = np.diff(dataset.offsets), dataset.file_names
    absent = [name for name, count in zip(dataset.class_names, _per_class(dataset), strict=True) if count == 0]
    empty = [f"image {names[i]}" for i in np.flatnonzero(counts == 0)]
    many = len(empty) > len(dataset) / 2
    return [
        *_crowded(dataset, max_gt),
        *_several("images without a box, more than half; are labels missing?", empty if many else []),
        *_several("classes without a box", absent),
    ]


def _several(what: str, found: list[str], *, most: int = EXAMPLES) -> list[str]:
    """Returns a warning with its count and a few examples, or nothing where nothing was found."""
    if not found:
        return []
    return [note_names(f"{what}: {len(found)}", found, most=most)]


SIDE_EDGES = np.geomspace(1, 1024, 41)  # px of the network's input
PLACES = 25  # cells across and down an image
SMALL_SIDE = 8  # px, the finest stride


def label_statistics(dataset: DetectionDataset, *, input_size: Size) -> dict:
    """Counts objects by class, by size, by image and by place, as values for `json.dumps`.

    Call it before training: a class without objects, objects below 8 px, or images with hundreds of objects
    call for another input size or recipe.

    Args:
        dataset: the dataset; crowd regions are left out.
        input_size: height and width of the network's input; sizes are counted as the network sees them.

    Returns:
        dict with `class_names`, `images`, `objects`, `input_size`; `per_class`, a number for each class; `side_edges`
        (41 px) and `sides`, the objects between two of them; `small_share`, the share below 8 px; `per_image`, the
        number of images with 0, 1, 2, ... objects; `places` [25][25], the objects whose centre lies in a cell, rows from
        the top down.
    """
    image_indices = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))[~dataset.crowd]
    boxes, classes = dataset.boxes[~dataset.crowd], dataset.classes[~dataset.crowd]
    sides = _sides(boxes, dataset.sizes[image_indices], input_size)
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2 / dataset.sizes[image_indices][:, ::-1]).T
    counts = {
        "per_class": np.bincount(classes, minlength=len(dataset.class_names)),
        "sides": np.histogram(np.clip(sides, SIDE_EDGES[0], SIDE_EDGES[-1]), SIDE_EDGES)[0],
        "per_image": np.bincount(np.bincount(image_indices, minlength=len(dataset))),
        "places": np.histogram2d(y, x, bins=PLACES, range=((0, 1), (0, 1)))[0].astype(int),
    }
    return {
        "class_names": list(dataset.class_names),
        "images": len(dataset),
        "objects": len(boxes),
        "input_size": list(input_size),
        "side_edges": SIDE_EDGES.round(4).tolist(),
        "small_share": float(np.mean(sides < SMALL_SIDE)) if len(sides) else 0.0,
        **{name: table.tolist() for name, table in counts.items()},
    }


def _sides(boxes, sizes, input_size: Size) -> np.ndarray:  # [M,4],[M,2] -> [M] px of the input
    ratio = np.minimum(*(wanted / having for wanted, having in zip(input_size, sizes.T.astype(float), strict=True)))
    return np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)) * ratio
