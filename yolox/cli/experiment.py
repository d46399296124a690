"""What one scale hands to the shared command line: layers, recipes, step and published numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from yolox.config import Recipe
from yolox.models import Published


def _has_megvii(_instance, attribute, value) -> None:
    if "megvii" not in value:
        raise ValueError(f"Experiment: {attribute.name} has {sorted(value)}, want at least 'megvii'")


@frozen(kw_only=True)
class Experiment:
    """One scale of YOLOX as a value: everything that the verbs info, train, eval and predict need.

    A project's own detector becomes a command line in the same way: write the two functions, pass them here,
    and call `yolox.cli.main(experiment)`.
    """

    name: str
    """Name that is shown, such as ``yolox-nano``."""
    build_detector: Callable[[int], Any]
    """Function from the number of classes to a detector Cell; it has `num_classes` and `strides`."""
    recipes: Mapping[str, Recipe] = field(validator=_has_megvii)
    """Named recipes; ``--recipe`` picks one, ``megvii`` is the default."""
    make_step: Callable[..., Callable]
    """Function of detector, training state, recipe and (several devices only) `yolox.distributed.Group` that returns the
    jitted training step."""
    published: Published | None = None
    """Numbers of the papers' authors; None for a detector of one's own."""
