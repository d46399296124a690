"""Options of every verb."""

from __future__ import annotations

from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class CommonOptions:
    """Options of every verb."""

    recipe: Literal["megvii", "mindyolo"] = "megvii"
    """Published recipe whose values are the defaults of the options below."""
    device: Literal["CPU", "Ascend"] = "CPU"
    """Where MindSpore runs."""
    debug: bool = False
    """Show the traceback of an error."""
