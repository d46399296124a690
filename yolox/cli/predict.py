"""The command ``predict``: a picture or a video with boxes for every source, and the boxes in files."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import attrs
import tyro
from attrs import frozen
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from yolox.cli.experiment import Experiment
from yolox.cli.inputs import open_weights, output_folder, recipe_of_weights
from yolox.cli.messages import OptionConsole, name_options, note
from yolox.cli.options import InferenceOptions
from yolox.config import InputSpec, PostprocessConfig, Recipe
from yolox.console import printable
from yolox.data.classes import COCO_NAMES, names_of_classes
from yolox.data.coco import read_coco_ids
from yolox.data.content import counted, name_some, shown_path
from yolox.data.image import MAX_PIXELS
from yolox.errors import CommandError, DataError, RunStopped, UsageError
from yolox.eval.media import Frame, VideoCount, expected_frames, predict_media
from yolox.eval.postprocess import Detections, class_indices, with_names
from yolox.eval.predict import VIEWER, Speed
from yolox.eval.sources import Stream, find_files, unread_lines
from yolox.eval.tiles import Tiles
from yolox.eval.writers import WRITERS, ResultsWriter, YoloTextWriter
from yolox.training.signals import StopSignals
from yolox.training.terminal import format_seconds
from yolox.visualize.media import CropWriter, PictureWriter, Screen, count_classes, summarize

THRESHOLDS = {name: getattr(VIEWER, name) for name in ("score_threshold", "iou_threshold")}
"""What Megvii's README uses to draw pictures; an evaluation needs the low scores, a viewer does not."""
_EVALUATION_SCORE = PostprocessConfig().score_threshold  # from which on evaluations take detections
SaveForm = Literal["json", "txt", "csv", "coco"]


