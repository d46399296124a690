"""Read `.npz` files whose arrays are no larger than what they declare."""

from __future__ import annotations

import io
import math
import os
import zipfile

import numpy as np
from numpy.lib import format as npy

from yolox.errors import WeightsError
from yolox.weights.archive import MAX_ARRAY_BYTES, open_archive, read_entry


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the arrays of an `.npz` file, compressed or not, never a pickled object.

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
    stream = io.BytesIO(read_entry(archive, entry))
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    if version not in readers:
        raise WeightsError(f"entry {entry.filename[:100]!r}: array format {version} is not known")
    shape, fortran_order, dtype = readers[version](stream)
    data = stream.getbuffer()[stream.tell() :]
    if dtype.hasobject:
        raise WeightsError(f"entry {entry.filename[:100]!r} is a pickled object; refused")
    if dtype.kind not in "fiub":
        raise WeightsError(f"entry {entry.filename[:100]!r} holds {str(dtype)[:100]}, want numbers; refused")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise WeightsError(f"entry {entry.filename[:100]!r}: shape {shape[:8]} of {dtype} in {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C").copy()
