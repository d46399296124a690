"""What a file is by its first bytes, and which files are no data at all."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable

from yolox.errors import DataError

HEAD_BYTES = 1024
"""Bytes that `describe_content` wants."""

IMAGE, VIDEO, HEIC, AVIF = "image", "video", "a HEIC image", "an AVIF image"

OTHER_PICTURES = (
    ".gif", ".jp2", ".j2k", ".jxl", ".psd", ".svg", ".pdf", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2",
    ".exr", ".hdr", ".pgm", ".ppm", ".pnm", ".tga", ".ico", ".dcm", ".npy", ".mp4", ".mov", ".avi", ".mkv", ".zip",
)  # fmt: skip
"""Suffixes of pictures and videos that datasets do not read; such files among images are counted and named."""
_LEFT_BEHIND = {"@eadir", "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "lost+found", "$recycle.bin",
                "system volume information", "#recycle", "@recycle", "@recently-snapshot", "icon\r"}  # fmt: skip


def is_left_behind(name: str) -> bool:
    """Returns whether a file or folder is one that systems and editors leave behind, which is never data.

    Args:
        name: of one file or folder, without its path.

    Returns:
        True for names that begin with a dot (``._a.jpg``, ``.ipynb_checkpoints``, ``.Trash-1000``), and for
        ``@eaDir``, ``__MACOSX``, ``Thumbs.db``, ``lost+found`` and the like.

    Example:
        >>> is_left_behind("._a.jpg"), is_left_behind("@eaDir"), is_left_behind("a.jpg")
        (True, True, False)
    """
    return name.startswith((".", "@Recycle", "@SynoEAStream")) or name.lower() in _LEFT_BEHIND


_STARTS = (
    (b"\xff\xd8", IMAGE), (b"\x89PNG\r\n\x1a\n", IMAGE), (b"BM", IMAGE),
    (b"II*\0", IMAGE), (b"MM\0*", IMAGE), (b"II+\0", IMAGE), (b"MM\0+", IMAGE),
    (b"GIF87a", VIDEO), (b"GIF89a", VIDEO), (b"\x1aE\xdf\xa3", VIDEO), (b"0&\xb2u\x8ef\xcf\x11", VIDEO), (b"FLV\x01", VIDEO),
    (b"\0\0\x01\xba", VIDEO), (b"\0\0\x01\xb3", VIDEO), (b"\0\0\x01\xb0", VIDEO), (b"\0\0\0\x01\x67", VIDEO),
    (b"\0\0\0\x01\x09", VIDEO), (b"\0\0\0\x01\x40", VIDEO), (b"OggS", VIDEO), (b"DKIF", VIDEO), (b"YUV4MPEG2", VIDEO),
    (b".RMF", VIDEO), (b"\x06\x0e\x2b\x34", VIDEO), (b"\x1f\x07\0", VIDEO),
    (b"%PDF", "a PDF document"), (b"PK\x03\x04", "a ZIP archive"), (b"\x1f\x8b", "a gzip archive"), (b"Rar!", "a RAR archive"),
    (b"8BPS", "a Photoshop file"), (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"), (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"), (b"\xff\x0a", "a JPEG XL image"), (b"\x93NUMPY", "a NumPy array"),
    (b"DICM", "a DICOM image"), (b"ID3", "sound"), (b"fLaC", "sound"), (b"SQLite format 3", "a database"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself (`git lfs pull` fetches it)"),
    (b"/annex/objects/", "a pointer of git-annex, not the file itself (`git annex get` fetches it)"),
)  # fmt: skip
_BRANDS = {b"avif": AVIF, b"avis": AVIF} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"mif2"), HEIC
)
_RIFF = {b"WEBP": IMAGE, b"AVI ": VIDEO, b"WAVE": "sound"}
_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # a QuickTime file from before `ftyp`
_MOST_LINK = 256  # bytes of a path
_TEXTS = (
    (b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"), (b"<head", "an HTML page"), (b"<body", "an HTML page"),
    (b"<svg", "an SVG drawing"), (b"<?xml", "an XML file"), (b"<", "an XML file"), (b"{", "a JSON file"), (b"[", "a JSON file"),
)  # fmt: skip


def describe_content(head: bytes) -> str | None:
    """Returns what a file is, by its first bytes and never by its name.

    Args:
        head: the first `HEAD_BYTES` bytes, fewer of a short file.

    Returns:
        `IMAGE` (JPEG, PNG, BMP, TIFF or WebP), `VIDEO`, `HEIC`, `AVIF`, a description such as "an HTML page" or "empty",
        or None for what is not known.

    Example:
        >>> describe_content(b"<!DOCTYPE html><title>404</title>"), describe_content(b""), describe_content(b"GIF89a")
        ('an HTML page', 'empty', 'video')
    """
    if not head:
        return "empty"
    if not head.strip(b"\0"):
        return "nothing but zero bytes"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], VIDEO)
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    for start, what in _STARTS:
        if head.startswith(start):
            return what
    if head[4:8] in _ATOMS or _is_transport_stream(head):
        return VIDEO
    if head[128:132] == b"DICM":
        return "a DICOM image"
    return _describe_text(head)


def _is_transport_stream(head: bytes) -> bool:
    """Packets of 188 bytes begin with 0x47; cameras (MTS, M2TS) put four bytes before each, DVB may put 16 behind."""
    return any(head[at::size][:4] == b"GGGG" for at, size in ((0, 188), (4, 192), (0, 204)))


def _describe_text(head: bytes) -> str | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"\0" in head:
        return None
    for text, what in _TEXTS:
        if start.startswith(text):
            return "an HTML page" if what == "an XML file" and b"<html" in start else what
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else the end of the head cuts a letter
            return None
    if len(head) < _MOST_LINK and "/" in (text := head.decode(errors="replace").strip()) and not re.search(r"\s|://", text):
        return f"the text of a link to {text}, as archives and git leave it on systems without links"
    return "a text file"


_OTHER_LABELS = (
    (rb'"shapes"\s*:', "labelme's file of one image"), (rb'"coordinates"\s*:', "CreateML's list"),
    (rb'"assets"\s*:', "VoTT's file"),
    (rb'"(regions|_via_settings)"\s*:', "a file of the VGG annotator"), (rb'"segments_info"\s*:', "COCO's panoptic file"),
    (rb'^\s*\[\s*\{[^{}]*"score"\s*:', "a list of results"), (rb'"coco_url"\s*:', "LVIS's file, whose images have no file_name"),
    (rb'^\s*\{\s*"type"\s*:\s*"FeatureCollection"', "a GeoJSON file"),
)  # fmt: skip


def describe_labels(path: str | os.PathLike) -> str | None:
    """Says of which tool a JSON file is that holds labels and is not COCO's, by its first bytes.

    Args:
        path: of the file.

    Returns:
        Text for a message; None where it cannot be told.
    """
    head = read_head(path)
    return next((what for pattern, what in _OTHER_LABELS if re.search(pattern, head)), None)


def read_head(path: str | os.PathLike) -> bytes:
    """Returns the first `HEAD_BYTES` bytes of a file; nothing where it cannot be read or is no ordinary file.

    Args:
        path: of the file.

    Returns:
        At most `HEAD_BYTES` bytes.
    """
    if not os.path.isfile(path):  # a pipe or a device would never end
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def why_no_text(path: str | os.PathLike, error: UnicodeError) -> str:
    """Returns why a file is no text: what it is by its content, else where decoding failed.

    Args:
        path: of the file.
        error: of decoding it.

    Returns:
        Text for a message.

    Example:
        >>> why_no_text("nothing", UnicodeError("byte 0xff"))
        'byte 0xff'
    """
    head = read_head(path)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is UTF-16; save it as UTF-8"
    what = describe_content(head)
    article = {IMAGE: "an ", VIDEO: "a "}.get(what, "")
    return str(error) if what in (None, "empty", "a text file", "a JSON file", "an XML file") else f"it is {article}{what}"


def name_some(items: Iterable[str], *, most: int = 3) -> str:
    """Returns the first of many names, and how many more there are.

    Args:
        items: names.
        most: how many are written.

    Returns:
        Text for a message.

    Example:
        >>> name_some(["a", "b", "c", "d"])
        'a, b, c and 1 more'
    """
    items = list(items)
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


class Note(str):
    """A line about what was left out, guessed or doubtful, and all names that it stands for, of which it shows a few.

    Args:
        text: the line.
        names: what it stands for, such as file names.
    """

    names: tuple[str, ...]

    def __new__(cls, text: str, names: Iterable[str] = ()) -> Note:
        """Makes the line."""
        note = super().__new__(cls, text)
        note.names = tuple(names)
        return note


def note_names(what: str, names: Iterable[str], *, most: int = 3) -> Note:
    """Returns a line with the first of many names in brackets, which keeps all of them.

    Args:
        what: text before the names.
        names: what the line stands for.
        most: how many are written.

    Returns:
        Note.

    Example:
        >>> note = note_names("2 files were left out", ["a.xml", "b.xml"], most=1)
        >>> note, note.names
        ('2 files were left out (a.xml and 1 more)', ('a.xml', 'b.xml'))
    """
    names = list(names)
    return Note(f"{what} ({name_some(names, most=most)})", names)


def named_in(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Returns all names that warnings stand for, where a warning shows a few of them.

    Args:
        lines: warnings of a check, or notes of a dataset.

    Returns:
        Names by warning; a warning that stands for no names is left out.
    """
    return {str(line): line.names for line in lines if isinstance(line, Note) and line.names}