@frozen(kw_only=True)
class PredictOptions(InferenceOptions):
    """Detect objects in images, videos and streams; draw and save the boxes."""

    source: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PATH ...")]
    """Files, folders, patterns, streams: images and videos, 'photos/*.jpg', the number of a camera, an address such as
    rtsp://host/path, and - for paths that stand on standard input, one a line."""
    output: Path | None = None
    """Folder for all that is written; left out, the next of runs/predict, runs/predict-2, ..."""
    save: tuple[SaveForm, ...] = ("json",)
    """Forms of the boxes: predictions.json, labels/*.txt (YOLO), predictions.csv, predictions_coco.json."""
    recursive: bool = False
    """Take the files in sub-folders too."""
    classes: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Only objects of these classes, by name or by index from 0."""
    tiles: int | None = None
    """Side in pixels of tiles: large images are divided, and small objects found in each tile, large ones in the whole image."""
    overlap: float = 0.2
    """Share of a tile that the next one has too; objects smaller than it are whole in some tile."""
    pictures: bool = True
    """Write pictures and videos with boxes."""
    crops: bool = False
    """Cut each object out, into crops/CLASS."""
    show: bool = False
    """Show pictures in a window: an image until a key is pressed; q or Escape ends."""
    max_frames: int | None = None
    """Most frames of each video or stream."""
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
    def answers(cls) -> Mapping[str, str]:
        """Returns the messages for ``--save-txt`` and the like, with the option to write."""
        forms = get_args(SaveForm)
        return {f"save-{form}": f"write --save {form}; it takes one or more of {', '.join(forms)}" for form in forms}


def run(experiment: Experiment, options: PredictOptions, with_defaults: Callable[[Recipe], PredictOptions]) -> None:
    """Detects objects in the sources, and writes pictures, videos and the files of ``--save``.

    A file that cannot be read is named, and the others go on.

    Raises:
        WeightsError, ExportError, CommandError: files that do not exist or cannot be used or written; with ``--strict``
            also sources or frames that could not be read, when all others are done.
    """
    sources = find_files(_with_listed(options.source), recursive=options.recursive)
    files = sources.files
    _check(options)
    tiles = _tiles(options)
    ids = None if options.results_for is None else read_coco_ids(str(options.results_for))
    opened = open_weights(experiment, options.weights, legacy=options.legacy)
    options = with_defaults(recipe_of_weights(experiment, options.recipe, opened.metadata))
    names = names_of_classes(opened.num_classes, opened.metadata.class_names)
    classes = _indices(options.classes, names)
    if opened.metadata.class_names is None:
        note(f"the weights name no classes: {'those of COCO are taken' if names == COCO_NAMES else 'they are numbered'}")
    opened.check_input(options.input)
    count = expected_frames(files, options.max_frames) or 0
    opened = opened.in_engine(options, OptionConsole(), class_names=names, images=count)
    step, is_stopped = opened.make_step(options.input), StopSignals()
    screen = [Screen(names, is_stopped=is_stopped)] if options.show else []
    folder = output_folder(options.output, "predict")  # weights that cannot be used leave none behind
    console, errors, videos, full, speed = OptionConsole(), [], [], 0, Speed()
    results = [] if ids is None else [ResultsWriter(folder, names, ids)]
    files_written = [_open_writer(kind, folder, names, options) for kind in dict.fromkeys(options.save)] + results
    files_written += [CropWriter(folder)] if options.crops else []
    progress = _Progress(console, files, options.max_frames)
    pictures = PictureWriter(folder, names, console.print, is_written=options.pictures, side=options.tiles)
    writers = [pictures, *files_written, *screen, progress]
    settings = {"spec": options.input, "config": options.postprocess, "tiles": tiles, "classes": classes, "speed": speed}
    settings |= {name: getattr(options, name) for name in ("batch_size", "max_pixels", "max_frames")}
    settings["is_stopped"] = lambda: is_stopped() or any(window.is_closed for window in screen)
    stream = predict_media(step, files, **settings, on_error=errors.append, on_video=videos.append)
    try:
        with is_stopped, closing(stream):
            for frame, found in stream:
                full += len(found) >= options.postprocess.max_detections
                for writer in writers:
                    writer.add(frame, with_names(found, names))
    finally:
        for writer in writers:
            writer.close()
    for writer in files_written:
        console.print(f"wrote {shown_path(writer.path)}", markup=False)
    least = options.postprocess.score_threshold
    weaker = "" if progress.found else f" with a score above {least:g} (`score_threshold`)"
    console.print(f"{counted(progress.images, 'image')}: {summarize(progress.found)}{weaker}", markup=False)
    console.print(f"speed: {speed}", markup=False)
    notes = [*sources.left_out, *unread_lines(files, options.input), *(note for writer in results for note in writer.notes())]
    if full:
        most = options.postprocess.max_detections
        notes.append(f"{counted(full, 'image has', 'images have')} {most} detections, the most of `max_detections`")
    if ids is not None and least > _EVALUATION_SCORE:
        notes.append(f"results.json has detections from a score of {least:g} on; AP counts those below too: `score_threshold` "
                     f"{_EVALUATION_SCORE:g}")  # fmt: skip
    rest = files[len(errors) + len(videos) + progress.files :]  # after a signal, or when the window was closed
    if len(rest) == 1 and isinstance(rest[0], Stream):  # which has no other end
        rest = []
    if rest:
        notes.append(f"stopped: {len(rest)} of {len(files)} sources were not read to their end ({name_some(map(str, rest))})")
    _report(files, notes, progress.renamed, errors, videos, strict=options.strict)
    if is_stopped.signal is not None and rest:
        text = f"stopped after {counted(progress.images, 'image')}; their results are written"
        raise RunStopped(text, folder, is_stopped.signal)


def _with_listed(sources: Iterable[str]) -> Iterator[str]:
    """Yields the sources, and in place of - the lines of standard input."""
    for source in sources:
        if source == "-":
            yield from (os.fsdecode(line) for line in sys.stdin.buffer.read().splitlines() if line.strip())
        else:
            yield source


def _check(options: PredictOptions) -> None:
    """Raises UsageError for options that would do nothing."""
    if options.with_scores and "txt" not in options.save:
        raise UsageError("--with-scores: is for --save txt")
    if options.max_frames is not None and options.max_frames < 1:
        raise UsageError(f"--max-frames: got {options.max_frames}, want at least 1")


def _tiles(options: PredictOptions) -> Tiles | None:
    if options.tiles is None and options.overlap != attrs.fields(PredictOptions).overlap.default:
        raise UsageError("--overlap: is for --tiles")
    try:
        return None if options.tiles is None else Tiles(options.tiles, options.overlap)
    except ValueError as error:
        raise UsageError(name_options(str(error))) from None


def _indices(classes: Sequence[str], names: Sequence[str]) -> tuple[int, ...] | None:
    try:
        return class_indices(classes, names) if classes else None
    except ValueError as error:
        raise UsageError(name_options(str(error))) from None


def _report(
    files: Sequence[Path | Stream],
    notes: Sequence[str],
    renamed: Mapping[Path | Stream, str],
    errors: Sequence[DataError],
    videos: Sequence[VideoCount],
    *,
    strict: bool,
) -> None:
    """Names what was renamed, left out or cut; raises CommandError where nothing, or with `strict` something, was not read."""
    console = OptionConsole(stderr=True)
    for file, name in renamed.items():
        line = f"note: the name {file.stem} is used twice; results of {file} have {name}"
        console.print(shown_path(line), markup=False)
    for video in videos:
        if isinstance(video.file, Stream) and video.is_whole:
            console.print(f"note: {video.file}: {video}", markup=False)
    incomplete = [f"{video.file}: {video}" for video in videos if not video.is_whole]
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


class _Progress:
    """Counts images, image files and objects; in a terminal it shows them with the rate and the time that is left."""

    def __init__(self, console: Console, files: Sequence[Path | Stream], max_frames: int | None) -> None:
        self.images, self.found, self._start, self._bar = 0, Counter(), time.monotonic(), None
        self.files, self.renamed = 0, {}
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[state]}"), console=console)
            self._task = self._bar.add_task("images", total=expected_frames(files, max_frames), state="")
            self._bar.start()

    def add(self, frame: Frame, found: Detections) -> None:
        self.images += 1
        self.files += frame.number is None
        self.found.update(found.names)
        name = frame.name if frame.number is None else frame.name.rpartition("_")[0]
        if name != frame.file.stem:
            self.renamed[frame.file] = name
        if self._bar is not None:
            rate, total = self.images / (time.monotonic() - self._start), self._bar.tasks[0].total
            left = "" if total is None else f", {format_seconds(max(total - self.images, 0) / rate)} left"
            state = printable(f"{rate:.1f} images/s{left}\n{count_classes(self.found)}")
            self._bar.update(self._task, completed=self.images, state=state)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
