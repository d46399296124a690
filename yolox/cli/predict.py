"""The command ``predict``: a picture or a video with boxes for every source, and the boxes in files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import attrs
from attrs import frozen

from yolox.cli.experiment import Experiment
from yolox.cli.inputs import open_weights, output_folder, recipe_of_weights
from yolox.cli.messages import OptionConsole
from yolox.cli.options import InferenceOptions
from yolox.config import InputSpec, PostprocessConfig, Recipe
from yolox.data.classes import names_of_classes
from yolox.data.coco import read_coco_ids
from yolox.data.image import MAX_PIXELS, shown_path
from yolox.errors import CommandError, DataError, UsageError
from yolox.eval.media import (
    Frame,
    VideoCount,
    VideoFile,
    find_files,
    frames_per_second,
    is_video,
    predict_media,
    unique_names,
)
from yolox.eval.postprocess import Detections, with_names
from yolox.eval.predict import VIEWER
from yolox.eval.writers import WRITERS, ResultsWriter, YoloTextWriter, unused_path
from yolox.visualize.draw import draw_detections, enlarge_small
from yolox.visualize.run_pictures import write_picture

THRESHOLDS = {name: getattr(VIEWER, name) for name in ("score_threshold", "iou_threshold")}
"""What Megvii's README uses to draw pictures; an evaluation needs the low scores, a viewer does not."""
SaveForm = Literal["json", "txt", "csv", "coco"]


@frozen(kw_only=True)
class PredictOptions(InferenceOptions):
    """Detect objects in images and videos: pictures with boxes, and the boxes in files."""

    source: tuple[Path, ...]
    """Images, videos, folders of them, and patterns such as 'photos/*.jpg'."""
    output: Path | None = None
    """Folder for the pictures, the videos and the files of --save; left out, the next of runs/predict, runs/predict-2, ..."""
    save: tuple[SaveForm, ...] = ("json",)
    """Forms of the boxes: predictions.json, labels/*.txt (YOLO), predictions.csv, predictions_coco.json."""
    recursive: bool = False
    """Take the files in sub-folders too."""
    with_scores: bool = False
    """Write the score as sixth column of labels/*.txt; without it they can be trained on."""
    results_for: Path | None = None
    """COCO annotations of the same images: also write COCO's results with their ids of images and categories."""
    strict: bool = False
    """End with status 1 if a source or a frame could not be read; the others are done either way."""
    max_pixels: int = MAX_PIXELS
    """Most pixels of an image file; one that states more is refused before it is decoded."""
    batch_size: int = 1
    """Images at a time."""
    input: InputSpec = InputSpec()
    postprocess: PostprocessConfig = PostprocessConfig()

    @classmethod
    def defaults(cls, recipe: Recipe, values: Mapping[str, Any]) -> PredictOptions:
        """Returns the defaults of `CommonOptions` with the thresholds of a viewer."""
        return super().defaults(attrs.evolve(recipe, postprocess=attrs.evolve(recipe.postprocess, **THRESHOLDS)), values)

    @classmethod
    def check_spelling(cls, argv: Sequence[str]) -> None:
        """Raises UsageError for ``--save-txt`` and the like, with the option to write."""
        given, forms = {argument.replace("_", "-") for argument in argv}, get_args(SaveForm)
        for form in forms:
            if f"--save-{form}" in given:
                raise UsageError(f"--save-{form}: write --save {form}; it takes one or more of {', '.join(forms)}")


