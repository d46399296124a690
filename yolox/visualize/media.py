"""What `predict` draws: pictures and videos with boxes, the objects cut out, and a window on the screen.

Each has `add(frame, found)` for one image or frame and `close()`, as the writers of `yolox.eval.writers`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from yolox.data.content import counted, shown_path
from yolox.data.letterbox import resize_to_fit
from yolox.errors import CommandError
from yolox.eval.media import Frame, VideoFile
from yolox.eval.postprocess import Detections
from yolox.eval.writers import unused_path
from yolox.visualize.draw import draw_detections, enlarge_small
from yolox.visualize.run_pictures import write_picture

SUFFIXES = (".jpg", ".jpeg", ".png")  # of pictures; other images become PNG
CROPS = "crops"


def count_classes(names: Iterable[str] | Counter[str], *, most: int = 5) -> str:
    """Returns the number of objects of each class as text, the most frequent first.

    Args:
        names: of the class of each object, or a counter of them.
        most: classes that are named.

    Returns:
        Text such as ``3 dog, 1 cat``; empty without objects.

    Example:
        >>> count_classes(["cat", "dog", "dog"]), count_classes("abcdefg")
        ('2 dog, 1 cat', '1 a, 1 b, 1 c, 1 d, 1 e, 2 of 2 other classes')
    """
    ranked = Counter(names).most_common()
    rest = ranked[most:]
    text = [f"{count} {name}" for name, count in ranked[:most]]
    text += [f"{sum(count for _, count in rest)} of {len(rest)} other classes"] if rest else []
    return ", ".join(text)


def summarize(found: Iterable[str] | Counter[str]) -> str:
    """Returns the number of objects, and of each class in brackets.

    Args:
        found: as for `count_classes`.

    Returns:
        Text such as ``3 objects (2 dog, 1 cat)``.
    """
    total = Counter(found).total()
    return counted(total, "object") + (f" ({count_classes(found)})" if total else "")


class PictureWriter:
    """Writes a picture for an image, and a video for the frames of a video or stream.

    Args:
        folder: for the files.
        class_names: of the detector.
        on_line: called with a line for each image and each video: what was found, and the file.
        is_written: False only gives the lines.
        side: of tiles, px: as in `draw_detections`.
    """

    def __init__(
        self,
        folder: Path,
        class_names: Sequence[str],
        on_line: Callable[[str], object],
        *,
        is_written: bool = True,
        side: int | None = None,
    ) -> None:
        self._folder, self._names, self._on_line, self._is_written = folder, class_names, on_line, is_written
        self._side = side
        self._video: VideoFile | None = None
        self._file, self._frames, self._found = None, 0, Counter()

    def add(self, frame: Frame, found: Detections) -> None:
        """Writes a picture, or appends it to the video."""
        if frame.number is None:
            self.close()
            path = self._target(frame.file.suffix.lower(), frame.name)
            if path is not None:
                write_picture(path, draw_detections(*enlarge_small(frame.image, found), self._names, side=self._side))
            self._line(f"{shown_path(str(frame.file))}: {summarize(found.names)}", path)
            return
        if frame.number == 0:
            self.close()
            self._file, path = frame.file, self._target(".mp4", frame.name.rpartition("_")[0])
            self._video = None if path is None else VideoFile(path, frame.rate)
        if self._video is not None:
            self._video.add(draw_detections(frame.image, found, self._names, side=self._side))
        self._frames += 1
        self._found.update(found.names)

    def close(self) -> None:
        """Finishes the video that is open."""
        if self._file is None:
            return
        if self._video is not None:
            self._video.close()
        line = f"{shown_path(str(self._file))}: {counted(self._frames, 'frame')}, {summarize(self._found)}"
        if self._video is not None and self._video.resized:
            line += f", {self._video.resized} of another size scaled to that of the first"
        self._line(line, None if self._video is None else self._video.path)
        self._video, self._file, self._frames, self._found = None, None, 0, Counter()

    def _target(self, suffix: str, name: str) -> Path | None:
        if not self._is_written:
            return None
        return unused_path(self._folder / (name + (suffix if suffix in (".mp4", *SUFFIXES) else ".png")))

    def _line(self, line: str, path: Path | None) -> None:
        self._on_line(line + ("" if path is None else f", {shown_path(path)}"))


class CropWriter:
    """Writes the pixels of each object to crops/CLASS/NAME_NUMBER.png, or .jpg of a JPEG; numbers go by falling score.

    Args:
        folder: in which crops, and a folder for each class in it, is made.
            What cannot stand in its name becomes ``_``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = unused_path(folder / CROPS)
        self.path.mkdir()
        self._folders: dict[str, Path] = {}

    def add(self, frame: Frame, found: Detections) -> None:
        """Writes the objects of one image."""
        suffix = Path(str(frame.file)).suffix.lower() if frame.number is None else ".jpg"
        height, width = frame.image.shape[:2]
        for index, (box, name) in enumerate(zip(found.boxes, found.names, strict=True)):
            left, top = np.clip(np.floor(box[:2]), 0, (width - 1, height - 1)).astype(int)
            right, bottom = np.clip(np.ceil(box[2:]), (left + 1, top + 1), (width, height)).astype(int)
            path = self._folder_of(name) / f"{frame.name}_{index}{suffix if suffix in SUFFIXES else '.png'}"
            write_picture(path, frame.image[top:bottom, left:right])

    def close(self) -> None:
        """Does nothing: every file is finished."""

    def _folder_of(self, name: str) -> Path:
        if name not in self._folders:
            plain = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", name).strip(". ") or "_"
            self._folders[name] = unused_path(self.path / plain)  # two names may become one
            self._folders[name].mkdir()
        return self._folders[name]


