"""Coverage-guided fuzzing of the readers of this library, with atheris (libFuzzer).

    pip install atheris
    python -m tests.attacks.fuzz pickle -max_total_time=3600
    python -m tests.attacks.fuzz all -max_total_time=6

Options are those of libFuzzer. A folder after the target keeps the inputs that reached new code, and begins the next call. An
input that raises anything but an error of this library, takes more than 20 seconds or 3 GB, or gives numbers that the file does
not hold, ends the fuzzer with a traceback and is written to the present folder.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

OWN = ["yolox.weights", "yolox.wire", "yolox.export", "yolox.data", "yolox.config_io"]
LIMITS = ["-timeout=20", "-rss_limit_mb=3072", "-max_len=131072", "-print_final_stats=1"]

if __name__ == "__main__":  # before the modules that it is to follow
    import atheris

    _followed = partial(atheris.instrument_imports, include=OWN, enable_loader_override=False)
else:
    _followed = contextlib.nullcontext

with _followed():
    from tests.attacks.test_mutations import COCO, XML, pictures
    from tests.cli.tiny import TinyDetector
    from tests.weights.torch_files import pickled, tensor
    from yolox.config import InputSpec, Recipe
    from yolox.config_io import recipe_from_json, recipe_to_json
    from yolox.data.coco import read_coco
    from yolox.data.header import read_header
    from yolox.data.voc import read_voc
    from yolox.data.yolo import read_yolo
    from yolox.data.yolo_layout import read_class_names
    from yolox.errors import CheckpointError, DataError, ExportError, RecipeError, WeightsError
    from yolox.export import export_detector, runner
    from yolox.export.mindir import check_mindir
    from yolox.export.onnx_check import check_onnx
    from yolox.export.openvino import check_openvino
    from yolox.weights.archive import read_npz
    from yolox.weights.ckpt import read_ckpt
    from yolox.weights.pickle_reader import evaluate_pickle
    from yolox.weights.torch_file import read_pdparams, read_pth

REFUSALS = (DataError, WeightsError, CheckpointError, ExportError, RecipeError)
STORAGE = np.arange(1, 17, dtype=np.float32)


class Target(NamedTuple):
    """A reader: the name of its file, valid contents, what reads the file, and what makes the file of the fuzzer's bytes."""

    name: str
    contents: Callable[[], Sequence[bytes]]
    read: Callable[[Path], object]
    file_of: Callable[[bytes], bytes] = bytes


