"""Writes datasets as folders of COCO, Pascal VOC or YOLO, which `find_layout` recognises."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import yaml

from yolox.data.coco import as_id
from yolox.data.dataset import DetectionDataset
from yolox.data.json_lists import read_lists
from yolox.data.voc_layout import LISTS
from yolox.data.written_folder import FolderJob, Images, WrittenData, new_folder


def write_coco(
    datasets: Mapping[str, DetectionDataset],
    output: str | os.PathLike,
    *,
    images: Images = "copy",
    originals: Mapping[str, Sequence[OriginalFile]] | None = None,
) -> WrittenData:
    """Writes datasets as ``annotations/instances_PART.json`` and ``images/PART``.

    Corners of boxes are read again to the last bit, and numbers of a COCO file with up to six digits are written as they were.

    Args:
        datasets: by part: train, val or test. Parts without images are left out and noted.
        output: a folder that is not there yet, or empty.
        images: whether image files are copied or linked.
        originals: by part, the COCO files whose entries are written with all their keys in place of the dataset's values;
            images that the dataset lacks are left out.

    Returns:
        What was written, and what was not kept.

    Raises:
        DataError: the output is there already or cannot be written, or an image cannot be read; nothing is left of it.
    """
    job = FolderJob(datasets, images)
    with new_folder(output) as folder:
        (folder / "annotations").mkdir()
        for part, data in job.datasets.items():
            names = job.place_images(part, folder / "images" / part)
            write_annotations(folder / f"annotations/instances_{part}.json", data, names, (originals or {}).get(part, ()))
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
    job = FolderJob(datasets, images)
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
    job = FolderJob(datasets, images)
    job.check_class_names()
    job.check_sizes()
    job.note_areas_and_ids("YOLO")
    with new_folder(output) as folder:
        for part in job.datasets:
            names = job.place_images(part, folder / "images" / part, by_stem=True, without=("images", "labels"))
            for name, text in zip(names, _yolo_texts(job, part), strict=True):
                _write(folder / "labels" / part / f"{os.path.splitext(name)[0]}.txt", text)
        class_names = next(iter(job.datasets.values())).class_names
        write_yolo_yaml(folder / "data.yaml", {part: f"images/{part}" for part in job.datasets}, class_names)
    return job.result(output)


WRITERS = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo}
"""The function that writes each format."""


@attrs.frozen(kw_only=True)
class OriginalFile:
    """A COCO file that a dataset was read from.

    Args:
        path: of the file.
        image_shift: the dataset's image ids less those of the file.
        annotation_shift: likewise for annotations.
    """

    path: str
    image_shift: int = 0
    annotation_shift: int = 0


def write_annotations(
    path: Path, dataset: DetectionDataset, names: Sequence[str], originals: Sequence[OriginalFile] = ()
) -> None:
    """Writes a COCO annotation file.

    Args:
        path: of the file, which must not be there.
        dataset: images, boxes and classes.
        names: of the image files, in place of the dataset's.
        originals: COCO files whose entries are written with all their keys, those of the dataset's images. Categories and
            what else they hold are those of the first.
    """
    with open(path, "x", encoding="utf-8") as file:
        if originals:
            named = dict(zip(dataset.image_ids.tolist(), names, strict=True))
            lists, others = _original_lists(originals, named)
        else:
            lists, others = _coco_lists(dataset, names), {"info": {}}  # which pycocotools wants
        start = "{"
        for key, entries in lists.items():
            file.write(f"{start}{json.dumps(key)}: [")
            entries(_Elements(file).write)
            file.write("]")
            start = ",\n"
        file.write("".join(f",\n{json.dumps(key)}: {json.dumps(value)}" for key, value in others.items()) + "}\n")


def write_yolo_yaml(path: Path, places: Mapping[str, str], class_names: Sequence[str]) -> None:
    """Writes the ``data.yaml`` of a YOLO dataset.

    Args:
        path: of the file, which must not be there.
        places: by part, a folder or list of images, relative to the file.
        class_names: by index.
    """
    content = {**places, "nc": len(class_names), "names": list(class_names)}
    _write(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6))


@attrs.define
class _Elements:
    """Writes the elements of a list in JSON."""

    file: Any
    count: int = 0

    def write(self, entry: Any) -> None:
        self.file.write((",\n" if self.count else "\n") + json.dumps(entry))
        self.count += 1


def _original_lists(originals: Sequence[OriginalFile], names: Mapping[int, str]) -> tuple[dict, dict]:
    """Returns functions that write the entries of each list, one in memory at a time, and what is no list."""
    others: dict[str, object] = {}
    keys = list(read_lists(originals[0].path, {}, others=others))

    def each(key: str, write) -> None:
        for original in originals if key in ("images", "annotations") else originals[:1]:
            read_lists(original.path, {key: partial(_pass_on, key, original, names, write)})

    return {key: partial(each, key) for key in keys}, others


def _pass_on(key: str, original: OriginalFile, names: Mapping[int, str], write, position: int, entry: Any) -> None:
    if key == "images":
        ident = as_id(entry.get("id")) + original.image_shift
        if ident in names:
            write({**entry, "id": ident, "file_name": names[ident]})
    elif key == "annotations":
        ident, image = as_id(entry.get("id", position + 1)), as_id(entry.get("image_id")) + original.image_shift
        if image in names:
            write({**entry, "id": ident + original.annotation_shift, "image_id": image})
    else:
        write(entry)


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


def _yolo_texts(job: FolderJob, part: str) -> Iterator[str]:
    """Yields the lines of each image, and counts what they leave out."""
    data = job.datasets[part]
    limits = np.tile(np.repeat(data.sizes[:, ::-1], np.diff(data.offsets), axis=0), 2).astype(np.float64)
    boxes = _decimals(data.boxes)
    clipped = np.clip(boxes, 0, limits)
    keep = ~data.crowd & ~_is_flat(clipped)
    job.lose("crowd regions were left out, as YOLO cannot mark them", part, data.crowd)
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
