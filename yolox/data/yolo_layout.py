"""What describes a YOLO dataset: a YAML, Darknet's obj.data or a file of class names, and the places that it names."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest

import yaml

from yolox.data.build import read_text
from yolox.data.content import HEAD_BYTES, counted, describe_content, name_some, note_names
from yolox.data.header import is_image_name
from yolox.data.parts import PARTS, list_folders, list_images, part_name
from yolox.errors import DataError

YAML_SUFFIXES = (".yaml", ".yml")
CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels")
"""Names of files of class names, as labelImg, CVAT, Label Studio and Roboflow write them."""
MOST_BYTES = 1 << 19  # a thousand names take 30 kB; the parser reads some 100 kB a second
MOST_BRACKETS = 1000  # the parser's time grows with the square of their depth


def folder_of_names(path: str) -> str:
    """Returns the folder of the dataset that a file of class names belongs to; labelImg writes it into ``labels``.

    Args:
        path: of the file of class names.

    Returns:
        Path of the folder.
    """
    folder = os.path.dirname(os.path.abspath(path))
    above = os.path.dirname(folder)
    return above if os.path.basename(folder) == "labels" and os.path.isdir(os.path.join(above, "images")) else folder


def _folder_beside(path: str, split: str) -> str:
    """Returns the folder of images that belongs to a file of class names.

    Raises:
        DataError: the images are in folders of parts, and none has the part's name.
    """
    folder = folder_of_names(path)
    images = os.path.join(folder, "images")
    places = [os.path.join(images, split), images, os.path.join(folder, split, "images"), os.path.join(folder, split)]
    found = next((place for place in places if os.path.isdir(place)), images)
    if found == images and os.path.isdir(images):
        parts = [name for name in list_folders(images) if part_name(name)]
        if parts and not list_images(images):
            raise DataError(f"{images}: has no folder {split!r}; it has {name_some(parts)}")
    return folder if found == images and not os.path.isdir(images) and list_images(folder) else found


def read_class_names(path: str) -> list[str]:
    """Reads class names from a dataset's YAML, from Darknet's obj.data, or from a text file with a name on each line.

    Args:
        path: the file; a YAML has `names` as a list or as indices with names.

    Returns:
        names by index.

    Raises:
        DataError: the file cannot be read, is something else, names no classes, or another number of them (`nc`).
    """
    return describe_yolo(path)[1]


def read_class_map(path: str) -> dict[str, str]:
    """Reads a file of lines ``NAME IN THE DATASET: NAME WANTED`` (YAML or JSON).

    Args:
        path: of the file.

    Returns:
        Names wanted, by the names of a dataset.

    Raises:
        DataError: the file cannot be read or holds something else than texts by texts.
    """
    content = _read_yaml(path, "want lines such as NAME IN THE DATASET: NAME WANTED")
    if not content or not all(isinstance(part, str) and part.strip() for pair in content.items() for part in pair):
        raise DataError(f"{path}: want lines such as NAME IN THE DATASET: NAME WANTED")
    return dict(content)


def describe_yolo(path: str) -> tuple[dict, list[str]]:
    """Reads what a file says about a dataset.

    Args:
        path: a YAML, Darknet's obj.data or a file of class names.

    Returns:
        Its keys, those of a YAML (nothing for a file of names), and the class names.

    Raises:
        DataError: as `read_class_names`.
    """
    if os.path.isdir(path):
        inside = sorted(name for name in os.listdir(path) if name.lower().endswith((*YAML_SUFFIXES, ".data", ".names")))
        raise DataError(f"{path}: is a folder; want its data.yaml or file of class names" + (
            f", such as {name_some(inside)}" if inside else ""))  # fmt: skip
    if path.lower().endswith(YAML_SUFFIXES):
        content = _read_yaml(path)
    else:
        text = read_text(path)
        if re.search(r"^(names|path|nc)[ \t]*:", text, re.MULTILINE):
            content = _read_yaml(path)
        elif re.search(r"^\s*(names|train|valid|classes)\s*=", text, re.MULTILINE):
            pairs = (line.partition("=") for line in text.splitlines() if line.strip() and line.strip()[0] not in "#;")
            content = [(key.strip(), value.strip()) for key, _, value in pairs]
            doubled = [key for key, times in Counter(key for key, _ in content).items() if times > 1]
            if doubled:
                raise DataError(f"{path}: has the key {doubled[0][:80]!r} twice")
            return _from_darknet(dict(content), path)
        else:
            return {}, _names_of_lines(text, path)
    return content, _names_of_yaml(content, path)


def _from_darknet(content: dict, path: str) -> tuple[dict, list[str]]:
    """Returns Darknet's keys as those of a YAML, and the names of the file that it points to."""
    if not content.get("names"):
        raise DataError(f"{path}: is Darknet's file of a dataset, but has no names = FILE")
    file = resolve_entry(content["names"], _bases(path, None))
    if file is None or not os.path.isfile(file):
        raise DataError(f"{path}: its file of names, {content['names']!r}, is not there")
    names = _names_of_lines(read_text(file), file)
    if content.get("classes", str(len(names))) != str(len(names)):
        raise DataError(f"{path}: classes is {content['classes'][:60]}, but {file} has {len(names)} names")
    parts = {"train": content.get("train"), "val": content.get("valid") or content.get("val"), "test": content.get("test")}
    return {key: value for key, value in parts.items() if value}, names


