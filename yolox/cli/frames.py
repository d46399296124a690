"""What ``--source`` names: images, folders, patterns and videos, as a stream of frames."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from attrs import field, frozen

from yolox.data.header import IMAGE_SUFFIXES
from yolox.data.image import read_image
from yolox.errors import CommandError, DataError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
DEFAULT_FPS = 25.0


@frozen(eq=False, kw_only=True)
class Frame:
    """One image on its way to the detector."""

    file: Path
    """Where it comes from, as given."""
    number: int | None
    """Frame of a video, from 0; None for an image file."""
    name: str
    """Different for every frame, without suffix: the stem of what is written for it."""
    image: np.ndarray = field(repr=False)
    """[H,W,3] uint8 BGR."""


def find_files(sources: Iterable[Path]) -> list[Path]:
    """List the image and video files among files, folders and patterns such as ``photos/*.jpg``.

    A folder gives its files by name, without sub-folders; ``**`` in a pattern goes into them.

    Raises:
        CommandError: a source that is not there, or nothing at all.
    """
    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            files.extend(sorted(path for path in source.iterdir() if _known(path)))
        elif source.is_file():
            files.append(source)
        elif matches := sorted(Path(path) for path in glob.glob(str(source), recursive=True)):
            files.extend(path for path in matches if _known(path))
        else:
            raise CommandError(f"--source {source}: no such file or folder, and no file fits it as a pattern")
    if not files:
        wanted = ", ".join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)
        raise CommandError(f"--source: no images found; want files or folders of {wanted}")
    return files


def is_video(file: Path) -> bool:
    """Tell by its suffix whether a file is a video."""
    return file.suffix.lower() in VIDEO_SUFFIXES


def unique_names(files: Sequence[Path]) -> list[str]:
    """Name every file by its stem, all different.

    Example:
        >>> unique_names([Path("a/dog.jpg"), Path("b/dog.png"), Path("c/cat.tif")])
        ['dog', 'dog_2', 'cat']
    """
    taken: set[str] = set()
    names = []
    for file in files:
        name, number = file.stem, 1
        while name in taken:
            number += 1
            name = f"{file.stem}_{number}"
        taken.add(name)
        names.append(name)
    return names


def read_frames(file: Path, name: str) -> Iterator[Frame]:
    """Give the image of a file, or the frames of a video one by one.

    Raises:
        DataError: the file cannot be decoded.
    """
    if not is_video(file):
        yield Frame(file=file, number=None, name=name, image=read_image(str(file)))
        return
    capture = cv2.VideoCapture(str(file))
    try:
        number = 0
        while (answer := capture.read())[0]:
            yield Frame(file=file, number=number, name=f"{name}_{number:06d}", image=answer[1])
            number += 1
    finally:
        capture.release()
    if number == 0:
        raise DataError(f"{file}: cannot be decoded as a video")


def frames_per_second(file: Path) -> float:
    """Read the rate of a video; 25 where the file does not tell."""
    capture = cv2.VideoCapture(str(file))
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return rate if rate and np.isfinite(rate) and rate > 0 else DEFAULT_FPS


class VideoFile:
    """An mp4 that is opened when the first frame tells its size.

    Args:
        path: the file.
        rate: frames a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path, self._rate, self._writer = path, rate, None

    def add(self, picture: np.ndarray) -> None:  # [H,W,3]
        """Append a frame.

        Raises:
            CommandError: this OpenCV cannot write mp4.
        """
        if self._writer is None:
            code = cv2.VideoWriter_fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._path), code, self._rate, picture.shape[1::-1])
            if not self._writer.isOpened():
                raise CommandError(f"{self._path}: OpenCV cannot write this video")
        self._writer.write(picture)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()


def _known(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES
