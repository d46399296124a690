"""The command ``split``: divides a dataset into parts for training, validation and test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from attrs import frozen
from rich.console import Console
from rich.table import Table

from yolox.cli.convert import SOURCES, data_path, print_written
from yolox.cli.experiment import Experiment
from yolox.cli.inputs import RUNS
from yolox.cli.messages import OptionConsole
from yolox.cli.options import CommonOptions
from yolox.cli.sources import DataOptions, reading_conventions
from yolox.config import Recipe
from yolox.data.content import counted, shown_path
from yolox.data.convert import unread_attributes
from yolox.data.dataset import DetectionDataset
from yolox.data.layout import find_layout, read_part
from yolox.data.parts import DataLayout, DataPart, part_of
from yolox.data.split import (
    group_by_name,
    join_groups,
    merge_parts,
    original_files,
    similar_groups,
    split_data,
    write_json_split,
    write_list_split,
)
from yolox.data.write import WRITERS, OriginalFile, write_coco
from yolox.data.written_folder import Images
from yolox.errors import UsageError
from yolox.training.run_folder import next_folder

MOST_CLASSES = 30


@frozen(kw_only=True)
class SplitOptions(CommonOptions, DataOptions):
    """Divide a dataset into train, val and test: every class by the same fractions, images that look alike in one part."""

    needs_model: ClassVar[bool] = False
    part: Literal["train", "val", "test"] | None = None
    """Part of --data that is divided; left out, all its parts together."""
    fractions: tuple[float, ...] = (0.8, 0.1, 0.1)
    """Of train, val and, where there are three, test."""
    group_by: str | None = None
    """Images that stay together: 'folder', or a regular expression whose first group is the same text in their names."""
    join_similar: bool = True
    """Keep images together that are equal or look alike; --no-join-similar divides them."""
    seed: int = 0
    """Of the order of images that are equally good."""
    to: Literal["json", "lists", "coco", "voc", "yolo"] | None = None
    """COCO files or lists of names for the images where they are, or a folder with images; left out, json for COCO, else
    lists."""
    output: Path | None = None
    """A folder that is not there yet, or empty; left out, the next of runs/split, runs/split-2 and so on."""
    images: Images = "copy"
    """With --to coco, voc or yolo: copy image files or link them."""

    @classmethod
    def answers(cls) -> Mapping[str, str]:
        """Returns what other programs call the options."""
        names = ("ratio", "ratios", "train-size", "val-size", "test-size")
        return dict.fromkeys(names, "here it is --fractions TRAIN VAL TEST, such as 0.8 0.1 0.1") | SOURCES


def run(experiment: Experiment, options: SplitOptions, with_defaults: Callable[[Recipe], SplitOptions]) -> None:
    """Divides the dataset of ``--data``, and prints the boxes of each class and the options that read the parts.

    Raises:
        UsageError: no dataset.
        DataError: it cannot be read, divided or written, or the output is there already.
    """
    console = OptionConsole()
    layout = find_layout(data_path(options))
    names = [options.part] if options.part else list(layout.parts)
    sources = {name: part_of(layout, name) for name in names}
    console.print(f"data: {shown_path(options.data)}: {layout}; divided: {', '.join(names)}", markup=False)
    conventions = reading_conventions(options, layout)
    datasets = {name: read_part(part, name=name, **conventions) for name, part in sources.items()}
    originals = [] if options.class_map is not None else original_files(sources, datasets)
    dataset = merge_parts(datasets)
    with console.status("comparing images"):
        groups = _groups(console, options, dataset)
    parts = split_data(dataset, options.fractions, groups=groups, seed=options.seed)
    console.print(_table(parts))
    _write(console, options, DataLayout(name=layout.name, parts=sources), parts, originals)


def _groups(console: Console, options: SplitOptions, dataset: DetectionDataset) -> np.ndarray | None:
    found = []
    if options.group_by is not None:
        found.append(group_by_name(dataset, options.group_by))
        console.print(f"--group-by: {len(np.unique(found[-1]))} groups of {len(dataset)} images", markup=False)
    if options.join_similar:
        found.append(similar_groups(dataset))
        sizes = np.bincount(found[-1], minlength=1)
        count, rest = int((sizes > 1).sum()), int(sizes[sizes > 1].sum())
        kept = ", each in one part (--no-join-similar divides them)" if count else ""
        console.print(f"images that look like another one: {rest} in {counted(count, 'group')}{kept}", markup=False)
    return join_groups(*found) if found else None


def _table(parts: Mapping[str, DetectionDataset]) -> Table:
    table = Table("", *parts, title="images, and boxes of each class", title_justify="left")
    table.add_row("images", *_cells([len(data) for data in parts.values()]))
    names = next(iter(parts.values())).class_names
    counts = np.array([np.bincount(data.classes, minlength=len(names)) for data in parts.values()])
    used = np.flatnonzero(counts.sum(axis=0)).tolist()
    for i in used[:MOST_CLASSES]:
        table.add_row(names[i], *_cells(counts[:, i].tolist()))
    if len(used) > MOST_CLASSES:
        table.add_row(f"and {len(used) - MOST_CLASSES} more")
    return table


def _cells(counts: list[int]) -> list[str]:
    return [f"{count} ({count / max(sum(counts), 1):.1%})" for count in counts]


def _write(
    console: Console,
    options: SplitOptions,
    layout: DataLayout,
    parts: Mapping[str, DetectionDataset],
    originals: Sequence[OriginalFile],
) -> None:
    """Writes the parts, and prints what was not kept and the options that read them."""
    source = next(iter(layout.parts.values()))
    is_one = len({part.path for part in layout.parts.values()}) == 1
    to = options.to or ("json" if source.format == "json" or not is_one else "lists")
    if to == "lists" and options.class_map is not None:
        raise UsageError("--class-map: lists leave the annotation files with their classes; give --to coco, voc or yolo")
    if to not in WRITERS and options.images != "copy":
        raise UsageError(f"--images {options.images}: is for --to coco, voc or yolo; with {to} images stay where they are")
    output = options.output or next_folder(RUNS / "split", make=False)
    if to == "json":
        write_json_split(parts, output, originals=originals)
    elif to == "lists":
        write_list_split(parts, output, sources=list(layout.parts.values()))
    elif to == "coco":
        written = write_coco(parts, output, images=options.images, originals=dict.fromkeys(parts, originals))
    else:
        written = WRITERS[to](parts, output, images=options.images)
    is_whole = to == "lists" or (bool(originals) and to in ("json", "coco"))
    unread = [] if is_whole else unread_attributes(layout, difficult_as_crowd=options.voc_difficult_as_crowd)
    if to in WRITERS:
        print_written(console, options, output, [*unread, *written.notes])
        return
    for note in unread:
        console.print(f"warning: {note}", markup=False)
    console.print(f"wrote {shown_path(output)}: {_reading(to, output, source, parts)}", markup=False)


def _reading(to: str, output: Path, source: DataPart, parts: Mapping[str, DetectionDataset]) -> str:
    """Returns the options that read the parts."""
    if to == "lists" and source.format == "yolo":
        return f"--data {shown_path(output)} reads it"
    folder = shown_path(next(iter(parts.values())).image_dir if to == "json" else source.path)
    forms = {"json": "--{0}-json {1}/{2}.json --{0}-images {3}", "lists": "--{0}-voc {3} --{0}-split {1}/{2}.txt"}
    uses = [("train", "train"), *(("val", part) for part in parts if part != "train")]
    return "; ".join(forms[to].format(use, shown_path(output), part, folder) for use, part in uses if part in parts)
