"""Checkpoints: everything comes back, whole or not at all, and damage is always noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from yolox.errors import CheckpointError
from yolox.recipes import mindyolo_recipe
from yolox.training import checkpoint as checkpoint_module
from yolox.training.checkpoint import atomic_path, load_checkpoint, save_checkpoint

RECIPE = mindyolo_recipe("nano")
TENSORS = {
    "params.backbone.w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "ema.backbone.w": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "momentum.backbone.w": np.full((2, 3), 0.5, np.float16),
    "step": np.array(7, np.int64),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 4), np.float32),
}
EXTRA = {"epoch": 3, "AP": 0.25, "best": None, "nested": {"a": [1, 2]}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "last.safetensors"


def _save(path, tensors=TENSORS, **changes):
    save_checkpoint(
        path, tensors, **{"recipe": RECIPE, "class_names": ("cat", "Käse"), "extra": EXTRA} | changes
    )


def test_everything_comes_back(path):
    _save(path)
    found = load_checkpoint(path)
    assert (found.recipe, found.input, found.class_names) == (RECIPE, RECIPE.input, ("cat", "Käse"))
    assert found.extra == EXTRA
    assert set(found.tensors) == set(TENSORS)
    for name, array in TENSORS.items():
        assert (found.tensors[name].dtype, found.tensors[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found.tensors[name], array)
    assert "<6 tensors>" in repr(found)


def test_the_file_is_plain_safetensors_with_a_readable_header(path):
    _save(path)
    np.testing.assert_array_equal(load_file(path)["ema.backbone.w"], TENSORS["ema.backbone.w"])
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    ours = json.loads(json.loads(header["__metadata__"]["yolox"])["header"])
    assert ours["format"] == 1 and ours["recipe"]["input"]["channel_order"] == "rgb"


def test_the_same_content_gives_the_same_bytes(path, tmp_path):
    _save(path)
    _save(tmp_path / "again", dict(reversed(TENSORS.items())))
    assert path.read_bytes() == (tmp_path / "again").read_bytes()


def test_no_extra_and_no_temporary_file(path):
    _save(path, extra=None)
    assert load_checkpoint(path).extra == {}
    assert os.listdir(path.parent) == [path.name]


def test_every_truncation_is_refused(path):
    _save(path)
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match="last.safetensors: "):
            load_checkpoint(path)


def test_every_flipped_byte_is_refused(path):
    _save(path)
    data = path.read_bytes()
    harmless = 0
    for position in range(0, len(data), 3):
        path.write_bytes(
            data[:position] + bytes([data[position] ^ (1 << position % 8)]) + data[position + 1 :]
        )
        try:
            found = load_checkpoint(path)
        except CheckpointError:
            continue
        harmless += 1  # white space of the header
        assert {k: v.tobytes() for k, v in found.tensors.items()} == {
            k: v.tobytes() for k, v in TENSORS.items()
        }
        assert (found.recipe, found.extra) == (RECIPE, EXTRA)
    assert harmless < 5


def _with_header(path, **changes):
    _save(path)
    found = load_checkpoint(path)
    text = json.dumps({"format": 1, "recipe": {}, "class_names": [], "extra": {}} | changes, sort_keys=True)
    metadata = {"checksum": checkpoint_module._checksum(text, found.tensors), "header": text}
    save_file(found.tensors, path, metadata={"yolox": json.dumps(metadata)})


def test_headers_of_others_and_of_newer_versions_are_refused(path):
    save_file({"a": np.ones(1)}, path)
    with pytest.raises(CheckpointError, match="not written by this library"):
        load_checkpoint(path)
    _with_header(path)
    assert load_checkpoint(path).class_names == ()
    _with_header(path, format=2)
    with pytest.raises(CheckpointError, match="format 2, this version reads up to 1"):
        load_checkpoint(path)
    _with_header(path, recipe={"epochs": "x"})
    with pytest.raises(CheckpointError, match="recipe.epochs"):
        load_checkpoint(path)
    for name, value in {"class_names": [1], "extra": [], "history": 3}.items():
        _with_header(path, **{name: value})
        with pytest.raises(CheckpointError, match=f"{name}: got .*, want "):
            load_checkpoint(path)
    for history in ({"columns": ["a"], "rows": [["1", "2"]]}, {"columns": ["a"], "rows": [[[]]]}, {"columns": []}):
        _with_header(path, history=history)
        with pytest.raises(CheckpointError, match="history: got .*, want columns and rows"):
            load_checkpoint(path)
    with pytest.raises(CheckpointError, match="missing.safetensors"):
        load_checkpoint(path.with_name("missing.safetensors"))


def test_extra_that_json_cannot_hold_is_refused(path):
    with pytest.raises(CheckpointError, match="header is no JSON"):
        _save(path, extra={"a": object()})
    assert os.listdir(path.parent) == []


def test_a_failing_write_leaves_the_file_before(path, monkeypatch):
    _save(path)
    before = path.read_bytes()

    def full(_tensors, temporary, **_options):
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "save_file", full)
    with pytest.raises(CheckpointError, match="not written, the file before is untouched.*No space left"):
        _save(path, extra={})
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]
    with pytest.raises(CheckpointError, match="not written"):
        _save(path.parent / "no folder" / "a.safetensors")


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_the_umask_says_who_may_read(path, umask):
    before = os.umask(umask)
    try:
        _save(path)
        _save(path)  # also one that replaces another
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_an_interrupted_body_leaves_nothing(path):
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert os.listdir(path.parent) == []


KILLED = """
import os, sys, numpy as np
from yolox.training import checkpoint
from yolox.config import Recipe
def save(value):
    tensors = {"params.w": np.full(1000, value, np.float32)}
    header = {"recipe": Recipe(), "class_names": ["a"], "extra": {"value": value}}
    checkpoint.save_checkpoint(sys.argv[1], tensors, **header)
