"""The command ``check``: counts and errors of a dataset, and whether a detector can learn one batch of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
from attrs import frozen
from rich.console import Console
from rich.table import Table

from yolox.cli.experiment import Experiment
from yolox.cli.inputs import notes_held, output_folder, print_sources, read_evaluation_set, read_training_set
from yolox.cli.messages import OptionConsole
from yolox.cli.options import CommonOptions
from yolox.cli.sources import FORMATS, DataSource, TrainingSet, ValidationSet, data_source, training_sources
from yolox.config import Recipe, pixel_words
from yolox.data.batches import TrainSource
from yolox.data.check import EXAMPLES, DatasetReport, Probe, check_dataset, probe_pixels, shared_images, training_warnings
from yolox.data.content import Note, name_some, named_in, shown_path
from yolox.data.dataset import DetectionDataset, with_pixels
from yolox.data.duplicates import BITS, Leak, duplicate_images, find_leaks, group_similar, image_hash
from yolox.errors import CommandError, raise_problems
from yolox.nn import initialise, set_precision
from yolox.training.overfit import overfit
from yolox.training.run_folder import write_json
from yolox.training.step import create_train_state
from yolox.training.terminal import LINE_SECONDS
from yolox.visualize.grids import LEAKS, leak_grid, sample_grid
from yolox.visualize.run_pictures import write_picture

MOST_CLASSES = 30
COMPILING = "one batch: compiling the step"


@frozen(kw_only=True)
class CheckOptions(CommonOptions, ValidationSet, TrainingSet):
    """Check a dataset before training: counts, errors, images in two parts, and a picture of the labels."""

    needs_model: ClassVar[bool] = False
    output: Path | None = None
    """Folder for labels.png, leaks.png and report.json; left out, the next of runs/check, runs/check-2 and so on."""
    overfit: bool = False
    """Also train on one batch until its loss collapses, and fail if it does not; yolox wants --model for this."""
    overfit_steps: int = 300
    """Steps after which that fails."""
    settings: Recipe = Recipe()

    def builds_detector(self) -> bool:
        """Returns whether a batch is to be learned, for which a detector is needed; all else is the same for each."""
        return self.overfit


def run(experiment: Experiment, options: CheckOptions, with_defaults: Callable[[Recipe], CheckOptions]) -> None:
    """Checks the datasets of the options, prints and writes the counts and warnings, and overfits one batch if asked.

    Raises:
        UsageError: options that contradict each other.
        DataError: files that training cannot use.
        CommandError: no boxes, classes that do not fit, or a batch that cannot be learned.
    """
    console = OptionConsole()
    sources = training_sources(options)
    print_sources(console, options, {"training": sources["train"], "evaluation": sources["val"]})
    folder, recipe = output_folder(options.output, "check"), options.settings
    sources["test"] = _test_source(options, sources)
    datasets = read_sets(sources)
    datasets = {name: with_pixels(data, recipe.input) for name, data in datasets.items()}
    with console.status("looking at every image"):
        hashes = {name: np.zeros((len(data), BITS), np.int8) for name, data in datasets.items()}
        reports = {
            name: check_dataset(
                data,
                input_size=recipe.input.input_size,
                max_gt=recipe.loader.max_gt if name == "train" else None,
                probe=_hashing_probe(hashes[name]),
            )
            for name, data in datasets.items()
        }
        leaks = find_leaks(datasets, hashes)
        similar = [line for name, data in datasets.items() for line in _similar(name, data, hashes[name])]
    found = {"leaks": [_leak_names(datasets, leak) for leak in leaks], "similar": named_in(similar)}
    parts = {name: {**attrs.asdict(report), "named": named_in(report.warnings)} for name, report in reports.items()}
    write_json(folder / "report.json", {**parts, **found})
    console.print(_counts(reports), _classes(reports))
    height, width = recipe.input.input_size
    console.print(f"pixels: {pixel_words(recipe.input)}, scaled to {height} x {width} (--input-size)")
    for line in [*training_warnings(reports, datasets), *similar, *_leak_lines(datasets, leaks)]:
        console.print(f"warning: {line}", markup=False)
    named = [*found["similar"].values(), *(names for part in parts.values() for names in part["named"].values())]
    if any(len(names) > EXAMPLES for names in named):
        console.print(f"wrote {shown_path(folder / 'report.json')}: all names that these warnings stand for")
    if leaks:
        _write_leaks(console, folder / "leaks.png", datasets, leaks)
    for name, report in reports.items():
        raise_problems(sources[name].name, report.errors)
    _write_grid(console, folder / "labels.png", datasets["train"], recipe)
    if options.overfit:
        _overfit(console, experiment, options, datasets["train"])


def read_sets(sources: dict[str, DataSource | None]) -> dict[str, DetectionDataset]:
    """Reads the training set, and the other sets that there are, with the classes of the training set.

    Notes of the readers are not logged: check and training print them as warnings.
    """
    with notes_held():
        train_set = read_training_set(sources["train"])
        names = train_set.class_names
        others = {name: source for name, source in sources.items() if name != "train" and source is not None}
        read = {name: read_evaluation_set(s, num_classes=len(names), class_names=names) for name, s in others.items()}
    return {"train": train_set, **read}


def _test_source(options: CheckOptions, sources: dict[str, DataSource | None]) -> DataSource | None:
    """Returns the part test of ``--data``, where it has one that is not trained or evaluated on."""
    layouts = [source.layout for source in sources.values() if source is not None and source.layout is not None]
    used = [source.part for source in sources.values() if source is not None]
    if not layouts or "test" not in layouts[0].parts or "test" in used:
        return None
    others = dict.fromkeys((*(f"val_{name}" for name in FORMATS), "val_images"))
    return data_source(attrs.evolve(options, val_split="test", **others), "val", layout=layouts[0])


def _hashing_probe(hashes: np.ndarray) -> Probe:
    """Returns `probe_pixels` that also writes the hash of each image it decodes into its row."""

    def probe(dataset: DetectionDataset, index: int) -> tuple[str, str] | None:
        def keep(image: np.ndarray) -> None:
            hashes[index] = image_hash(image)

        return probe_pixels(dataset, index, see=keep)

    return probe


def _similar(part: str, dataset: DetectionDataset, hashes: np.ndarray) -> list[str]:
    """Returns lines about images of one part that are equal or look alike."""
    equal = [[Path(path).name for path in group] for group in duplicate_images(dataset) if len(set(group)) > 1]
    numbers = group_similar(hashes)
    groups = [np.flatnonzero(numbers == first) for first in np.flatnonzero(np.bincount(numbers, minlength=1) > 1)]
    alike = [[Path(dataset.file_names[i]).name for i in group.tolist()] for group in groups]
    kinds = (("are equal byte for byte", " = ", equal), ("look alike, such as frames of a video", " ~ ", alike))
    lines = []
    for what, sign, found in kinds:
        text = f"{part}: groups of image files that {what}: {len(found)} ({name_some(_group(g, sign) for g in found)})"
        lines += [Note(text, (sign.join(group) for group in found))] if found else []
    return lines


def _group(names: Sequence[str], sign: str) -> str:
    rest = [f"{len(names) - EXAMPLES} more"] if len(names) > EXAMPLES else []
    return sign.join([*names[:EXAMPLES], *rest])


def _leak_lines(datasets: dict[str, DetectionDataset], leaks: Sequence[Leak]) -> list[str]:
    """Returns a line for each pair of parts, and for equal and for similar images.

    `training_warnings` has named the files that validation and training share.
    """
    kinds: dict[str, list[str]] = {}
    shared = set(shared_images(datasets["val"], datasets["train"])) if "val" in datasets else set()
    for leak in leaks:
        if (leak.part, leak.other) == ("val", "train") and datasets["val"].file_names[leak.index] in shared:
            continue
        names = _leak_names(datasets, leak)
        how, sign = ("are equal to", "=") if leak.is_equal else ("look like", "~")
        kinds.setdefault(f"images of {leak.part} that {how} one of {leak.other}", []).append(
            f"{names[leak.part]} {sign} {names[leak.other]}"
        )
    return [f"{what}: {len(found)} ({name_some(found)})" for what, found in kinds.items()]


def _leak_names(datasets: dict[str, DetectionDataset], leak: Leak) -> dict[str, object]:
    one, other = datasets[leak.part].file_names[leak.index], datasets[leak.other].file_names[leak.other_index]
    return {leak.part: one, leak.other: other, "distance": leak.distance, "equal": leak.is_equal}


def _write_leaks(console: Console, path: Path, datasets: dict[str, DetectionDataset], leaks: Sequence[Leak]) -> None:
    write_picture(path, leak_grid(datasets, leaks))
    shown = f"the first {LEAKS} of {len(leaks)} pairs" if len(leaks) > LEAKS else "the pairs"
    console.print(f"wrote {shown_path(path)}: {shown}; yolox split keeps images that look alike in one part")


def _counts(reports: dict[str, DatasetReport]) -> Table:
    table = Table("", *reports, title="counts", title_justify="left")
    words = {"crowd": "of these crowd regions", "empty": "images without a box", "most": "most boxes of an image"}
    for name in ("images", "boxes", "crowd", "empty", "most"):
        table.add_row(words.get(name, name), *(str(getattr(report, name)) for report in reports.values()))
    for size in next(iter(reports.values())).per_size:
        table.add_row(f"{size} boxes", *(str(report.per_size[size]) for report in reports.values()))
    return table


def _classes(reports: dict[str, DatasetReport]) -> Table:
    table = Table("class", *reports, title="boxes of each class", title_justify="left")
    first = next(iter(reports.values())).per_class
    for name in list(first)[:MOST_CLASSES]:
        table.add_row(name, *(str(report.per_class[name]) for report in reports.values()))
    if len(first) > MOST_CLASSES:
        table.add_row(f"and {len(first) - MOST_CLASSES} more, in report.json")
    return table


def _write_grid(console: Console, path: Path, dataset: DetectionDataset, recipe: Recipe) -> None:
    write_picture(path, sample_grid(dataset, recipe))  # not by cv2.imwrite, which a path that is not UTF-8 crashes
    console.print(f"wrote {shown_path(path)}: look whether the boxes lie on the objects")


def step_lines(console: Console, update: Callable[[str], None]) -> Callable[[int, float], None]:
    """Returns a function that shows the steps of one batch: in a terminal's live line, elsewhere as a line every half minute.

    Args:
        console: what is shown on.
        update: changes the live line, which a file or pipe does not show.

    Returns:
        A function of the number of steps done and the loss.
    """
    last = time.monotonic()
    if not console.is_terminal:
        console.print(COMPILING)

    def show(number: int, loss: float) -> None:
        nonlocal last
        line = f"one batch: step {number}, loss {loss:.2f}"
        update(line)
        if not console.is_terminal and time.monotonic() - last >= LINE_SECONDS:
            console.print(line)
            last = time.monotonic()

    return show


def _overfit(console: Console, experiment: Experiment, options: CheckOptions, dataset: DetectionDataset) -> None:
    """Trains a detector of random weights on one batch of unaugmented images, and discards it."""
    size = min(options.settings.loader.batch_size, len(dataset))
    loader = attrs.evolve(options.settings.loader, batch_size=size, accumulate=1, multiscale_sizes=())
    recipe = attrs.evolve(options.settings, loader=loader)
    detector = experiment.build(len(dataset.class_names), recipe.input.channels)
    initialise(detector, seed=loader.seed)
    set_precision(detector, recipe.optim.precision)
    step = experiment.make_step(detector, create_train_state(detector, optimizer=recipe.optim.optimizer), recipe)
    batch = TrainSource(dataset=dataset, recipe=recipe, epoch=0, augment=False)[0][:4]
    with console.status(COMPILING) as status:
        report = overfit(step, batch, max_steps=options.overfit_steps, on_step=step_lines(console, status.update))
    if not report.sound:
        raise CommandError(f"one batch: {report.message}")
    console.print(f"one batch: {report.message}")
