"""Arguments with tyro: the values that were given, and frozen types that they and defaults are filled into."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args, get_origin

import attrs
import tyro
from tyro import _errors as events  # tyro has no public way to an error without its box: its version is bounded for this
from tyro._singleton import EXCLUDE_FROM_CALL, is_missing
from tyro.constructors._struct_spec_attrs import attrs_rule

from yolox.cli.messages import OPTION_NAMES
from yolox.errors import UsageError

T = TypeVar("T")
_registry = tyro.constructors.ConstructorRegistry()


class Given(dict):
    """The fields of an attrs class that arguments name, with their values; those of a nested class are a `Given`, too."""


def read_arguments(kind: Any, argv: Sequence[str], *, prog: str, default: Any = None) -> Given:
    """Reads the arguments of one type.

    Args:
        kind: attrs class, or a union of subcommands.
        argv: its arguments.
        prog: name of the program and its command, for messages.
        default: instance whose values the help shows; those that are tyro.MISSING have to be given. None takes those of
            the class.

    Returns:
        The values of the arguments that are there.

    Raises:
        UsageError: the arguments cannot be read: one line, and one that names the help.
        SystemExit: after ``--help`` was printed.
    """
    return _run(kind, argv, prog, {} if default is None else {"default": default})


def split_arguments(kind: Any, argv: Sequence[str], *, prog: str) -> tuple[Given, list[str]]:
    """Reads the arguments of one type among others.

    Args:
        kind: attrs class whose fields all have defaults.
        argv: arguments, others among them.
        prog: name of the program, for messages.

    Returns:
        The values of the arguments that are there, and the arguments that do not belong to the type.

    Raises:
        UsageError: a value cannot be read.

    Example:
        >>> kind = attrs.make_class("Kind", {"recipe": attrs.field(default="megvii", type=str)})
        >>> split_arguments(kind, ["--recipe", "mindyolo", "--epochs", "3"], prog="yolox")
        ({'recipe': 'mindyolo'}, ['--epochs', '3'])
    """
    return _run(kind, argv, prog, {"return_unknown_args": True, "add_help": False})


def fill(default: T, given: Mapping[str, Any]) -> T:
    """Returns a frozen instance with the given fields changed, those of nested instances too.

    Example:
        >>> from yolox.config import Recipe
        >>> fill(Recipe(), {"epochs": 3, "loader": Given(seed=5)}).loader.seed
        5
    """
    changes = {name: fill(getattr(default, name), v) if isinstance(v, Given) else v for name, v in given.items()}
    return attrs.evolve(default, **changes)


def _run(kind: Any, argv: Sequence[str], prog: str, settings: dict[str, Any]) -> Any:
    def refuse(event: events.ParseErrorEvent) -> None:
        raise UsageError(f"{problem_line(event)}\nsee {prog} --help")

    with events.on_parse_error(refuse):
        return tyro.cli(
            kind, args=list(argv), prog=prog, registry=_registry, config=(tyro.conf.OmitArgPrefixes,), **settings
        )


def problem_line(event: events.ParseErrorEvent) -> str:
    """Returns one line about arguments that the parser refuses."""
    match event:
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
    return one_line(message)


def one_line(message: object) -> str:
    """Returns a message without line breaks."""
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
def _given_rule(info):
    """Makes a `Given` of an attrs class: the help shows the default of a field, which is left out where no argument names it."""
    if not attrs.has(info.type):
        return None
    kind = type(info.type.__name__, (Given,), {"__doc__": info.type.__doc__})  # the help shows its docstring
    return tyro.constructors.StructConstructorSpec(instantiate=kind, fields=tuple(map(_optional, attrs_rule(info).fields)))


def _optional(field: tyro.constructors.StructFieldSpec) -> tyro.constructors.StructFieldSpec:
    if attrs.has(field.type):
        return field
    kind, default = field.type, field.default
    settings = {"name": OPTION_NAMES.get(field.name)}
    if not is_missing(default):
        settings["help_behavior_hint"] = f"(default: {_shown(default)})"
        default = EXCLUDE_FROM_CALL
    return dataclasses.replace(field, type=Annotated[kind, tyro.conf.arg(**settings)], default=default)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(shlex.quote(str(item)) for item in value)
    return str(value)
