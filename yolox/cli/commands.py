"""The table of commands, and the arguments of one of them. A new command is a file beside this one and a line in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Union

import attrs
import tyro
from attrs import frozen

from yolox.cli import assign, check, evaluate, export, info, plot, predict, train
from yolox.cli.options import Arguments, CommonOptions
from yolox.cli.parsing import read_arguments, split_arguments
from yolox.cli.run_options import remembered
from yolox.config import Recipe
from yolox.recipes import finetune_recipe


@frozen
class Command:
    """The options of a command, and the function that runs it: of the experiment, the options, and other defaults."""

    options: type[CommonOptions]
    run: Callable


COMMANDS = {
    "info": Command(info.InfoOptions, info.run),
    "check": Command(check.CheckOptions, check.run),
    "train": Command(train.TrainOptions, train.run),
    "eval": Command(evaluate.EvalOptions, evaluate.run),
    "predict": Command(predict.PredictOptions, predict.run),
    "export": Command(export.ExportOptions, export.run),
    "assign": Command(assign.AssignOptions, assign.run),
    "plot": Command(plot.PlotOptions, plot.run),
}
SELECTORS = ("recipe", "finetune", "resume")


def read_command(
    argv: Sequence[str], recipes: Mapping[str, Recipe], *, prog: str = "yolox", model: str | None = None
) -> Arguments:
    """Reads the arguments of one command.

    Those that select the recipe are read first, as the help shows its values, and the others among the rest.

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
    chosen = "" if model is None else f" --model {model}"
    if not argv or argv[0] not in COMMANDS:
        kinds = [Annotated[command.options, tyro.conf.subcommand(name)] for name, command in COMMANDS.items()]
        read_arguments(Union[tuple(kinds)], argv, prog=prog + chosen)  # noqa: UP007
    kind, prog = COMMANDS[argv[0]].options, f"{prog} {argv[0]}{chosen}"  # one command's alone: messages are shorter
    kind.check_spelling(argv)
    selected, rest = split_arguments(_selection(kind), argv[1:], prog=prog)
    recipe, values = recipes.get(selected.get("recipe") or "megvii", recipes["megvii"]), {}
    if selected.get("finetune"):
        recipe = finetune_recipe(recipe)
    if selected.get("resume"):
        recipe, values = remembered(selected["resume"])
    given = read_arguments(kind, rest, prog=prog, default=kind.defaults(recipe, values))
    given.update(selected)
    return Arguments(kind=kind, given=given, recipe=recipe, remembered=values, prog=prog)


def _selection(kind: type[CommonOptions]) -> type:
    fields = attrs.fields_dict(attrs.resolve_types(kind))
    chosen = {name: attrs.field(default=fields[name].default, type=fields[name].type) for name in SELECTORS if name in fields}
    return attrs.make_class("Selection", chosen, kw_only=True)
