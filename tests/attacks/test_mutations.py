"""Random mutations of small files: every reader takes the file or refuses it with an error of this library, and in time."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.attacks.mutations import mutate as mutate_file
from tests.attacks.mutations import tokens
from yolox.config import Recipe
from yolox.config_io import recipe_from_json, recipe_to_json
from yolox.data.coco import read_coco
from yolox.data.header import read_header
from yolox.data.voc import read_voc
from yolox.data.yolo import read_yolo
from yolox.data.yolo_layout import read_class_names
from yolox.errors import CheckpointError, DataError, RecipeError, WeightsError
from yolox.training.checkpoint import load_checkpoint, save_checkpoint
from yolox.weights.load import read_weights

ROOT = Path(__file__).resolve().parents[2]
REFUSALS = (DataError, WeightsError, CheckpointError, RecipeError)
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0}],
    "categories": [{"id": 1, "name": "cat"}],
}
XML = (
    b"<annotation><filename>a.png</filename><size><width>8</width><height>8</height><depth>3</depth></size><object>"
    b"<name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox>"
    b"</object></annotation>"
)
TOKENS = [
    b"NaN", b"-1", b"1e999", b"9" * 30, b"null", b"[]", b"{}", b'"', b"\0", b"\xff\xfe", b"../", b"[" * 300, b"&a", b"*a", b"<",
]  # fmt: skip
NUMBERS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Changes, removes, repeats or inserts a few bytes, or cuts the end."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place, length = rng.randrange(len(out) + 1), rng.randint(1, 12)
        kind = rng.randrange(6)
        if kind == 0 and place < len(out):
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[place : place + length] = b""
        elif kind == 2:
            out[place:place] = out[place : place + length] * rng.randint(1, 50)
        elif kind == 3:
            out[place : place + rng.choice((0, length))] = rng.choice(TOKENS)
        elif kind == 4:
            out[place : place + 4] = rng.choice(NUMBERS).to_bytes(4, rng.choice(("big", "little")))
        elif len(out) > 1 and rng.random() < 0.2:
            del out[place:]
    return bytes(out)


def pictures(folder, name="a.png"):
    (folder / "images").mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "images" / name), np.zeros((8, 8, 3), np.uint8))
    return str(folder / "images")


def seed_npz(path):
    np.savez_compressed(path, a=np.arange(12, dtype=np.float32).reshape(3, 4), b=np.ones(2))


def seed_own(path):
    save_checkpoint(path, {"params.w": np.ones((2, 3), np.float32)}, recipe=Recipe(), class_names=["cat"])


def seed_jpeg(path):
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())


def seed_png(path):
    path.write_bytes(cv2.imencode(".png", np.zeros((16, 16, 3), np.uint8))[1].tobytes())


CASES = {  # suffix, what writes a valid file, what reads it given its path
    "coco": (".json", lambda path: path.write_text(json.dumps(COCO)), lambda path: read_coco(str(path), pictures(path.parent))),
    "voc": ("/x.xml", lambda path: path.write_bytes(XML), lambda path: read_voc(str(path.parent), pictures(path.parent.parent))),
    "yolo": (
        "/a.txt",
        lambda path: path.write_text("0 0.5 0.5 0.25 0.25\n1 0.1 0.2 0.1 0.1\n"),
        lambda path: read_yolo(str(path.parent), pictures(path.parent.parent), class_names=("cat", "dog")),
    ),
    "yaml": (
        ".yaml",
        lambda path: path.write_text("path: .\ntrain: images\nval: images\nnc: 2\nnames: [cat, 'dog']\n"),
        lambda path: read_class_names(str(path)),
    ),
    "recipe": (
        ".json",
        lambda path: path.write_text(recipe_to_json(Recipe())),
        lambda path: recipe_from_json(path.read_bytes().decode("latin-1")),
    ),
    "npz": (".npz", seed_npz, read_weights),
    "checkpoint": (".safetensors", seed_own, load_checkpoint),
    "weights": (".safetensors", seed_own, read_weights),
    "jpeg header": (".jpg", seed_jpeg, lambda path: read_header(str(path))),
    "png header": (".png", seed_png, lambda path: read_header(str(path))),
}


def attack(folder, case: str, *, seconds: float, most: int, seed: int) -> int:
    """Reads mutations of a valid file and of accepted mutations; returns how many were accepted."""
    suffix, write, read = CASES[case]
    path = folder / f"f{suffix}"
    path.parent.mkdir(exist_ok=True)
    write(path)
    read(path)
    rng, pool, accepted, end = random.Random(seed), [path.read_bytes()], 0, time.monotonic() + seconds
    for _ in range(most):
        if time.monotonic() > end:
            break
        data = mutate(rng.choice(pool), rng)[: 1 << 20]
        path.write_bytes(data)
        begun = time.monotonic()
        try:
            read(path)
            accepted += 1
            pool = [*pool[-50:], data] if len(data) < 1 << 14 else pool
        except REFUSALS as error:
            assert len(str(error)) < 20_000
        except Exception as error:
            raise AssertionError(f"{case}: {type(error).__name__}: {error} of {data[:2000]!r}") from error
        assert time.monotonic() - begun < 20
    return accepted


@pytest.mark.parametrize("case", CASES)
def test_mutations_are_read_or_refused(tmp_path, case):
    attack(tmp_path, case, seconds=0.5, most=150, seed=1)


@pytest.mark.slow
def test_mutations_of_every_kind_of_file_harm_nothing(tmp_path):
    """In a process of its own: it forks, and MindSpore's threads would not survive that."""
    from tests.attacks.mutate import KINDS

    command = [sys.executable, "-m", "tests.attacks.mutate", "--seconds", "80", "--seed", "1", "--keep", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=300, check=False)
    counts = {kind: int(files) for kind, files in re.findall(r"^(\w+) +files +(\d+)", done.stdout, re.MULTILINE)}
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert len(counts) == len(KINDS) and all(counts.values()), counts
    print(done.stdout)


def test_a_mutation_is_the_same_again_and_differs_from_the_file(tmp_path):
    data = {".json": json.dumps(COCO).encode(), ".png": (tmp_path / pictures(tmp_path) / "a.png").read_bytes()}
    for suffix, content in data.items():
        one, other = (
            [mutate_file(content, suffix, random.Random(f"{n}"), [content], tokens("c")) for n in range(30)] for _ in "ab"
        )
        assert one == other and len(set(one)) > 20 and content not in one[:3]
