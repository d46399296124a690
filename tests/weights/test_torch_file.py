"""Torch's zip files: right where they are right, refused where they are not."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest

from tests.weights.torch_files import Call, contiguous, pickled, tensor, write, write_state
from yolox.errors import WeightsError
from yolox.weights.torch_file import read_pth

FLOATS = np.arange(12, dtype=np.float32)


def _read(tmp_path, state, storages):
    return read_pth(write(tmp_path / "w.pth", {"model": state}, storages))


def test_reads_every_type_and_shape_that_was_written(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.standard_normal((2, 3, 1, 1)).astype(np.float32),
        "half": rng.standard_normal(4).astype(np.float16),
        "double": rng.standard_normal((2, 2)),
        "steps": np.array(7, np.int64),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float32),
    }
    found = read_pth(write_state(tmp_path / "w.pth", arrays))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.owndata and found[name].flags.writeable


def test_weights_lie_under_model_or_state_dict_or_bare(tmp_path):
    state, storages = contiguous({"w": FLOATS})
    for root in ({"model": state, "epoch": 1}, {"state_dict": state}, state):
        np.testing.assert_array_equal(read_pth(write(tmp_path / "w.pth", root, storages))["w"], FLOATS)


def test_bfloat16_becomes_float32(tmp_path):
    bits = (FLOATS.view(np.uint32) >> 16).astype(np.uint16)  # 0..11 are exact in bfloat16
    found = _read(tmp_path, {"w": tensor("BFloat16", "0", 12, (12,), (1,))}, {"0": bits.tobytes()})
    assert found["w"].dtype == np.float32
    np.testing.assert_array_equal(found["w"], FLOATS)


def test_views_follow_offset_and_strides(tmp_path):
    storages = {"0": FLOATS.tobytes(), "1": FLOATS.tobytes()}
    state = {
        "transposed": tensor("Float", "0", 12, (3, 4), (1, 3)),
        "every_second": tensor("Float", "1", 12, (3,), (2,), offset=1),
        "rest": tensor("Float", "1", 12, (2, 2), (2, 1), offset=8),
    }
    found = _read(tmp_path, state, storages)
    np.testing.assert_array_equal(found["transposed"], FLOATS.reshape(4, 3).T)
    assert found["every_second"].tolist() == [1, 3, 5]
    assert found["rest"].tolist() == [[8, 9], [10, 11]]


BAD_VIEWS = {
    "past the end": (tensor("Float", "0", 12, (13,), (1,)), "leaves its storage"),
    "offset past the end": (tensor("Float", "0", 12, (4,), (1,), offset=9), "leaves its storage"),
    "stride past the end": (tensor("Float", "0", 12, (4,), (4,)), "leaves its storage"),
    "huge": (tensor("Float", "0", 12, (2**40, 2**40), (2**40, 1)), "leaves its storage"),
    "zero stride": (tensor("Float", "0", 12, (2**40, 12), (0, 1)), "overlaps itself"),
    "overlapping rows": (tensor("Float", "0", 12, (4, 4), (2, 1)), "overlaps itself"),
    "negative stride": (tensor("Float", "0", 12, (12,), (-1,), offset=11), "stride is not"),
    "negative size": (tensor("Float", "0", 12, (-1,), (1,)), "size is not"),
    "negative offset": (tensor("Float", "0", 12, (1,), (1,), offset=-1), "offset is not"),
    "ranks differ": (tensor("Float", "0", 12, (3, 4), (1,)), "differ in length"),
    "size no integer": (tensor("Float", "0", 12, (1.5,), (1,)), "size is not"),
    "size a list": (tensor("Float", "0", 12, [12], (1,)), "size is not"),
    "storage longer": (tensor("Float", "0", 13, (12,), (1,)), "declares 13 elements of float32"),
    "storage shorter": (tensor("Float", "0", 11, (11,), (1,)), "the archive holds 48 bytes"),
    "storage of doubles": (tensor("Double", "0", 12, (12,), (1,)), "the archive holds 48 bytes"),
    "storage missing": (tensor("Float", "1", 12, (12,), (1,)), "no item named"),
    "storage outside": (tensor("Float", "../data.pkl", 12, (12,), (1,)), "no item named"),
    "complex": (tensor("ComplexFloat", "0", 6, (6,), (1,)), "torch.ComplexFloatStorage"),
    "no storage": (Call("torch._utils._rebuild_tensor_v2", 1, 0, (1,), (1,)), "without a storage"),
}


@pytest.mark.parametrize("case", BAD_VIEWS)
def test_tensors_that_do_not_fit_their_storage_are_refused(tmp_path, case):
    view, message = BAD_VIEWS[case]
    with pytest.raises(WeightsError, match=f"w.pth: .*{message}"):
        _read(tmp_path, {"w": view}, {"0": FLOATS.tobytes()})


def test_tensors_that_share_memory_are_refused(tmp_path):
    state = {"a": tensor("Float", "0", 12, (8,), (1,)), "b": tensor("Float", "0", 12, (5,), (1,), offset=7)}
    with pytest.raises(WeightsError, match="'a' and 'b' share memory"):
        _read(tmp_path, state, {"0": FLOATS.tobytes()})


@pytest.mark.parametrize("root", [3, "text", [], {}, {"model": {}}, {"model": {"w": 3}}, {"w": None}, {1: 2}])
def test_files_without_a_state_dict_say_so(tmp_path, root):
    with pytest.raises(WeightsError, match="no state dict|want a dict"):
        read_pth(write(tmp_path / "w.pth", root, {}))


def test_other_archives_are_refused(tmp_path):
    state, storages = contiguous({"w": FLOATS})
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(WeightsError, match="0 entries <name>/data.pkl"):
        read_pth(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a/data.pkl", pickled({}))
        archive.writestr("b/data.pkl", pickled({}))
    with pytest.raises(WeightsError, match="2 entries"):
        read_pth(tmp_path / "two.zip")
    with pytest.raises(WeightsError, match="compressed"):
        read_pth(write(tmp_path / "c.pth", state, storages, compression=zipfile.ZIP_DEFLATED))
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"w": 1}, protocol=2))
    with pytest.raises(WeightsError, match="not a zip file"):
        read_pth(tmp_path / "old.pth")


def test_big_endian_files_are_refused(tmp_path):
    state, storages = contiguous({"w": FLOATS})
    path = write(tmp_path / "w.pth", state, storages)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", "big")
    with pytest.raises(WeightsError, match="little-endian"):
        read_pth(path)


def test_every_truncation_is_refused_and_flipped_bytes_never_change_numbers(tmp_path):
    arrays = {"w": FLOATS, "b": np.ones(2, np.float32)}
    path = write_state(tmp_path / "w.pth", arrays)
    data = path.read_bytes()
    for length in range(0, len(data), 3):
        path.write_bytes(data[:length])
        with pytest.raises(WeightsError, match="w.pth: "):
            read_pth(path)
    for position in range(0, len(data), 5):
        flipped = bytes([data[position] ^ (1 << position % 8)])
        path.write_bytes(data[:position] + flipped + data[position + 1 :])
        try:
            found = read_pth(path)
        except WeightsError:
            continue
        for name, array in arrays.items():  # what changed was a date or another field that nobody reads
            np.testing.assert_array_equal(found[name], array)
