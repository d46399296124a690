"""Options that every command has, read with tyro: the values that were given, and defaults that a recipe decides."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin

import attrs
import tyro
from attrs import frozen
from tyro import _errors as events  # tyro has no public way to an error without its box: its version is bounded for this
from tyro._singleton import EXCLUDE_FROM_CALL, is_missing
from tyro.constructors._struct_spec_attrs import attrs_rule

from yolox.cli.messages import OPTION_NAMES, option_name
from yolox.cli.spelling import unknown_line
from yolox.config import Recipe
from yolox.errors import UsageError
from yolox.export.engine import Engine
from yolox.recipe_changes import with_input_size

T = TypeVar("T", bound="CommonOptions")
Device = Literal["CPU", "Ascend"]


class RecipeName(str):
    """Name of a published recipe, or the path of a recipe file."""


@frozen(kw_only=True)
class CommonOptions:
    """Options of every command."""

    needs_model: ClassVar[bool] = True
    """Whether the command builds or reads a detector, so that the console script wants a scale."""
    recipe: RecipeName = RecipeName("megvii")
    """Defaults of the options below: megvii, mindyolo, rtmdet, paddle, best (by published AP), or a file (.toml, .json)."""
    device: Device = "CPU"
    """Where MindSpore runs."""
    debug: bool = False
    """Show the traceback of an error."""

    @classmethod
    def defaults(cls: type[T], recipe: Recipe, values: Mapping[str, Any]) -> T:
        """Returns the options of a command without arguments: tyro.MISSING for those that have to be given.

        Args:
            recipe: for the field `settings`, and for fields that are called and typed as one of the recipe.
            values: for other fields; the class has the rest.
        """
        made = dict(values)
        for field in attrs.fields(attrs.resolve_types(cls)):
            if attrs.has(field.type):
                made[field.name] = recipe if field.name == "settings" else getattr(recipe, field.name)
            elif field.default is attrs.NOTHING:
                made.setdefault(field.name, tyro.MISSING)
        return cls(**made)

    @classmethod
    def adapt(cls, recipe: Recipe, given: Given) -> tuple[Recipe, list[str]]:
        """Returns the recipe of the defaults as the given options change it, and a line for each change."""
        return recipe, []

    def builds_detector(self) -> bool:
        """Returns whether the command, with these options, wants a scale, or weights that have one."""
        return self.needs_model

    @classmethod
    def answers(cls) -> Mapping[str, str]:
        """Returns options that the command has in another form, with the rest of their message, as `spelling.ANSWERED`."""
        return {}


@frozen(kw_only=True)
class InferenceOptions(CommonOptions):
    """Options of commands that detect objects with weights."""

    recipe: RecipeName | None = None
    """Recipe, or file of one, whose post-processing is the default; left out, that of the weights."""
    weights: Path
    """A run's folder, a file, or megvii:SCALE; files are .pth, .npz, .ckpt, .pdparams, .safetensors or exports, megvii:SCALE and
    mindyolo:SCALE are downloaded."""
    legacy: bool = False
    """The weights are Megvii's from before version 0.1.1: RGB, normalised; nothing in such a file shows it."""
    engine: Engine = "auto"
    """Runtime on CPU: onnxruntime and openvino export once for the same weights; auto takes an installed one where it pays."""


@frozen(kw_only=True)
class Arguments:
    """The arguments of a command, read once; `options` fills in what they leave out."""

    command: str
    """Name of the command."""
    kind: type[CommonOptions]
    given: Given
    named: Recipe
    """The recipe that ``--recipe`` names, as it is."""
    recipe: Recipe
    """Source of the defaults."""
    remembered: Mapping[str, Any]
    """Defaults of other options, of a run that is resumed."""
    prog: str
    notes: Sequence[str] = ()
    """What to say about the defaults."""

    def options(self, recipe: Recipe | None = None) -> CommonOptions:
        """Returns the frozen options.

        Args:
            recipe: source of the defaults, such as the recipe of a checkpoint; None takes `self.recipe`.

        Raises:
            UsageError: the configuration refuses a value: one line, and one that names the help.
        """
        recipe = recipe or self.recipe
        try:
            options = fill(self.kind.defaults(recipe, self.remembered), _with_one_rate(self.given))
            return _with_training_sizes(options, self.given, recipe)
        except ValueError as error:  # of a config, which names the field
            raise UsageError(f"{_with_flag(one_line(error), option_names(self.kind))}\nsee {self.prog} --help") from None


