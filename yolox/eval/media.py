"""Images and videos from files, folders and patterns, as a stream of frames and of their detections."""

from __future__ import annotations

import glob
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from attrs import field, frozen

from yolox.config import InputSpec, PostprocessConfig
from yolox.data.header import IMAGE_SUFFIXES, stated_size
from yolox.data.image import MAX_PIXELS, decodable_path, read_image
from yolox.errors import CommandError, DataError
from yolox.eval.postprocess import Detections
from yolox.eval.predict import VIEWER, predict_images

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
DEFAULT_FPS = 25.0


@frozen(eq=False, kw_only=True)
class Frame:
    """An image file, or one frame of a video."""

    file: Path
    """File that it was read from."""
    number: int | None
    """Frame of a video, from 0; None for an image file."""
    name: str
    """Different for every frame, without suffix: the stem of what is written for it."""
    image: np.ndarray = field(repr=False)
    """[H,W,3] uint8 BGR."""


def find_files(sources: Iterable[Path]) -> list[Path]:
    """Lists the image and video files of files, folders and patterns such as ``photos/*.jpg``.

    Args:
        sources: a folder stands for its files by name, without subfolders; ``**`` in a pattern stands for subfolders.

    Returns:
        Paths, at least one.

    Raises:
        CommandError: a source does not exist, or no file is an image or video.
    """

    def known(paths: Iterable[Path]) -> list[Path]:
        return sorted(path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES)

    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            files += known(source.iterdir())
        elif source.is_file():
            files.append(source)
        elif matches := glob.glob(str(source), recursive=True):
            files += known(map(Path, matches))
        else:
            raise CommandError(f"`source` {source}: no such file or folder, and no file fits it as a pattern")
    if not files:
        wanted = ", ".join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)
        raise CommandError(f"`source`: no images found; want files or folders of {wanted}")
    return files


def is_video(file: Path) -> bool:
    """Returns whether the suffix of a file is that of a video.

    Args:
        file: its path.

    Returns:
        True for a video.
    """
    return file.suffix.lower() in VIDEO_SUFFIXES


def unique_names(files: Sequence[Path]) -> list[str]:
    """Returns a different name for every file: its stem, with a number where that is used already.

    Args:
        files: their paths.

    Returns:
        As many names.

    Example:
        >>> unique_names([Path("a/dog.jpg"), Path("b/dog.png"), Path("c/cat.tif")])
        ['dog', 'dog_2', 'cat']
    """
    names: dict[str, None] = {}
    for file in files:
        name, number = file.stem, 1
        while name in names:
            number += 1
            name = f"{file.stem}_{number}"
        names[name] = None
    return list(names)


def read_frames(file: Path, name: str) -> Iterator[Frame]:
    """Reads the image of a file, or the frames of a video one by one.

    Args:
        file: an image or a video.
        name: of the frame; frames of a video have their number behind it.

    Returns:
        Iterator of frames.

    Raises:
        DataError: the file cannot be decoded, or is a video whose path is not UTF-8.
    """
    if not is_video(file):
        yield Frame(file=file, number=None, name=name, image=read_image(str(file)))
        return
    capture, number = _open_video(file), 0
    try:
        while (answer := capture.read())[0]:
            yield Frame(file=file, number=number, name=f"{name}_{number:06d}", image=answer[1])
            number += 1
    finally:
        capture.release()
    if number == 0:
        raise DataError(f"{file}: cannot be decoded as a video")


def _open_video(file: Path) -> cv2.VideoCapture:
    """Opens a video whose frames are no PNGs, which OpenCV cannot be trusted with, and no larger than images may be.

    Raises:
        DataError: the path is not UTF-8, the file is no regular one, is an image, or has such frames.
    """
    path = decodable_path(str(file))
    if not file.is_file():  # a pipe or a device would never end
        raise DataError(f"{file}: no such video file")
    with open(path, "rb") as start:
        if stated_size(start) is not None:
            raise DataError(f"{file}: is an image with the suffix of a video")
    capture = cv2.VideoCapture(path)
    code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    pixels = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    problem = "has frames of PNG" if b"PNG" in code.upper() else f"has frames of {pixels:.0f} pixels" * (pixels > MAX_PIXELS)
    if problem:
        capture.release()
        raise DataError(f"{file}: {problem}, which are not decoded")
    return capture


def predict_media(
    eval_step: Callable,
    files: Sequence[Path],
    *,
    spec: InputSpec,
    config: PostprocessConfig = VIEWER,
    batch_size: int = 1,
    on_error: Callable[[DataError], None] | None = None,
) -> Iterator[tuple[Frame, Detections]]:
    """Yields the frames of images and videos with their detections; holds one batch in memory.

    Args:
        eval_step: from `make_eval_step`, or from `open_exported`.
        files: from `find_files`.
        spec: the same as that of `eval_step`.
        config: thresholds.
        batch_size: frames of a step.
        on_error: called with the error of a file that cannot be read, which is then left out; None raises it.

    Returns:
        Iterator of each frame and its Detections, in the order of the files.

    Raises:
        DataError: a file cannot be read and there is no `on_error`.
    """
    waiting: deque[Frame] = deque()  # frames that were read and have no detections yet

    def images() -> Iterator[np.ndarray]:
        for file, name in zip(files, unique_names(files), strict=True):
            try:
                for frame in read_frames(file, name):
                    waiting.append(frame)
                    yield frame.image
            except DataError as error:
                if on_error is None:
                    raise
                on_error(error)

    for found in predict_images(eval_step, images(), spec=spec, config=config, batch_size=batch_size):
        yield waiting.popleft(), found


def frames_per_second(file: Path) -> float:
    """Reads the frame rate of a video.

    Args:
        file: the video.

    Returns:
        Frames a second; 25 where the file does not state it.

    Raises:
        DataError: the path is not UTF-8.
    """
    capture = _open_video(file)
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return rate if rate and np.isfinite(rate) and rate > 0 else DEFAULT_FPS


class VideoFile:
    """Writes an mp4 file, which is opened when the first picture states its size.

    Args:
        path: the file.
        rate: frames a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self._rate, self._writer = path, rate, None

    def add(self, picture: np.ndarray) -> None:  # [H,W,3]
        """Appends a picture.

        Raises:
            CommandError: this OpenCV cannot write mp4.
            DataError: the path is not UTF-8.
        """
        if self._writer is None:
            code = cv2.VideoWriter_fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(decodable_path(str(self.path)), code, self._rate, picture.shape[1::-1])
            if not self._writer.isOpened():
                raise CommandError(f"{self.path}: OpenCV cannot write this video")
        self._writer.write(picture)

    def close(self) -> None:
        """Finishes the file."""
        if self._writer is not None:
            self._writer.release()
