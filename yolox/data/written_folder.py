"""Folders of datasets that are written: names of images that every reader finds, copies and links, counts of what is lost."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs
import numpy as np

from yolox.data.classes import with_classes
from yolox.data.content import is_left_behind, name_some, read_head
from yolox.data.dataset import DetectionDataset, image_path
from yolox.data.header import is_image_name
from yolox.data.image import image_size
from yolox.data.parts import PARTS
from yolox.errors import DataError, raise_problems

Images = Literal["copy", "hardlink", "symlink"]
"""How image files get into a written folder. The readers take symbolic links only with `follow_links`."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")  # what lists, XML or UTF-8 do not hold
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


class FolderJob:
    """Places the images of a folder that is written, and counts what is not kept; its datasets have the same classes.

    Args:
        datasets: by part: train, val or test. Parts without images are left out and counted.
        images: whether image files are copied or linked.

    Raises:
        DataError: another part, or no images at all.
    """

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
            self.lose(f"areas that are not the box's (of segments?) are not kept, as {form} has none", part, other)
        data = next(iter(self.datasets.values()))
        used = sorted({data.class_names[c] for d in self.datasets.values() for c in np.unique(d.classes).tolist()})
        if form == "VOC" and used != list(data.class_names):
            kept = [name for name in data.class_names if name in set(used)]
            lost = [name for name in data.class_names if name not in set(used)]
            self._count("classes without a box are not kept, as VOC has no list of classes", lost)
            self._count("classes are read in the order of their names", kept if kept != used else [])
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
        notes = [f"{what}: {len(names)} ({name_some(dict.fromkeys(names))})" for what, names in self._lost.items()]
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
    target, made = Path(os.path.realpath(output)), []
    if os.path.islink(output) and not target.exists():
        raise DataError(f"{output}: is a link to {target}, which is not there; want a new folder, or an empty one")
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(f"{output}: is there already; want a new folder, or an empty one")
    # an empty folder stays the same one: it may be the working directory of a shell, or where a disk is mounted
    folder = target / f".{os.getpid()}.part" if target.is_dir() else target.parent / f".{target.name}.{os.getpid()}.part"
    try:
        made = [place for place in folder.parents if not place.exists()]
        folder.mkdir(parents=True)
        yield folder
        if folder.parent == target:
            for child in folder.iterdir():
                os.replace(child, target / child.name)
            folder.rmdir()
        else:
            os.replace(folder, target)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()
        if not isinstance(error, OSError):
            raise
        named = f"{error.filename2 or error.filename}: " if error.filename else ""
        raise DataError(f"{output}: cannot be written ({named}{error.strerror})") from None
