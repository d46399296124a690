"""Mutations of valid files: of bytes, of the texts and structures their formats, and of what the file system has in their place.

Every function takes a `random.Random`, so that a number gives the same file again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from yolox.wire import BYTES, FIXED32, FIXED64, WireReader

PLACES = ("\x1b[31m", "[b]x[/b]", "../../x", "/etc/passwd", "\0", "\ud800", "é" * 300, "x" * 100_000)
NASTY = (None, True, -1, 0, 1, 1e308, -1e308, 10**30, 2**31, 2**63, 1 << 5000, float("nan"), float("inf"), [], {}, "", *PLACES)
SIZES = (0, 1, 2, 255, 256, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def tokens(canary: str) -> list[bytes]:
    """Returns fragments that harm careless readers; some run a command that makes the file `canary`."""
    touch = f"touch {canary}"
    return [
        b"NaN", b"-1", b"1e999", b"9" * 30, b"9" * 5000, b"null", b"[]", b"{}", b'"', b"\0" * 100, b"\xff\xfe", b"../", b"%s%n",
        b"[" * 3000, b'{"a":' * 3000, b"<a>" * 3000, b"&a [*a, *a]", b"\x1b[2J\x1b]0;x\x07", b"[b]x[/b]", b"\n" * 1000, b",",
        b":",
        b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR.", b"!!python/object/apply:os.system ['" + touch.encode() + b"']\n",
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd"><!ENTITY c "&b;&b;">]>', b"&b;&c;", b"acTL", b"\xff\xda",
        b"\xff\xc2",
        f"REF::PyExecute __import__('os').system('{touch}')".encode(), b"Custom", b"Loop", b"Scan", b"concat:/etc/passwd|",
        f"file://{canary}\n".encode(), b"/dev/zero\n", b"https://127.0.0.1:1/x\n", b"rtsp://127.0.0.1:1/x\n", b"\xd2\xbb.jpg\n",
    ]  # fmt: skip


def mutate_bytes(data: bytes, rng: random.Random, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Changes, removes, repeats or inserts some bytes, cuts the end, or takes a block of another file."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 12))):
        place, length = rng.randrange(len(out) + 1), rng.choice((1, 2, 4, 8, 12, 64, 1000))
        kind = rng.randrange(8)
        if kind == 0 and place < len(out):
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[place : place + length]
        elif kind == 2:
            out[place:place] = out[place : place + length] * rng.choice((1, 2, 50, 2000))
        elif kind == 3:
            out[place : place + rng.choice((0, length))] = rng.choice(words)
        elif kind == 4:
            change_number(out, rng)
        elif kind == 5 and rng.random() < 0.3:
            del out[place:]
        elif kind == 6:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            out[place : place + length] = other[start : start + rng.choice((length, 4096))]
        elif kind == 7:
            out[place : place + length] = bytes(min(length, len(out) - place))
        del out[1 << 22 :]
    return bytes(out)


def change_number(out: bytearray, rng: random.Random) -> None:
    """Replaces what may be a length or an offset, a number smaller than the file, by another."""
    form, bound = rng.choice(("<I", ">I", "<H", ">H", "<Q")), len(out)
    for _ in range(64):
        place = rng.randrange(max(bound - 8, 1))
        if place + 8 > bound:
            return
        number = struct.unpack_from(form, out, place)[0]
        if 0 < number <= bound:
            new = rng.choice((*SIZES, number + 1, number - 1, 2 * number, bound, bound - 1))
            struct.pack_into(form, out, place, new & (1 << 8 * struct.calcsize(form)) - 1)
            return


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Replaces, removes, repeats or nests a value somewhere in a JSON text."""
    root = [json.loads(data)]
    for _ in range(rng.choice((1, 1, 2, 5))):
        holder, key = root, 0
        while isinstance(holder[key], dict | list) and holder[key] and (holder is root or rng.random() < 0.85):
            holder = holder[key]
            key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
        kind = rng.randrange(6)
        if kind < 3:
            holder[key] = rng.choice(NASTY)
        elif kind == 3 and holder is not root:
            del holder[key]
        elif kind == 4 and isinstance(holder, list):
            holder += [holder[key]] * rng.choice((1, 100))
        elif isinstance(holder, dict):
            holder[rng.choice(PLACES)] = holder[key]
        if not root[0]:
            break
    with contextlib.suppress(ValueError):  # a number of more digits than Python prints
        return json.dumps(root[0]).encode()
    return data[: rng.randrange(len(data))]


