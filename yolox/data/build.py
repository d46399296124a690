"""Builds a checked DetectionDataset from columns; readers of text files."""

from __future__ import annotations

import io
import logging
import os
from array import array
from collections.abc import Callable, Sequence
from urllib.parse import unquote

import attrs
import numpy as np

from yolox.data.content import Note, counted, is_left_behind, name_some, why_no_text
from yolox.data.dataset import DetectionDataset
from yolox.data.header import is_image_name
from yolox.errors import DataError, raise_problems
from yolox.wire import read_file

log = logging.getLogger("yolox.data")
_FOLDER_WANTED = "want the folder that their names are relative to (`train_images`, `val_images`)"
MAX_TEXT_BYTES = 64 << 20  # of a list
MAX_LABEL_BYTES = 4 << 20  # of the labels of an image: 100,000 boxes; a line takes ten times its size while it is read
MAX_JSON_BYTES = 16 << 20  # of JSON that is read whole, which takes up to 24 times its size as objects
_ROWS = 1 << 16  # boxes that are checked at a time


def _column(kind: str):
    """Declares a field of numbers in an array, which has no Python object for each of them."""
    return attrs.Factory(lambda: array(kind))


@attrs.define
class Columns:
    """Columns that a reader fills: images, then a row for each box, in any order of images.

    Args:
        file_names: a name for each image, relative to the image folder.
        image_ids: an id for each image.
        sizes: height, width px for each image, one after the other.
        image_indices: for each box the index of its image.
        boxes: for each box its corners x1, y1, x2, y2 in px, one after the other.
        classes: for each box the index of its class.
        crowd: for each box 1 where it is a region of many objects, else 0.
        areas: for each box its area in px**2.
        annotation_ids: for each box its id.
    """

    file_names: list = attrs.Factory(list)
    image_ids: array = _column("q")
    sizes: array = _column("i")
    image_indices: array = _column("i")
    boxes: array = _column("d")
    classes: array = _column("i")
    crowd: array = _column("b")
    areas: array = _column("d")
    annotation_ids: array = _column("q")

    def add_image(self, name: str, size: tuple[int, int]) -> None:
        """Adds an image, with its number, counted from 1, as its id.

        Args:
            name: file name.
            size: height, width px.
        """
        self.file_names.append(name)
        self.image_ids.append(len(self.image_ids) + 1)
        self.sizes.extend(size)

    def add_box(self, box: Sequence[float], class_index: int, *, area: float, crowd: bool = False) -> None:
        """Adds a box to the image that was added last, with its number, counted from 1, as its id.

        Args:
            box: x1, y1, x2, y2 px.
            class_index: of its class.
            area: px**2.
            crowd: whether it is a region of many objects.
        """
        self.image_indices.append(len(self.file_names) - 1)
        self.boxes.extend(box)
        self.areas.append(area)
        self.classes.append(class_index)
        self.crowd.append(crowd)
        self.annotation_ids.append(len(self.annotation_ids) + 1)


def build_dataset(
    source: str,
    columns: Columns,
    *,
    image_dir: str,
    class_names: Sequence[str],
    category_ids: Sequence[int],
    problems: Sequence[str] = (),
    notes: Sequence[str] = (),
    keep_flat: bool = True,
    follow_links: bool = False,
) -> DetectionDataset:
    """Checks the columns of a reader and packs them into flat arrays.

    A box that reaches over the edge of its image is kept (COCO has such; training clips it), a box without
    area too (training leaves it out); a box wholly outside its image, with a negative size or with a number
    that is not finite is an error.

    Args:
        source: the file or folder that was read, for messages.
        columns: images and boxes.
        image_dir: folder of the images.
        class_names: C names.
        category_ids: C ids.
        problems: those that the reader found; listed together with those found here.
        notes: lines about what the reader left out, guessed or replaced; they are logged and kept with the dataset.
        follow_links: True accepts images that links within the image folder lead to, wherever they are.
        keep_flat: whether boxes without width or height stay in the ground truth, as COCO's evaluation counts
            them; False leaves them out, logs how many and puts their ids into `left_out`.

    Returns:
        DetectionDataset with boxes sorted by image, otherwise in the order of the reader.

    Raises:
        DataError: naming up to 20 files and annotations that are wrong.
    """
    sizes = np.asarray(columns.sizes).reshape(-1, 2)
    image_indices, ids = np.asarray(columns.image_indices), np.asarray(columns.annotation_ids)
    boxes = np.asarray(columns.boxes).reshape(-1, 4)
    names = tuple(columns.file_names)
    found = [
        *problems,
        *_bad_images(names, columns.image_ids, image_dir, follow_links),
        *_bad_boxes(boxes, sizes, image_indices, ids, names),
    ]
    raise_problems(source, found)
    order = np.argsort(image_indices, kind="stable")
    flat = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)[order] & (not keep_flat)
    left_out, order = order[flat], order[~flat]
    if len(left_out):
        log.warning("%s: left out %s without area", source, counted(len(left_out), "box", "boxes"))
    notes = [*notes, *_alike_classes(class_names)]
    for note in notes:
        log.warning("%s: %s", source, note, extra={"is_note": True})
    counts = np.bincount(image_indices[order], minlength=len(names))
    return DetectionDataset(
        image_dir=os.fspath(image_dir),
        file_names=names,
        image_ids=np.array(columns.image_ids),
        sizes=np.array(sizes),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=boxes.astype(np.float32)[order],
        classes=np.asarray(columns.classes)[order],
        crowd=np.asarray(columns.crowd).astype(bool)[order],
        areas=np.asarray(columns.areas)[order],
        annotation_ids=ids[order],
        class_names=tuple(class_names),
        category_ids=tuple(category_ids),
        left_out=np.column_stack([image_indices[left_out], ids[left_out]]).astype(np.int64),
        source=os.fspath(source),
        notes=tuple(notes),
    )


