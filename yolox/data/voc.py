"""Reads Pascal VOC annotations: an XML file for each image."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from yolox.data.build import Columns, build_dataset, files_below
from yolox.data.classes import rename_classes
from yolox.data.content import counted, name_some, note_names
from yolox.data.dataset import DetectionDataset
from yolox.data.header import is_image_name, without_array_copies
from yolox.data.image import MAX_PIXELS, image_size
from yolox.data.voc_layout import annotation_dir_of, annotation_files, image_dir_of, list_of
from yolox.errors import DataError, stop_at_many_problems
from yolox.wire import read_file

MAX_XML_BYTES = 8 << 20  # elements without content take a hundred times the memory of their text


def read_voc(
    annotation_dir: str,
    image_dir: str,
    *,
    image_set: str | None = None,
    class_names: Sequence[str] | None = None,
    first_pixel: int = 0,
    difficult_as_crowd: bool = False,
    follow_links: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> DetectionDataset:
    """Reads a folder of Pascal VOC annotations.

    Args:
        annotation_dir: folder of the XML files, searched with its sub-folders.
        image_dir: folder of the images, likewise; a file is found by the XML's own name, or else by the name in the
            XML. Where both are there and differ, that is an error, unless several XML files name the same image.
        image_set: a list with one name (without suffix) on each line, as in ImageSets/Main; None reads every
            XML file, by name.
        class_names: the classes wanted and their order; None takes those that occur, by name.
        first_pixel: 1 where coordinates count from 1 (the VOC challenge itself), 0 where from 0 (most tools).
        difficult_as_crowd: True leaves objects marked difficult out of training and ignores them in
            evaluation.
        follow_links: True accepts images that are links out of the image folder, and sub-folders of XML files that are links.
        max_pixels: images that state more are refused.

    Returns:
        DetectionDataset with ids counted from 1, categories too; boxes without area are left out.

    Raises:
        DataError: a list, folder or XML file that cannot be read, or no such file; names of a list that lead out of the
            annotations; or, all listed together up to 20: a missing image, an unknown class, a box that is not four
            finite numbers, has a negative size or lies outside its image.
    """
    problems: list[str] = []
    columns, found, unsized, marks = Columns(), {}, [], Counter()
    images = _ImageNames(image_dir)
    roots = []
    for stem, path in annotation_files(annotation_dir, image_set, follow_links):
        try:
            root = parse_annotation(path)
            _check_is_voc(root)
            roots.append((stem, path, root))
        except ValueError as error:
            problems.append(f"{path}: {error}")
            stop_at_many_problems(annotation_dir, problems)
    images.count_claims(root for _, _, root in roots)
    for stem, path, root in roots:
        try:
            name, size = images.find(root, stem), _image_size(root)
            if size is None:
                size = image_size(os.path.join(image_dir, name), max_pixels=max_pixels)
                unsized.append(os.path.basename(path))
        except ValueError as error:
            problems.append(f"{path}: {error}")
            stop_at_many_problems(annotation_dir, problems)
            continue
        columns.add_image(name, size)
        for number, entry in enumerate(root.iter("object"), 1):
            try:
                marks.update(_add_object(entry, columns, found, first_pixel))
            except ValueError as error:
                problems.append(f"{path}: object {number} ({_text(entry, 'name') or 'without a name'}): {error}")
                stop_at_many_problems(path, problems)
    notes = [*images.notes(), *_mark_notes(marks, difficult_as_crowd)]
    if first_pixel == 1 and (early := int((np.asarray(columns.boxes).reshape(-1, 4)[:, :2] < 0).any(axis=1).sum())):
        what = counted(early, "box begins", "boxes begin")
        notes.append(f"{what} at 0, but `first_pixel` is 1: do the coordinates count from 0?")
    taken = set(columns.file_names)
    unlabelled = [name for name in images.files if name not in taken] if image_set is None and not problems else []
    if unlabelled:
        what = counted(len(unlabelled), "image without an XML file was", "images without an XML file were")
        notes.append(note_names(f"{what} left out", unlabelled))
    if unsized:
        what = counted(len(unsized), "XML file states", "XML files state")
        notes.append(note_names(f"{what} no size, or 0; it was taken from the image", unsized))
    names = sorted(found) if class_names is None else list(class_names)
    unknown = sorted(set(found) - set(names))
    problems += [f"class {name!r} is none of the {len(names)} classes wanted" for name in unknown]
    index = {name: i for i, name in enumerate(names)}
    columns.classes = np.array([index.get(name, 0) for name in found], np.int32)[np.asarray(columns.classes)]
    if not difficult_as_crowd:
        columns.crowd = np.zeros(len(columns.classes), bool)
    ids = range(1, len(names) + 1)
    return build_dataset(
        annotation_dir,
        columns,
        image_dir=image_dir,
        class_names=names,
        category_ids=ids,
        problems=problems,
        notes=notes,
        keep_flat=False,
        follow_links=follow_links,
    )


def parse_annotation(path: str) -> ElementTree.Element:
    """Parses an XML file without entities.

    Args:
        path: of the file.

    Returns:
        Its outer element.

    Raises:
        ValueError: it cannot be read or is no such XML; the message does not name the file.
    """
    try:
        text = read_file(path, most=MAX_XML_BYTES, error=DataError)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    if b"<!ENTITY" in text.replace(b"\0", b""):  # in UTF-16 too
        raise ValueError("declares entities, which no annotation needs")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, RecursionError) as error:
        advice = "" if _is_utf8(text) else "; its bytes are not UTF-8: save it as UTF-8"
        raise ValueError(f"is not an XML file ({error}){advice}") from None
    except (LookupError, ValueError) as error:  # encodings that the parser does not read, such as GBK
        raise ValueError(f"is in an encoding that cannot be read ({error}); save it as UTF-8") from None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _image_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Returns height and width; None where they are absent or 0, as labelImg writes them for images that it cannot read."""
    _require_one(root, "size/height", "size/width")
    size = [_number(root.find(f"size/{side}")) for side in ("height", "width")]
    texts = [(root.findtext(f"size/{side}") or "").strip() for side in ("height", "width")]
    if any(not text or value == 0 for text, value in zip(texts, size, strict=True)):
        return None
    if not all(v is not None and 0 < v < 2**20 and v == int(v) for v in size):
        raise ValueError("its size states no positive whole height and width")
    return int(size[0]), int(size[1])