def mutate_zip(data: bytes, rng: random.Random, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Changes an entry of an archive and packs it again with right checksums, or changes its names, methods and copies."""
    memory, source = io.BytesIO(), zipfile.ZipFile(io.BytesIO(data))
    entries = [(entry.filename, source.read(entry)) for entry in source.infolist()]
    number = rng.randrange(len(entries))
    name, content = entries[number]
    kind = rng.randrange(6)
    if kind < 4:
        entries[number] = name, mutate_bytes(content, rng, others, words)
    elif kind == 4:
        entries[number] = rng.choice((f"../{name}", name + "x", "/" + name, "a" * 60_000)), content
    else:
        entries.append((name, content[: rng.randrange(len(content) + 1)]))
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(memory, "w", method) as target, contextlib.suppress(ValueError):
        for each in entries:
            target.writestr(*each)
    return memory.getvalue()


def mutate_png(data: bytes, rng: random.Random, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Changes a chunk of a PNG and gives it its checksum, or repeats chunks, or changes their kind."""
    chunks, place = [], 8
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    number = rng.randrange(len(chunks))
    name, content = chunks[number]
    kind = rng.randrange(5)
    if kind < 3:
        chunks[number] = name, mutate_bytes(content, rng, others, words)
    elif kind == 3:
        chunks[number:number] = [(name, content)] * rng.choice((1, 10, 3000))
    else:
        chunks[number:number] = [(rng.choice((b"acTL", b"fcTL", b"fdAT", b"eXIf", b"iCCP", b"zTXt", b"PLTE", b"tRNS")), content)]
    parts = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    return data[:8] + b"".join(parts)


def mutate_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Changes the header of a safetensors file and writes its length anew."""
    (length,) = struct.unpack_from("<Q", data)
    header = mutate_json(data[8 : 8 + length], rng)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def mutate_message(data: bytes, rng: random.Random, others: Sequence[bytes], words: Sequence[bytes], depth: int = 0) -> bytes:
    """Changes a field of a protocol buffer, or of a message within, and writes the lengths around it anew."""
    try:
        fields = list(WireReader(most=100_000).typed_fields(memoryview(data)))
        assert fields
    except Exception:
        return mutate_bytes(data, rng, others, words)
    number, kind = rng.randrange(len(fields)), rng.randrange(10)
    key, form, value = fields[number]
    if form == BYTES and depth < 8 and kind < 7:
        fields[number] = key, form, mutate_message(bytes(value), rng, others, words, depth + 1)
    elif kind == 7:
        fields[number:number] = [fields[number]] * rng.choice((1, 3, 2000))
    elif kind == 8:
        del fields[number]
    elif form == BYTES:
        fields[number] = key, form, rng.choice((*words, bytes(value) * 2))
    elif form in (FIXED32, FIXED64):
        fields[number] = key, form, rng.randbytes(len(value))
    else:
        fields[number] = key, form, rng.choice((*SIZES, 1 << 40, (1 << 64) - 1, value + 1))
    return b"".join(encode_field(*field) for field in fields)


def encode_field(number: int, form: int, value) -> bytes:
    """Returns a field in the wire format of protocol buffers."""
    head = encode_varint(number << 3 | form)
    if form == BYTES:
        return head + encode_varint(len(value)) + bytes(value)
    return head + (bytes(value) if form in (FIXED32, FIXED64) else encode_varint(value & (1 << 64) - 1))


def encode_varint(number: int) -> bytes:
    """Returns an unsigned integer with seven bits in each byte."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def mutate(data: bytes, suffix: str, rng: random.Random, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Changes a file with what knows its format, or, as often, its bytes alone.

    Args:
        data: of a valid file.
        suffix: of its name.
        rng: random numbers.
        others: other files, whose parts it may get.
        words: from `tokens`.

    Returns:
        The bytes of the new file.
    """
    aware = rng.random() < 0.5
    if aware and suffix in (".pth", ".npz"):
        return mutate_zip(data, rng, others, words)
    if aware and suffix == ".png":
        return mutate_png(data, rng, others, words)
    if aware and suffix == ".json":
        return mutate_json(data, rng)
    if aware and suffix == ".safetensors":
        return mutate_safetensors(data, rng)
    if aware and suffix in (".onnx", ".mindir", ".ckpt"):
        return mutate_message(data, rng, others, words)
    return mutate_bytes(data, rng, others, words)


SPECIAL = ("pipe", "link to a pipe", "device", "folder", "link to itself", "sparse", "sparse tail", "hole", "empty", "missing")


def replace_by_special(path: Path, kind: str) -> None:
    """Replaces a file by a pipe, a device, a folder, a link, a sparse file, or nothing.

    Args:
        path: of a regular file.
        kind: one of `SPECIAL`.
    """
    data = path.read_bytes()
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(path.with_name("pipe"))
        path.symlink_to("pipe")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "link to itself":
        path.symlink_to(path.name)
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind != "missing":
        with open(path, "wb") as file:
            file.write(data if kind == "sparse tail" else data[: len(data) // 2] if kind == "hole" else b"")
            file.truncate(len(data) + (4 << 30) if kind == "hole" else 1 << 40)
            if kind == "hole":
                file.seek(0, os.SEEK_END)
                file.write(data[len(data) // 2 :])