def _with_flag(message: str, names: Sequence[str]) -> str:
    """Returns the message of a config, which begins with its field, with the option in the field's place."""
    field, colon, rest = message.partition(":")
    flag = option_name(field)
    return f"{flag}{colon}{rest}" if flag.removeprefix("--") in names else message


def _with_one_rate(given: Given) -> Given:
    """Returns the options with one learning rate: per image or absolute, of which one takes the default of the other away."""
    settings = given.get("settings", Given())
    optim = settings.get("optim", Given())
    others = {"lr": "lr_per_image", "lr_per_image": "lr"}
    changes = Given({other: None for name, other in others.items() if name in optim and other not in optim})
    return Given({**given, "settings": Given({**settings, "optim": Given({**optim, **changes})})}) if changes else given


def _with_training_sizes(options: CommonOptions, given: Given, recipe: Recipe) -> CommonOptions:
    """Returns the options with training sizes and canvas in proportion to ``--input-size``, where options do not give them."""
    settings = given.get("settings", Given())
    if "input_size" not in settings.get("input", ()):
        return options
    moved, changes = with_input_size(recipe, options.settings.input.input_size), Given()
    if "multiscale_sizes" not in settings.get("loader", ()):
        changes["loader"] = Given(multiscale_sizes=moved.loader.multiscale_sizes)
    if "canvas_size" not in settings.get("augment", ()):
        changes["augment"] = Given(canvas_size=moved.augment.canvas_size)
    return fill(options, {"settings": changes})


V = TypeVar("V")
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


def fill(default: V, given: Mapping[str, Any]) -> V:
    """Returns a frozen instance with the given fields changed, those of nested instances too.

    Example:
        >>> from yolox.config import Recipe
        >>> fill(Recipe(), {"epochs": 3, "loader": Given(seed=5)}).loader.seed
        5
    """
    changes = {name: fill(getattr(default, name), v) if isinstance(v, Given) else v for name, v in given.items()}
    return attrs.evolve(default, **changes)


