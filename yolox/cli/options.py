"""Options that every command has, and their values: those that were given, and defaults that a recipe decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs
import tyro
from attrs import frozen

from yolox.cli.parsing import Given, fill, one_line
from yolox.config import Recipe
from yolox.errors import UsageError
from yolox.recipes import with_input_size

T = TypeVar("T", bound="CommonOptions")


@frozen(kw_only=True)
class CommonOptions:
    """Options of every command."""

    recipe: Literal["megvii", "mindyolo"] = "megvii"
    """Published recipe whose values are the defaults of the options below."""
    device: Literal["CPU", "Ascend"] = "CPU"
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
    def check_spelling(cls, argv: Sequence[str]) -> None:
        """Raises UsageError for arguments of other programs that have another name here."""


@frozen(kw_only=True)
class InferenceOptions(CommonOptions):
    """Options of commands that detect objects with weights."""

    recipe: Literal["megvii", "mindyolo"] | None = None
    """Published recipe whose post-processing is the default; left out, that of the weights."""
    weights: Path
    """Weights: .pth, .npz, .ckpt or .safetensors; megvii:SCALE or mindyolo:SCALE, which is downloaded; or an export."""
    legacy: bool = False
    """The weights are Megvii's from before version 0.1.1: RGB, normalised; nothing in such a file shows it."""


@frozen(kw_only=True)
class Arguments:
    """The arguments of a command, read once; `options` fills in what they leave out."""

    kind: type[CommonOptions]
    given: Given
    recipe: Recipe
    """Source of the defaults."""
    remembered: Mapping[str, Any]
    """Defaults of other options, of a run that is resumed."""
    prog: str

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
            raise UsageError(f"{one_line(error)}\nsee {self.prog} --help") from None


def _with_one_rate(given: Given) -> Given:
    """A learning rate is given per image or absolute; one of the two takes the default of the other one away."""
    settings = given.get("settings", Given())
    optim = settings.get("optim", Given())
    others = {"lr": "lr_per_image", "lr_per_image": "lr"}
    changes = Given({other: None for name, other in others.items() if name in optim and other not in optim})
    return Given({**given, "settings": Given({**settings, "optim": Given({**optim, **changes})})}) if changes else given


def _with_training_sizes(options: CommonOptions, given: Given, recipe: Recipe) -> CommonOptions:
    """The training sizes go along with ``--input-size``, unless ``--multiscale-sizes`` gives them."""
    settings = given.get("settings", Given())
    if "input_size" not in settings.get("input", ()) or "multiscale_sizes" in settings.get("loader", ()):
        return options
    sizes = with_input_size(recipe, options.settings.input.input_size).loader.multiscale_sizes
    return fill(options, {"settings": Given(loader=Given(multiscale_sizes=sizes))})
