"""Whole files that mean harm, through the one door `read_weights`: refused with a message, and nothing runs.

The short forms try a part of the damages; the long ones (`make test-slow`) all of them, and print how many.
"""

from __future__ import annotations

import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.weights.attacks import HEADERS, archives_that_hold_less, hostile_archives, pickles_that_run, safetensors_of
from tests.weights.torch_files import tensor, write, write_state
from yolox.config import Recipe
from yolox.errors import CheckpointError, WeightsError
from yolox.training.checkpoint import load_checkpoint, save_checkpoint
from yolox.weights.load import read_weights

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float16)}


def _pth(path):
    write_state(path, ARRAYS)


def _npz(path):
    with path.open("wb") as file:
        np.savez(file, **ARRAYS)


def _ckpt(path):
    ms.save_checkpoint([{"name": k, "data": ms.Tensor(v)} for k, v in ARRAYS.items()], str(path.with_suffix(".ckpt")))
    path.with_suffix(".ckpt").rename(path)


def _checked_ckpt(path):
    parts = [{"name": k, "data": ms.Tensor(v)} for k, v in ARRAYS.items()]
    ms.save_checkpoint(parts, str(path.with_suffix(".ckpt")), crc_check=True)
    path.with_suffix(".ckpt").rename(path)


def _own(path):
    tensors = {f"params.{name}": array for name, array in ARRAYS.items()}
    save_checkpoint(path, tensors, recipe=Recipe(), class_names=["cat"])


FORMS = {"pth": _pth, "npz": _npz, "ckpt": _ckpt, "checked ckpt": _checked_ckpt, "safetensors": _own}
NO_CHECKSUM = {"ckpt"}  # MindSpore's plain files have none: a flipped bit of a number is another number


def _try(path, data) -> bool:
    """Read the bytes as weights; True if refused, and if not, the numbers must be those that were written."""
    path.write_bytes(data)
    try:
        found, _ = read_weights(path)
    except WeightsError as error:
        assert str(path) in str(error)
        return True
    return {k: v.tobytes() for k, v in found.items()}


def _damages(data, step):
    yield from (data[:length] for length in range(0, len(data), step))
    for position in range(0, len(data), step):
        for bit in range(8) if step == 1 else (position % 8,):
            yield data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


def _try_damages(tmp_path, form, step) -> tuple[int, int]:
    path, whole = tmp_path / "w", {k: v.tobytes() for k, v in ARRAYS.items()}
    FORMS[form](path)
    data, tried, refused = path.read_bytes(), 0, 0
    assert _try(path, data) == whole
    for damaged in _damages(data, step):
        found = _try(path, damaged)
        tried, refused = tried + 1, refused + (found is True)
        if found is not True and form not in NO_CHECKSUM:  # a name may be lost, which `load_weights` notices
            assert set(found.values()) <= set(whole.values())
    return tried, refused


@pytest.mark.parametrize("form", FORMS)
def test_damaged_files_are_refused_or_harmless(tmp_path, form):
    tried, refused = _try_damages(tmp_path, form, 7)
    assert tried > 20 and refused > tried / 2


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_every_truncation_and_every_flipped_bit(tmp_path, form):
    tried, refused = _try_damages(tmp_path, form, 1)
    print(f"{form}: {tried} files tried, {refused} refused")


def test_pickles_in_whole_files_run_nothing(tmp_path):
    """Each is written as a torch file and as a bare pickle; nothing is replaced, so that what ran would be seen."""
    trap, tried = tmp_path / "it_ran", 0
    attacks = pickles_that_run(f"touch {trap}", f"open({str(trap)!r}, 'w')")
    for name, data in attacks.items():
        write(tmp_path / "w.pth", data, {})
        with pytest.raises(WeightsError, match="w.pth: "):
            read_weights(tmp_path / "w.pth")
        (tmp_path / "w.pth").write_bytes(data)
        with pytest.raises(WeightsError, match="w.pth: "):
            read_weights(tmp_path / "w.pth")
        assert not trap.exists(), name
        tried += 2
    print(f"{tried} files tried")
    assert tried > 250


