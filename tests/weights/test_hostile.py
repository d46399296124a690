"""Whole files that mean harm, through the one door `read_weights`: refused with a message, and nothing runs.

The short forms try a part of the damages; the long ones (`make test-slow`) all of them, and print how many.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import mindspore as ms
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.weights.torch_files import Call, pickled, tensor, write, write_state
from yolox.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from yolox.config import Recipe
from yolox.weights.errors import WeightsError
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


class _Reduce:
    """An object whose pickle calls a function of our choice."""

    def __init__(self, function, *arguments):
        self.parts = (function, arguments)

    def __reduce__(self):
        return self.parts


def _pickles(touch: str, code: str) -> dict[str, bytes]:
    """Pickles that would leave a file behind if anything of them ran."""
    names = ["os.system", "posix.system", "nt.system", "os.popen", "os.execl", "subprocess.Popen", "subprocess.call"]
    names += ["subprocess.check_output", "commands.getoutput", "pty.spawn", "shutil.copy", "webbrowser.open"]
    names += ["builtins.eval", "builtins.exec", "builtins.compile", "builtins.open", "builtins.__import__"]
    names += ["builtins.getattr", "builtins.setattr", "builtins.map", "builtins.print", "builtins.input", "io.open"]
    names += ["__builtin__.eval", "importlib.import_module", "runpy.run_path", "runpy._run_code", "code.interact"]
    names += ["pickle.loads", "_pickle.loads", "dill.loads", "marshal.loads", "types.FunctionType", "types.CodeType"]
    names += ["functools.partial", "functools.reduce", "operator.attrgetter", "operator.methodcaller", "ctypes.CDLL"]
    names += ["torch.load", "torch.hub.load", "torch.jit.load", "torch.storage._load_from_bytes", "numpy.load"]
    names += ["torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2.__globals__", "torch.nn.Module"]
    names += ["numpy.core.multiarray._reconstruct", "numpy.f2py.crackfortran.getlincoef", "pip.main", "sys.exit"]
    names += ["timeit.timeit", "cProfile.run", "pdb.run", "bdb.Bdb", "asyncio.run", "socket.create_connection"]
    names += ["collections.OrderedDict.fromkeys", "torch.FloatStorage.from_file", "_codecs.decode", "copyreg._reconstructor"]
    attacks = {f"call {name}": pickled(Call(name, touch)) for name in names}
    attacks |= {f"of a value {name}": pickled({"model": {"w": Call(name, code)}}) for name in names}
    objects = {"eval": _Reduce(eval, code), "exec": _Reduce(exec, code), "system": _Reduce(os.system, touch)}
    objects["nested"] = {"model": [{"w": (_Reduce(_Reduce, exec, code),)}]}
    objects["list"] = _Reduce(list, map(eval, [code]))
    for name, value in objects.items():
        attacks |= {f"{name} {p}": pickle.dumps(value, protocol=p) for p in range(6) if name != "list" or p > 1}
    chain = Call("builtins.getattr", Call("builtins.__import__", "os"), "system")
    attacks["chain"] = pickled(Call("builtins.map", chain, [touch]))
    attacks["ignored names as functions"] = pickled(Call("_codecs.encode", Call("os.system", touch), "latin1"))
    attacks["inst"] = b"(S'" + touch.encode() + b"'\nios\nsystem\n."
    attacks["obj"] = b"(cos\nsystem\nV" + touch.encode() + b"\no."
    attacks["newobj"] = b"\x80\x02cos\nsystem\n(V" + touch.encode() + b"\nt\x81."
    attacks["ext"] = b"\x80\x02\x82\x01."
    attacks["text of a persistent id"] = b"Pcos\nsystem\n."
    attacks["build state"] = b"\x80\x02ccollections\nOrderedDict\n)R}(X\x0c\x00\x00\x00__setstate__cos\nsystem\nub."
    attacks["after stop"] = pickled({"model": {}}) + pickled(Call("os.system", touch))
    return attacks


def test_pickles_in_whole_files_run_nothing(tmp_path):
    """Each is written as a torch file and as a bare pickle; nothing is replaced, so that what ran would be seen."""
    trap, tried = tmp_path / "it_ran", 0
    attacks = _pickles(f"touch {trap}", f"open({str(trap)!r}, 'w')")
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


def _zip(entries, compression=zipfile.ZIP_STORED) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return memory.getvalue()


def _declaring(data: bytes, size: int) -> bytes:
    """Change what the archive's directory declares as the size of its last entry."""
    place = data.rindex(b"PK\x01\x02")
    return data[: place + 20] + struct.pack("<II", size, size) + data[place + 28 :]


