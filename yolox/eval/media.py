"""Images, videos, cameras and streams, as a sequence of frames and of their detections."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from attrs import define, field, frozen

from yolox.config import InputSpec, PostprocessConfig
from yolox.data.content import IMAGE, VIDEO, decodable_path, describe_content, read_head
from yolox.data.image import MAX_PIXELS, read_image
from yolox.errors import CommandError, DataError
from yolox.eval.postprocess import Detections
from yolox.eval.predict import VIEWER, Speed, predict_images
from yolox.eval.sources import Stream, is_video, unique_names
from yolox.eval.tiles import Tiles
from yolox.eval.video_process import MOST_FAILS, MOST_PIXELS, VideoReader

DEFAULT_FPS = 25.0
OPEN_SECONDS, READ_SECONDS = 10.0, 10.0  # without an answer of a stream: then it is given up
FAILING_SECONDS = 10.0  # in which a file gives no frame, one damaged frame after the other: then it is given up


@frozen(eq=False, kw_only=True)
class Frame:
    """An image file, or one frame of a video, a camera or a stream."""

    file: Path | Stream
    """What it was read from."""
    number: int | None
    """Frame of a video or stream, from 0; None for an image file."""
    name: str
    """Different for every frame, without suffix: the stem of what is written for it."""
    rate: float = DEFAULT_FPS
    """Frames a second that the video or stream states."""
    image: np.ndarray = field(repr=False)
    """[H,W,3] uint8 BGR, or the channels and the type that the input takes."""


@define
class VideoCount:
    """Frames of a video or stream that was read.

    Args:
        file: its path, or the stream.
        read: frames that were decoded.
        stated: frames that the file holds or states; None where it does not tell.
        limited: whether reading ended at a limit of frames.
        waited: seconds in which no frame came, before the stream was given up; 0 where it ended by itself.
    """

    file: Path | Stream
    read: int = 0
    stated: int | None = None
    limited: bool = False
    waited: float = 0.0

    @property
    def missing(self) -> int:
        """Frames that the file has and that could not be decoded."""
        return max((self.stated or 0) - self.read, 0)

    @property
    def is_whole(self) -> bool:
        """Whether everything was read: of a stream, all until its end."""
        return not self.missing and not self.waited

    def __str__(self) -> str:
        if self.waited:
            return f"{self.read} frames, then none came for {self.waited:.2g} s"
        if isinstance(self.file, Stream) and not self.limited:
            return f"{self.read} frames, then the stream ended"
        if not self.missing:
            return f"{self.read} frames"
        return f"{self.read} of {self.stated} frames, {self.missing} could not be decoded"


@contextmanager
def _without_log() -> Iterator[None]:
    """Silences OpenCV's own lines on stderr, about which the library has messages of its own."""
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)
    try:
        yield
    finally:
        cv2.setLogLevel(level)


MOST_CAMERAS = 999  # OpenCV takes larger numbers for drivers, and none beyond 32 bits


def _open_stream(stream: Stream) -> cv2.VideoCapture:
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(1e3 * OPEN_SECONDS), cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(1e3 * READ_SECONDS)]
    with _without_log():
        if not stream.is_camera:
            return cv2.VideoCapture(stream.address, cv2.CAP_FFMPEG, limits)
        number = int(stream.address)
        return cv2.VideoCapture(number) if number <= MOST_CAMERAS else cv2.VideoCapture()  # which is not open


