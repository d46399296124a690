"""Files that mean harm: pickles that call something, archives and headers that claim what is not there."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile

import numpy as np

from tests.weights.torch_files import Call, pickled, tensor


class _Reduce:
    """An object whose pickle calls a function of our choice."""

    def __init__(self, function, *arguments):
        self.parts = (function, arguments)

    def __reduce__(self):
        return self.parts


def pickles_that_run(touch: str, code: str) -> dict[str, bytes]:
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


def longer_than_it_is(data: bytes, name: str, size: int) -> bytes:
    """Returns an archive whose entry `name` declares `size` bytes, everywhere, and holds as many as before."""
    encoded = name.encode()
    local, central = data.index(encoded) - 30, data.rindex(encoded) - 46
    data = data[: local + 22] + struct.pack("<I", size) + data[local + 26 :]
    return data[: central + 24] + struct.pack("<I", size) + data[central + 28 :]


def archives_that_hold_less() -> dict[str, bytes]:
    """Archives with entries of another length than they declare, and shapes that believe the declaration."""
    beyond = {"model": {"w": tensor("Float", "0", 1024, (1024,), (1,))}}
    torch = _zip({"archive/data.pkl": pickled(beyond), "archive/data/0": bytes(16)})
    numbers = io.BytesIO()
    np.lib.format.write_array(numbers, np.zeros(4, np.float32))
    array = numbers.getvalue().replace(b"(4,)", b"(9,)")
    return {
        "storage of 16 bytes that declares 4096": longer_than_it_is(torch, "archive/data/0", 4096),
        "array of 16 bytes that declares 36": longer_than_it_is(_zip({"a.npy": array}), "a.npy", len(array) + 20),
        "deflated array that declares less": longer_than_it_is(
            _zip({"a.npy": array + bytes(1 << 20)}, zipfile.ZIP_DEFLATED), "a.npy", len(array) + 20
        ),
        "bzip2 array": _zip({"a.npy": array.replace(b"(9,)", b"(4,)")}, zipfile.ZIP_BZIP2),
        "lzma array": _zip({"a.npy": array.replace(b"(9,)", b"(4,)")}, zipfile.ZIP_LZMA),
    }


def hostile_archives() -> dict[str, bytes]:
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


def safetensors_of(header: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + body


HEADERS = {
    "length beyond the file": safetensors_of(b"{}", length=2**31),
    "enormous length": safetensors_of(b"{}", length=2**63),
    "all ones": b"\xff" * 64,
    "not JSON": safetensors_of(b"{'a': 1}"),
    "nested": safetensors_of(b'{"a":' * 2000 + b"1" + b"}" * 2000),
    "offsets beyond": safetensors_of(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', bytes(8)),
    "offsets backwards": safetensors_of(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}', bytes(8)),
    "shape too large": safetensors_of(b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}', bytes(4)),
    "overlap": safetensors_of(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
    ),
    "unknown type": safetensors_of(b'{"a":{"dtype":"Q8","shape":[1],"data_offsets":[0,1]}}', bytes(1)),
    "negative shape": safetensors_of(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', bytes(4)),
    "metadata no text": safetensors_of(b'{"__metadata__":{"yolox":3}}'),
    "metadata no JSON": safetensors_of(b'{"__metadata__":{"yolox":"{"}}'),
    "metadata deep": safetensors_of(b'{"__metadata__":{"yolox":"' + b"[" * 100_000 + b'"}}'),
    "header a list": safetensors_of(b'{"__metadata__":{"yolox":"{\\"checksum\\": 0, \\"header\\": \\"[]\\"}"}}'),
    "infinite number": safetensors_of(b'{"__metadata__":{"yolox":"{\\"checksum\\": 1e999, \\"header\\": \\"{}\\"}"}}'),
}