def _archives() -> dict[str, bytes]:
    inner = _zip({"archive/data.pkl": pickled({"model": {}})})
    zeros, state = bytes(70 << 20), {"model": {"w": tensor("Float", "0", 4, (4,), (1,))}}
    bomb = _zip({"archive/data.pkl": pickled(state), "archive/data/0": zeros}, zipfile.ZIP_DEFLATED)
    huge = _zip({"archive/data.pkl": pickled(state), "archive/data/0": bytes(16)})
    return {
        "archive in an archive": _zip({"archive/data.pkl": inner}),
        "archive as a storage": _zip({"archive/data.pkl": pickled(state), "archive/data/0": inner}),
        "bomb": bomb,
        "bomb in an archive": _zip({"a.npy": bomb}),
        "declares four gigabytes": _declaring(huge, 2**32 - 2),
        "declares more than it holds": _declaring(huge, 17),
        "compressed pickle bomb": _zip({"archive/data.pkl": b"N" * (70 << 20)}, zipfile.ZIP_DEFLATED),
        "bzip2": _zip({"archive/data.pkl": pickled(state), "archive/data/0": bytes(16)}, zipfile.ZIP_BZIP2),
        "lzma": _zip({"archive/data.pkl": pickled(state), "archive/data/0": bytes(16)}, zipfile.ZIP_LZMA),
        "path upwards": _zip({"../data.pkl": pickled({}), "archive/data.pkl": pickled({})}),
        "nothing": _zip({"archive/data.pkl": b""}),
        "two pickles": _zip({"a/data.pkl": pickled(state), "b/data.pkl": pickled(state)}),
        "only a directory": _zip({})[-22:],
        "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\0",
        "tar of old torch": b"\0" * 512,
        "script": b"#!/bin/sh\nrm -rf /\n",
        "elf": b"\x7fELF\x02\x01\x01" + bytes(64),
        "empty": b"",
    }


def test_hostile_archives_are_refused(tmp_path):
    for name, data in _archives().items():
        assert _try(tmp_path / "w", data) is True, name


def _safetensors(header: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + body


HEADERS = {
    "length beyond the file": _safetensors(b"{}", length=2**31),
    "enormous length": _safetensors(b"{}", length=2**63),
    "all ones": b"\xff" * 64,
    "not JSON": _safetensors(b"{'a': 1}"),
    "nested": _safetensors(b'{"a":' * 2000 + b"1" + b"}" * 2000),
    "offsets beyond": _safetensors(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', bytes(8)),
    "offsets backwards": _safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}', bytes(8)),
    "shape too large": _safetensors(b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}', bytes(4)),
    "overlap": _safetensors(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
    ),
    "unknown type": _safetensors(b'{"a":{"dtype":"Q8","shape":[1],"data_offsets":[0,1]}}', bytes(1)),
    "negative shape": _safetensors(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', bytes(4)),
    "metadata no text": _safetensors(b'{"__metadata__":{"yolox":3}}'),
    "metadata no JSON": _safetensors(b'{"__metadata__":{"yolox":"{"}}'),
    "metadata deep": _safetensors(b'{"__metadata__":{"yolox":"' + b"[" * 100_000 + b'"}}'),
    "header a list": _safetensors(b'{"__metadata__":{"yolox":"{\\"checksum\\": 0, \\"header\\": \\"[]\\"}"}}'),
    "infinite number": _safetensors(b'{"__metadata__":{"yolox":"{\\"checksum\\": 1e999, \\"header\\": \\"{}\\"}"}}'),
}


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
    header = b'{"a":{"dtype":"F32","shape":[17179869184],"data_offsets":[0,68719476736]}}'
    files["claim.safetensors"] = tmp_path / "claim.safetensors"
    files["claim.safetensors"].write_bytes(_safetensors(header, bytes(16)))
    command = [sys.executable, "-c", BOMB, *map(str, files.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("refused") == len(files), done.stdout + done.stderr