def counted(number: int, one: str, many: str | None = None) -> str:
    """Returns a number with its noun.

    Args:
        number: how many there are.
        one: text behind 1.
        many: text behind other numbers; None takes `one` with an s.

    Returns:
        Text for a message.

    Example:
        >>> counted(1, "box", "boxes"), counted(3, "image was", "images were"), counted(0, "file")
        ('1 box', '3 images were', '0 files')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def count_kinds(names: Iterable[str]) -> str:
    """Returns how many files there are of each suffix, with an example.

    Args:
        names: of files.

    Returns:
        Text for a message.

    Example:
        >>> count_kinds(["a.txt", "b.txt", "c.gif"])
        '2 .txt (a.txt), 1 .gif (c.gif)'
    """
    names = list(names)
    kinds = [os.path.splitext(name)[1].lower() or "without suffix" for name in names]
    return name_some((f"{n} {kind} ({names[kinds.index(kind)]})" for kind, n in Counter(kinds).most_common()), most=4)


def shown_path(path: str) -> str:
    """Returns a path as text that every terminal and file can take; bytes that are not UTF-8 become escapes.

    Args:
        path: any path.

    Returns:
        Text that every terminal and file can take.

    Example:
        >>> print(shown_path("a" + chr(0xDCD6) + ".jpg"))
        a\\xd6.jpg
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def decodable_path(path: str) -> str:
    """Returns a path that OpenCV can open by name: its readers and writers of videos take no bytes.

    Args:
        path: of a file that exists or not.

    Returns:
        The path as text.

    Raises:
        DataError: it is not UTF-8; given one such path, OpenCV 4.11 ends the process.

    Example:
        >>> decodable_path("a.mp4")
        'a.mp4'
    """
    path = os.fspath(path)
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{shown_path(path)}: the path is not UTF-8, which OpenCV cannot open; rename it") from None
    return path
