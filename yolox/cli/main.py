"""The entry of the command line: the table of commands, their arguments, and errors as messages.

A new command is a file beside this one, a line in the table `COMMANDS`, and an entry of its help in `yolox.cli.help.PAGES`.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NoReturn, Union

import attrs
import mindspore
import tyro
from attrs import frozen

from yolox.cli import assign, benchmark, check, convert, evaluate, export, info, plot, predict, split, train
from yolox.cli.experiment import Experiment, choose_recipe, scale_experiment
from yolox.cli.help import command_help, overview_help
from yolox.cli.messages import name_options, note, report
from yolox.cli.options import Arguments, CommonOptions, Given, fill, option_names, read_arguments, split_arguments
from yolox.cli.run_options import remembered
from yolox.cli.spelling import COMMANDS as FOREIGN_COMMANDS
from yolox.cli.spelling import nearest, translate_options
from yolox.config import Recipe
from yolox.console import logs_on_stderr
from yolox.environment import library_version
from yolox.errors import CommandError, UsageError, WeightsError
from yolox.export.runner import SUFFIXES
from yolox.graph import use_device
from yolox.models import SCALES
from yolox.recipe_changes import finetune_recipe
from yolox.training.run_folder import LAST
from yolox.weights.hub import HUGGING_FACE, is_published_name, published_file
from yolox.weights.load import file_of, local_path, read_weights
from yolox.weights.shapes import scale_of

NO_MODEL = "SCALE"  # in the usage line


def run(experiment: Experiment, argv: Sequence[str], *, prog: str | None = None, model: str | None = None) -> int:
    """Runs one command for a detector.

    Args:
        experiment: the detector and its recipes.
        argv: arguments after the script's name, the command first.
        prog: name of the program in messages; None takes that of the running script.
        model: value of ``--model`` in the usage line of the console script.

    Returns:
        The exit status: 0, 1 for a failure, 2 for arguments that cannot be used. Messages go to stderr.
    """
    prog = prog or Path(sys.argv[0]).name or experiment.name
    try:
        arguments = read_command(argv, experiment.recipes, prog=prog, model=model)
        options = arguments.options()
        if model == NO_MODEL and not _is_complete(options):
            raise UsageError(f"--model: missing, want one of {', '.join(SCALES)}\nsee {prog} {arguments.command} --help")
        for line in arguments.notes:
            note(line)
        name = arguments.given.get("recipe")
        if name is not None and name not in experiment.recipes:  # a file, which is not read again
            experiment = attrs.evolve(experiment, recipe_files={name: arguments.named})
        use_device(options.device)
        with logs_on_stderr(name_options):
            COMMANDS[arguments.command].run(experiment, options, arguments.options)
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    except (Exception, KeyboardInterrupt) as error:
        return report(error, debug="--debug" in argv)
    return 0


def main(experiment: Experiment, argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line of a scale and exits with its status.

    Args:
        experiment: the scale.
        argv: arguments after the script's name; None takes those of the process.
    """
    sys.exit(run(experiment, sys.argv[1:] if argv is None else argv))


