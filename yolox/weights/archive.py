"""Zip archives of unknown origin, and the `.npz` files that are such: every length is checked against the bytes."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.lib import format as npy

from yolox.errors import WeightsError
from yolox.wire import LimitedReader, regular_opener

MAX_TOTAL_BYTES = 2 << 30  # the largest published file, with its optimizer state, is 0.8 GB
MAX_ARRAY_BYTES = 640 << 20  # of the arrays that are read; the largest scale has 0.4 GB
MAX_DIRECTORY_BYTES = 4 << 20  # of the names of entries, of which a tensor takes about 100; `zipfile` makes 10 times as much
MAX_RATIO = 100  # trained weights hardly compress; an archive that grows more than this is a bomb
_LOCAL_HEADER = 30  # bytes before the name of an entry
_LONG_LIST = "lists its entries in more than {most} bytes, the limit"
SMALL_BYTES = 64 << 20  # below this, no ratio is worth a refusal


@contextmanager
def open_archive(path: str | os.PathLike) -> Iterator[zipfile.ZipFile]:
    """Opens a zip archive whose declared sizes are plausible.

    Zip bombs unpack to much more than their size, or have many entries that share the same bytes. Read entries with
    `read_entry` only: `zipfile` itself unpacks more than a compressed entry declares, and less than a stored one may.

    Args:
        path: the archive.

    Returns:
        A context manager that gives the open archive. Any exception of the body but WeightsError becomes a
        WeightsError that names the file, because damaged archives raise a dozen unrelated types.

    Raises:
        WeightsError: not a zip archive, damaged, encrypted, entries that overlap, or sizes beyond the limits.
    """
    try:
        with (
            open(path, "rb", buffering=0, opener=regular_opener(WeightsError)) as raw,
            LimitedReader(raw, most=MAX_DIRECTORY_BYTES, message=_LONG_LIST) as file,
        ):
            with zipfile.ZipFile(file) as archive:
                file.most = None  # the list of entries was read
                _check_entries(archive.infolist(), os.fstat(raw.fileno()).st_size)
                yield archive
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error.__cause__
    except Exception as error:
        raise WeightsError(f"{path}: damaged archive ({type(error).__name__}: {error})") from error


def _check_entries(entries: list[zipfile.ZipInfo], archive_bytes: int) -> None:
    if len({entry.filename for entry in entries}) < len(entries):
        raise WeightsError("two entries of the archive have the same name")
    if any(entry.flag_bits & 1 for entry in entries):
        raise WeightsError("the archive is encrypted")
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            method = f"compressed by method {entry.compress_type}, want deflate or none"
            raise WeightsError(f"entry {entry.filename[:100]!r} is {method}")
        if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
            raise WeightsError(
                f"entry {entry.filename[:100]!r} declares {entry.file_size} bytes and holds {entry.compress_size}"
            )
    end = 0
    for entry in sorted(entries, key=lambda e: e.header_offset):
        if entry.header_offset < end:
            raise WeightsError(f"entry {entry.filename[:100]!r} overlaps the entry before it")
        end = entry.header_offset + _LOCAL_HEADER + entry.compress_size
    if end > archive_bytes:
        raise WeightsError(f"entries declare {end} bytes, the file has {archive_bytes}")
    _check_total(sum(entry.file_size for entry in entries), archive_bytes)


def _check_total(total: int, archive_bytes: int) -> None:
    if total > MAX_TOTAL_BYTES:
        raise WeightsError(f"unpacks to {total} bytes, more than the limit of {MAX_TOTAL_BYTES}")
    if total > SMALL_BYTES and total > MAX_RATIO * archive_bytes:
        raise WeightsError(f"unpacks to {total} bytes from {archive_bytes}, over {MAX_RATIO} times as many")


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, *, most: int = MAX_ARRAY_BYTES) -> bytes:
    """Reads an entry that is as long as it declares.

    Args:
        archive: from `open_archive`.
        entry: of it.
        most: bytes that the entry may have.

    Returns:
        Its bytes, `entry.file_size` of them.

    Raises:
        WeightsError: the entry is longer than the limit, or longer or shorter than it declares.
    """
    if entry.file_size > most:
        raise WeightsError(f"entry {entry.filename[:100]!r} has {entry.file_size} bytes, more than the limit of {most}")
    with archive.open(entry) as stream:
        data = stream.read(entry.file_size + 1)
    if len(data) != entry.file_size:
        count = "more" if len(data) > entry.file_size else str(len(data))
        raise WeightsError(f"entry {entry.filename[:100]!r} declares {entry.file_size} bytes and holds {count}")
    return data


def widen_bfloat16(numbers: np.ndarray) -> np.ndarray:
    """Returns bfloat16 numbers as float32, of which they are the upper halves, with one copy in memory.

    Args:
        numbers: uint16 of any shape.

    Returns:
        float32 of the same shape.

    Example:
        >>> widen_bfloat16(np.array([0x3F80, 0xC000], np.uint16)).tolist()
        [1.0, -2.0]
    """
    wide = numbers.astype(np.uint32)
    return np.left_shift(wide, 16, out=wide).view(np.float32)


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the arrays of an `.npz` file, compressed or not, never a pickled object.

    Args:
        path: a file written by `numpy.savez` or `numpy.savez_compressed`.

    Returns:
        Name to array, in the file's order and dtype. Arrays own their memory.

    Raises:
        WeightsError: damaged or not an archive of arrays; object arrays; a shape that does not match its
            bytes; sizes beyond the limits of `archive`.

    Example:
        >>> import tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "w.npz")
        >>> np.savez(path, gamma=np.ones(3, np.float32))
        >>> read_npz(path)["gamma"].tolist()
        [1.0, 1.0, 1.0]
    """
    with open_archive(path) as archive:
        entries = archive.infolist()
        if (total := sum(entry.file_size for entry in entries)) > MAX_ARRAY_BYTES:
            raise WeightsError(f"unpacks to {total} bytes, more than the limit of {MAX_ARRAY_BYTES}")
        return {entry.filename.removesuffix(".npy"): _read_array(archive, entry) for entry in entries}


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    if not entry.filename.endswith(".npy"):
        raise WeightsError(f"entry {entry.filename[:100]!r} is no array")
    data = read_entry(archive, entry)
    stream = io.BytesIO(data)  # shares the bytes
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    if version not in readers:
        raise WeightsError(f"entry {entry.filename[:100]!r}: array format {version} is not known")
    shape, fortran_order, dtype = readers[version](stream)
    data = memoryview(data)[stream.tell() :]
    if dtype.hasobject:
        raise WeightsError(f"entry {entry.filename[:100]!r} is a pickled object; refused")
    if dtype.kind not in "fiub":
        raise WeightsError(f"entry {entry.filename[:100]!r} holds {str(dtype)[:100]}, want numbers; refused")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise WeightsError(f"entry {entry.filename[:100]!r}: shape {shape[:8]} of {dtype} in {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C").copy()