def run(experiment: Experiment, options: PredictOptions, with_defaults: Callable[[Recipe], PredictOptions]) -> None:
    """Detects objects in the sources, and writes pictures, videos and the files of ``--save``.

    A file that cannot be read is named, and the others go on.

    Raises:
        WeightsError, ExportError, CommandError: files that do not exist or cannot be used or written; with ``--strict``
            also sources or frames that could not be read, when all others are done.
    """
    sources = find_files(options.source, recursive=options.recursive)
    files = sources.files
    ids = None if options.results_for is None else read_coco_ids(str(options.results_for))
    opened = open_weights(experiment, options.weights, legacy=options.legacy)
    options = with_defaults(recipe_of_weights(experiment, options.recipe, opened.metadata))
    names = names_of_classes(opened.num_classes, opened.metadata.class_names)
    step = opened.make_step(options.input)
    folder = output_folder(options.output, "predict")  # weights that cannot be used leave none behind
    console, errors, videos, full = OptionConsole(), [], [], 0
    results = [] if ids is None else [ResultsWriter(folder, names, ids)]
    files_written = [_open_writer(kind, folder, names, options) for kind in dict.fromkeys(options.save)] + results
    writers = [_PictureWriter(folder, names, console), *files_written]
    settings = {"spec": options.input, "config": options.postprocess, "batch_size": options.batch_size}
    settings["max_pixels"] = options.max_pixels
    try:
        for frame, found in predict_media(step, files, **settings, on_error=errors.append, on_video=videos.append):
            full += len(found) >= options.postprocess.max_detections
            for writer in writers:
                writer.add(frame, with_names(found, names))
    finally:
        for writer in writers:
            writer.close()
    for writer in files_written:
        console.print(f"wrote {shown_path(writer.path)}", markup=False)
    notes = [*sources.left_out, *(note for writer in results for note in writer.notes())]
    if full:
        notes.append(f"{full} images have {options.postprocess.max_detections} detections, the most of `max_detections`")
    _report(files, notes, errors, videos, strict=options.strict)


def _report(
    files: Sequence[Path], notes: Sequence[str], errors: Sequence[DataError], videos: Sequence[VideoCount], *, strict: bool
) -> None:
    """Names what was renamed, left out or cut; raises CommandError where nothing, or with `strict` something, was not read."""
    console = OptionConsole(stderr=True)
    for file, name in zip(files, unique_names(files), strict=True):
        if name != file.stem:
            line = f"note: the name {file.stem} is used twice; results of {file} have {name}"
            console.print(shown_path(line), markup=False)
    incomplete = [f"{video.file}: {video}" for video in videos if video.missing]
    for line in [*notes, *incomplete]:
        console.print(f"warning: {shown_path(line)}", markup=False)
    if errors:
        text = "\n  ".join([f"{len(errors)} of {len(files)} sources could not be read:", *map(str, errors)])
        if strict or len(errors) == len(files):
            raise CommandError(text)
        console.print(f"warning: {text}", markup=False)
    if incomplete and strict:
        raise CommandError(f"{len(incomplete)} of {len(files)} sources could not be read to their end: {incomplete[0]}")


def _open_writer(kind: str, folder: Path, names: Sequence[str], options: PredictOptions):
    return YoloTextWriter(folder, names, scores=options.with_scores) if kind == "txt" else WRITERS[kind](folder, names)


class _PictureWriter:
    """Writes a picture for an image, and a video for the frames of a video, and prints what was found in each."""

    def __init__(self, folder: Path, class_names: Sequence[str], console: OptionConsole) -> None:
        self._folder, self._names, self._console = folder, class_names, console
        self._video: VideoFile | None = None
        self._frames = self._objects = 0

    def add(self, frame: Frame, found: Detections) -> None:
        if frame.number is None:
            self.close()
            path = _target(self._folder, frame.file, frame.name)
            write_picture(path, draw_detections(*enlarge_small(frame.image, found), self._names))
            self._console.print(f"{shown_path(frame.file)}: {len(found)} objects, {shown_path(path)}", markup=False)
            return
        if frame.number == 0:
            self.close()
            path = _target(self._folder, frame.file, frame.name.rpartition("_")[0])
            self._video = VideoFile(path, frames_per_second(frame.file))
        self._video.add(draw_detections(frame.image, found, self._names))
        self._frames, self._objects = self._frames + 1, self._objects + len(found)

    def close(self) -> None:
        """Finishes the video that is open."""
        if self._video is not None:
            self._video.close()
            self._console.print(f"{self._frames} frames, {self._objects} objects, {shown_path(self._video.path)}", markup=False)
            self._video, self._frames, self._objects = None, 0, 0


def _target(folder: Path, file: Path, name: str) -> Path:
    """Returns the path of the picture or the video that is written for a file, at which nothing is."""
    suffix = ".mp4" if is_video(file) else file.suffix.lower()
    return unused_path(folder / (name + (suffix if suffix in (".mp4", ".jpg", ".jpeg", ".png") else ".png")))