def archive(**entries: bytes) -> bytes:
    """Returns a zip archive; ``a__b`` becomes the entry ``a/b``."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as file:
        for name, data in entries.items():
            file.writestr(name.replace("__", "/").replace("_", "."), data)
    return memory.getvalue()


def torch_file(data: bytes) -> bytes:
    """Returns a file of torch with this pickle and one storage of 16 numbers."""
    return archive(a__data_pkl=data, a__data__0=STORAGE.tobytes())


def read_torch(path: Path) -> None:
    """Reads a file of torch; all bytes that come are of the storage."""
    for array in read_pth(path).values():
        assert not np.setdiff1d(array.reshape(-1).view(np.uint8), STORAGE.view(np.uint8)).size


def npy() -> bytes:
    memory = io.BytesIO()
    np.lib.format.write_array(memory, np.ones((2, 3), np.float32))
    return memory.getvalue()


def exported(suffix: str) -> bytes:
    """Returns an exported detector of seven convolutions."""
    form = "openvino" if suffix == "xml" else suffix
    with tempfile.TemporaryDirectory() as folder:
        path, spec = Path(folder, f"a.{suffix}"), InputSpec(input_size=(64, 64))
        export_detector(TinyDetector(3), path, format=form, spec=spec, class_names=["cat", "dog", "horse"])
        return path.read_bytes()


def ckpt() -> bytes:
    import mindspore

    arrays = {"a.weight": np.ones((2, 3), np.float32), "b": np.ones(2, np.float16)}
    with tempfile.TemporaryDirectory() as folder:
        values = [{"name": name, "data": mindspore.Tensor(array)} for name, array in arrays.items()]
        mindspore.save_checkpoint(values, f"{folder}/a.ckpt")
        return Path(folder, "a.ckpt").read_bytes()


def image(suffix: str, *options: int) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    return cv2.imencode(suffix, pixels, list(options))[1].tobytes()


def images(folder: Path) -> str:
    """Returns a folder of one image, which is made by the first call."""
    return str(folder / "images") if (folder / "images/a.png").exists() else pictures(folder)


def check(check_bytes: Callable) -> Callable[[Path], object]:
    return lambda path: runner._checked(path, check_bytes)


NESTED = {"model": {"w": tensor("Float", "0", 16, (2, 4), (4, 1)), "b": tensor("Float", "0", 16, (3,), (1,), 8)}}
SIMPLE = {"epoch": 3, "state": [1.5, None, True, "text", (1, 2), 1 << 40]}
LABELS = b"0 0.5 0.5 0.25 0.25\n1 0.1 0.2 0.1 0.1\n"
YAML = b"path: .\ntrain: images\nval: [images, more]\nnc: 2\nnames: {0: cat, 1: 'dog'}\n"
TARGETS = {
    "pickle": Target("a", lambda: [pickled(NESTED), pickled(SIMPLE)], lambda path: evaluate_pickle(path.read_bytes())),
    "paddle": Target("a.pdparams", lambda: [pickle.dumps({"w": np.ones(3)}, number) for number in range(2, 5)], read_pdparams),
    "torch": Target("a.pth", lambda: [pickled(NESTED)], read_torch, torch_file),
    "archive": Target("a.pth", lambda: [torch_file(pickled(NESTED))], read_pth),
    "npz": Target("a.npz", lambda: [archive(a_npy=npy())], read_npz),
    "npy": Target("a.npz", lambda: [npy()], read_npz, lambda data: archive(a_npy=data)),
    "ckpt": Target("a.ckpt", lambda: [ckpt()], read_ckpt),
    "mindir": Target("a.mindir", lambda: [exported("mindir")], check(check_mindir)),
    "onnx": Target("a.onnx", lambda: [exported("onnx")], check(check_onnx)),
    "openvino": Target("a.xml", lambda: [exported("xml")], check(partial(check_openvino, weights=bytes(1 << 20)))),
    "coco": Target("a.json", lambda: [str(COCO).replace("'", '"').encode()], lambda a: read_coco(str(a), images(a.parent))),
    "voc": Target("xml/a.xml", lambda: [XML], lambda a: read_voc(str(a.parent), images(a.parent.parent))),
    "yolo": Target(
        "labels/a.txt",
        lambda: [LABELS],
        lambda a: read_yolo(str(a.parent), images(a.parent.parent), class_names=("cat", "dog")),
    ),
    "yaml": Target("a.yaml", lambda: [YAML], lambda path: read_class_names(str(path))),
    "recipe": Target(
        "a", lambda: [recipe_to_json(Recipe()).encode()], lambda path: recipe_from_json(path.read_bytes().decode("latin-1"))
    ),
    "header": Target(
        "a",
        lambda: [image(".jpg"), image(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1), *map(image, (".png", ".bmp", ".tiff", ".webp"))],
        lambda path: read_header(str(path)),
    ),
}


def fuzz(name: str, options: Sequence[str]) -> None:
    """Fuzzes one target; libFuzzer ends the process.

    Args:
        name: of the target.
        options: of libFuzzer, and folders.
    """
    target, folder = TARGETS[name], Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    path, begin = folder / target.name, folder / "begin"
    path.parent.mkdir(exist_ok=True)
    begin.mkdir()
    if not (child := os.fork()):  # threads of MindSpore's compiler would not survive the end of libFuzzer
        for number, content in enumerate(target.contents()):
            (begin / str(number)).write_bytes(content)
        os._exit(0)
    os.waitpid(child, 0)
    for content in begin.iterdir():
        path.write_bytes(target.file_of(content.read_bytes()))
        target.read(path)  # contents that are refused would explore nothing

    def run(data: bytes) -> None:
        path.write_bytes(target.file_of(data))
        with contextlib.suppress(*REFUSALS):
            target.read(path)

    folders = [option for option in options if not option.startswith("-")]
    rest = [option for option in options if option.startswith("-")]
    atheris.Setup([name, *LIMITS, *rest, *folders, str(begin)], run)
    atheris.Fuzz()


def main(name: str, *options: str) -> int:
    """Fuzzes one target, or all one after the other, each in a process that is forked after the imports."""
    status = 0
    for each in TARGETS if name == "all" else [name]:
        print(f"target {each}", file=sys.stderr, flush=True)
        if name != "all":
            fuzz(each, options)
        if not (child := os.fork()):
            fuzz(each, options)
        status |= os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    return int(status)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
