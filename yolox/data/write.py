"""Writes datasets as folders of COCO, Pascal VOC or YOLO, which `find_layout` recognises, and converts between the formats."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np
import yaml

from yolox.data.build import files_below
from yolox.data.classes import with_classes
from yolox.data.coco import as_id
from yolox.data.content import is_left_behind, name_some, read_head
from yolox.data.dataset import DetectionDataset, image_path
from yolox.data.header import is_image_name
from yolox.data.image import image_size
from yolox.data.json_lists import read_lists
from yolox.data.layout import PARTS, DataLayout, DataPart, find_layout, read_part
from yolox.data.voc import LISTS, parse_annotation
from yolox.errors import DataError, raise_problems

Images = Literal["copy", "hardlink", "symlink"]
"""How image files get into a written folder. The readers take symbolic links only with `follow_links`."""
_CONTROL = re.compile("[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff\ufffe\uffff]")  # what lists, XML or UTF-8 do not hold
_SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"BM": ".bmp", b"II": ".tif", b"MM": ".tif", b"RIFF": ".webp"}


@attrs.frozen(kw_only=True)
class WrittenData:
    """A dataset that was written.

    Args:
        output: the folder.
        images: number of images of each part.
        boxes: number of boxes of each part.
        notes: a line for each kind of thing that was not kept, with its count.
    """

    output: str
    images: dict[str, int]
    boxes: dict[str, int]
    notes: tuple[str, ...]


def convert_data(
    path: str | os.PathLike | DataLayout,
    output: str | os.PathLike,
    *,
    to: Literal["coco", "voc", "yolo"],
    images: Images = "copy",
    **conventions: Any,
) -> WrittenData:
    """Writes all parts of a dataset in another format.

    Args:
        path: the dataset, as for `find_layout`, or what that has found.
        output: a folder that is not there yet, or empty.
        to: format that is written. From COCO to COCO every entry keeps all its keys.
        images: whether image files are copied or linked.
        conventions: as for `read_part`, such as ``first_pixel=1``.

    Returns:
        What was written, and what was not kept: what the reader does not read, and what the format does not hold. What the
        reader left out is logged.

    Raises:
        DataError: the dataset cannot be read, or not be written in this format; the output is there already. Then nothing
            is left of it.

    Example:
        >>> convert_data("VOC2007", "coco", to="coco", first_pixel=1)  # doctest: +SKIP
        WrittenData(output='coco', images={'train': 2501, 'val': 2510}, boxes={'train': 6301, 'val': 6307}, ...
    """
    if to not in WRITERS:
        raise DataError(f"`to` {to!r}: want one of {', '.join(WRITERS)}")
    layout = path if isinstance(path, DataLayout) else find_layout(path)
    datasets = {name: read_part(part, name=name, **conventions) for name, part in layout.parts.items()}
    if to == "coco" and not conventions.get("class_map"):
        originals = {name: part.path for name, part in layout.parts.items() if part.format == "json"}
        written = write_coco(datasets, output, images=images, originals=originals)
    else:
        originals = {}
        written = WRITERS[to](datasets, output, images=images)
    unread = [] if originals else unread_attributes(layout, difficult_as_crowd=conventions.get("difficult_as_crowd", False))
    return attrs.evolve(written, notes=(*unread, *written.notes))


def write_coco(
    datasets: Mapping[str, DetectionDataset],
    output: str | os.PathLike,
    *,
    images: Images = "copy",
    originals: Mapping[str, str] | None = None,
) -> WrittenData:
    """Writes datasets as ``annotations/instances_PART.json`` and ``images/PART``.

    Corners of boxes are read again to the last bit, and numbers of a COCO file with up to six digits are written as they were.

    Args:
        datasets: by part: train, val or test. Parts without images are left out and noted.
        output: a folder that is not there yet, or empty.
        images: whether image files are copied or linked.
        originals: by part, the COCO file whose entries are written with all their keys in place of the dataset's values; its
            images that the dataset lacks are left out.

    Returns:
        What was written, and what was not kept.

    Raises:
        DataError: the output is there already or cannot be written, or an image cannot be read; nothing is left of it.
    """
    job = _Job(datasets, images)
    with new_folder(output) as folder:
        (folder / "annotations").mkdir()
        for part, data in job.datasets.items():
            names = job.place_images(part, folder / "images" / part)
            write_annotations(folder / f"annotations/instances_{part}.json", data, names, original=(originals or {}).get(part))
    return job.result(output)


def write_voc(datasets: Mapping[str, DetectionDataset], output: str | os.PathLike, *, images: Images = "copy") -> WrittenData:
    """Writes datasets as a Pascal VOC folder: ``Annotations``, ``JPEGImages``, and ``ImageSets/Main`` with a list for each part.

    Coordinates count from 0 and may have decimals, so that boxes are read again to the last bit. Crowd regions become objects
    marked difficult.

    Args:
        datasets: by part: train, val or test. Parts without images are left out and noted.
        output: a folder that is not there yet, or empty.
        images: whether image files are copied or linked.

    Returns:
        What was written, and what was not kept.

    Raises:
        DataError: as `write_coco`; a class name is empty or has line breaks.
    """
    job = _Job(datasets, images)
    job.check_class_names()
    job.note_areas_and_ids("VOC")
    with new_folder(output) as folder:
        (folder / LISTS).mkdir(parents=True)
        taken: set[str] = set()
        for part, data in job.datasets.items():
            names = job.place_images(part, folder / "JPEGImages", by_stem=True, taken=taken)
            stems = [os.path.splitext(name)[0] for name in names]
            for index, (name, stem) in enumerate(zip(names, stems, strict=True)):
                _write(folder / "Annotations" / f"{stem}.xml", _voc_text(data, index, name))
            _write(folder / LISTS / f"{part}.txt", "".join(f"{stem}\n" for stem in stems))
            job.lose("crowd regions became objects marked difficult (read with `difficult_as_crowd`)", part, data.crowd)
            job.lose("boxes without area will not be read", part, _is_flat(data.boxes))
    return job.result(output)


def write_yolo(datasets: Mapping[str, DetectionDataset], output: str | os.PathLike, *, images: Images = "copy") -> WrittenData:
    """Writes datasets as a YOLO folder: ``data.yaml``, ``images/PART`` and ``labels/PART``.

    Boxes are clipped to their image, and read again within 0.0001 px. Crowd regions and boxes without area are left out, since
    YOLO's files cannot mark them.

    Args:
        datasets: by part: train, val or test. Parts without images are left out and noted.
        output: a folder that is not there yet, or empty.
        images: whether image files are copied or linked.

    Returns:
        What was written, and what was not kept.

    Raises:
        DataError: as `write_voc`; an image has another size than annotated, as boxes on the stored pixels of a photo that its
            EXIF data turns.
    """
    job = _Job(datasets, images)
    job.check_class_names()
    job.check_sizes()
    job.note_areas_and_ids("YOLO")
    with new_folder(output) as folder:
        for part in job.datasets:
            names = job.place_images(part, folder / "images" / part, by_stem=True, without=("images", "labels"))
            for name, text in zip(names, _yolo_texts(job, part), strict=True):
                _write(folder / "labels" / part / f"{os.path.splitext(name)[0]}.txt", text)
        class_names = list(next(iter(job.datasets.values())).class_names)
        content = {**{part: f"images/{part}" for part in job.datasets}, "nc": len(class_names), "names": class_names}
        _write(folder / "data.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6))
    return job.result(output)


WRITERS = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo}
"""The function that writes each format."""


def unread_attributes(layout: DataLayout, *, difficult_as_crowd: bool = False) -> list[str]:
    """Counts what the files of a dataset hold beside what a `DetectionDataset` keeps, such as segments.

    Args:
        layout: the dataset.
        difficult_as_crowd: whether its reader keeps the mark `difficult` of VOC.

    Returns:
        One line that names each attribute with its count; nothing where there are none.

    Raises:
        DataError: a COCO file cannot be read.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for form, path in dict.fromkeys((part.format, part.path) for part in layout.parts.values()):
        if form == "json":
            _count_coco(path, counts)
        elif form == "voc":
            _count_voc(path, counts, read={"name", "bndbox"} | ({"difficult"} if difficult_as_crowd else set()))
    found = [f"{key} of {count} {what}" for (key, what), count in counts.most_common()]
    return [f"not read, and so not kept: {', '.join(found)}"] if found else []


_COCO_KEYS = {
    "images": {"id", "file_name", "height", "width"},
    "annotations": {"id", "image_id", "category_id", "bbox", "area", "iscrowd"},
    "categories": {"id", "name"},
}
_NOTHING = ("", "0", "unspecified", "unknown", "none", "false")


def _count_coco(path: str, counts: Counter) -> None:
    def count(kind: str, _position: int, entry: Any) -> None:
        for key in entry.keys() - _COCO_KEYS[kind] if isinstance(entry, dict) else ():
            if entry[key] not in (None, [], {}) and str(entry[key]).lower() not in _NOTHING:
                counts[key, kind] += 1

    others: dict[str, object] = {}
    lengths = read_lists(path, {kind: partial(count, kind) for kind in _COCO_KEYS}, others=others)
    for key in (key for key, value in {**others, **lengths}.items() if key not in _COCO_KEYS and value):
        counts[key, "files"] += 1


def _count_voc(folder: str, counts: Counter, *, read: set[str]) -> None:
    within = os.path.join(folder, "Annotations")
    place = within if os.path.isdir(within) else folder
    for name in files_below(place, lambda name: name.lower().endswith(".xml")):
        try:
            root = parse_annotation(os.path.join(place, name))
        except ValueError:  # of no part, or the reader has named it
            continue
        for what, entries, known in (
            ("images", [root], {"filename", "folder", "path", "size", "object"}),
            ("objects", root.iter("object"), read),
        ):
            for entry in entries:
                tags = {child.tag for child in entry if child.tag not in known and _says_something(child)}
                counts.update((tag, what) for tag in tags)


def _says_something(element: ElementTree.Element) -> bool:
    return any(text.strip().lower() not in _NOTHING for text in element.itertext())


def write_annotations(path: Path, dataset: DetectionDataset, names: Sequence[str], *, original: str | None = None) -> None:
    """Writes a COCO annotation file.

    Args:
        path: of the file, which must not be there.
        dataset: images, boxes and classes.
        names: of the image files, in place of the dataset's.
        original: COCO file whose entries are written with all their keys, those of the dataset's images.
    """
    with open(path, "x", encoding="utf-8") as file:
        if original is None:
            lists, others = _coco_lists(dataset, names), {}
        else:
            lists, others = _Original(original, dict(zip(dataset.image_ids.tolist(), names, strict=True))).lists()
        start = "{"
        for key, entries in lists.items():
            file.write(f"{start}{json.dumps(key)}: [")
            entries(_Elements(file).write)
            file.write("]")
            start = ",\n"
        file.write("".join(f",\n{json.dumps(key)}: {json.dumps(value)}" for key, value in others.items()) + "}\n")


@attrs.define
class _Elements:
    """Writes the elements of a list in JSON."""

    file: Any
    count: int = 0

    def write(self, entry: Any) -> None:
        self.file.write((",\n" if self.count else "\n") + json.dumps(entry))
        self.count += 1


@attrs.frozen
class _Original:
    """Entries of a COCO file, one list after another, so that one entry is in memory at a time."""

    path: str
    names: dict[int, str]

    def lists(self) -> tuple[dict, dict]:
        others: dict[str, object] = {}
        keys = list(read_lists(self.path, {}, others=others))
        return {key: partial(self._each, key) for key in keys}, others

    def _each(self, key: str, write) -> None:
        def pass_on(_position: int, entry: Any) -> None:
            if key == "images":
                name = self.names.get(as_id(entry.get("id")))
                if name is not None:
                    write({**entry, "file_name": name})
            elif key != "annotations" or as_id(entry.get("image_id")) in self.names:
                write(entry)

        read_lists(self.path, {key: pass_on})


def _coco_lists(dataset: DetectionDataset, names: Sequence[str]) -> dict:
    corners = _decimals(dataset.boxes)
    image_ids = np.repeat(dataset.image_ids, np.diff(dataset.offsets)).tolist()
    sizes = corners[:, 2:] - corners[:, :2]
    rounded = sizes.round(6)  # 286.45 - 253 is 33.44999999999999 before
    sizes = np.where((rounded > 0) | (sizes == 0), rounded, sizes)

    def images(write) -> None:
        for ident, name, (height, width) in zip(dataset.image_ids.tolist(), names, dataset.sizes.tolist(), strict=True):
            write({"id": ident, "file_name": name, "height": height, "width": width})

    def annotations(write) -> None:
        for row, ident in enumerate(dataset.annotation_ids.tolist()):
            write({
                "id": ident, "image_id": image_ids[row], "category_id": dataset.category_ids[dataset.classes[row]],
                "bbox": [*corners[row, :2].tolist(), *sizes[row].tolist()], "area": float(dataset.areas[row]),
                "iscrowd": int(dataset.crowd[row]),
            })  # fmt: skip

    def categories(write) -> None:
        for ident, name in zip(dataset.category_ids, dataset.class_names, strict=True):
            write({"id": int(ident), "name": name})

    return {"images": images, "annotations": annotations, "categories": categories}


def _decimals(values: np.ndarray) -> np.ndarray:  # float32 -> float64
    """Returns the shortest decimals that stand for numbers of single precision: 286.45, not 286.4500122."""
    return values.astype(np.float32).astype(str).astype(np.float64).reshape(values.shape)


def _voc_text(dataset: DetectionDataset, index: int, name: str) -> str:
    root, (height, width) = ElementTree.Element("annotation"), dataset.sizes[index].tolist()
    _add(root, folder=os.path.join("JPEGImages", os.path.dirname(name)).rstrip("/"), filename=os.path.basename(name))
    _add(ElementTree.SubElement(root, "size"), width=width, height=height, depth=3)
    rows = slice(dataset.offsets[index], dataset.offsets[index + 1])
    boxes = _decimals(dataset.boxes[rows])
    for box, kind, crowd in zip(boxes.tolist(), dataset.classes[rows].tolist(), dataset.crowd[rows].tolist(), strict=True):
        entry = ElementTree.SubElement(root, "object")
        _add(entry, name=dataset.class_names[kind].strip(), pose="Unspecified", truncated=0, difficult=int(crowd))
        corners = {key: int(v) if v == int(v) else v for key, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)}
        _add(ElementTree.SubElement(entry, "bndbox"), **corners)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(parent: ElementTree.Element, **values: object) -> None:
    for tag, value in values.items():
        ElementTree.SubElement(parent, tag).text = str(value)


