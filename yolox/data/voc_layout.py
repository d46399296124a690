"""What a VOC folder holds: its XML files, images and lists of parts."""

from __future__ import annotations

import os
from collections import Counter

from yolox.data.build import files_below, is_within, read_lines
from yolox.data.content import counted, name_some
from yolox.data.header import is_image_name
from yolox.data.parts import PARTS, DataLayout, DataPart, list_files, list_folders, part_name
from yolox.errors import DataError, raise_problems, stop_at_many_problems

LISTS = os.path.join("ImageSets", "Main")
_XML_FOLDERS = ("Annotations", "annotations/xmls", "annotations", "xmls", "xml", "labels")
_IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "imgs", "image")
_LIST_NAMES = {"train": ("train", "trainval", "default"), "val": ("val",), "test": ("test",)}  # of VOC; default is CVAT's


def find_voc(folder: str) -> list[DataLayout]:
    """Finds a VOC folder with lists, one below ``VOCdevkit``, or folders of XML files beside images.

    Args:
        folder: path.

    Returns:
        A layout for each that is there.
    """
    if os.path.isdir(os.path.join(folder, "Annotations")) or annotation_dir_of(folder) != folder:
        return [_voc_layout(folder)]
    devkit = folder if os.path.basename(folder) == "VOCdevkit" else os.path.join(folder, "VOCdevkit")
    years = [os.path.join(devkit, name) for name in list_folders(devkit)]
    years = [year for year in years if os.path.isdir(os.path.join(year, "Annotations"))]
    if years:
        return [_voc_layout(year) for year in years]
    with_xml = [sub for sub in list_folders(folder) if part_name(sub) and _has_voc(os.path.join(folder, sub))]
    parts = {part_name(sub): DataPart(format="voc", path=os.path.join(folder, sub)) for sub in with_xml}
    for sub in list_folders(os.path.join(folder, "annotations")):  # annotations/train beside images/train
        xml, images = os.path.join(folder, "annotations", sub), os.path.join(folder, "images", sub)
        if part_name(sub) and os.path.isdir(images) and any(name.lower().endswith(".xml") for name in list_files(xml)):
            parts.setdefault(part_name(sub), DataPart(format="voc", path=xml, image_dir=images))
    if not parts and _has_xml(folder):
        parts = {"train": DataPart(format="voc", path=folder)}
    parts = {part: parts[part] for part in PARTS if part in parts}
    return [DataLayout(name="VOC, XML files", parts=parts)] if parts else []


def _has_voc(folder: str) -> bool:
    return _has_xml(folder) or annotation_dir_of(folder) != folder


def _voc_layout(folder: str) -> DataLayout:
    lists = {os.path.splitext(name)[0] for name in list_files(os.path.join(folder, LISTS)) if name.endswith(".txt")}
    found = {part: next((name for name in names if name in lists), None) for part, names in _LIST_NAMES.items()}
    parts = {part: DataPart(format="voc", path=folder, split=name) for part, name in found.items() if name is not None}
    if found["train"] == "trainval":
        parts.pop("val", None)  # its images are among those of trainval
    if not parts:
        parts = {"train": DataPart(format="voc", path=folder)}
    return DataLayout(name=f"VOC, {os.path.basename(folder)}", parts=parts)


def _has_xml(folder: str) -> bool:
    names = list_files(folder)
    return any(name.lower().endswith(".xml") for name in names) and any(is_image_name(name) for name in names)


def voc_files(folder: str, *, split: str, all_without_lists: bool = True, follow_links: bool = False) -> list[str]:
    """Lists the XML files of one part of a VOC folder.

    Args:
        folder, split, all_without_lists, follow_links: as for `read_voc_data`.

    Returns:
        Paths; a list may name files that are not there.

    Raises:
        DataError: no such list, a name that leads out of the annotations, or 10,000 names without a file or repeated.
    """
    files = annotation_files(annotation_dir_of(folder), list_of(folder, split, all_without_lists), follow_links)
    return [path for _, path in files]


def annotation_dir_of(folder: str) -> str:
    """Returns where the XML files of a folder lie: in ``Annotations``, in a folder of another usual name, or beside the images.

    Args:
        folder: of the dataset.

    Returns:
        Path; the folder itself where none of its sub-folders has XML files and a folder of images beside it.
    """
    first = os.path.join(folder, _XML_FOLDERS[0])
    if os.path.isdir(first):
        return first
    if not any(os.path.isdir(os.path.join(folder, name)) for name in _IMAGE_FOLDERS):
        return folder
    places = [os.path.join(folder, *name.split("/")) for name in _XML_FOLDERS[1:]]
    return next((place for place in places if os.path.isdir(place) and any(map(_is_xml, os.listdir(place)))), folder)