class Screen:
    """Shows images and videos with boxes in a window, by tkinter: headless OpenCV has no windows.

    An image stays until a key is pressed; videos and streams run. The key q, Escape, or closing the window ends it.

    Args:
        class_names: of the detector.
        is_stopped: called while an image waits for a key; True ends the waiting.

    Raises:
        CommandError: this Python has no tkinter, or there is no screen.
    """

    def __init__(self, class_names: Sequence[str], *, is_stopped: Callable[[], bool] = lambda: False) -> None:
        try:
            import tkinter
        except ImportError as error:
            raise CommandError(f"`show`: this Python has no tkinter, which draws the window ({error})") from None
        try:
            self._window = tkinter.Tk(className="yolox")
        except tkinter.TclError as error:
            raise CommandError(f"`show`: there is no screen to show pictures on ({error})") from None
        self._photo, self._names = tkinter.PhotoImage, class_names
        self._label = tkinter.Label(self._window, borderwidth=0)
        self._label.pack()
        self._key: str | None = None
        self._is_stopped, self.is_closed = is_stopped, False
        self._window.bind("<Key>", self._on_key)
        self._window.protocol("WM_DELETE_WINDOW", lambda: setattr(self, "is_closed", True))

    def _on_key(self, event: Any) -> None:
        self._key = event.keysym
        self.is_closed = self.is_closed or event.keysym in ("q", "Escape")

    def add(self, frame: Frame, found: Detections) -> None:
        """Shows a picture; waits for a key where it is an image."""
        if self.is_closed:
            return
        picture = draw_detections(*enlarge_small(frame.image, found), self._names)
        size = self._window.winfo_screenheight() * 9 // 10, self._window.winfo_screenwidth() * 9 // 10
        if picture.shape[0] > size[0] or picture.shape[1] > size[1]:
            picture = resize_to_fit(picture, size, shrink="area")
        photo = self._photo(data=cv2.imencode(".ppm", picture)[1].tobytes(), format="PPM")
        self._label.configure(image=photo)
        self._label.image = photo  # tkinter keeps no reference of its own
        self._window.title(f"{frame.name}: {summarize(found.names)}")
        self._key = None
        self._window.update()
        while frame.number is None and self._key is None and not (self.is_closed or self._is_stopped()):
            self._window.after(20)
            self._window.update()

    def close(self) -> None:
        """Closes the window."""
        self._window.destroy()
