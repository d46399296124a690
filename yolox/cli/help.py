"""The texts of ``--help`` and ``--help-all``: examples, and the options by groups, with texts and defaults from their classes.

The table `PAGES` says which options ``--help`` shows, and in which order. ``--help-all`` shows them first and then all others.
tyro's own help has neither examples nor a selection of options; the options themselves are tyro's.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from yolox.cli.messages import name_options
from yolox.cli.options import CommonOptions, one_line, option_parser, shown_metavar
from yolox.console import printable
from yolox.models import SCALES

MOST_COLUMNS, LEAST_COLUMNS = 100, 60
INDENT, TEXT = 2, 28  # columns where an option and its text begin
SEE_ALL = "--help-all shows every option"


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@frozen(kw_only=True)
class Page:
    """What ``--help`` of a command shows."""

    examples: tuple[str, ...]
    """Arguments of three commands. ``{weights}`` becomes a published name, where there is one for the detector."""
    groups: Mapping[str, tuple[str, ...]] = field(factory=dict)
    """Names of options by the title of their group, in the order of need."""
    notes: Mapping[str, str] = field(factory=dict)
    """Lines behind a group, by its title."""


_FORMATS = "or by format: --{0}-json and --{0}-images, --{0}-voc, --{0}-yolo"
_TRAIN, _VAL = _FORMATS.format("train"), _FORMATS.format("val")
_BOTH = f"{_TRAIN}; likewise --val-json, ..."

PAGES = {
    "info": Page(
        examples=("", "--input-size 640 --num-classes 3", "--recipe mindyolo --json"),
        groups={"run": _names("num-classes input-size recipe json device")},
    ),
    "check": Page(
        examples=(
            "--data DATA",
            "--data DATA --val-split test --output CHECK",
            "--train-json train.json --train-images images --val-json val.json --val-images images",
        ),
        groups={
            "data": ("data",),
            "run": _names("output overfit overfit-steps"),
            "often changed": _names("input-size batch-size class-map follow-links voc-first-pixel"),
        },
        notes={"data": _BOTH},
    ),
    "convert": Page(
        examples=(
            "--data DATA --to yolo",
            "--data VOC2007 --voc-first-pixel 1 --to coco --output COCO",
            "--data DATA --to voc --images hardlink --output VOC",
        ),
        groups={
            "data": ("data",),
            "run": _names("to output images"),
            "often changed": _names("class-map follow-links voc-first-pixel voc-difficult-as-crowd"),
        },
    ),
    "split": Page(
        examples=(
            "--data DATA",
            "--data DATA --fractions 0.7 0.3 --group-by folder --output SPLIT",
            "--data DATA --part train --group-by '^(.*)_frame' --to yolo --images hardlink",
        ),
        groups={
            "data": _names("data part"),
            "run": _names("fractions group-by join-similar to output images"),
            "often changed": _names("seed class-map follow-links voc-first-pixel"),
        },
    ),
    "train": Page(
        examples=(
            "--data DATA",
            "--data DATA --weights {weights} --finetune --output RUN",
            "--resume RUN",
        ),
        groups={
            "data": ("data",),
            "run": _names("weights finetune output overwrite resume device"),
            "often changed": _names("epochs batch-size input-size lr-per-image workers patience seed"),
        },
        notes={"data": _BOTH},
    ),
    "eval": Page(
        examples=(
            "--weights RUN --data DATA",
            "--weights {weights} --val-json val.json --val-images images",
            "--weights RUN/last.safetensors --data DATA --json metrics.json --report report.html",
        ),
        groups={
            "data": _names("weights data val-split"),
            "run": _names("report json pictures save-results"),
            "often changed": _names("input-size batch-size score-threshold iou-threshold workers class-map"),
        },
        notes={"data": _VAL},
    ),
    "predict": Page(
        examples=(
            "--weights RUN --source photo.jpg",
            "--weights {weights} --source 'photos/*.jpg' film.mp4 --output PICTURES",
            "--weights RUN --source photos --recursive --tiles 640 --save json csv",
        ),
        groups={
            "data": _names("weights source recursive max-frames"),
            "run": _names("output save pictures crops show device"),
            "often changed": _names("score-threshold iou-threshold classes tiles input-size batch-size"),
        },
    ),
    "export": Page(
        examples=(
            "--weights RUN --output detector.onnx",
            "--weights {weights} --nms --score-threshold 0.3 --output detector.onnx",
            "--weights RUN --format openvino --output detector.xml --int8 --calibrate photos --data DATA",
        ),
        groups={
            "run": _names("weights output format image"),
            "often changed": _names("input-size batch nms half int8 calibrate data max-ap-drop score-threshold iou-threshold"),
        },
    ),
    "benchmark": Page(
        examples=(
            "--weights RUN",
            "--weights {weights} --data DATA --calibrate photos --json speed.json --picture speed.png",
            "--weights RUN --runtimes onnx --precisions float32 int8 --calibrate DATA",
        ),
        groups={
            "data": _names("weights data val-split calibrate image"),
            "run": _names("runtimes precisions json picture rounds"),
            "often changed": _names("input-size max-ap-drop"),
        },
        notes={"data": _VAL},
    ),
    "assign": Page(
        examples=(
            "--weights RUN --data DATA",
            "--weights {weights} --train-json train.json --train-images images --count 20",
            "--weights RUN --data DATA --train-split val --top-k 5 --output ASSIGN",
        ),
        groups={
            "data": _names("weights data train-split"),
            "run": _names("output count device"),
            "often changed": _names("prior center-radius top-k input-size"),
        },
        notes={"data": _TRAIN},
    ),
    "plot": Page(
        examples=("RUN", "RUN --output PICTURES", "metrics.json"),
        groups={"run": ("run", "output")},
    ),
}
"""By the name of the command. A test reads every example, and looks that every option exists."""

OVERVIEW = (
    "train --model nano --data DATA --weights megvii:nano --finetune --output RUN",
    "eval --weights RUN --data DATA",
    "predict --weights RUN --source photos",
)
SCRIPT_OVERVIEW = tuple(text.replace(" --model nano", "").replace("megvii:nano", "W.pth") for text in OVERVIEW)


@frozen(kw_only=True)
class _Option:
    label: str
    """Flag and values."""
    flags: str
    """All flags, and values."""
    help: str
    default: str
    """Such as ``(default: 3)``; empty where it says nothing."""


def command_help(
    command: str, kind: type[CommonOptions], default: Any, *, prog: str, model: str | None = None, every: bool = False
) -> str:
    """Returns the text of ``--help`` or ``--help-all`` of a command.

    Args:
        command: its name.
        kind: its options.
        default: instance of `kind` whose values are shown.
        prog: name of the program, such as ``yolox`` or ``yolox_nano.py``.
        model: value of ``--model`` of the console script; None for a script of one scale.
        every: True shows all options.
    """
    page, width = PAGES.get(command, Page(examples=())), _width()
    sections = _sections(kind, default)
    options = {name: option for _, found in sections.values() for name, option in found.items()}
    chosen = model is not None and kind.needs_model
    usage = " ".join([prog, command, *([f"--model {model}"] if chosen else []), "[OPTIONS]"])
    start = " ".join([*(["python"] if prog.endswith(".py") else []), prog, command])
    start += f" --model {model if model in SCALES else SCALES[0]}" if chosen else ""
    weights = "W.pth" if model is None else f"megvii:{model if model in SCALES else SCALES[0]}"
    lines = [f"usage: {usage}", "", *_first_paragraph(kind, width), ""]
    lines += _examples([f"{start} {text}".strip() for text in page.examples], width, weights=weights)
    show = _full if every else _short
    for title, names in page.groups.items():
        lines += ["", f"{title}:"]
        lines += [line for name in names for line in show(options[name], width)]
        lines += _wrap(page.notes[title], width, INDENT) if title in page.notes else []
    shown = {name for names in page.groups.values() for name in names}
    if every:
        return "\n".join([*lines, *_others(sections, shown, width)])
    rest = len(options.keys() - shown)
    return "\n".join([*lines, "", f"{SEE_ALL} ({rest} more)."])


def overview_help(commands: Mapping[str, type[CommonOptions]], *, prog: str, model: str | None = None) -> str:
    """Returns the text of ``--help`` without a command: each command in a line, and three examples.

    Args:
        commands: name to options.
        prog: name of the program.
        model: as for `command_help`.
    """
    width = _width()
    start = f"python {prog}" if prog.endswith(".py") else prog
    chosen = "" if model is None else " --model SCALE"
    lines = [f"usage: {prog} COMMAND{chosen} [OPTIONS]", "", "The YOLOX object detector on MindSpore."]
    lines += [] if model is None else [f"SCALE is one of {', '.join(SCALES)}."]
    lines += ["", "commands:"]
    for name, kind in commands.items():
        lines += _row(name, one_line(_docstring(kind).partition("\n\n")[0]), width, column=13)
    texts = SCRIPT_OVERVIEW if model is None else OVERVIEW
    lines += ["", *_examples([f"{start} {text}" for text in texts], width)]
    return "\n".join([*lines, "", f"{prog} COMMAND --help shows the options that are needed most, {SEE_ALL}."])


def _width() -> int:
    return max(LEAST_COLUMNS, min(shutil.get_terminal_size((MOST_COLUMNS, 24)).columns, MOST_COLUMNS))


def _docstring(kind: type) -> str:
    return textwrap.dedent(f"    {kind.__doc__ or ''}").strip()


def _first_paragraph(kind: type, width: int) -> list[str]:
    return _wrap(_docstring(kind).partition("\n\n")[0], width)


def _sections(kind: type, default: Any) -> dict[str, tuple[str, dict[str, _Option]]]:
    """Returns the options in the sections of their classes: description, and options by name."""
    found = {}
    for group in option_parser(kind, default)._action_groups:
        options = dict(_option(action) for action in group._group_actions if action.dest != "help")
        if options:
            name = (group.title or "").removesuffix(" options").removeprefix("settings.")
            found[name] = one_line((group.description or "").partition("\n\n")[0]), options
    return found


def _option(action: Any) -> tuple[str, _Option]:
    metavar = shown_metavar(action.metavar)
    flags = list(action.option_strings) or [metavar]
    values = [metavar] if metavar and action.option_strings else []
    text, hint = re.fullmatch(r"(.*?)\s*(\((?:default: .*|required)\))?", str(action.help or ""), re.DOTALL).groups()
    hint = "" if hint in (None, "(default: None)", "(default: False)", "(default: )") else hint
    name = action.option_strings[0].removeprefix("--") if action.option_strings else str(action.dest).rpartition(".")[2]
    first = flags[0].replace("--", "--[no-]") if hint == "(default: True)" else flags[0]
    label, every = (" ".join([flag, *values]) for flag in (first, ", ".join(flags)))
    return name, _Option(label=label, flags=every, help=name_options(one_line(text)), default=one_line(hint))


def _short(option: _Option, width: int) -> list[str]:
    """Returns the rows of an option with the first clause of its text; up to its colon where that spares a row."""
    clause = re.split(r"[;.] ", option.help)[0].rstrip(".")
    texts = [f"{text} {option.default}".strip() for text in (clause, clause.partition(": ")[0])]
    return _row(option.label, next((text for text in texts if len(text) <= width - TEXT), texts[0]), width)


def _full(option: _Option, width: int) -> list[str]:
    return _row(option.flags, f"{option.help} {option.default}".strip(), width)


def _row(label: str, text: str, width: int, *, column: int = TEXT) -> list[str]:
    lines = _wrap(text, width, column)
    start = " " * INDENT + label
    if len(start) + 2 > column:
        return [start, *lines]
    return [start.ljust(column) + lines[0][column:], *lines[1:]] if lines else [start]


def _wrap(text: str, width: int, indent: int = 0) -> list[str]:
    start = " " * indent
    words = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.wrap(printable(one_line(text)), width, initial_indent=start, subsequent_indent=start, **words)


def _examples(commands: Iterable[str], width: int, **values: str) -> list[str]:
    """Returns the lines of examples; a long one is continued before an option, with a backslash as in a shell."""
    lines = ["examples:"]
    for command in commands:
        line = ""
        for part in re.split(r" (?=--)", command.format(**values)):
            if line and INDENT + len(line) + 1 + len(part) > width - 2:
                lines.append(f"{' ' * INDENT}{line} \\")
                line = " " * 4 + part
            else:
                line = f"{line} {part}" if line else part
        lines.append(" " * INDENT + line)
    return lines


def _others(sections: Mapping[str, tuple[str, Mapping[str, _Option]]], shown: set[str], width: int) -> Sequence[str]:
    """Returns the sections of `every` behind the groups: options that are shown already are left out."""
    lines = []
    for title, (description, options) in sections.items():
        rest = [option for name, option in options.items() if name not in shown]
        if rest:
            head = {"options": "other options", "settings": "recipe"}.get(title, f"recipe, {title}")
            lines += ["", *_wrap(f"{head}: {description}" if description else f"{head}:", width)]
            lines += [line for option in rest for line in _full(option, width)]
    return lines