class _ImageNames:
    """Finds the image of each XML file.

    Args:
        image_dir: folder of the images.
    """

    def __init__(self, image_dir: str) -> None:
        names = without_array_copies(files_below(image_dir, is_image_name, linked=True)) if os.path.isdir(image_dir) else []
        self.files = names
        self._names = {os.path.splitext(name)[0]: name for name in names} | {name: name for name in names}
        self._same: dict[str, list[str]] = {}  # images by their names without suffix
        for name in names:
            self._same.setdefault(os.path.splitext(name)[0], []).append(name)
        self._claims: Counter[str] = Counter()
        self._own: list[str] = []

    def count_claims(self, roots: Iterable[ElementTree.Element]) -> None:
        """Counts how many XML files state each file name."""
        self._claims = Counter(map(_stated_name, roots))

    def find(self, root: ElementTree.Element, stem: str) -> str:
        """Returns the file name of an image; that of an image that is not there where none is.

        Raises:
            ValueError: two images fit.
        """
        _require_one(root, "filename")
        stated = _stated_name(root)
        forms = [os.path.join(os.path.dirname(stem), stated), stated] if stated else []
        by_name = next((self._names[form] for form in forms if form in self._names), None)
        own, same = self._names.get(stem), self._same.get(stem, [])
        if len(same) > 1 and by_name not in [name for name in same if name in forms]:
            raise ValueError(f"{' and '.join(same)} have its name; want one of them, or its <filename>")
        if own is None or by_name is None or own == by_name or os.path.splitext(by_name)[0] == stem:
            return by_name or own or stated or stem
        if self._claims[stated] == 1:
            raise ValueError(f"states the image {by_name}, and {own} has its own name; want one of the two")
        self._own.append(own)
        return own

    def notes(self) -> list[str]:
        """Returns a line about names that were not followed."""
        if not self._own:
            return []
        files = counted(len(self._own), "XML file states", "XML files state")
        what = f"{files} the <filename> of another one; the image of the file's own name was taken"
        return [note_names(what, self._own)]


def _stated_name(root: ElementTree.Element) -> str:
    """Returns <filename>; of a path of Windows or an absolute one, the last part."""
    stated = (root.findtext("filename") or "").strip().replace("\0", "").replace("\\", "/")
    return os.path.basename(stated) if stated.startswith("/") or ":/" in stated else stated


_CORNERS = tuple(f"bndbox/{key}" for key in ("xmin", "ymin", "xmax", "ymax"))
_DIFFICULT, _UNCLEAR, _PART, _DELETED, _IGNORED, _TURNED = "difficult", "unclear", "part", "deleted", "ignore", "turned"


def _add_object(entry, columns: Columns, found: dict[str, int], first_pixel: int) -> list[str]:
    """Adds one object to the columns and returns marks that it has; `found` numbers the names of classes as they appear.

    Raises:
        ValueError: it has no name or no box, or several.
    """
    if _number(entry.find("deleted")) == 1:  # by LabelMe
        return [_DELETED]
    _require_one(entry, "name", *_CORNERS)
    name, corners = _text(entry, "name"), [_number(entry.find(key)) for key in _CORNERS]
    if not name or any(v is None for v in corners):
        other = next((kind for kind in ("robndbox", "polygon") if entry.find(kind) is not None), None)
        raise ValueError("want a name and four finite numbers in bndbox" + (f"; it has a {other}" if other else ""))
    x1, y1, x2, y2 = corners[0] - first_pixel, corners[1] - first_pixel, corners[2], corners[3]
    is_difficult = _number(entry.find("difficult")) == 1
    columns.add_box((x1, y1, x2, y2), found.setdefault(name, len(found)), area=(x2 - x1) * (y2 - y1), crowd=is_difficult)
    marks = [_DIFFICULT] * is_difficult + [_PART] * (entry.find("part") is not None)
    marks += [_IGNORED] * (_number(entry.find("ignore")) == 1) + [_TURNED] * _is_turned(entry)
    return marks + [_UNCLEAR] * (_text(entry, "difficult") not in ("", "0", "1"))


