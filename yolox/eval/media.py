"""Images and videos from files, folders and patterns, as a stream of frames and of their detections."""

from __future__ import annotations

import glob
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from attrs import define, field, frozen

from yolox.config import InputSpec, PostprocessConfig
from yolox.data.build import files_below
from yolox.data.content import AVIF, HEIC, IMAGE, VIDEO, count_kinds, describe_content, is_left_behind, name_some, read_head
from yolox.data.header import IMAGE_SUFFIXES
from yolox.data.image import MAX_PIXELS, decodable_path, read_image
from yolox.errors import CommandError, DataError
from yolox.eval.postprocess import Detections
from yolox.eval.predict import VIEWER, predict_images

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob",
                  ".wmv", ".asf", ".flv", ".3gp", ".3g2", ".ogv", ".gif", ".mjpg", ".mjpeg")  # fmt: skip
MOST_FAILS = 64  # reads in a row that give no frame: then the video has ended
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


@frozen
class FoundFiles:
    """Image and video files, and what was left out of their folders.

    Args:
        files: paths.
        left_out: a line for each kind of thing that was not taken.
    """

    files: list[Path]
    left_out: list[str]


def find_files(sources: Iterable[Path], *, recursive: bool = False) -> FoundFiles:
    """Lists the image and video files of files, folders and patterns such as ``photos/*.jpg``.

    Images and videos are found by their content, under any suffix. What systems leave behind (`is_left_behind`) is
    skipped. A file with the suffix of an image or a video is always taken, so that reading it says what it is.

    Args:
        sources: a folder stands for its files by name; ``**`` in a pattern stands for sub-folders.
        recursive: True takes the files in sub-folders too.

    Returns:
        FoundFiles with at least one file, each once.

    Raises:
        CommandError: a source does not exist, or no file is an image or video.
    """
    files: list[Path] = []
    others: list[Path] = []
    folders: list[str] = []

    def take(paths: Iterable[Path]) -> None:
        for path in sorted(paths):
            if path.is_file() and not is_left_behind(path.name):
                (files if _is_media(path) else others).append(path)

    for source in sources:
        if source.is_dir() and recursive:
            take(source / name for name in files_below(os.fspath(source), lambda name: True))
        elif source.is_dir():
            entries = list(source.iterdir())
            take(entries)
            folders += sorted(path.name for path in entries if path.is_dir() and not is_left_behind(path.name))
        elif source.is_file():
            files.append(source)
        elif matches := glob.glob(str(source), recursive=True):
            take(map(Path, matches))
        else:
            raise CommandError(f"`source` {source}: no such file or folder, and no file fits it as a pattern")
    files = list(dict.fromkeys(files))
    left_out = []
    if others:
        left_out.append(f"{len(others)} files are no images or videos and were not taken: {count_kinds(p.name for p in others)}")
    if folders:
        left_out.append(f"{len(folders)} sub-folders were not looked into ({name_some(folders)}); `recursive` takes them")
    if not files:
        wanted = ", ".join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)
        raise CommandError("; ".join([f"`source`: no images found; want files or folders of {wanted}", *left_out]))
    return FoundFiles(files, left_out)


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


def unique_names(files: Sequence[Path]) -> list[str]:
    """Returns a different name for every file: its stem, with a number where that is used already.

    Case does not count, because it does not on many file systems. The frames of a video get names of their own too: a
    video's name begins no other name that ends in a frame's number.

    Args:
        files: their paths.

    Returns:
        As many names.

    Example:
        >>> unique_names([Path("a/dog.jpg"), Path("b/Dog.png"), Path("c/cat.tif")])
        ['dog', 'Dog_2', 'cat']
    """
    stems = {file.stem.casefold() for file in files}
    used: set[str] = set()
    names = []
    for file in files:
        name, number = file.stem, 1
        while name.casefold() in used or (number > 1 and name.casefold() in stems) or _has_frames_of(name, stems):
            number += 1
            name = f"{file.stem}_{number}"
        used.add(name.casefold())
        names.append(name)
    return names


def _has_frames_of(name: str, stems: set[str]) -> bool:
    """Returns whether frames of a video of this name would have the names of other files: clip_000001."""
    frame = re.compile(re.escape(name.casefold()) + r"_\d{6,}")
    return any(frame.fullmatch(stem) for stem in stems)


@define
class VideoCount:
    """Frames of a video that was read.

    Args:
        file: its path.
        read: frames that were decoded.
        stated: frames that the file holds or states; None where it does not tell.
    """

    file: Path
    read: int = 0
    stated: int | None = None

    @property
    def missing(self) -> int:
        """Frames that the file has and that could not be decoded."""
        return max((self.stated or 0) - self.read, 0)

    def __str__(self) -> str:
        if not self.missing:
            return f"{self.read} frames"
        return f"{self.read} of {self.stated} frames, {self.missing} could not be decoded"


