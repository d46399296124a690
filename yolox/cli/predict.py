"""The verb ``predict``: a picture or a video with boxes for every source, and the boxes in files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
from rich.console import Console

from yolox.cli.experiment import Experiment
from yolox.cli.frames import Frame, VideoFile, find_files, frames_per_second, is_video, read_frames, unique_names
from yolox.cli.inputs import open_weights, recipe_of_weights
from yolox.cli.options import PredictOptions
from yolox.cli.sinks import SINKS, check_labels
from yolox.config import Recipe
from yolox.data.classes import names_of_classes
from yolox.errors import CommandError, DataError, UsageError
from yolox.eval.draw import draw_detections, enlarge_small
from yolox.eval.postprocess import Detections, with_names
from yolox.eval.predict import predict_images
from yolox.training.run_folder import make_folder


def run(experiment: Experiment, options: PredictOptions, parse: Callable[[Recipe], PredictOptions]) -> None:
    """Detect objects in the sources, and write pictures, videos and the files of ``--save``.

    A file that cannot be read is named, and the others go on.

    Raises:
        UsageError: a source or a label would be overwritten.
        WeightsError, ExportError, CommandError: files that are not there, cannot be used or written; with ``--strict``
            also sources that could not be read, when all others are done.
    """
    files = find_files(options.source)
    _check_targets(files, options)
    opened = open_weights(experiment, options.weights)
    options = parse(recipe_of_weights(experiment, options.recipe, opened.facts))
    names = names_of_classes(opened.num_classes, opened.facts.class_names)
    step = opened.make_step(options.input)
    folder = make_folder(options.output)  # weights that cannot be used leave none behind
    console, broken = Console(soft_wrap=True, highlight=False), []
    sinks = [SINKS[kind](folder, names) for kind in dict.fromkeys(options.save)]
    painter = _Painter(folder, names, console)
    try:
        for frame, found in _detections(files, step, options, broken):
            found = with_names(found, names)
            painter.add(frame, found)
            for sink in sinks:
                sink.add(frame, found)
    finally:
        for closing in (painter, *sinks):
            closing.close()
    for sink in sinks:
        console.print(f"wrote {sink.path}")
    _report_broken(broken, len(files), options.strict)


def _detections(files, step, options: PredictOptions, broken: list) -> Iterator[tuple[Frame, Detections]]:
    """Frames with their detections, a batch of frames in memory at a time."""
    settings = {"spec": options.input, "config": options.postprocess, "batch_size": options.batch_size}
    waiting: deque[Frame] = deque()  # frames that were read and have no detections yet

    def images():
        for frame in _readable(files, broken):
            waiting.append(frame)
            yield frame.image

    for found in predict_images(step, images(), **settings):
        yield waiting.popleft(), found


def _readable(files: list[Path], broken: list) -> Iterator[Frame]:
    for file, name in zip(files, unique_names(files), strict=True):
        try:
            yield from read_frames(file, name)
        except DataError as error:
            broken.append(str(error))


def _report_broken(broken: list[str], count: int, strict: bool) -> None:
    if not broken:
        return
    text = "\n  ".join([f"{len(broken)} of {count} sources could not be read:", *broken])
    if strict or len(broken) == count:
        raise CommandError(text)
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"warning: {text}", markup=False)


class _Painter:
    """Writes a picture for an image, and a frame of a video for a frame of a video."""

    def __init__(self, folder: Path, names, console: Console) -> None:
        self._folder, self._names, self._console = folder, names, console
        self._file: Path | None = None
        self._video: VideoFile | None = None
        self._count = self._objects = 0

    def add(self, frame: Frame, found: Detections) -> None:
        if frame.number is None:
            self.close()
            picture = draw_detections(*enlarge_small(frame.image, found), self._names)
            path = _target(self._folder, frame.file, frame.name)
            _write_picture(path, picture)
            self._console.print(f"{frame.file}: {len(found)} objects, {path}", markup=False)
            return
        if frame.number == 0:
            self.close()
            self._file = _target(self._folder, frame.file, frame.name.rpartition("_")[0])
            self._video = VideoFile(self._file, frames_per_second(frame.file))
        self._video.add(draw_detections(frame.image, found, self._names))
        self._count, self._objects = self._count + 1, self._objects + len(found)

    def close(self) -> None:
        """Finish the video that is open."""
        if self._video is None:
            return
        self._video.close()
        self._console.print(f"{self._count} frames, {self._objects} objects, {self._file}", markup=False)
        self._video, self._count, self._objects = None, 0, 0


def _target(folder: Path, file: Path, name: str) -> Path:
    """Name the picture or the video that is written for a file."""
    kept = file.suffix.lower() in (".jpg", ".jpeg", ".png")
    return folder / (name + (".mp4" if is_video(file) else file.suffix.lower() if kept else ".png"))


def _check_targets(files: list[Path], options: PredictOptions) -> None:
    """Refuse to write over a source, also through a link, or among labels that are there; before anything is written."""
    if "txt" in options.save:
        check_labels(options.output)
    sources = {_identity(file): file for file in files if file.exists()}
    for file, name in zip(files, unique_names(files), strict=True):
        path = _target(options.output, file, name)
        if path.exists() and _identity(path) in sources:
            raise UsageError(
                f"--output {options.output}: {path} would overwrite the source {sources[_identity(path)]}; "
                "give another folder"
            )


def _identity(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino


def _write_picture(path: Path, picture) -> None:
    done, data = cv2.imencode(path.suffix, picture)
    if not done:
        raise CommandError(f"{path}: the picture cannot be encoded")
    path.write_bytes(data.tobytes())
