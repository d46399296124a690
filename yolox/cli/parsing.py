"""Frozen types from arguments with tyro, and its errors as one line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import attrs
import tyro
from attrs import frozen
from tyro import _errors as events  # tyro has no public way to an error without its box: its version is bounded for this
from tyro.constructors._struct_spec_attrs import attrs_rule

from yolox.cli.messages import OPTION_NAMES
from yolox.config import Recipe
from yolox.errors import UsageError
from yolox.recipes import finetune_recipe, with_input_size

T = TypeVar("T")
_registry = tyro.constructors.ConstructorRegistry()


def parse(kind: type[T], argv: Sequence[str], *, prog: str, default: T | None = None) -> T:
    """Returns the options of one type.

    Args:
        kind: attrs class, or a union of subcommands.
        argv: its arguments.
        prog: name of the program and its command, for messages.
        default: values of the options that are left out; None takes those of the class.

    Raises:
        UsageError: the arguments cannot be read: one line, and one that names the help.
        SystemExit: after ``--help`` was printed.
    """
    return _run(kind, argv, prog, {} if default is None else {"default": default})


def parse_some(kind: type[T], argv: Sequence[str], *, prog: str) -> tuple[T, list[str]]:
    """Returns the options of one type, and the arguments that do not belong to it.

    Args:
        kind: attrs class whose fields all have defaults.
        argv: arguments, others among them.
        prog: name of the program, for messages.

    Raises:
        UsageError: a value cannot be read.
    """
    return _run(kind, argv, prog, {"return_unknown_args": True, "add_help": False})


def _run(kind, argv: Sequence[str], prog: str, settings: dict[str, Any]):
    def refuse(event: events.ParseErrorEvent) -> None:
        raise UsageError(f"{problem_line(event)}\nsee {prog} --help")

    with events.on_parse_error(refuse):
        return tyro.cli(
            kind, args=list(argv), prog=prog, registry=_registry, config=(tyro.conf.OmitArgPrefixes,), **settings
        )


def problem_line(event: events.ParseErrorEvent) -> str:
    """Returns one line about arguments that the parser refuses."""
    match event:
        case events.InstantiationFailure(argument=None):
            return _one_line(event.message)  # of a config, which names the field
        case events.InstantiationFailure():
            return f"{_flag(event.argument)}: {_plain(event.message, event.argument)}"
        case events.InvalidChoice():
            return f"{_flag(event.argument)}: got {event.value!r}, want one of {', '.join(sorted({*event.choices} - {'None'}))}"
        case events.BadValue():
            return f"{_flag(event.argument)}: want {event.argument.lowered.metavar}"
        case events.MissingArgs(unrecognized_tokens=[]):
            return f"missing {', '.join(_flag(context.arg) for context in event.missing_arguments)}"
        case events.MissingArgs(unrecognized_tokens=tokens) | events.UnrecognizedArgs(tokens=tokens):
            return f"no such option or argument: {' '.join(tokens)}"
        case events.MissingSubcommand():
            return f"want a command: {', '.join(event.subcommand_spec.parser_from_name)}"
    return "the arguments cannot be read"


def _flag(argument) -> str:
    return str(argument.lowered.metavar) if argument.is_positional() else argument.lowered.name_or_flags[-1]


def _plain(message: str, argument) -> str:
    """Returns what Python and tyro report of a value that cannot be read, as what came and what was wanted."""
    got = message.rpartition(": ")[2]
    if message.startswith("invalid literal for int()"):
        return f"got {got}, want a whole number"
    if message.startswith("could not convert string to float"):
        return f"got {got}, want a number"
    if message.startswith("no type matching"):
        got = message.partition("from [")[2].partition("]")[0]
        return f"got {got}, want {argument.lowered.metavar}"
    return _one_line(message)


def _one_line(message: str) -> str:
    return " ".join(str(message).split())


def _read_size(values: list[str]) -> tuple[int, int]:
    if len(values) not in (1, 2):
        raise ValueError(f"got {len(values)} numbers, want one (a square) or two (height and width)")
    return int(values[0]), int(values[-1])


@_registry.primitive_rule
def _size_rule(info):
    if get_origin(info.type) is not tuple or get_args(info.type) != (int, int):
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="HEIGHT [WIDTH]",
        instance_from_str=_read_size,
        is_instance=lambda value: isinstance(value, tuple) and len(value) == 2,
        str_from_instance=lambda value: [str(v) for v in value],
    )


@_registry.struct_rule
def _option_name_rule(info):
    """Names the options of `OPTION_NAMES` otherwise than their fields."""
    if not (attrs.has(info.type) and {field.name for field in attrs.fields(info.type)} & OPTION_NAMES.keys()):
        return None
    spec = attrs_rule(info)
    fields = [
        dataclasses.replace(field, type=Annotated[field.type, tyro.conf.arg(name=OPTION_NAMES[field.name])])
        if field.name in OPTION_NAMES
        else field
        for field in spec.fields
    ]
    return dataclasses.replace(spec, fields=tuple(fields))


@frozen(kw_only=True)
class FirstOptions:
    """The options that decide the defaults of others, as text; None where they are left out."""

    recipe: str | None = None
    finetune: bool = False
    resume: Path | None = None
    lr: str | None = None
    lr_per_image: str | None = None
    input_size: tuple[str, ...] | None = None
    multiscale_sizes: tuple[str, ...] | None = None


def first_options(argv: Sequence[str]) -> FirstOptions:
    """Returns the options that decide the defaults of others, from all arguments of a command.

    Example:
        >>> first_options(["train", "--recipe", "mindyolo", "--epochs", "3"]).recipe
        'mindyolo'
    """
    return parse_some(FirstOptions, argv, prog="yolox")[0]


def base_recipe(argv: Sequence[str], recipes: Mapping[str, Recipe]) -> Recipe:
    """Pick the recipe that the arguments start from.

    ``--finetune`` changes the recipe before other options do. A learning rate is given per image or absolute. Giving
    one of the two takes the other one away.
    """
    first = first_options(argv)
    recipe = recipes.get(first.recipe or "megvii", recipes["megvii"])
    if first.finetune:
        recipe = finetune_recipe(recipe)
    for name, other in (("lr", "lr_per_image"), ("lr_per_image", "lr")):
        if getattr(first, name) is not None and getattr(first, other) is None:
            placeholder = getattr(recipe.optim, name) or 1.0
            recipe = attrs.evolve(
                recipe, optim=attrs.evolve(recipe.optim, **{name: placeholder, other: None})
            )
    return recipe


def follow_input_size(settings: Recipe, argv: Sequence[str], recipe: Recipe) -> Recipe:
    """Let the training sizes go along with ``--input-size``, unless ``--multiscale-sizes`` says what they are.

    Args:
        settings: as parsed.
        argv: the raw arguments.
        recipe: the defaults that they were parsed with.

    Returns:
        The settings, with the training sizes of `yolox.recipes.with_input_size`.

    Example:
        >>> from yolox.recipes import megvii_recipe
        >>> words, recipe = ["train", "--input-size", "320"], megvii_recipe("s")
        >>> settings = attrs.evolve(recipe, input=attrs.evolve(recipe.input, input_size=(320, 320)))
        >>> sizes = follow_input_size(settings, words, recipe).loader.multiscale_sizes
        >>> sizes[0], sizes[-1]
        (160, 480)
    """
    first = first_options(argv)
    if first.input_size is None or first.multiscale_sizes is not None:
        return settings
    sizes = with_input_size(recipe, settings.input.input_size).loader.multiscale_sizes
    return attrs.evolve(settings, loader=attrs.evolve(settings.loader, multiscale_sizes=sizes))