def _capture(file: Path, *options: int, max_pixels: int | None = None) -> cv2.VideoCapture:
    """Opens a video whose frames are no PNGs, which OpenCV cannot be trusted with.

    The absolute path is no protocol of FFmpeg's (``a:b.mp4``) and no pattern of images.

    Raises:
        DataError: the path is not UTF-8, the file is no regular one, or has such frames or ones of more than `max_pixels`.
    """
    path = decodable_path(os.path.abspath(file))
    if not os.path.isfile(path):  # a pipe or a device would never end
        raise DataError(f"{file}: no such video file")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong is counted here
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, list(options))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # as players do; off by default in OpenCV 4.11
    code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    pixels = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    problem = "has frames of PNG" if b"PNG" in code.upper() else ""
    if max_pixels is not None and pixels > max_pixels:
        problem = f"has frames of {pixels:.0f} pixels, more than `max_pixels` {max_pixels}"
    if problem:
        capture.release()
        raise DataError(f"{file}: {problem}, which are not decoded")
    return capture


def count_frames(file: Path) -> int | None:
    """Counts the frames that a video holds, without decoding them, or those that it states if these are more.

    Args:
        file: the video.

    Returns:
        The number; None where it cannot be told.
    """
    capture = _capture(file, cv2.CAP_PROP_FORMAT, -1)  # packets as they are stored
    packets = fails = 0
    while fails < MOST_FAILS:
        if capture.grab():
            packets, fails = packets + 1, 0
        else:
            fails += 1
    stated = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    capture.release()
    # Only AVI and the MP4 family state a count; of others OpenCV guesses it from the length of the longest stream.
    head = read_head(file)
    exact = head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip") or head[:4] == b"RIFF"
    return max(packets, int(stated) if exact and 0 < stated < 1e9 else 0) or None


def read_frames(
    file: Path, name: str, *, max_pixels: int = MAX_PIXELS, on_video: Callable[[VideoCount], None] | None = None
) -> Iterator[Frame]:
    """Reads the image of a file, or the frames of a video one by one, turned as the file says.

    A frame that cannot be decoded does not end a video. Frames are numbered as they are decoded.

    Args:
        file: an image or a video.
        name: of the frame; frames of a video have their number behind it.
        max_pixels: an image or a video that states more is refused.
        on_video: called at the end of a video with the number of its frames.

    Returns:
        Iterator of frames.

    Raises:
        DataError: the file cannot be decoded, or is a video whose path is not UTF-8.
    """
    if not is_video(file):
        yield Frame(file=file, number=None, name=name, image=read_image(str(file), max_pixels=max_pixels))
        return
    capture, count, fails = _capture(file, max_pixels=max_pixels), VideoCount(file), 0
    try:
        while fails < MOST_FAILS:
            whole, image = capture.read()
            if not whole or image is None:
                fails += 1  # a damaged frame, or thousands of packets of sound: the end fails again and again
                continue
            fails = 0
            yield Frame(file=file, number=count.read, name=f"{name}_{count.read:06d}", image=image)
            count.read += 1
    finally:
        capture.release()
    if count.read == 0:
        what = describe_content(read_head(file))
        what = "" if what in (None, VIDEO, IMAGE) else f" (it is {what})"
        raise DataError(f"{file}: cannot be decoded as a video{what}")
    if on_video is not None:
        count.stated = count_frames(file)
        on_video(count)


def predict_media(
    eval_step: Callable,
    files: Sequence[Path],
    *,
    spec: InputSpec,
    config: PostprocessConfig = VIEWER,
    batch_size: int = 1,
    max_pixels: int = MAX_PIXELS,
    on_error: Callable[[DataError], None] | None = None,
    on_video: Callable[[VideoCount], None] | None = None,
) -> Iterator[tuple[Frame, Detections]]:
    """Yields the frames of images and videos with their detections; holds one batch in memory.

    Args:
        eval_step: from `make_eval_step`, or from `open_exported`.
        files: as `find_files` lists them.
        spec: the same as that of `eval_step`.
        config: thresholds.
        batch_size: frames of a step.
        max_pixels: an image file that states more is refused.
        on_error: called with the error of a file that cannot be read, which is then left out; None raises it.
        on_video: called at the end of each video with the number of its frames.

    Returns:
        Iterator of each frame and its Detections, in the order of the files.

    Raises:
        DataError: a file cannot be read and there is no `on_error`.
    """
    waiting: deque[Frame] = deque()  # frames that were read and have no detections yet

    def images() -> Iterator[np.ndarray]:
        for file, name in zip(files, unique_names(files), strict=True):
            try:
                for frame in read_frames(file, name, max_pixels=max_pixels, on_video=on_video):
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
    capture = _capture(file)
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
            self._writer = cv2.VideoWriter(decodable_path(os.path.abspath(self.path)), code, self._rate, picture.shape[1::-1])
            if not self._writer.isOpened():
                raise CommandError(f"{self.path}: OpenCV cannot write this video")
        self._writer.write(picture)

    def close(self) -> None:
        """Finishes the file."""
        if self._writer is not None:
            self._writer.release()