def _yolo_texts(job: _Job, part: str) -> Iterator[str]:
    """Yields the lines of each image, and counts what they leave out."""
    data = job.datasets[part]
    limits = np.tile(np.repeat(data.sizes[:, ::-1], np.diff(data.offsets), axis=0), 2).astype(np.float64)
    boxes = _decimals(data.boxes)
    clipped = np.clip(boxes, 0, limits)
    keep = ~data.crowd & ~_is_flat(clipped)
    job.lose("crowd regions were left out: YOLO cannot mark them", part, data.crowd)
    job.lose("boxes without area inside their image were left out", part, ~data.crowd & ~keep)
    job.lose("boxes partly outside of their image were clipped to it", part, keep & (clipped != boxes).any(axis=1))
    job.boxes[part] = int(keep.sum())
    centres = np.concatenate([clipped[:, :2] + clipped[:, 2:], 2 * (clipped[:, 2:] - clipped[:, :2])], axis=1) / 2
    shares = (centres / limits).tolist()
    for first, end in zip(data.offsets[:-1], data.offsets[1:], strict=True):
        rows = [row for row in range(first, end) if keep[row]]
        yield "".join(f"{data.classes[row]} {' '.join(f'{v:.10g}' for v in shares[row])}\n" for row in rows)


def _is_flat(boxes: np.ndarray) -> np.ndarray:  # [M,4] -> [M] bool
    return (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)


