"""Options and commands of other programs: taken under their name here, or answered; and the nearest name of a misspelt one."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from yolox.errors import UsageError
from yolox.export.runner import SUFFIXES as EXPORT_SUFFIXES
from yolox.weights.load import SUFFIXES as WEIGHTS_SUFFIXES

COMMANDS = {
    word: command
    for command, words in {
        "eval": "val validate validation evaluate test",
        "predict": "detect infer inference demo",
    }.items()
    for word in words.split()
}
"""Commands of other programs to those that do the same here."""

TAKEN = {
    word: option
    for option, words in {
        "input-size": "imgsz img-size image-size img resolution tsize",
        "batch-size": "batch per-batch-size",
        "score-threshold": "conf conf-thres conf-threshold confidence confidence-threshold",
        "iou-threshold": "iou iou-thres nms nms-threshold",
        "max-detections": "max-det",
        "weights": "weight ckpt checkpoint",
        "source": "path image-path",
        "output": "save-dir output-dir out-dir work-dir",
        "device": "device-target",
        "workers": "num-workers data-num-workers",
        "epochs": "max-epoch max-epochs num-epochs",
        "lr-per-image": "basic-lr-per-img",
        "min-lr-ratio": "lrf",
        "mosaic-prob": "mosaic",
        "mixup-prob": "mixup",
        "flip-prob": "fliplr",
        "with-scores": "save-conf",
        "crops": "save-crop",
        "show": "view-img",
        "single-class": "single-cls",
        "rectangular": "rect",
    }.items()
    for word in words.split()
}
"""Options of other programs to those with the same meaning and the same values here."""

ANSWERED = {
    **dict.fromkeys(
        ("lr0", "learning-rate", "base-lr"),
        "here it is --lr, or --lr-per-image; Ultralytics' rate is for batches of 64 images: --lr-per-image RATE/64",
    ),
    **dict.fromkeys(("project", "name", "experiment-name"), "here it is --output FOLDER"),
    **dict.fromkeys(("fp16", "amp"), "here it is --precision float16"),
    **dict.fromkeys(
        ("cfg", "config", "hyp", "exp-file"),
        "here it is --recipe FILE.toml, a published recipe and what differs from it",
    ),
    **dict.fromkeys(("clip-grad", "grad-clip"), "here it is --clip-norm NORM, such as 10"),
    "image-weights": "here --class-balance inverse weights the class loss; all images are drawn equally often",
    "exist-ok": "here it is --overwrite",
    "save-period": "here it is --save-every N; leave it out for none",
    "save-result": "pictures are written to the folder of --output, unless --no-pictures says otherwise",
    "close-mosaic": "here it is --plain-epochs, last epochs without mosaic and mixup and with the L1 loss",
    "multi-scale": "here it is --multiscale-sizes SIZE SIZE ..., the heights of training images",
    "is-parallel": "here it is --parallel, without a value, in a command that msrun starts",
    "devices": "here msrun starts a process for each device, with --parallel",
}
"""Options of other programs that have another form here, to what the message says. It is given by the commands that have all
options that it names."""


def translate_options(
    argv: Sequence[str], known: Iterable[str], answers: Mapping[str, str] | None = None
) -> tuple[list[str], list[str]]:
    """Replaces options of other programs by those of a command.

    Args:
        argv: arguments of the command.
        known: names of its options, without dashes in front; they are never replaced.
        answers: further options to the rest of their message, as `ANSWERED`.

    Returns:
        The arguments, and a line for each option that was replaced.

    Raises:
        UsageError: an option has another form here.

    Example:
        >>> translate_options(["--imgsz=320", "--epochs", "3"], ["input-size", "epochs"])
        (['--input-size=320', '--epochs', '3'], ['--imgsz is taken as --input-size'])
    """
    known, arguments, notes = {*known, "help-all"}, [], []
    for argument in argv:
        flag, equals, value = argument.partition("=")
        word = _word(flag)
        taken = TAKEN.get(word)
        if word is None or word in known:
            arguments.append(argument)
        elif taken in known:
            arguments.append(f"--{taken}{equals}{value}")
            notes.append(f"--{word} is taken as --{taken}")
        elif answer := _answer(word, known, answers or {}):
            raise UsageError(f"--{word}: {answer}")
        else:
            arguments.append(argument)
    return arguments, notes


def _word(flag: str) -> str | None:
    return flag[2:].replace("_", "-") if flag.startswith("--") else None


def _answer(word: str, known: set[str], answers: Mapping[str, str]) -> str | None:
    text = answers.get(word) or ANSWERED.get(word)
    if text is None or word in answers:
        return text
    return text if known.issuperset(re.findall(r"--([a-z-]+[a-z])", text)) else None


def nearest(word: str, names: Iterable[str], others: Mapping[str, str] | None = None) -> str | None:
    """Returns the name that a misspelt one is nearest to, by its beginning or by `difflib`; None where none is near.

    Args:
        word: without dashes in front.
        names: of which one is returned.
        others: further spellings of some names.

    Example:
        >>> nearest("epoch", ["epochs", "seed"]), nearest("colour", ["epochs", "seed"])
        ('epochs', None)
    """
    spellings = {other: name for other, name in (others or {}).items()} | {name: name for name in names}
    begin = sorted((name for name in spellings if name.startswith(word)), key=len)
    found = begin[:1] if len(word) > 2 else []
    found = found or difflib.get_close_matches(word, spellings, n=1, cutoff=0.7)
    return spellings[found[0]] if found else None


def unknown_line(tokens: Sequence[str], names: Sequence[str], others: Mapping[str, str] | None = None) -> str:
    """Returns the line about arguments that are none of a command: each option with the nearest that there is.

    Args:
        tokens: as typed; those behind an option are its values.
        names: options of the command.
        others: further spellings of some of them.

    Example:
        >>> unknown_line(["--epoch", "3"], ["epochs", "seed"])
        'no such option: --epoch; perhaps you meant --epochs'
        >>> unknown_line(["epochs=3"], ["epochs", "seed"])
        'no such argument: epochs=3; write --epochs 3'
    """
    options = [token.partition("=")[0] for token in tokens if token.startswith("--")]
    if not options:
        return _stray_line(tokens, names, others or {})
    hints = {option: _option_hint(_word(option), names, others or {}) for option in options}
    if len(hints) == 1:
        ((option, hint),) = hints.items()
        return f"no such option: {option}" + (f"; {hint}" if hint else "")
    each = [option + (f" ({hint})" if hint else "") for option, hint in hints.items()]
    return f"no such options: {', '.join(each)}"


def _option_hint(word: str, names: Sequence[str], others: Mapping[str, str]) -> str:
    """Returns what to write for an option that a command lacks: that of a word of other programs, or the nearest."""
    if word in TAKEN:
        return f"here it is --{TAKEN[word]}, which this command does not have"
    if word in ANSWERED:  # not misspelt, or by its last letter
        names, others = [name for name in names if name.startswith(word[:-1])], {}
    name = nearest(word, names, _spellings(names, others))
    return f"perhaps you meant --{name}" if name else ""


def _spellings(names: Sequence[str], others: Mapping[str, str]) -> dict[str, str]:
    answered = {word: re.search(r"--([a-z-]+[a-z])", text)[1] for word, text in ANSWERED.items()}
    return {word: name for word, name in {**answered, **TAKEN, **others}.items() if name in names}


def _stray_line(tokens: Sequence[str], names: Sequence[str], others: Mapping[str, str]) -> str:
    known, pairs = {**_spellings(names, others), **{name: name for name in (*names, "model")}}, []
    for word, equals, value in (token.partition("=") for token in tokens):
        if not equals or (name := known.get(word.replace("_", "-"))) is None:
            break
        pairs.append((f"{word}={value}", f"--{name} {value}"))
    if pairs:
        return f"no such argument: {' '.join(pair[0] for pair in pairs)}; write {' '.join(pair[1] for pair in pairs)}"
    return f"no such argument: {' '.join(tokens)}{_stray_hint(tokens[0], names)}"


def _stray_hint(token: str, names: Sequence[str]) -> str:
    """Returns what to write in place of an argument without its option: a path is the data, the source or the weights."""
    if re.fullmatch(r"-[A-Za-z]\w*", token):
        return "; options begin with two dashes"
    path = Path(token)
    is_weights = path.suffix.lower() in (".pt", *WEIGHTS_SUFFIXES, *EXPORT_SUFFIXES) or (path / "recipe.json").is_file()
    name = next((n for n in ("weights" if is_weights else "source", "source", "data") if n in names), None)
    is_path = os.sep in token or path.suffix or path.exists()
    return f"; write --{name} {shlex.quote(token)}" if name and is_path else ""
