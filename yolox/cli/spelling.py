"""Options that other YOLO programs spell in another way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from yolox.errors import UsageError

SaveForm = Literal["json", "txt", "csv", "coco"]


def check_spelling(argv: Sequence[str]) -> None:
    """Tell who types ``--save-txt`` what it is called here.

    Args:
        argv: words after the script's name, the verb first.

    Raises:
        UsageError: with the option to write.
    """
    words = {word.replace("_", "-") for word in argv}
    for form in get_args(SaveForm) if "predict" in argv[:1] else ():
        if f"--save-{form}" in words:
            raise UsageError(f"--save-{form}: write --save {form}; it takes one or more of {', '.join(get_args(SaveForm))}")
