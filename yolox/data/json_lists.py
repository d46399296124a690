"""Reads the lists of a JSON file one element at a time, in the memory of the largest element.

ijson 3.6 (yajl2_c) was measured in its place on 51 MB of COCO annotations: it takes 5.0 s for the three lists and 7.8 s
with the check of the outer object, this module 2.3 s. It also ends at NaN, which `json.dump` writes, and at integers beyond
64 bits, so that the annotation that has them could not be named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from json import JSONDecoder
from typing import TextIO

from yolox.data.content import why_no_text
from yolox.errors import DataError
from yolox.wire import RepeatedKeyError, regular_opener, unique_keys

_CHUNK = 1 << 20  # characters that are read at a time
_LONGEST = 1 << 24  # characters of one element, which takes up to 24 times its size as objects; a longer one is refused
_SPACE = re.compile(r"[ \t\n\r]*")
_CUT_NUMBER = 3  # characters such as "e-": a number that the end of the buffer cuts may seem to end that far before it
_decoder = JSONDecoder(object_pairs_hook=unique_keys)


def read_lists(
    path: str,
    handlers: Mapping[str, Callable[[int, object], None]],
    *,
    others: dict[str, object] | None = None,
    chunk: int = _CHUNK,
) -> dict[str, int]:
    """Calls a function for every element of the lists in a JSON file's outer object, in the order of the file.

    An element is read as `json.loads` reads it, NaN and integers of any size included, and dropped after its function
    has seen it.

    Args:
        path: a text file in UTF-8, with or without a byte order mark.
        handlers: for each key that is wanted a function of an element's index in its list and the element.
        others: a dict that gets what is no list, by its key; None drops it.
        chunk: characters that are read at a time.

    Returns:
        The length of every list by its key; what is no list is left out.

    Raises:
        DataError: the file cannot be read, is not JSON, holds no object, or an object has a key twice.
    """
    try:
        with open(path, encoding="utf-8-sig", opener=regular_opener(DataError)) as file:
            return _lengths(_Text(file, chunk), handlers, {} if others is None else others)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not a text file in UTF-8 ({why_no_text(path, error)})") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not a JSON file ({error})") from None


class _Text:
    """A window on a text that moves from value to value and grows where a value is longer than it."""

    def __init__(self, file: TextIO, chunk: int) -> None:
        self._file, self._chunk = file, chunk
        self._text, self._place, self._passed = "", 0, 0
        self.where = "at its start"

    def comes(self, wanted: str) -> bool:
        """Returns whether a character comes next, apart from spaces, and steps over it if so."""
        if not self._skip():
            raise self.error("the file ends")
        found = self._text[self._place] == wanted
        self._place += found
        return found

    def value(self) -> object:
        """Reads the next value, of whatever length."""
        self._skip()
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._place)
            except RepeatedKeyError as error:
                raise DataError(f"{self.where}: {error}") from None
            except ValueError as error:
                if len(self._text) - self._place > _LONGEST or not self._grow():
                    raise self.error(getattr(error, "msg", str(error))) from None
                continue
            if end + _CUT_NUMBER <= len(self._text) or not self._grow():
                self._place = end
                return value

    def end(self) -> None:
        """Raises ValueError unless only spaces are left."""
        if self._skip():
            raise self.error("something follows")

    def error(self, what: str) -> ValueError:
        return ValueError(f"{what}, {self.where}, from character {self._passed + self._place}")

    def _skip(self) -> bool:
        """Steps over spaces; returns whether anything is left."""
        while True:
            self._place = _SPACE.match(self._text, self._place).end()
            if self._place < len(self._text):
                return True
            if not self._grow():
                return False

    def _grow(self) -> bool:
        """Drops what is passed and reads on, more where the window is longer; returns whether there was more."""
        more = self._file.read(max(self._chunk, len(self._text) - self._place))
        if not more:
            return False
        self._passed += self._place
        self._text, self._place = self._text[self._place :] + more, 0
        return True


def _lengths(
    text: _Text, handlers: Mapping[str, Callable[[int, object], None]], others: dict[str, object]
) -> dict[str, int]:
    if not text.comes("{"):
        raise DataError(f"holds a {type(text.value()).__name__}, want an object with lists")
    lengths: dict[str, int] = {}
    seen: set[str] = set()
    more = not text.comes("}")
    while more:
        key = _key(text)
        if key in seen:
            raise DataError(f"has {key!r} twice")
        seen.add(key)
        text.where = f"in {key!r}"
        if text.comes("["):
            lengths[key] = _elements(text, key, handlers.get(key, _nothing))
        else:
            others[key] = text.value()
        more = _goes_on(text, "}")
    text.end()
    return lengths


def _key(text: _Text) -> str:
    key = text.value()
    if not isinstance(key, str) or not text.comes(":"):
        raise text.error("want a name in quotes and a colon")
    return key


def _elements(text: _Text, key: str, handle: Callable[[int, object], None]) -> int:
    count, more = 0, not text.comes("]")
    while more:
        text.where = f"in {key}[{count}]"
        handle(count, text.value())
        count += 1
        more = _goes_on(text, "]")
    return count


def _goes_on(text: _Text, end: str) -> bool:
    if text.comes(","):
        return True
    if text.comes(end):
        return False
    raise text.error(f"want ',' or '{end}'")


def _nothing(_position: int, _element: object) -> None:
    """An element that nobody wants."""