def yolox_command(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the console script ``yolox`` and exits with its status: every command, for the scale that ``--model`` names.

    Args:
        argv: arguments, such as ``["train", "--model", "nano", ...]``; None takes those of the process.
    """
    sys.exit(run_model(sys.argv[1:] if argv is None else argv))


@frozen(kw_only=True)
class _Model:
    model: str | None = None


def run_model(argv: Sequence[str]) -> int:
    """Runs one command for the scale that ``--model`` names and returns the exit status, as `run`.

    ``--help``, exported files, and commands such as plot and convert need no model.
    """
    try:
        given, rest = split_arguments(_Model, argv, prog="yolox")
        rest = _translated(rest, prog="yolox", model=NO_MODEL)  # first: --weights may have the name of another program
        scale = given.get("model")
        scale = _scale_of_weights(rest) if scale is None else scale.lower().replace("_", "-").removeprefix("yolox-")
        if scale is not None and scale not in SCALES:
            command = f"{rest[0]} " if rest and rest[0] in COMMANDS else ""
            raise UsageError(f"--model: got {given['model']!r}, {_wanted_scale(scale)}\nsee yolox {command}--help")
    except SystemExit as stop:  # --help without a command
        return int(stop.code or 0)
    except (UsageError, WeightsError, CommandError, OSError) as error:
        return report(error, debug="--debug" in argv)
    return run(scale_experiment(scale or SCALES[0]), rest, prog="yolox", model=scale or NO_MODEL)


def _wanted_scale(scale: str) -> str:
    whole = next((word for word in re.split(r"[-_.]", scale) if word in SCALES), None)  # yolox_s.pth
    starts = [name for name in SCALES if name.startswith(scale)]
    meant = whole or nearest(scale, SCALES) or (starts[0] if len(starts) == 1 else None)
    return f"perhaps you meant {meant}; " * (meant is not None) + f"want one of {', '.join(SCALES)}"


@frozen(kw_only=True)
class _Weights:
    weights: Path | None = None
    resume: Path | None = None


def _scale_of_weights(argv: Sequence[str]) -> str | None:
    """Returns the scale of the weights that ``--weights`` or ``--resume`` names, and says it; None where there are none."""
    if HELP.intersection(argv):
        return None
    given, _ = split_arguments(_Weights, argv, prog="yolox")
    if "resume" in given:
        remembered(given["resume"])  # raises CommandError for what is no run
    path = given["resume"] / LAST if "resume" in given else given.get("weights")
    if path is None or path.suffix.lower() in SUFFIXES:
        return None
    scale = None
    if file_of(path) is not None or str(path).startswith(HUGGING_FACE):
        tensors, _ = read_weights(local_path(path))
        scale = scale_of({name: array.shape for name, array in tensors.items()})
    elif is_published_name(str(path)):
        published_file(str(path))  # raises WeightsError for a name that is not known
        scale = str(path).partition(":")[2].partition("-")[0]
    else:
        raise WeightsError(f"--weights {path}: no such file or folder")
    if scale is not None:
        note(f"--model {scale}, by {path}")
    return scale


def _is_complete(options: object) -> bool:
    """Returns whether a command needs no scale, as one that draws, or that detects with an exported file."""
    weights = getattr(options, "weights", None)
    return not options.builds_detector() or (weights is not None and weights.suffix.lower() in SUFFIXES)


@frozen
class Command:
    """The options of a command, and the function that runs it: of the experiment, the options, and other defaults."""

    options: type[CommonOptions]
    run: Callable


COMMANDS = {
    "info": Command(info.InfoOptions, info.run),
    "check": Command(check.CheckOptions, check.run),
    "convert": Command(convert.ConvertOptions, convert.run),
    "split": Command(split.SplitOptions, split.run),
    "train": Command(train.TrainOptions, train.run),
    "eval": Command(evaluate.EvalOptions, evaluate.run),
    "predict": Command(predict.PredictOptions, predict.run),
    "export": Command(export.ExportOptions, export.run),
    "benchmark": Command(benchmark.BenchmarkOptions, benchmark.run),
    "assign": Command(assign.AssignOptions, assign.run),
    "plot": Command(plot.PlotOptions, plot.run),
}
SELECTORS = ("recipe", "finetune", "resume")
HELP = {"--help", "-h", "--help-all"}


def read_command(
    argv: Sequence[str], recipes: Mapping[str, Recipe], *, prog: str = "yolox", model: str | None = None
) -> Arguments:
    """Reads the arguments of one command.

    Those that select the recipe are read first, as the help shows its values, and the others among the rest. Options and
    commands of other programs are replaced, with a note on stderr for each.

    Args:
        argv: arguments after the script's name, the command first.
        recipes: by the names that ``--recipe`` takes, "megvii" among them.
        prog: name of the script in messages.
        model: value of ``--model`` in the usage line, for the console script.

    Returns:
        The arguments.

    Raises:
        UsageError: for what cannot be read, in one line, and a line that names the help.
        CommandError: ``--resume`` names no run.
        SystemExit: after ``--help`` was printed.

    Example:
        >>> read_command(["info", "--input-size", "416"], {"megvii": Recipe()}).options().settings.input.input_size
        (416, 416)
    """
    command, *rest = _translated(argv, prog=prog, model=model)
    kind, full = COMMANDS[command].options, _full_name(prog, command, model)
    selected, rest = split_arguments(_selection(kind), rest, prog=full)
    name, values, notes = selected.get("recipe") or "megvii", {}, []
    try:
        own_name, recipe, stated = choose_recipe(recipes, name)
    except UsageError as error:
        raise UsageError(f"{error}\nsee {full} --help") from None
    if own_name != name:
        selected["recipe"] = own_name
        notes.append(f"--recipe {name} is {own_name}")
    named = recipe
    if selected.get("finetune") and stated:
        raise UsageError(f"--finetune: the preset would replace what {name} says; give one of the two\nsee {full} --help")
    if selected.get("finetune"):
        recipe = finetune_recipe(recipe)
    if selected.get("resume"):
        recipe, values = remembered(selected["resume"])
        if "recipe" in selected and selected["recipe"] != values["recipe"]:
            raise UsageError(f"--recipe {name}: a resumed run keeps its recipe, which began as {values['recipe']}; leave it out")
    default = kind.defaults(recipe, values)
    if asked := HELP.intersection(rest):
        print(command_help(command, kind, default, prog=prog, model=model, every="--help-all" in asked))
        raise SystemExit(0)
    given = read_arguments(kind, rest, prog=full, default=default)
    given.update(selected)
    if not values:  # a resumed run keeps its recipe
        recipe, lines = kind.adapt(recipe, _with_stated(given, stated))
        recipe, notes = fill(recipe, stated), notes + lines
    return Arguments(
        command=command, kind=kind, given=given, named=named, recipe=recipe, remembered=values, prog=full, notes=notes
    )  # fmt: skip


def _with_stated(given: Given, stated: Given) -> Given:
    """Returns the arguments with the fields of a recipe file among them: what a file says is as good as an option."""
    return Given({**given, "settings": _merged(stated, given.get("settings", Given()))}) if stated else given


def _merged(one: Given, other: Given) -> Given:
    both = {name: _merged(one[name], other[name]) for name in one.keys() & other.keys() if isinstance(one[name], Given)}
    return Given({**one, **other, **both})


def _full_name(prog: str, command: str, model: str | None) -> str:
    return f"{prog} {command}" + (f" --model {model}" if model is not None and COMMANDS[command].options.needs_model else "")


def _translated(argv: Sequence[str], *, prog: str, model: str | None) -> list[str]:
    """Returns the arguments with command and options of other programs replaced, and prints a note for each.

    Raises:
        UsageError: no command, or an option that has another form here.
        SystemExit: after the help or the version was printed, which was asked for without a command.
    """
    command, rest = _command(argv, prog=prog, model=model)
    kind = COMMANDS[command].options
    try:
        rest, notes = translate_options(rest, option_names(kind), kind.answers())
    except UsageError as error:
        raise UsageError(f"{error}\nsee {_full_name(prog, command, model)} --help") from None
    for line in notes:
        note(line)
    return [command, *rest]


def _command(argv: Sequence[str], *, prog: str, model: str | None) -> tuple[str, Sequence[str]]:
    """Returns the command under its name here, and its arguments; prints help or version where asked for without one."""
    word, *rest = argv or [""]
    if word in COMMANDS:
        return word, rest
    if word in FOREIGN_COMMANDS:
        note(f"{word} is taken as {FOREIGN_COMMANDS[word]}")
        return FOREIGN_COMMANDS[word], rest
    if word in HELP or word == "help":
        print(overview_help({name: command.options for name, command in COMMANDS.items()}, prog=prog, model=model))
        raise SystemExit(0)
    if word in ("--version", "-V", "-v", "version"):
        print(f"yolox-mindspore {library_version()}, MindSpore {mindspore.__version__}, Python {platform.python_version()}")
        raise SystemExit(0)
    if word.startswith("--tyro-"):  # completion of shells
        kinds = [Annotated[command.options, tyro.conf.subcommand(name)] for name, command in COMMANDS.items()]
        read_arguments(Union[tuple(kinds)], argv, prog=prog)  # noqa: UP007
    meant = nearest(word, COMMANDS, FOREIGN_COMMANDS)
    line = f"no such command: {word}; " if word else ""
    line += f"perhaps you meant {meant}" if meant else f"want a command: {', '.join(COMMANDS)}"
    raise UsageError(f"{line}\nsee {prog} --help")


def _selection(kind: type[CommonOptions]) -> type:
    fields = attrs.fields_dict(attrs.resolve_types(kind))
    chosen = {name: attrs.field(default=fields[name].default, type=fields[name].type) for name in SELECTORS if name in fields}
    return attrs.make_class("Selection", chosen, kw_only=True)
