"""Archives of arrays, and archives that claim more than they hold."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest

from yolox.errors import WeightsError
from yolox.weights import archive as archive_module
from yolox.weights.archive import open_archive, read_npz


def _npy(array, *, header: bytes | None = None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array)
    data = stream.getvalue()
    if header is None:
        return data
    old = 10 + struct.unpack("<H", data[8:10])[0]
    return data[:8] + struct.pack("<H", len(header)) + header + data[old:]


def _archive(path, entries, *, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_agrees_with_numpy(tmp_path, save):
    rng = np.random.default_rng(0)
    arrays = {
        "a.b": rng.standard_normal((2, 3)).astype(np.float32),
        "scalar": np.array(3),
        "fortran": np.asfortranarray(rng.standard_normal((3, 4))),
        "empty": np.zeros((0, 2)),
        "big_endian": np.arange(3, dtype=">f4"),
    }
    save(tmp_path / "w.npz", **arrays)
    found = read_npz(tmp_path / "w.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].flags.writeable


HEADERS = {
    "more": (b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n", r"in 16 bytes"),
    "less": (b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", r"in 16 bytes"),
    "negative": (b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2), }\n", r"in 16 bytes"),
    "object": (b"{'descr': '|O', 'fortran_order': False, 'shape': (4,), }\n", r"pickled object"),
    "no literal": (b"__import__('os').system('ls')\n", r"damaged archive"),
    "missing keys": (b"{'descr': '<f4'}\n", r"damaged archive"),
    "nested": (b"(" * 5000 + b"\n", r"damaged archive"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_that_do_not_match_are_refused(tmp_path, case):
    header, message = HEADERS[case]
    path = _archive(tmp_path / "w.npz", {"a.npy": _npy(np.zeros(4, np.float32), header=header)})
    with pytest.raises(WeightsError, match=f"w.npz: .*{message}"):
        read_npz(path)


def test_pickled_objects_and_other_entries_are_refused(tmp_path):
    np.savez(tmp_path / "o.npz", a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(WeightsError, match="pickled object; refused"):
        read_npz(tmp_path / "o.npz")
    with pytest.raises(WeightsError, match="'readme' is no array"):
        read_npz(_archive(tmp_path / "r.npz", {"readme": b"hello"}))
    with pytest.raises(WeightsError, match="array format"):
        read_npz(
            _archive(tmp_path / "v.npz", {"a.npy": _npy(np.zeros(1)).replace(b"NUMPY\x01", b"NUMPY\x09")})
        )


def test_zip_bombs_are_refused_before_unpacking(tmp_path, monkeypatch):
    bomb = _archive(tmp_path / "b.npz", {"a.npy": bytes(80 << 20)}, compression=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(WeightsError, match="times as many"):
        read_npz(bomb)
    monkeypatch.setattr(archive_module, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(WeightsError, match="more than the limit of 1000"):
        read_npz(bomb)


def test_an_entry_that_unpacks_to_more_than_it_declares_is_refused(tmp_path):
    path = _archive(tmp_path / "w.npz", {"a.npy": _npy(np.zeros(5000))}, compression=zipfile.ZIP_DEFLATED)
    data, true = path.read_bytes(), struct.pack("<I", len(_npy(np.zeros(5000))))
    path.write_bytes(data.replace(true, struct.pack("<I", 500)))
    with pytest.raises(WeightsError):
        read_npz(path)


def test_entries_that_share_bytes_are_refused(tmp_path):
    path = _archive(tmp_path / "w.npz", {"a.npy": _npy(np.zeros(50)), "b.npy": _npy(np.zeros(50))})
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 0)  # the second entry points to the first one's bytes
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="overlaps"), open_archive(path):
        pass


def test_encrypted_and_doubled_names_are_refused(tmp_path):
    path = _archive(tmp_path / "w.npz", {"a.npy": b"x"})
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="encrypted"):
        read_npz(path)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"x")
        archive.writestr("a.npy", b"y")
    with pytest.raises(WeightsError, match="same name"):
        read_npz(path)


def test_every_truncation_and_every_flipped_byte_is_refused_or_harmless(tmp_path):
    arrays = {"a": np.arange(6, dtype=np.float32), "b": np.arange(4.0)}
    np.savez(tmp_path / "w.npz", **arrays)
    data, path = (tmp_path / "w.npz").read_bytes(), tmp_path / "t.npz"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(WeightsError):
            read_npz(path)
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x41]) + data[position + 1 :])
        _read_same_numbers_or_refuse(path, arrays)


def _read_same_numbers_or_refuse(path, arrays):
    """A name or an entry may be lost, which `load_weights` notices; numbers have a checksum."""
    try:
        found = read_npz(path)
    except WeightsError:
        return
    for array in found.values():
        np.testing.assert_array_equal(
            array, next(want for want in arrays.values() if want.size == array.size)
        )