def test_hostile_archives_are_refused(tmp_path):
    for name, data in hostile_archives().items():
        assert _try(tmp_path / "w", data) is True, name


def test_entries_of_another_length_than_they_declare_are_refused(tmp_path):
    """A view of a storage that is shorter than it says would show other memory of the process as weights."""
    for name, data in archives_that_hold_less().items():
        (tmp_path / "w").write_bytes(data)
        with pytest.raises(WeightsError, match="declares|is compressed by method|Bad CRC"):
            read_weights(tmp_path / "w")
            pytest.fail(name)


SPARSE = {
    "w.ckpt": b"\x0a\x0c\x0a\x01w\x12\x07\x08\x01\x12\x03Int",
    "w.safetensors": safetensors_of(b'{"a":{"dtype":"F32","shape":[1073741824],"data_offsets":[0,4294967296]}}'),
}


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_files_are_refused_before_they_are_read(tmp_path, name):
    with (tmp_path / name).open("wb") as file:
        file.write(SPARSE[name])
        file.truncate(len(SPARSE[name]) + (1 << 32))
    with pytest.raises(WeightsError, match="limit|at most"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("case", HEADERS)
def test_hostile_safetensors_are_refused(tmp_path, case):
    (tmp_path / "w.safetensors").write_bytes(HEADERS[case])
    with pytest.raises(CheckpointError, match="w.safetensors: "):
        load_checkpoint(tmp_path / "w.safetensors")
    assert _try(tmp_path / "w", HEADERS[case]) is True


def test_foreign_safetensors_are_refused(tmp_path):
    save_file(ARRAYS, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="not written by this library"):
        read_weights(tmp_path / "w.safetensors")


def save_entry(path, more):
    """Write a checkpoint of one tensor with bytes behind it."""
    _ckpt(path.with_suffix(".w"))
    path.write_bytes(path.with_suffix(".w").read_bytes() + more)


BOMB = """
import resource, sys
from yolox.weights.load import read_weights
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for path in sys.argv[1:]:
    try:
        read_weights(path)
    except ValueError as error:
        print("refused", str(error)[-60:].replace("\\n", " "))
"""


def test_bombs_take_no_memory(tmp_path):
    """With three gigabytes of address space: what was unpacked to its declared size would not fit."""
    big = {"w": tensor("Float", "0", 2**34, (2**34,), (1,))}
    files = {
        "claim.pth": write(tmp_path / "claim.pth", {"model": big}, {"0": bytes(16)}),
        "deep.pth": write(tmp_path / "deep.pth", b"\x80\x02" + b"]" * 2_000_000 + b".", {}),
        "memo.pth": write(tmp_path / "memo.pth", b"\x80\x02N" + b"q\x00h\x00\x86" * 100_000 + b".", {}),
    }
    pairs = b"".join(b"K" + bytes([i % 256]) + b"N\x86" for i in range(20_000))
    copies = b"\x80\x02](" + pairs + b"eq\x00ccollections\nOrderedDict\nq\x01h\x00\x85q\x02(" + b"h\x01h\x02R" * 10_000 + b"t."
    files["copies.pth"] = write(tmp_path / "copies.pth", copies, {})
    files["entries.ckpt"] = tmp_path / "entries.ckpt"
    save_entry(files["entries.ckpt"], b"\x0a\x00" * 10_000_000)
    header = b'{"a":{"dtype":"F32","shape":[17179869184],"data_offsets":[0,68719476736]}}'
    files["claim.safetensors"] = tmp_path / "claim.safetensors"
    files["claim.safetensors"].write_bytes(safetensors_of(header, bytes(16)))
    command = [sys.executable, "-c", BOMB, *map(str, files.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("refused") == len(files), done.stdout + done.stderr