def _capture(
    file: Path | Stream, *, packets: bool = False, max_pixels: int | None = None
) -> cv2.VideoCapture | VideoReader:
    """Opens a video in a process of its own, or a stream in this one; its frames are no PNGs.

    The absolute path is no protocol of FFmpeg's (``a:b.mp4``) and no pattern of images.

    Raises:
        DataError: the path is not UTF-8, the file is no regular one, or has such frames or ones of more than `max_pixels`; the
            camera or stream cannot be opened.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong is counted here
    if isinstance(file, Stream):
        capture = _open_stream(file)
        if not capture.isOpened():
            raise DataError(f"{file}: cannot be opened; is it there, and does it send video?")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # as players do; off by default in OpenCV 4.11
    else:
        path = decodable_path(os.path.abspath(file))
        if not os.path.isfile(path):  # a pipe or a device would never end
            raise DataError(f"{file}: no such video file")
        capture = VideoReader(path, packets=packets)
    code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    pixels = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    problem = "has frames of PNG" if b"PNG" in code.upper() else ""
    if max_pixels is not None and pixels > max_pixels:
        problem = f"has frames of {pixels:.0f} pixels, more than `max_pixels` {max_pixels}"
    elif pixels > MOST_PIXELS:
        problem = f"has frames of {pixels:.0f} pixels, more than {MOST_PIXELS}"
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
    capture = _capture(file, packets=True)
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
    file: Path | Stream,
    name: str,
    *,
    max_pixels: int = MAX_PIXELS,
    max_frames: int | None = None,
    on_video: Callable[[VideoCount], None] | None = None,
    channels: int = 3,
    max_value: int = 255,
) -> Iterator[Frame]:
    """Reads the image of a file, or the frames of a video, camera or stream one by one, turned as the file says.

    A frame that cannot be decoded does not end a video. Frames are numbered as they are decoded. A stream ends when it fails
    again and again, or when it sends nothing for `READ_SECONDS`.

    Args:
        file: an image, a video or a stream.
        name: of the frame; frames of a video or stream have their number behind it.
        max_pixels: an image or a video that states more is refused.
        max_frames: most frames of a video or stream; None reads to its end.
        on_video: called at the end of a video or stream with the number of its frames.
        channels: as which an image file is read; frames of videos have three of 8 bits.
        max_value: as `channels`; see `InputSpec`.

    Returns:
        Iterator of frames.

    Raises:
        DataError: the file cannot be decoded, or is a video whose path is not UTF-8; the stream cannot be opened or sends no
            frame.
    """
    if isinstance(file, Path) and not is_video(file):
        image = read_image(str(file), max_pixels=max_pixels, channels=channels, max_value=max_value)
        yield Frame(file=file, number=None, name=name, image=image)
        return
    capture, count = _capture(file, max_pixels=max_pixels), VideoCount(file)
    rate = capture.get(cv2.CAP_PROP_FPS)
    rate = rate if rate and np.isfinite(rate) and rate > 0 else DEFAULT_FPS
    try:
        images = _decoded_images(capture, count)
        while not count.limited and (image := next(images, None)) is not None:
            yield Frame(file=file, number=count.read, name=f"{name}_{count.read:06d}", rate=rate, image=image)
            count.read += 1
            count.limited = count.read == max_frames
    finally:
        capture.release()
    if count.read == 0 and not count.limited:
        raise DataError(f"{file}: {_why_no_frame(file)}")
    if on_video is not None:
        if isinstance(file, Path) and not count.limited:
            count.stated = count_frames(file)
        on_video(count)


def _decoded_images(capture: cv2.VideoCapture, count: VideoCount) -> Iterator[np.ndarray]:
    fails, failing = 0, 0.0
    while fails < MOST_FAILS and (failing < FAILING_SECONDS or isinstance(count.file, Stream)):
        start = time.monotonic()
        with _without_log():
            whole, image = capture.read()
        if whole and image is not None:
            fails, failing = 0, 0.0
            yield image
            continue
        seconds = time.monotonic() - start
        # a damaged frame, or thousands of packets of sound: the end fails again and again
        fails, failing = fails + 1, failing + seconds
        if isinstance(count.file, Stream) and seconds > 0.9 * READ_SECONDS:
            count.waited = seconds
            return


def _why_no_frame(file: Path | Stream) -> str:
    if isinstance(file, Stream):
        return "sends no frame that can be decoded"
    what = describe_content(read_head(file))
    if what == VIDEO and (codec := _unusual_codec(file)) is not None:
        return f"cannot be decoded as a video: it is in {codec}, which this OpenCV does not decode; convert it to H.264"
    return "cannot be decoded as a video" + ("" if what in (None, VIDEO, IMAGE) else f" (it is {what})")


_CODECS = {b"av01": "AV1", b"V_AV1": "AV1", b"vvc1": "VVC", b"vvi1": "VVC", b"V_MPEGI/ISO/VVC": "VVC", b"apch": "ProRes",
           b"apcn": "ProRes", b"CFHD": "CineForm", b"encv": "an encrypted form"}  # fmt: skip
_CODEC_BYTES = 1 << 20  # of each end of a file: the table of an MP4 stands at one of them


def _unusual_codec(file: Path) -> str | None:
    """Returns the codec that a file states, of those that builds of OpenCV lack."""
    with open(file, "rb") as opened:
        head = opened.read(_CODEC_BYTES)
        opened.seek(max(opened.seek(0, os.SEEK_END) - _CODEC_BYTES, 0))
        ends = head + opened.read(_CODEC_BYTES)
    return next((codec for mark, codec in _CODECS.items() if mark in ends), None)


def expected_frames(files: Iterable[Path | Stream], max_frames: int | None = None) -> int | None:
    """Counts the frames that images, videos and streams will give, as far as headers tell it, to show how far a job is.

    Args:
        files: as for `predict_media`.
        max_frames: most frames of each video or stream.

    Returns:
        The number; None where a stream has no limit or a video states nothing.
    """
    counts = [1 if isinstance(file, Path) and not is_video(file) else _expected(file, max_frames) for file in files]
    return None if None in counts else sum(counts)


def _expected(file: Path | Stream, max_frames: int | None) -> int | None:
    if isinstance(file, Stream):
        return max_frames
    try:
        capture = _capture(file)
    except DataError:  # is reported when it is read
        return 0
    stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return min(stated, max_frames or stated) if 0 < stated < 1e9 else max_frames


def predict_media(
    eval_step: Callable,
    files: Sequence[Path | Stream],
    *,
    spec: InputSpec,
    config: PostprocessConfig = VIEWER,
    batch_size: int = 1,
    max_pixels: int = MAX_PIXELS,
    max_frames: int | None = None,
    tiles: Tiles | None = None,
    classes: Sequence[int] | None = None,
    speed: Speed | None = None,
    on_error: Callable[[DataError], None] | None = None,
    on_video: Callable[[VideoCount], None] | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Frame, Detections]]:
    """Yields the frames of images, videos and streams with their detections; holds one batch in memory.

    Args:
        eval_step: from `make_eval_step`, or from `open_exported`.
        files: as `find_files` lists them.
        spec: the same as that of `eval_step`.
        config: thresholds.
        batch_size: frames of a step.
        max_pixels: an image file that states more is refused.
        max_frames: most frames of each video or stream; None reads to its end.
        tiles: as in `predict_images`.
        classes: indices of the classes that are wanted; None takes all.
        speed: adds the time of each part to it.
        on_error: called with the error of a file that cannot be read, which is then left out; None raises it.
        on_video: called at the end of each video or stream with the number of its frames; not of one that was stopped.
        is_stopped: called before each frame is read; True ends the reading. What was read until then gets its detections.

    Returns:
        Iterator of each frame and its Detections, in the order of the files.

    Raises:
        DataError: a file cannot be read and there is no `on_error`.
    """
    waiting: deque[Frame] = deque()  # frames that were read and have no detections yet

    kind = {"channels": spec.channels, "max_value": spec.max_value}

    def images() -> Iterator[np.ndarray]:
        for file, name in zip(files, unique_names(files), strict=True):
            frames = read_frames(file, name, max_pixels=max_pixels, max_frames=max_frames, on_video=on_video, **kind)
            try:
                while not is_stopped() and (frame := next(frames, None)) is not None:
                    waiting.append(frame)
                    yield frame.image
                if is_stopped():
                    frames.close()
                    return
            except DataError as error:
                if on_error is None:
                    raise
                on_error(error)

    live = any(isinstance(file, Stream) for file in files)  # whose frames are shown before the next one comes
    options = {"batch_size": batch_size, "tiles": tiles, "classes": classes, "speed": speed, "ahead": not live}
    for found in predict_images(eval_step, images(), spec=spec, config=config, **options):
        yield waiting.popleft(), found


class VideoFile:
    """Writes an mp4 file, which is opened when the first picture states its size.

    Args:
        path: the file.
        rate: frames a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self._rate, self._writer, self._size = path, rate, None, (0, 0)
        self.resized = 0

    def add(self, picture: np.ndarray) -> None:  # [H,W,3]
        """Appends a picture; one of another size is scaled to that of the first, and counted in `resized`.

        Raises:
            CommandError: this OpenCV cannot write mp4.
            DataError: the path is not UTF-8.
        """
        if self._writer is None:
            code, self._size = cv2.VideoWriter_fourcc(*"mp4v"), picture.shape[1::-1]
            self._writer = cv2.VideoWriter(decodable_path(os.path.abspath(self.path)), code, self._rate, self._size)
            if not self._writer.isOpened():
                raise CommandError(f"{self.path}: OpenCV cannot write this video")
        if picture.shape[1::-1] != self._size:  # the writer would drop it without a word
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
            self.resized += 1
        self._writer.write(picture)

    def close(self) -> None:
        """Finishes the file."""
        if self._writer is not None:
            self._writer.release()