def image_dir_of(folder: str) -> str:
    """Returns where the images of a folder with `annotation_dir_of` lie.

    Args:
        folder: of the dataset.

    Returns:
        Path; ``JPEGImages`` where there is no folder of a usual name.
    """
    places = [os.path.join(folder, name) for name in _IMAGE_FOLDERS]
    return next((place for place in places if os.path.isdir(place)), places[0])


def list_of(folder: str, split: str, all_without_lists: bool) -> str | None:
    """Returns the file that lists the images of a part.

    Args:
        folder: of the dataset.
        split: name of a list in ``ImageSets/Main``, or the path of a ``.txt`` file.
        all_without_lists: whether a folder without lists is taken whole.

    Returns:
        Path; None for the whole folder.

    Raises:
        DataError: there is no such list.
    """
    if split.lower().endswith(".txt"):
        return split
    lists = os.path.join(folder, LISTS)
    if not os.path.isdir(lists):
        if all_without_lists:
            return None
        raise DataError(f"{folder}: has no {LISTS}, so no list {split!r}; leave the split out, or give a .txt file")
    path = os.path.join(lists, f"{split}.txt")
    if not os.path.isfile(path):
        known = sorted(name[:-4] for name in os.listdir(lists) if name.endswith(".txt"))
        known = [name for name in known if "_" not in name] or known  # cat_train is of one class
        raise DataError(f"{path}: no such list; there are {name_some(known, most=12) or 'none'}")
    return path


def annotation_files(annotation_dir: str, image_set: str | None, follow_links: bool) -> list[tuple[str, str]]:
    """Lists the annotations of a folder, or those that an image set names.

    Args:
        annotation_dir: folder of the XML files, searched with its sub-folders.
        image_set: a list with one name on each line, perhaps with a flag for one class behind it; None lists all.
        follow_links: True accepts sub-folders that are links.

    Returns:
        Name without suffix and path of each; a list may name files that are not there.

    Raises:
        DataError: no such folder or list, no XML file, or a name that leads out of the folder.
    """
    if not os.path.isdir(annotation_dir):
        raise DataError(f"{annotation_dir}: no such folder")
    names = files_below(annotation_dir, _is_xml, linked=True)
    have = {os.path.splitext(name)[0]: name for name in names}
    several = [stem for stem, count in Counter(os.path.splitext(name)[0] for name in names).items() if count > 1]
    if several:
        raise DataError(f"{annotation_dir}: has .xml and .XML for one image ({name_some(several)}); want one of them")
    root = os.path.realpath(annotation_dir)
    folders = {os.path.dirname(name) for name in have}
    linked = {folder for folder in folders if not is_within(os.path.realpath(os.path.join(root, folder)), root)}
    if linked and not follow_links:
        if image_set is None:
            raise DataError(
                f"{annotation_dir}: {counted(len(linked), 'sub-folder')} of XML files behind links out of it "
                f"({name_some(sorted(linked))}); refused, `follow_links` allows it"
            )
        have = {stem: name for stem, name in have.items() if os.path.dirname(name) not in linked}  # refused where it is listed
    if image_set is None and not have:
        raise DataError(f"{annotation_dir}: no .xml files in it or in its sub-folders")
    stems = sorted(have) if image_set is None else _listed_stems(image_set, annotation_dir, have)
    return [(stem, os.path.join(annotation_dir, have.get(stem, f"{stem}.xml"))) for stem in stems]


def _listed_stems(image_set: str, annotation_dir: str, have: dict[str, str]) -> list[str]:
    """Returns the annotations that an image set names; a list with 10,000 wrong names is read no further."""
    root, stems, seen = os.path.realpath(annotation_dir), [], set()
    outside, missing, repeated = [], [], []
    for line in read_lines(image_set):
        if not line.strip():
            continue
        stems.append(stem := _stem(line, have))
        if (name := os.path.normpath(stem)) in seen:
            repeated.append(f"{stem[:200]!r} is listed more than once")
            stop_at_many_problems(image_set, repeated)
        elif stem not in have:
            place = os.path.join(root, f"{stem}.xml")
            if not is_within(os.path.realpath(place), root):
                outside.append(f"{stem[:200]!r} lies outside of {annotation_dir}; refused")
            elif not os.path.isfile(place):
                missing.append(f"{stem[:200]!r} has no XML file in {annotation_dir}")
            stop_at_many_problems(image_set, outside)
            stop_at_many_problems(image_set, missing)
        seen.add(name)
    raise_problems(image_set, outside)
    return stems


def _is_xml(name: str) -> bool:
    return name.lower().endswith(".xml")


def _stem(line: str, have: dict[str, str]) -> str:
    """Returns the annotation that a line of an image set names, perhaps with a suffix or a flag."""
    line = line.strip()
    forms = (line, os.path.splitext(line)[0], line.rsplit(maxsplit=1)[0])
    return next((form for form in forms if form in have), forms[2]).replace("\0", "")