def _alike_classes(names: Sequence[str]) -> list[str]:
    """Returns a note about classes whose names differ by case, spaces or underscores alone, such as a typing error makes them."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(name.casefold().replace("_", " ").split()), []).append(repr(name))
    alike = [" and ".join(group) for group in groups.values() if len(group) > 1]
    what = "names of classes differ by case or spaces alone, and stay classes of their own; `class_map` makes one of them"
    return [Note(f"{what}: {name_some(alike)}", alike)] if alike else []


def _bad_images(names: Sequence[str], image_ids: array, image_dir: str, follow_links: bool) -> list[str]:
    bad = [f"image id {i} occurs more than once" for i in _repeated_ids(image_ids)]
    bad += [f"image {name} is listed more than once" for name in _repeated(names)]
    if not os.path.isdir(image_dir):
        return [*bad, f"{image_dir}: no such image folder"]
    upwards, linked = _outside(names, image_dir)
    linked = set() if follow_links else linked
    gone = [name for name in names if name not in linked and not os.path.isfile(os.path.join(image_dir, name))]
    gone = [name for name in gone if name not in upwards]
    if len(gone) == len(names) > 1:
        windows = "; the names have the backslashes of Windows, want /; or" if "\\" in names[0] else ";"
        near = _near_file(names[0], image_dir)
        wanted = f"; {near} is there" if near else f"{windows} {_FOLDER_WANTED}"
        return [*bad, f"{image_dir}: has none of the {len(names)} image files, such as {names[0]}{wanted}"]
    bad += [f"{os.path.join(image_dir, name)}: lies outside of the image folder {image_dir}; refused" for name in upwards]
    if linked:
        bad.append(
            f"{name_some(linked)}: lies outside of the image folder {image_dir} by a link ({len(linked)} such); "
            "refused, `follow_links` allows it"
        )
    return bad + [f"{os.path.join(image_dir, name)}: {_why_missing(name, image_dir)}" for name in gone]


def _why_missing(name: str, image_dir: str) -> str:
    path = os.path.join(image_dir, name)
    if os.path.exists(path):
        return "is not a file"
    if os.path.islink(path):
        return f"is a link to {os.readlink(path)[:200]}, which is not there"
    if "\\" in name:
        return "no such image file; its name has the backslashes of Windows, want /"
    near = _near_file(name, image_dir)
    return f"no such image file; {near} is there" if near else "no such image file"


def _near_file(name: str, image_dir: str) -> str | None:
    """Returns an image that a name may mean: in other case, with another suffix, or with the signs of a URL (%20) read."""
    folder, base = os.path.split(unquote(name))
    place = os.path.join(image_dir, folder)
    have = [each for each in sorted(os.listdir(place)) if is_image_name(each)] if os.path.isdir(place) else []
    forms = (lambda text: text, str.casefold, lambda text: os.path.splitext(text)[0].casefold())
    found = next((each for form in forms for each in have if form(each) == form(base)), None)
    return os.path.join(folder, found) if found else None


def _outside(names: Sequence[str], image_dir: str) -> tuple[dict[str, None], dict[str, None]]:
    """Returns the names that lead out of the image folder: by their own parts, and by links."""
    root, upwards, linked = os.path.realpath(image_dir), {}, {}
    folders = {
        folder: is_within(os.path.realpath(os.path.join(root, folder)), root)
        for folder in {os.path.dirname(name) for name in names}
    }
    for name in names:
        path = os.path.join(root, name)
        if os.path.isabs(name) or os.path.normpath(name).startswith(".."):
            upwards[name] = None
        elif not folders[os.path.dirname(name)] or (os.path.islink(path) and not is_within(os.path.realpath(path), root)):
            linked[name] = None
    return upwards, linked


def relative_name(name: str, folder: str) -> str:
    """Returns a file name relative to a folder, where it is absolute and lies within it.

    Args:
        name: of a file, relative to the folder or absolute.
        folder: the image folder.

    Returns:
        The normalised name; an absolute name that lies elsewhere stays absolute.

    Example:
        >>> relative_name("/data/images/sub/a.jpg", "/data/images"), relative_name("./b.jpg", "/data/images")
        ('sub/a.jpg', 'b.jpg')
    """
    if os.path.isabs(name):
        for root in (os.path.abspath(folder), os.path.realpath(folder)):
            if is_within(os.path.normpath(name), root):
                return os.path.relpath(os.path.normpath(name), root)
    return os.path.normpath(name)


def is_within(path: str, root: str) -> bool:
    """Returns whether a path is a folder or lies in it.

    Args:
        path: absolute and normalised, without links where these count.
        root: the folder, likewise.

    Returns:
        True for the folder itself.
    """
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _repeated(values: Sequence) -> list:
    seen, repeated = set(), {}
    for value in values:
        if value in seen:
            repeated[value] = None
        seen.add(value)
    return list(repeated)


def _repeated_ids(ids) -> list[int]:
    ordered = np.sort(np.asarray(ids))
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]]).tolist()


def _bad_boxes(
    boxes: np.ndarray, sizes: np.ndarray, image_indices: np.ndarray, ids: np.ndarray, names: Sequence[str]
) -> list[str]:
    bad = [f"annotation id {i} occurs more than once" for i in _repeated_ids(ids)]
    if len(boxes) and sizes.min() > 1 and boxes.min() >= 0 and boxes.max() <= 1 and (boxes[:, 2:] > boxes[:, :2]).any():
        bad.append(f"all boxes ({len(boxes)}) lie within 1 px of a corner, as shares of the image would; want pixels")
    for start in range(0, len(boxes), _ROWS):
        rows = slice(start, start + _ROWS)
        for i, what in _complaints(boxes[rows], sizes[image_indices[rows]]):
            corners = ", ".join(f"{v:g}" for v in boxes[start + i])
            name = names[image_indices[start + i]]
            bad.append(f"annotation {ids[start + i]} of image {name}: box with corners ({corners}) {what}")
    return bad


def _complaints(boxes: np.ndarray, sizes: np.ndarray) -> list[tuple[int, str]]:
    """Returns indices and reasons of boxes [n,4] that are not valid in images of sizes [n,2]."""
    (height, width), (x1, y1, x2, y2) = sizes.T, boxes.T
    wild = ~(np.abs(boxes) < 1e9).all(axis=1)  # NaN and infinity too
    negative = (x2 < x1) | (y2 < y1)
    filled = (x2 > x1) & (y2 > y1)
    outside = (x1 > width) | (y1 > height) | (x2 < 0) | (y2 < 0)
    outside |= filled & ((x1 >= width) | (y1 >= height) | (x2 <= 0) | (y2 <= 0))
    causes = (
        (wild, lambda _: "has a number that is not finite or beyond 1e9"),
        (negative, lambda _: "has a negative size"),
        (outside, lambda i: f"is outside its image of {width[i]}x{height[i]}"),
    )
    wrong = np.flatnonzero(wild | negative | outside).tolist()
    return [(i, next(reason(i) for mask, reason in causes if mask[i])) for i in wrong]


def read_text(path: str, *, most: int = MAX_TEXT_BYTES) -> str:
    """Reads a text file in UTF-8, with or without a byte order mark.

    Args:
        path: of the file.
        most: bytes that it may have.

    Returns:
        The text without the mark; every line ends with a line feed.

    Raises:
        DataError: the file cannot be read, is a pipe or a device, has more than `most` bytes, or holds bytes that are
            not UTF-8.
    """
    try:
        return io.StringIO(read_file(path, most=most, error=DataError).decode("utf-8-sig"), newline=None).read()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except ValueError as error:
        raise DataError(f"{path}: is not a text file in UTF-8 ({why_no_text(path, error)})") from None


def read_lines(path: str, *, most: int = MAX_TEXT_BYTES) -> list[str]:
    """Reads the lines of a text file without their ends; errors as in `read_text`.

    Args:
        path: of the file.
        most: bytes that it may have.

    Returns:
        The lines.

    Raises:
        DataError: as `read_text`.
    """
    return read_text(path, most=most).splitlines()


def files_below(folder: str, wanted: Callable[[str], bool], *, linked: bool = False) -> list[str]:
    """Lists the files in a folder and its sub-folders, as names relative to it.

    Args:
        folder: to search.
        wanted: function of a file's name without folders; True includes the file.
        linked: True also lists what sub-folders hold that are links to folders elsewhere, so that it is read or refused but not
            missed; a link to what the folder holds itself is never followed.

    Returns:
        Names with their sub-folders, sorted.

    Raises:
        DataError: there is no such folder.
    """
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder")
    found, seen = [], {os.path.realpath(folder)}
    for place, folders, files in os.walk(folder, followlinks=linked):
        folders[:] = [name for name in folders if not is_left_behind(name) and _is_new(os.path.join(place, name), seen)]
        found += [os.path.join(place, name) for name in files if wanted(name) and not is_left_behind(name)]
    return sorted(os.path.relpath(path, folder) for path in found)


def _is_new(folder: str, seen: set[str]) -> bool:
    """Returns whether a sub-folder is none that was listed before, nor a link to what will be; adds where links lead."""
    if not os.path.islink(folder):
        return True
    place = os.path.realpath(folder)
    if any(is_within(place, other) or is_within(other, place) for other in seen):
        return False
    seen.add(place)
    return True