def _names_of_lines(text: str, path: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    what = describe_content(text.encode()[:HEAD_BYTES]) if lines else "empty"
    given = [line for line in lines if line]
    if what not in ("a text file", None):
        raise DataError(f"{path}: is {what}, want a YAML, Darknet's obj.data or a file with a class name on each line")
    if sum(is_image_name(line) for line in given) > len(given) / 2:
        raise DataError(
            f"{path}: is a list of images ({name_some(given, most=1)}), want class names; a list belongs into a YAML "
            "as its train or val"
        )
    if all(len(line.split()) >= 5 and _is_numbers(line) for line in given):
        raise DataError(f"{path}: is a file of labels ({given[0][:40]}), want a class name on each line")
    if any(not line.isprintable() for line in "".join(given).split("\t")):
        raise DataError(f"{path}: has bytes that no text has, want a file with a class name on each line")
    commas = [line.count(",") for line in given]
    if min(commas) >= 3 or (min(commas) and (path.lower().endswith(".csv") or all(re.search(r",\s*\d+$", e) for e in given))):
        raise DataError(f"{path}: is a table ({given[0][:60]}), want a class name on each line; CSV files are not read")
    if any(line.endswith("{") for line in given):
        raise DataError(f"{path}: has lines with {{, such as a label map of TensorFlow, want a class name on each line")
    if "" in lines:
        raise DataError(f"{path}: line {lines.index('') + 1} is empty, which would shift the classes after it; take it out")
    if any(line.startswith("#") for line in lines):
        raise DataError(f"{path}: a line begins with #, and a comment would shift the classes after it; take it out")
    if len(lines) == 1 and "," in lines[0]:
        raise DataError(f"{path}: has one line with commas ({lines[0][:60]}), want a class name on each line")
    first = [re.match(r"(\d+)\s*[:;,\t ]\s*\S", line) for line in lines]
    bases = (0, 1) if len(lines) > 2 else (0,)  # 1 euro and 2 euro may be names
    if any(all(match and int(match[1]) == i + base for i, match in enumerate(first)) for base in bases):
        raise DataError(f"{path}: its lines have numbers before the names ({name_some(lines, most=2)}); want the names alone")
    if all(re.search(r"\t\s*\d+$", line) for line in lines):
        raise DataError(f"{path}: its lines have numbers behind the names ({lines[0][:60]!r}); want the names alone")
    if all(len(line) > 1 and line[0] == line[-1] and line[0] in "\"'" for line in lines):
        raise DataError(f"{path}: its names are in quotes ({lines[0][:60]}); want the names alone")
    return _different(lines, path)


def other_names(label_dir: str, names: Sequence[str], path: str) -> list[str]:
    """Returns a note where labelImg's ``classes.txt``, in a label folder or the one above, states other classes.

    Args:
        label_dir: folder of the labels.
        names: the class names that count.
        path: where they were read.

    Returns:
        A line, or nothing.
    """
    for folder in (label_dir, os.path.dirname(label_dir)):
        file = os.path.join(folder, "classes.txt")
        if not os.path.isfile(file) or os.path.realpath(file) == os.path.realpath(path):
            continue
        try:
            others = _names_of_lines(read_text(file), file)
        except DataError:  # no file of class names
            continue
        if others != list(names):
            what = first_difference(names, others)
            return [f"{file} states other classes ({what}); those of {os.path.basename(path)} were taken"]
    return []


def first_difference(names: Sequence[str], others: Sequence[str]) -> str:
    """Returns the first class in which two lists of names differ, for a message.

    Args:
        names, others: class names by index.

    Returns:
        Text.

    Example:
        >>> first_difference(["cat"], ["cat", "dog"])
        'class 1 is none or dog'
    """
    pairs = enumerate(zip_longest(names, others, fillvalue="none"))
    return next(f"class {i} is {one} or {other}" for i, (one, other) in pairs if one != other)


def _is_numbers(line: str) -> bool:
    try:
        return all(math.isfinite(float(word)) for word in line.split())
    except ValueError:
        return False


def _names_of_yaml(content: dict, path: str) -> list[str]:
    names, count = content.get("names"), content.get("nc", "")
    if names in (None, "", [], {}):
        stated = f"has nc: {str(count)[:20]}, but no names" if count else "has no names"
        raise DataError(f"{path}: {stated}; want names: [FIRST, SECOND, ...]")
    if isinstance(names, dict):
        names = _by_index(names, path)
    if not isinstance(names, list):
        raise DataError(f"{path}: names is the {'text' if isinstance(names, str) else type(names).__name__} {_short(names)}, "
                        "want a list of class names")  # fmt: skip
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{path}: names has {_short(name)} for class {i}, want a text")
    if str(count) not in ("", str(len(names))):
        raise DataError(f"{path}: nc is {str(count)[:60]}, but names has {len(names)}; want one name a class")
    return _different([name.strip() for name in names], path)


def _short(value: object) -> str:
    return repr(value)[:60]


def _by_index(names: dict, path: str) -> list:
    """Returns names in the order of their indices, which count from 0."""
    wanted = [str(i) for i in range(len(names))]
    if set(names) == set(wanted):
        return [names[key] for key in wanted]
    if set(names) == {str(i + 1) for i in range(len(names))}:
        raise DataError(f"{path}: names counts from 1, want from 0: labels count classes from 0")
    wrong = [key for key in names if key not in wanted]
    gaps = [key for key in wanted if key not in names]
    raise DataError(f"{path}: names has no class {name_some(gaps)}, but {_short(wrong[0])}; want 0 to {len(names) - 1}")


def _different(names: list[str], path: str) -> list[str]:
    doubled = [name for name, times in Counter(names).items() if times > 1]
    if doubled:
        places = ", ".join(str(i) for i, name in enumerate(names) if name == doubled[0])
        raise DataError(f"{path}: the name {doubled[0]!r} stands for several classes ({places}); want different names")
    return names


def _read_yaml(path: str, wanted: str = "want names, train and val") -> dict:
    """Reads a YAML whose scalars all stay texts, so that a class may be called no or 1."""
    if os.path.isfile(path) and os.path.getsize(path) > MOST_BYTES:
        raise DataError(f"{path}: is not a YAML file of a dataset (more than {MOST_BYTES} bytes)")
    text = read_text(path)
    if text.count("[") + text.count("{") > MOST_BRACKETS:
        raise DataError(f"{path}: is not a YAML file of a dataset (more than {MOST_BRACKETS} opening brackets)")
    try:
        content = yaml.load(text, Loader=_PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not a YAML file that can be read ({' '.join(str(error).split())[:200]})") from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, {wanted}")
    return content


class _PlainLoader(yaml.BaseLoader):
    """Reads no aliases: a few hundred bytes of nested ones are gigabytes as soon as anything looks at their items.

    A key that is there twice is an error: PyYAML takes the last in silence.
    """

    def construct_mapping(self, node, deep=False):
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if doubled := [key for key, times in keys.items() if times > 1]:
            line = max(key.start_mark.line for key, _ in node.value if key.value == doubled[0]) + 1
            raise yaml.YAMLError(f"has the key {doubled[0][:80]!r} twice, again in line {line}")
        return super().construct_mapping(node, deep)

    def compose_node(self, parent, index):
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("has aliases, which no dataset needs")
        return super().compose_node(parent, index)


def _bases(path: str, stated: str | None) -> list[str]:
    """Returns the folders that names of a description may be relative to, the likeliest first."""
    folder = os.path.dirname(os.path.abspath(path))
    if stated is None:
        return [folder]
    within = [os.path.join(folder, stated), os.path.abspath(stated)]
    return [*dict.fromkeys(os.path.normpath(base) for base in within if _exists(base)), folder]


def resolve_entry(entry: str, bases: Sequence[str]) -> str | None:
    """Finds the first place that is there: in one of the folders, also without the entry's first folder.

    Exports often lie one folder higher or lower than they were written for (``../train`` of Roboflow, ``data/train.txt``
    of CVAT).

    Args:
        entry: a path as the description has it, with slashes of any system.
        bases: folders that it may be relative to.

    Returns:
        The path; None where none is there.
    """
    entry = entry.replace("\\", "/")
    forms = [entry]
    if not os.path.isabs(entry):
        parts = os.path.normpath(entry).split(os.sep)
        forms += [os.path.join(*parts[1:])] if len(parts) > 1 else []
    places = (os.path.normpath(os.path.join(base, form)) for form in forms for base in bases)
    return next((place for place in places if _exists(place)), None)


def _exists(place: str) -> bool:
    try:
        return os.path.exists(place)
    except ValueError:  # a zero byte in the name
        return False


def find_places(
    content: dict, path: str, split: str, image_dir: str | None
) -> tuple[list[str], list[str], list[str]]:
    """Resolves what a description says about a part to folders and lists that are there.

    Args:
        content: from `describe_yolo`.
        path: of the description.
        split: the part.
        image_dir: folder of the images, which takes the place of the folders that the description names.

    Returns:
        The places; the folders that names of images may be relative to; and a line for each guess.

    Raises:
        DataError: the description names nothing for the part, or nothing that is there.
    """
    stated = content.get("path") if isinstance(content.get("path"), str) else None
    bases, notes = _bases(path, stated), []
    folder = bases[-1]
    if stated is not None and len(bases) == 1:
        notes.append(f"its path {stated!r} is not there; {folder} was taken in its place")
    if not content:
        place = _folder_beside(path, split) if image_dir is None else os.fspath(image_dir)
        beside = [] if image_dir is not None or place == folder else list_images(folder)
        if beside:
            what = counted(len(beside), "image beside the file of class names was", "images beside the file of class names were")
            notes.append(note_names(f"{what} not taken, as there is {os.path.relpath(place, folder)}", beside))
        return [place], bases, notes
    entries = content.get(split)
    entries = [entries] if isinstance(entries, str) else entries
    if not isinstance(entries, list) or not entries or not all(isinstance(e, str) and e for e in entries):
        if image_dir is not None:
            return [os.fspath(image_dir)], bases, notes
        known = ", ".join(key for key in PARTS if content.get(key))
        raise DataError(f"{path}: names no folder of images for {split!r}; it has {known or 'none of ' + ', '.join(PARTS)}")
    if image_dir is not None:
        lists = [entry for entry in entries if entry.lower().endswith(".txt")]
        found = [(entry, resolve_entry(entry, bases)) for entry in lists]
        gone = [entry for entry, place in found if place is None]
        if gone:
            notes.append(f"its list {name_some(gone)} is not there; all images of {image_dir} were taken")
        return [place for _, place in found if place] or [os.fspath(image_dir)], bases, notes
    places = [_existing(entry, bases, path) for entry in entries]
    for entry, place in zip(entries, places, strict=True):
        if not any(place == os.path.normpath(os.path.join(base, entry)) for base in bases):
            notes.append(f"{entry!r} is not there; {place} was taken in its place")
    return places, bases, notes


def _existing(entry: str, bases: Sequence[str], path: str) -> str:
    place = resolve_entry(entry, bases)
    if place is None:
        tried = os.path.normpath(os.path.join(bases[0], entry))
        raise DataError(f"{path}: {entry!r} is neither a folder nor a file; looked for {tried}")
    if os.path.isfile(place) and not place.lower().endswith(".txt"):
        raise DataError(f"{path}: {entry!r} is a file; want a folder of images, or a .txt file that lists images")
    return place