save(1)
original, place = getattr(os, sys.argv[2]), int(sys.argv[3])
calls = []
def dying(*arguments):
    calls.append(arguments)
    if len(calls) == place:
        os._exit(9)
    return original(*arguments)
setattr(os, sys.argv[2], dying)
save(2)
"""


@pytest.mark.parametrize(("call", "place", "value"), [("fsync", 1, 1), ("replace", 1, 1), ("fsync", 2, 2)])
def test_a_killed_process_leaves_a_whole_checkpoint(path, call, place, value):
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), call, str(place)], check=False)
    assert done.returncode == 9
    found = load_checkpoint(path)
    assert found.extra == {"value": value} and (found.tensors["params.w"] == value).all()
    _save(path)  # a leftover temporary file is no obstacle, and goes away
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of memory are measured on Linux")
def test_reading_takes_the_memory_of_the_file_once(path):
    _save(path, {f"params.{number}": np.ones(8 << 20, np.float32) for number in range(4)})  # 128 MB

    def megabytes(key):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = megabytes("VmRSS")
    assert len(load_checkpoint(path).tensors) == 4
    assert megabytes("VmHWM") - before < 1.4 * 128


def test_entries_that_do_not_fit_the_file_are_refused(path):
    _save(path)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    for changes in ({"shape": [1 << 40]}, {"shape": [-1]}, {"dtype": "BF16"}, {"data_offsets": [0, 1 << 40]}, {"other": 1}):
        entries = json.loads(content[8 : 8 + length])
        entries[next(name for name in entries if name != "__metadata__")] |= changes
        text = json.dumps(entries).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
        with pytest.raises(CheckpointError):
            load_checkpoint(path)


def test_what_cannot_be_read_again_is_not_written(path, monkeypatch):
    _save(path)
    before = path.read_bytes()
    monkeypatch.setattr(checkpoint_module, "MAX_BYTES", 1000)
    with pytest.raises(CheckpointError, match="not written, takes .* more than the 1000 that can be read again"):
        _save(path)
    assert path.read_bytes() == before
