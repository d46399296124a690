"""Output that shows names of files and classes as they are: no markup, no control characters."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

# Control characters but line feed and tab, and the marks that turn the direction of text or end a line.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Returns a text with its control characters as escapes: a file's or class's name may hold those of a terminal.

    Args:
        text: any.

    Returns:
        The text; line feeds and tabs stay.

    Example:
        >>> print(printable("a" + chr(27) + "[2J.jpg"))
        a\\x1b[2J.jpg
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


class PlainConsole(Console):
    """A console without markup and emoji, whose lines are not wrapped, and which prints control characters as escapes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"soft_wrap": True, "highlight": False, "markup": False, "emoji": False, **settings})

    def render_str(self, text: str, **settings: Any) -> Text:
        """Renders a string as `rich.console.Console.render_str`; the cells of tables come here, too."""
        return super().render_str(printable(text), **settings)


@contextmanager
def logs_on_stderr(rewrite: Callable[[str], str] = str) -> Iterator[None]:
    """Prints the warnings of the logger ``yolox`` to stderr, with control characters as escapes, while the body runs.

    Args:
        rewrite: function of the text of a warning.
    """
    handler, log = _PlainHandler(rewrite), logging.getLogger("yolox")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _PlainHandler(logging.Handler):
    def __init__(self, rewrite: Callable[[str], str]) -> None:
        super().__init__(logging.WARNING)
        self._rewrite = rewrite

    def emit(self, record: logging.LogRecord) -> None:
        print(printable(self._rewrite(self.format(record))), file=sys.stderr)
