"""Reads whole files, streams, and the wire format of protocol buffers, at a cost that is bounded beforehand."""

from __future__ import annotations

import io
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator

from yolox.errors import WeightsError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # forms of a field
_FIXED = {FIXED64: 8, FIXED32: 4}
_MOST_BITS = 64


def regular_opener(error: type[ValueError]) -> Callable[[str, int], int]:
    """Returns an `opener` for `open` that refuses pipes and devices, whose reading would never end.

    Args:
        error: raised for them.

    Returns:
        Function of a path and flags that returns a descriptor.

    Raises:
        OSError: from the function; the file cannot be opened.
    """

    def open_regular(path: str, flags: int) -> int:
        descriptor = os.open(path, flags | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise error("is no regular file")
        return descriptor

    return open_regular


class RepeatedKeyError(Exception):
    """A key that an object of a JSON file has twice; no ValueError, which a text that is not there as a whole gives too."""


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Returns the object of a JSON file, for `object_pairs_hook`: of a key that is there twice, `json` takes the last in silence.

    Args:
        pairs: keys with their values, in the order of the file.

    Returns:
        The values by key.

    Raises:
        RepeatedKeyError: a key is there twice.

    Example:
        >>> unique_keys([("a", 1), ("b", 2)])
        {'a': 1, 'b': 2}
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(key for key, _ in pairs)
        raise RepeatedKeyError(f"has the key {times.most_common(1)[0][0][:80]!r} twice")
    return found


def read_file(path: str | os.PathLike, *, most: int, error: type[ValueError] = WeightsError) -> bytes:
    """Reads a regular file that is no larger than a limit.

    Args:
        path: the file; pipes and devices are refused.
        most: bytes that it may have. A sparse file declares any size at no cost, so that the limit comes before reading.
        error: raised for a file that is no regular one, or larger.

    Returns:
        All of its bytes.

    Raises:
        WeightsError: or another `error`; the file is no regular one, or larger.
        OSError: it cannot be read.
    """
    with open(path, "rb", opener=regular_opener(error)) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise error(f"has {size} bytes, more than the limit of {most}")
        return file.read(most)


class LimitedReader(io.BufferedReader):
    """A stream of which one call of `read` returns a limited number of bytes; parsers ask for as many as a file declares.

    Args:
        raw: the stream.
        most: bytes of one call.
        message: of the error, with `{most}`.

    Raises:
        WeightsError: from `read`; there are more bytes than `most`, and as many were asked for.

    Example:
        >>> LimitedReader(io.BytesIO(b"abc"), most=3, message="more than {most} bytes").read()
        b'abc'
    """

    def __init__(self, raw: io.RawIOBase | io.BytesIO, *, most: int, message: str) -> None:
        super().__init__(raw)
        self.most: int | None = most
        """None reads without a limit."""
        self._message = message

    def read(self, size: int | None = -1) -> bytes:
        """Reads as `io.BufferedReader.read`, up to the limit."""
        if self.most is None:
            return super().read(size)
        data = super().read(self.most + 1 if size is None or size < 0 else min(size, self.most + 1))
        if len(data) > self.most:
            raise WeightsError(self._message.format(most=self.most))
        return data


class WireReader:
    """Splits messages into fields, and stops at a number of them.

    Parsers of the whole message make an object of every entry: 20 MB of empty entries took 4.5 GB and 105 seconds.

    Args:
        most: fields that may be read from all messages together.

    Example:
        >>> list(WireReader(most=10).fields(memoryview(bytes([0x08, 0x05]))))
        [(1, 5)]
    """

    def __init__(self, *, most: int) -> None:
        self._most = self._left = most

    def spend(self, fields: int) -> None:
        """Counts fields, or what costs as much, against the limit.

        Args:
            fields: their number.

        Raises:
            WeightsError: the limit is passed.
        """
        self._left -= fields
        if self._left < 0:
            raise WeightsError(f"has more than {self._most} fields, far beyond a weights file")

    def fields(self, message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Yields the fields of a message that has no numbers of fixed length, in their order.

        Args:
            message: its bytes.

        Returns:
            For each field its number, and an unsigned integer or a view of its bytes.

        Raises:
            WeightsError: truncated, too many fields, or a form of field that checkpoints do not have.
        """
        for number, form, value in self.typed_fields(message):
            if form not in (VARINT, BYTES):
                raise WeightsError(f"damaged: a field of the form {form}")
            yield number, value

    def typed_fields(self, message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
        """Yields number, form and value of each field of a message, in their order.

        Args:
            message: its bytes.

        Returns:
            For each field its number, its form (VARINT, FIXED64, BYTES or FIXED32), and an unsigned integer
            (VARINT) or a view of its bytes.

        Raises:
            WeightsError: truncated, too many fields, or a group.

        Source: the encoding of protocol buffers, protobuf.dev/programming-guides/encoding.
        """
        place = 0
        while place < len(message):
            self.spend(1)
            key, place = read_varint(message, place)
            form = key & 7
            if form == VARINT:
                value, place = read_varint(message, place)
                yield key >> 3, form, value
                continue
            if form == BYTES:
                length, place = read_varint(message, place)
            elif form in _FIXED:
                length = _FIXED[form]
            else:
                raise WeightsError(f"damaged: a field of the form {form}")
            content = message[place : place + length]
            if len(content) < length:
                raise WeightsError(f"truncated: a field of {length} bytes, {len(content)} are there")
            place += length
            yield key >> 3, form, content


def read_varint(data: memoryview, place: int) -> tuple[int, int]:
    """Reads an integer of one to ten bytes with seven bits each, the lowest first.

    Args:
        data: the bytes.
        place: where it begins.

    Returns:
        The unsigned integer, and the place behind it.

    Raises:
        WeightsError: truncated, or longer than 64 bits.

    Example:
        >>> read_varint(memoryview(bytes([0xAC, 0x02])), 0)
        (300, 2)
    """
    value = shift = 0
    while shift < _MOST_BITS:
        if place >= len(data):
            raise WeightsError("truncated within a number")
        byte = data[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return value & (1 << _MOST_BITS) - 1, place
    raise WeightsError("damaged: a number of more than 64 bits")
