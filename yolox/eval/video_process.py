"""Videos that are decoded in a process of their own: FFmpeg is too large to trust with any file, and may crash there.

The process imports OpenCV and numpy only. It is used again for the next video, and ends with the process that started it.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, whose names other modules may have

import cv2
import numpy as np

if __name__ != "__main__":
    from yolox.errors import DataError

PROPERTIES = ("FOURCC", "FRAME_WIDTH", "FRAME_HEIGHT", "FPS", "FRAME_COUNT")
MOST_FAILS = 64  # reads in a row that give no frame: then the video has ended
MOST_BYTES = 4 << 30  # of memory of the decoding process, beyond libraries
SECONDS = 30.0  # for one frame; a large one takes less than a second
MOST_PIXELS = 1 << 26  # of a frame, two of 8K; the codecs of videos that are written take no larger ones
MOST_LOG_BYTES = 1 << 20
_OTHER_SIZE = b"Slice parameters"  # FFmpeg's error for a frame that is higher than the first; OpenCV then repeats the one before
_FRAME = struct.Struct("<?II")  # whether there is a frame, height, width


class VideoReader:
    """A video that another process decodes, with the methods of `cv2.VideoCapture` that are used here.

    Args:
        path: the file.
        packets: True gives packets as they are stored, to `grab` only.

    Raises:
        DataError: from each method; the process has crashed, or does not answer.
    """

    def __init__(self, path: str, *, packets: bool = False) -> None:
        self._path, self._process = path, _idle.pop() if _idle else _start()
        self._begun, self._fails = False, 0
        self._ask({"path": path, "packets": packets})
        self._properties = json.loads(self._receive_line())

    def isOpened(self) -> bool:  # noqa: N802 (the name of OpenCV)
        """Returns whether the file is a video."""
        return self._properties["opened"]

    def get(self, code: int) -> float:
        """Returns one of `PROPERTIES` by OpenCV's number."""
        return self._properties[str(code)]

    def grab(self) -> bool:
        """Returns whether there is one more packet."""
        return self.read()[0]

    def read(self) -> tuple[bool, np.ndarray | None]:
        """Returns whether there is a frame, and the frame, [H,W,3] uint8 BGR.

        A frame that is higher than those before it is none: OpenCV gives the one before again.
        """
        if not self._begun:
            self._ask({"go": True})
            self._begun = True
        if self._fails == MOST_FAILS:
            return False, None
        whole, height, width = _FRAME.unpack(self._receive(_FRAME.size))
        self._fails = 0 if whole else self._fails + 1
        if not height * width:
            return whole, None
        if height * width > MOST_PIXELS:
            self._fail(f"a frame of {height * width} pixels")
        image = np.empty((height, width, 3), np.uint8)
        self._receive_into(memoryview(image).cast("B"))
        return whole, image

    def release(self) -> None:
        """Ends the video; the process takes the next one if it has come to the end of this one, or has not begun."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            if not self._begun:
                _send(process.stdin, {"go": False})
            if not self._begun or self._fails == MOST_FAILS:
                _idle.append(process)
                return
        _end(process)

    def _ask(self, message: dict) -> None:
        try:
            _send(self._process.stdin, message)
        except OSError:
            self._fail()

    def _receive_line(self) -> bytes:
        (length,) = struct.unpack("<I", self._receive(4))
        return self._receive(length)

    def _receive(self, size: int) -> bytes:
        data = bytearray(size)
        self._receive_into(memoryview(data))
        return bytes(data)

    def _receive_into(self, view: memoryview) -> None:
        stream, end = self._process.stdout.fileno(), time.monotonic() + SECONDS
        while view:
            if not select.select([stream], [], [], max(end - time.monotonic(), 0))[0]:
                self._fail(f"no frame came for {SECONDS:g} s")
            count = os.readv(stream, [view])
            if not count:
                self._fail()
            view = view[count:]

    def _fail(self, problem: str = "") -> None:
        if not problem:
            status = self._process.wait()  # it has closed its output, so that it ends
            problem = f"the decoder has crashed (signal {-status})" if status < 0 else f"the decoder has ended ({status})"
        process, self._process = self._process, None
        _end(process)
        raise DataError(f"{self._path}: cannot be decoded as a video: {problem}")


_idle: list[subprocess.Popen] = []


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def _start() -> subprocess.Popen:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-u", Path(__file__)]  # -u: OpenCV writes FFmpeg's errors to the C library's stdout, unbuffered
    process = subprocess.Popen(command, bufsize=0, start_new_session=True, **pipes)
    with suppress(OSError, AttributeError):  # Linux; a frame then takes some switches of processes, not dozens
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)
    return process


def _send(stream: BinaryIO, message: dict) -> None:
    data = json.dumps(message).encode()
    stream.write(struct.pack("<I", len(data)) + data)


def _receive(stream: BinaryIO) -> dict:
    head = stream.read(4)
    if len(head) < 4:
        os._exit(0)  # the other process has ended
    return json.loads(stream.read(struct.unpack("<I", head)[0]))


def main() -> None:
    """Decodes videos, one after the other, whose paths come from the standard input."""
    import resource

    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    log = _Log()
    os.dup2(2, 1)  # whatever else prints
    cv2.setLogLevel(0)
    while True:
        task = _receive(sys.stdin.buffer)
        capture = cv2.VideoCapture(task["path"], cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1] if task["packets"] else [])
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # as players do; off by default in OpenCV 4.11
        codes = [getattr(cv2, f"CAP_PROP_{name}") for name in PROPERTIES]
        _send(output, {"opened": capture.isOpened(), **{code: capture.get(code) for code in codes}})
        if _receive(sys.stdin.buffer)["go"]:
            fails = 0
            while fails < MOST_FAILS:  # or until the reader has enough, and ends this process
                whole, image = (capture.grab(), None) if task["packets"] else capture.read()
                if _OTHER_SIZE in log.take():
                    whole, image = False, None
                _send_frame(output, whole, image)
                fails = 0 if whole else fails + 1
        capture.release()


class _Log:
    """The standard error of this process as a file, from which FFmpeg's errors are read: OpenCV does not pass them on."""

    def __init__(self) -> None:
        import resource

        self._file = tempfile.TemporaryFile("ab+", buffering=0)
        os.dup2(self._file.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_LOG_BYTES, MOST_LOG_BYTES))  # Python ignores the signal
        os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "16"

    def take(self) -> bytes:
        """Returns what was printed since the last call."""
        if not os.fstat(2).st_size:
            return b""
        text = os.pread(2, MOST_LOG_BYTES, 0)
        os.ftruncate(2, 0)
        return text


def _send_frame(output: BinaryIO, whole: bool, image: np.ndarray | None) -> None:
    if image is None:
        output.write(_FRAME.pack(whole, 0, 0))
        return
    view = memoryview(np.ascontiguousarray(image)).cast("B")
    output.write(_FRAME.pack(whole, *image.shape[:2]))
    while view:
        view = view[output.write(view) :]


if __name__ == "__main__":
    main()