class _Job:
    """What the writers share: datasets with the same classes, names of images, and counts of what is not kept."""

    def __init__(self, datasets: Mapping[str, DetectionDataset], images: Images) -> None:
        unknown = [part for part in datasets if part not in PARTS]
        if unknown or images not in ("copy", "hardlink", "symlink"):
            what = f"part {unknown[0]!r}: want {', '.join(PARTS)}" if unknown else f"`images` {images!r}: want copy or a link"
            raise DataError(what)
        filled = {part: datasets[part] for part in PARTS if part in datasets and len(datasets[part])}
        if not filled:
            raise DataError("the dataset has no images")
        self.datasets, self.images = with_same_classes(filled), images
        self.boxes = {part: len(data.boxes) for part, data in self.datasets.items()}
        self._lost: dict[str, list[str]] = {}
        self._count("parts without images were left out", [part for part in datasets if part not in filled])

    def check_class_names(self) -> None:
        """Raises DataError for names that files of one name a line, or XML, do not hold."""
        names = next(iter(self.datasets.values())).class_names
        stripped = Counter(name.strip() for name in names)
        bad = [repr(name) for name in names if not name.strip() or _CONTROL.search(name) or stripped[name.strip()] > 1]
        if bad:
            raise DataError(f"class names that this format does not hold: {name_some(bad)}; rename them by `class_map`")

    def check_sizes(self) -> None:
        """Raises DataError for images whose files have another size than the boxes were made on."""
        problems = []
        for data in self.datasets.values():
            for index, size in enumerate(data.sizes.tolist()):
                found = image_size(image_path(data, index), max_pixels=data.max_pixels)
                if tuple(size) != found:
                    turned = "; boxes lie on the stored pixels, which its EXIF data turns" if found == tuple(size[::-1]) else ""
                    what = f"annotated {size[1]}x{size[0]}, the file has {found[1]}x{found[0]}{turned}"
                    problems.append(f"image {data.file_names[index]}: {what}")
        raise_problems("labels without a size of the image cannot be written", problems)

    def note_areas_and_ids(self, form: str) -> None:
        for part, data in self.datasets.items():
            sides = (data.boxes[:, 2:] - data.boxes[:, :2]).astype(float)
            other = np.abs(data.areas - sides.prod(axis=1)) > 1e-3 * np.maximum(data.areas, 1)
            self.lose(f"areas that are not the box's (of segments?) are not kept: {form} has none", part, other)
        data = next(iter(self.datasets.values()))
        used = sorted({data.class_names[c] for d in self.datasets.values() for c in np.unique(d.classes).tolist()})
        if form == "VOC" and used != list(data.class_names):
            kept = set(used)
            self._count("classes without a box are not kept: VOC has no list of classes", [n for n in data.class_names if n not in kept])
            if used != [name for name in data.class_names if name in kept]:
                self._count("classes are read in the order of their names", data.class_names)
        if list(data.category_ids) != list(range(1, len(data.category_ids) + 1)):
            self._count("category ids are read as 1, 2, 3 and so on", map(str, data.category_ids))

    def place_images(
        self, part: str, folder: Path, *, by_stem: bool = False, without: Sequence[str] = (), taken: set[str] | None = None
    ) -> list[str]:
        """Copies or links the images of a part into a folder, and returns their names in it."""
        data, taken, names = self.datasets[part], set() if taken is None else taken, []
        for index, name in enumerate(data.file_names):
            source = image_path(data, index)
            stem, suffix = os.path.splitext(_safe_name(name, without))
            if by_stem and not is_image_name(suffix):
                head = read_head(source)
                found = next((end for start, end in _SUFFIXES.items() if head.startswith(start)), ".jpg")
                stem, suffix = stem + suffix, found
            number, wanted = 1, stem
            while (key := _key(wanted if by_stem else wanted + suffix)) in taken:
                number += 1
                wanted = f"{stem}_{number}"
            taken.add(key)
            names.append(wanted + suffix)
            self._place(source, folder / names[-1])
        renamed = [f"{old}: {new}" for old, new in zip(data.file_names, names, strict=True) if os.path.normpath(old) != new]
        self._count("images got another name", renamed)
        return names

    def _place(self, source: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.images == "symlink":
            os.symlink(os.path.abspath(source), target)
        elif self.images == "hardlink":
            os.link(os.path.realpath(source), target)
        else:
            shutil.copyfile(source, target)

    def lose(self, what: str, part: str, mask: np.ndarray) -> None:
        """Counts boxes of a part that something happens to."""
        data = self.datasets[part]
        images = np.repeat(np.arange(len(data)), np.diff(data.offsets))[mask]
        self._count(what, [data.file_names[i] for i in images.tolist()])

    def _count(self, what: str, names: Iterable[str]) -> None:
        names = list(names)
        if names:
            self._lost.setdefault(what, []).extend(names)

    def result(self, output: str | os.PathLike) -> WrittenData:
        notes = [f"{len(names)} {what} ({name_some(dict.fromkeys(names))})" for what, names in self._lost.items()]
        images = {part: len(data) for part, data in self.datasets.items()}
        return WrittenData(output=os.fspath(output), images=images, boxes=self.boxes, notes=tuple(notes))


def _safe_name(name: str, without: Sequence[str]) -> str:
    """Returns a name that lies within the folder, and that every reader finds."""
    parts = [_CONTROL.sub("_", part).strip() for part in re.split(r"[\\/]", name)]
    parts = [part for part in parts if part not in ("", ".", "..")]
    parts = [part for part in parts[:-1] if part.lower() not in without] + parts[-1:]
    return "/".join(f"_{part}" if is_left_behind(part) else part for part in parts) or "image"


def _key(name: str) -> str:
    """Returns what names of one file have in common on systems that do not tell cases or forms of letters apart."""
    return unicodedata.normalize("NFC", name).casefold()


def with_same_classes(datasets: Mapping[str, DetectionDataset]) -> dict[str, DetectionDataset]:
    """Returns datasets with the classes of all of them, in the order of the first, and one category id for each.

    Args:
        datasets: by part, one or more.

    Returns:
        The datasets by part.
    """
    ids: dict[str, int] = {}
    for data in datasets.values():
        used = set(ids.values())
        pairs = zip(data.class_names, data.category_ids, strict=True)
        ids |= {name: int(ident) for name, ident in pairs if name not in ids and ident not in used}
        unused = max([*ids.values(), 0]) + 1
        ids |= {name: unused + i for i, name in enumerate(name for name in data.class_names if name not in ids)}
    same = {part: with_classes(data, list(ids)) for part, data in datasets.items()}
    return {part: attrs.evolve(data, category_ids=tuple(ids.values())) for part, data in same.items()}


@contextlib.contextmanager
def new_folder(output: str | os.PathLike) -> Iterator[Path]:
    """Yields a folder that becomes the output when the context ends; after an error nothing is left of it.

    Args:
        output: a folder that is not there yet, or empty.

    Yields:
        The folder to write to.

    Raises:
        DataError: the output is there already, or cannot be written.
    """
    target = Path(os.path.realpath(output))
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(f"{output}: is there already; want a new folder, or an empty one")
    folder = target.parent / f".{target.name}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True)
        yield folder
        os.replace(folder, target)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        named = f"{error.filename2 or error.filename}: " if error.filename else ""
        raise DataError(f"{output}: cannot be written ({named}{error.strerror})") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
