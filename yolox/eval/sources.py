"""Lists the inputs of a prediction: image and video files of folders and patterns, cameras and streams."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

from yolox.config import InputSpec
from yolox.data.build import files_below
from yolox.data.content import (
    AVIF,
    HEIC,
    IMAGE,
    VIDEO,
    count_kinds,
    counted,
    describe_content,
    is_left_behind,
    name_some,
    read_head,
)
from yolox.data.header import IMAGE_SUFFIXES
from yolox.data.unread import unread_of
from yolox.errors import CommandError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob",
                  ".wmv", ".asf", ".flv", ".3gp", ".3g2", ".ogv", ".gif", ".mjpg", ".mjpeg")  # fmt: skip
SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https")
"""Of the addresses of streams."""


@frozen
class Stream:
    """A camera or a stream of a network: frames without a known end.

    Args:
        address: number of a camera of this machine, or an address such as ``rtsp://host/path``.
    """

    address: str

    @property
    def is_camera(self) -> bool:
        """Whether it is a camera of this machine."""
        return self.address.isdecimal()

    @property
    def stem(self) -> str:
        """Name of what is written for it.

        Example:
            >>> Stream("0").stem, Stream("rtsp://me:secret@10.0.0.7:554/live?x=1").stem
            ('camera_0', '10.0.0.7_554_live')
        """
        if self.is_camera:
            return f"camera_{self.address}"
        host = re.sub(r"^\w+://", "", _without_password(self.address).partition("?")[0]).rpartition("@")[2]
        return re.sub(r"[^A-Za-z0-9.-]+", "_", host).strip("_.") or "stream"

    def __str__(self) -> str:  # without what may be a password
        if self.is_camera:
            return f"camera {self.address}"
        return _without_password(self.address)


def _without_password(address: str) -> str:
    """Masks what may be a password: from the first colon after the scheme to the last "@", which a password may hold, too."""
    hidden = re.sub(r"^(\w+://[^:/?#@]*):.*@", r"\1:***@", address)
    return re.sub(r"\?.*$", "?***", hidden)


@frozen
class FoundFiles:
    """Image and video files and streams, and what was left out of folders.

    Args:
        files: paths, and streams.
        left_out: a line for each kind of thing that was not taken.
    """

    files: list[Path | Stream]
    left_out: list[str]


def find_files(sources: Iterable[str | os.PathLike], *, recursive: bool = False) -> FoundFiles:
    """Lists the image and video files of files, folders and patterns such as ``photos/*.jpg``, cameras and streams.

    Images and videos are found by their content, under any suffix. What systems leave behind (`is_left_behind`) is
    skipped. A file with the suffix of an image or a video is always taken, so that reading it says what it is.

    Args:
        sources: a folder stands for its files by name; ``**`` in a pattern stands for sub-folders. A number is a camera of
            this machine, where no file has that name; an address of one of `SCHEMES` is a stream.
        recursive: True takes the files in sub-folders too.

    Returns:
        FoundFiles with at least one file, each once.

    Raises:
        CommandError: a source does not exist, or no file is an image or video.
    """
    files: list[Path | Stream] = []
    others: list[Path] = []
    folders: list[str] = []

    def take(paths: Iterable[Path]) -> None:
        for path in sorted(paths):
            if is_left_behind(path.name):
                continue
            if not path.is_dir():
                (files if _is_media(path) else others).append(path)
            elif recursive:
                take(path / name for name in files_below(path, lambda name: True, linked=True))
            else:
                folders.append(path.name)

    for text in map(os.fspath, sources):
        source, scheme = Path(text), text.partition("://")[0].lower()
        if "://" in text and scheme not in SCHEMES:
            raise CommandError(f"`source` {text}: want an address with {', '.join(SCHEMES)}")
        if "://" in text or (text.isdecimal() and not source.exists()):
            files.append(Stream(text))
        elif source.is_dir():
            below = files_below(text, lambda name: True, linked=True) if recursive else os.listdir(text)
            take(source / name for name in below)
        elif source.is_file():
            files.append(source)
        elif matches := glob.glob(text, recursive=True):
            take(map(Path, matches))
        else:
            raise CommandError(f"`source` {text}: no such file or folder, and no file fits it as a pattern")
    files, others, folders = (list(dict.fromkeys(found)) for found in (files, others, folders))
    left_out = []
    if others:
        what = counted(len(others), "file is no image or video and was", "files are no images or videos and were")
        left_out.append(f"{what} not taken: {count_kinds(p.name for p in others)}")
    if folders:
        what = counted(len(folders), "sub-folder was", "sub-folders were")
        left_out.append(f"{what} not looked into ({name_some(folders)}); `recursive` takes them")
    if not files:
        wanted = ", ".join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)
        raise CommandError("; ".join([f"`source`: no images found; want files or folders of {wanted}", *left_out]))
    return FoundFiles(files, left_out)


def unread_lines(files: Iterable[Path | Stream], spec: InputSpec) -> list[str]:
    """Lists by kind what is not read of image files, such as further pages.

    Args:
        files: as `find_files` lists them.
        spec: the pixels that are read.

    Returns:
        A line for each kind of thing, with its count.
    """
    kinds: dict[str, list[str]] = {}
    pixels = {"channels": spec.channels, "max_value": spec.max_value}
    for file in files:
        if isinstance(file, Path) and not is_video(file) and (unread := unread_of(file, **pixels)) is not None:
            kinds.setdefault(unread.kind, []).append(f"{file.name} {unread.what}")
    return [f"{kind}: {len(found)} ({name_some(found)})" for kind, found in kinds.items()]


def _is_media(file: Path) -> bool:
    if file.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES:
        return not (file.suffix.lower() == ".ts" and describe_content(read_head(file)) == "a text file")  # TypeScript
    return describe_content(read_head(file)) in (IMAGE, VIDEO, HEIC, AVIF)


def is_video(file: Path) -> bool:
    """Returns whether a file is a video by its content; one of unknown content by its suffix.

    Args:
        file: its path.

    Returns:
        True for a video, and for a GIF.
    """
    content, suffix = describe_content(read_head(file)), file.suffix.lower()
    if content == IMAGE:  # a stream of JPEGs begins as one does
        return suffix in (".mjpg", ".mjpeg")
    return content == VIDEO or (content not in (HEIC, AVIF) and suffix in VIDEO_SUFFIXES)


def unique_names(files: Sequence[Path | Stream]) -> list[str]:
    """Returns a different name for every file or stream: its stem, with a number where that is used already.

    Case does not count, because it does not on many file systems. The frames of a video get names of their own too: a
    video's name begins no other name that ends in a frame's number.

    Args:
        files: paths, or streams.

    Returns:
        As many names.

    Example:
        >>> unique_names([Path("a/dog.jpg"), Path("b/Dog.png"), Path("c/cat.tif")])
        ['dog', 'Dog_2', 'cat']
    """
    stems = {file.stem.casefold() for file in files}
    frames = {re.sub(r"_\d{6,}$", "", stem) for stem in stems if re.search(r"_\d{6,}$", stem)}  # clip of clip_000001
    used: set[str] = set()
    names = []
    for file in files:
        name, number = file.stem, 1
        while name.casefold() in used or (number > 1 and name.casefold() in stems) or name.casefold() in frames:
            number += 1
            name = f"{file.stem}_{number}"
        used.add(name.casefold())
        names.append(name)
    return names
