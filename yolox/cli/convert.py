"""The command ``convert``: writes a dataset in another format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from attrs import frozen
from rich.console import Console

from yolox.cli.experiment import Experiment
from yolox.cli.inputs import RUNS
from yolox.cli.messages import OptionConsole
from yolox.cli.options import CommonOptions
from yolox.cli.sources import DataOptions, reading_conventions
from yolox.config import Recipe
from yolox.data.content import counted, shown_path
from yolox.data.convert import convert_data
from yolox.data.layout import find_layout
from yolox.data.written_folder import Images
from yolox.errors import UsageError
from yolox.training.run_folder import next_folder

SOURCES = dict.fromkeys(("source", "input", "dataset"), "here it is --data DATASET")
"""What other programs call ``--data``, for `CommonOptions.answers`."""


@frozen(kw_only=True)
class ConvertOptions(CommonOptions, DataOptions):
    """Write all parts of a dataset as COCO, VOC or YOLO; what is not kept is counted and named."""

    needs_model: ClassVar[bool] = False
    to: Literal["coco", "voc", "yolo"]
    """Format to write."""
    output: Path | None = None
    """A folder that is not there yet, or empty; left out, the next of runs/convert, runs/convert-2 and so on."""
    images: Images = "copy"
    """Copy image files or link them; --data takes symbolic links only with --follow-links."""

    @classmethod
    def answers(cls) -> Mapping[str, str]:
        """Returns what other programs call the options."""
        return dict.fromkeys(("format", "output-format", "target"), "here it is --to coco, voc or yolo") | SOURCES


def run(experiment: Experiment, options: ConvertOptions, with_defaults: Callable[[Recipe], ConvertOptions]) -> None:
    """Converts the dataset of ``--data``, and prints its parts and what was not kept.

    Raises:
        UsageError: no dataset.
        DataError: it cannot be read or written, or the output is there already.
    """
    console = OptionConsole()
    layout = find_layout(data_path(options))
    console.print(f"data: {shown_path(options.data)}: {layout}", markup=False)
    with console.status("converting"):
        output = options.output or next_folder(RUNS / "convert", make=False)
        written = convert_data(layout, output, to=options.to, images=options.images, **reading_conventions(options, layout))
    for part, count in written.images.items():
        console.print(f"{part}: {counted(count, 'image')}, {counted(written.boxes[part], 'box', 'boxes')}", markup=False)
    print_written(console, options, output, written.notes)


def data_path(options: DataOptions) -> Path:
    """Returns the value of ``--data``; raises UsageError where it is missing."""
    if options.data is None:
        raise UsageError("--data: missing, want a dataset, such as a data.yaml, a VOC folder or a COCO folder")
    return options.data


def print_written(console: Console, options: Any, output: Path, notes: Sequence[str]) -> None:
    """Prints what was not kept, and what the written folder is recognised as."""
    for note in notes:
        console.print(f"warning: {note.replace('`difficult_as', '`voc_difficult_as')}", markup=False)
    more = " --follow-links" if options.images == "symlink" else ""
    console.print(f"wrote {shown_path(output)}: {find_layout(output)}; --data {shown_path(output)}{more} reads it", markup=False)
