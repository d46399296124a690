"""Frozen types from arguments with tyro, and its errors as one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, get_args, get_origin

import tyro
from tyro import _errors as events  # tyro has no public way to an error without its box: its version is bounded for this

from yolox.errors import UsageError

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