def option_parser(kind: Any, default: Any) -> argparse.ArgumentParser:
    """Returns a parser of argparse with the groups, texts and defaults that tyro reads from the options of a class.

    Args:
        kind: attrs class.
        default: instance whose values are the defaults.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its only other way to them prints: its version is bounded for this
        return tyro.extras.get_parser(kind, default=default, registry=_registry, config=(tyro.conf.OmitArgPrefixes,))


def _run(kind: Any, argv: Sequence[str], prog: str, settings: dict[str, Any]) -> Any:
    def refuse(event: events.ParseErrorEvent) -> None:
        raise UsageError(f"{problem_line(event, option_names(kind))}\nsee {prog} --help")

    with events.on_parse_error(refuse):
        return tyro.cli(
            kind, args=list(argv), prog=prog, registry=_registry, config=(tyro.conf.OmitArgPrefixes,), **settings
        )


def option_names(kind: Any) -> tuple[str, ...]:
    """Returns the names of a type's options without dashes in front, ``no-NAME`` of flags among them.

    Args:
        kind: attrs class; of any other type there are none.

    Example:
        >>> option_names(CommonOptions)
        ('recipe', 'device', 'debug', 'no-debug')
    """
    names: list[str] = []
    for field in attrs.fields(attrs.resolve_types(kind, include_extras=True)) if attrs.has(kind) else ():
        if attrs.has(field.type):
            names += option_names(field.type)
        elif tyro.conf.Positional not in get_args(field.type):
            name = OPTION_NAMES.get(field.name, field.name.replace("_", "-"))
            names += [name, f"no-{name}"] if field.type is bool else [name]
    return tuple(names)


_FIELDS = {field.replace("_", "-"): option for field, option in OPTION_NAMES.items()}


def problem_line(event: events.ParseErrorEvent, names: Sequence[str] = ()) -> str:
    """Returns one line about arguments that the parser refuses.

    Args:
        event: of the parser.
        names: of all options, of which one may have been meant.
    """
    match event:
        case events.InstantiationFailure():
            return f"{_flag(event.argument)}: {_plain(event.message, event.argument)}"
        case events.InvalidChoice():
            return f"{_flag(event.argument)}: got {event.value!r}, want one of {', '.join(sorted({*event.choices} - {'None'}))}"
        case events.BadValue():
            return f"{_flag(event.argument)}: want {_wanted(event.argument.lowered.metavar)}"
        case events.MissingArgs(unrecognized_tokens=[]):
            return f"missing {', '.join(_flag(context.arg) for context in event.missing_arguments)}"
        case events.MissingArgs(unrecognized_tokens=tokens) | events.UnrecognizedArgs(tokens=tokens):
            return unknown_line(tokens, names, _FIELDS)
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
        return f"got {got}, want {_wanted(argument.lowered.metavar)}"
    if values := re.search(r"arguments:? \[(.+?)\]", message):
        return f"got {values[1]}, want {_wanted(argument.lowered.metavar)}"
    return one_line(message)


def _wanted(metavar: str | None) -> str:
    """Returns the values of an option for a message: ``INT|{dynamic}`` is ``a whole number or dynamic``."""
    kinds = shown_metavar(metavar).split("|")
    plain = [kind.strip("{}").replace(",", ", ") if len(kinds) > 1 else kind for kind in kinds]
    return " or ".join(_in_words(kind) or text for kind, text in zip(kinds, plain, strict=True))


_VALUES = {"INT": "whole number", "FLOAT": "number", "PATH": "path"}
_COUNTS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def _in_words(kind: str) -> str | None:
    """Returns ``three numbers`` for ``FLOAT FLOAT FLOAT``, ``numbers`` for ``FLOAT ...``; None for other values than these."""
    words = kind.split()
    value = _VALUES.get(words[0]) if words else None
    if value is None or {*words[1:]} - {words[0], "..."}:
        return None
    if "..." in words:
        return f"{value}s"
    return f"a {value}" if len(words) == 1 else f"{_COUNTS.get(len(words), len(words))} {value}s"


def shown_metavar(metavar: str | None) -> str:
    """Returns the values of an option as help and messages show them: without None, and repeated ones as ``PATH ...``.

    Example:
        >>> [shown_metavar(text) for text in ("{None}|PATH", "{None,bgr,rgb}", "[PATH [PATH ...]]")]
        ['PATH', '{bgr,rgb}', 'PATH ...']
    """
    text = (metavar or "").replace("{None}|", "").replace("{None,", "{")
    return re.sub(r"^\[(.+) \[\1 \.\.\.\]\]$", r"\1 ...", text)


def one_line(message: object) -> str:
    """Returns a message without line breaks."""
    return " ".join(str(message).split())


def _read_size(values: list[str]) -> tuple[int, int]:
    if len(values) == 1 and len(pair := re.split("[xX,]", values[0])) == 2:
        if pair[0] != pair[1]:  # other programs write the width first
            raise ValueError(f"got {values[0]!r}, want HEIGHT WIDTH with a space: {pair[0]} {pair[1]} or {pair[1]} {pair[0]}")
        values = pair
    if len(values) not in (1, 2):
        raise ValueError(f"got {len(values)} numbers, want one (a square) or two (height and width)")
    return int(values[0]), int(values[-1])


def _read_device(values: list[str]) -> str:
    names = {name.lower(): name for name in get_args(Device)}
    if values[0].lower() not in names:
        raise ValueError(f"got {values[0]!r}, want one of {', '.join(sorted(names.values()))}")
    return names[values[0].lower()]


@_registry.primitive_rule
def _device_rule(info):
    if info.type != Device:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(get_args(Device))}}}",
        instance_from_str=_read_device,
        is_instance=lambda value: value in get_args(Device),
        str_from_instance=lambda value: [value],
    )


@_registry.primitive_rule
def _recipe_rule(info):
    if info.type is not RecipeName:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME|FILE",
        instance_from_str=lambda values: RecipeName(values[0]),
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [str(value)],
    )


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