def _is_turned(entry: ElementTree.Element) -> bool:
    """Returns whether an object states an angle, in the attributes that CVAT writes."""
    angles = [each.find("value") for each in entry.iterfind("attributes/attribute") if _text(each, "name") == "rotation"]
    return any((_number(angle) or 0) % 360 for angle in angles)


def _mark_notes(marks: Counter[str], difficult_as_crowd: bool) -> list[str]:
    """Returns lines about what objects are marked with, where it is not followed."""
    kinds = [
        (_UNCLEAR, "object has", "objects have", "a `difficult` that is neither 0 nor 1, and read as not difficult")
        if difficult_as_crowd
        else (_DIFFICULT, "object is", "objects are", "marked difficult and read like others; `difficult_as_crowd` ignores them"),
        (_PART, "object has", "objects have", "parts (head, hand, foot), which are not read"),
        (_IGNORED, "object has", "objects have", "`ignore`, which is not followed: read like others"),
        (_TURNED, "object has", "objects have", "a rotation, which is not applied: the box of the file was taken as it is"),
        (_DELETED, "object is", "objects are", "marked deleted, and left out"),
    ]
    return [f"{counted(marks[kind], one, many)} {what}" for kind, one, many, what in kinds if marks[kind]]


def _check_is_voc(root: ElementTree.Element) -> None:
    """Raises ValueError for XML of another kind: without this it would be an image without objects."""
    if root.find(".//object") is not None:
        return
    strange = next((each.tag for each in root.iter() if _plain_tag(each) in ("object", "box", "bndbox", "polygon")), None)
    if strange is not None or (_plain_tag(root) != "annotation" or "}" in root.tag):
        what = f"<{strange}>" if strange is not None else f"the outer element <{root.tag[:80]}>"
        raise ValueError(f"has {what} and no <object>, want VOC's <annotation> with <object> and <bndbox>")


def _plain_tag(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def _require_one(element: ElementTree.Element, *paths: str) -> None:
    """Raises ValueError where an element has two of what it should have once, with other texts."""
    for path in paths:
        texts = dict.fromkeys((each.text or "").strip() for each in element.findall(path))
        if len(texts) > 1:
            raise ValueError(f"has {path.replace('/', ' ')} {len(texts)} times ({name_some(texts)}), want it once")


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _number(element) -> float | None:
    """Returns the finite number in an element's text, or None."""
    try:
        value = float(element.text.replace("_", "?"))  # 1_2 is 12 for Python alone
    except (AttributeError, TypeError, ValueError):
        return None
    return value if abs(value) < 1e12 else None


def read_voc_data(
    folder: str,
    *,
    split: str,
    image_dir: str | None = None,
    all_without_lists: bool = True,
    first_pixel: int = 0,
    difficult_as_crowd: bool = False,
    follow_links: bool = False,
    max_pixels: int = MAX_PIXELS,
    class_map: Mapping[str, str] | None = None,
) -> DetectionDataset:
    """Reads one part of a VOC folder.

    Args:
        folder: one with ``Annotations`` and ``JPEGImages``, and perhaps ``ImageSets/Main``; one with ``annotations`` or
            ``xmls`` and ``images``; or any folder of XML files, with the images beside them.
        split: name of a list in ``ImageSets/Main``, such as ``train``; or the path of a text file (``.txt``) with the
            name of an image on each line.
        image_dir: folder of the images, in place of the usual one.
        all_without_lists: where the folder has no lists, take every XML file; False makes that an error.
        first_pixel: 1 where coordinates count from 1 (VOC2007 to VOC2012 themselves), 0 where from 0 (most tools).
        difficult_as_crowd: True leaves objects marked difficult out of training and ignores them in evaluation.
        follow_links: True accepts images that are links out of the image folder.
        max_pixels: images that state more are refused.
        class_map: other names for the classes, as in `rename_classes`.

    Returns:
        DetectionDataset as `read_voc` returns it, with the classes that occur, by name.

    Raises:
        DataError: no such list; or as `read_voc`.
    """
    annotations = annotation_dir_of(folder)
    images = image_dir or (folder if annotations == folder else image_dir_of(folder))
    image_set = list_of(folder, split, all_without_lists)
    reading = {"first_pixel": first_pixel, "difficult_as_crowd": difficult_as_crowd, "follow_links": follow_links}
    reading["max_pixels"] = max_pixels
    return rename_classes(read_voc(annotations, images, image_set=image_set, **reading), class_map)
