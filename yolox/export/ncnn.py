"""Detectors as ncnn files, a `.ncnn.param` with `.ncnn.bin` and `.ncnn.json` beside it: converted from ONNX by pnnx, and run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from yolox.environment import import_extra
from yolox.errors import ExportError

ENDING = ".ncnn.param"
MAX_SECONDS = 600


def find_pnnx() -> Path:
    """Finds the program of the package pnnx; importing the package would need PyTorch, which the program does not.

    Returns:
        Its path.

    Raises:
        ExportError: it is not installed.
    """
    spec = importlib.util.find_spec("pnnx")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    found = [path for path in (folder / "pnnx", folder / "bin/pnnx") if spec is not None and path.is_file()]
    if not found:
        raise ExportError("needs the program of the package pnnx: pip install --no-deps pnnx")
    return found[0]


def files_of_ncnn(path: Path) -> list[Path]:
    """Names the files of a detector.

    Args:
        path: the `.ncnn.param`.

    Returns:
        Paths that end in `.ncnn.bin`, `.ncnn.json` and `.ncnn.param`.

    Example:
        >>> [file.name for file in files_of_ncnn(Path("a.ncnn.param"))]
        ['a.ncnn.bin', 'a.ncnn.json', 'a.ncnn.param']
    """
    return [path.with_suffix(".bin"), path.with_suffix(".json"), path]


def write_ncnn(source: Path, path: Path, *, shape: tuple[int, ...], text: Mapping[str, str], half: bool) -> None:
    """Converts an exported ONNX file.

    Args:
        source: the ONNX file, in the folder of `path` and of its name, `NAME.onnx` for `NAME.ncnn.param`.
        path: the `.ncnn.param`.
        shape: of the input.
        text: entries of the metadata, for the `.ncnn.json`.
        half: whether weights are stored in float16.

    Raises:
        ExportError: pnnx is missing, or fails.
    """
    program = find_pnnx()
    program.chmod(program.stat().st_mode | 0o100)  # the wheel does not mark it
    sizes = ",".join(map(str, shape))
    command = [str(program), source.name, f"inputshape=[{sizes}]", f"fp16={int(half)}"]
    try:
        done = subprocess.run(command, cwd=source.parent, capture_output=True, text=True, errors="replace", timeout=MAX_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExportError(f"pnnx cannot convert it ({error})") from None
    if done.returncode or not path.is_file():
        last = ([line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()] or ["no output"])[-1]
        raise ExportError(f"pnnx cannot convert it (exit status {done.returncode}: {last[:200]})")
    path.with_suffix(".json").write_text(json.dumps(dict(text), indent=1) + "\n")


def open_ncnn(path: Path) -> tuple[dict[str, str], Callable[[np.ndarray], tuple]]:
    """Opens a file in ncnn on the CPU, in float32.

    Args:
        path: the `.ncnn.param`, with its other files beside it. Nothing is checked.

    Returns:
        Entries of the metadata, and a function from planes [1,3,H,W] to outputs.

    Raises:
        ExportError: ncnn is missing, or the files cannot be read.
    """
    ncnn = import_extra("ncnn", "runtimes")
    weights, metadata, _ = files_of_ncnn(path)
    net = ncnn.Net()
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    if net.load_param(str(path)) or net.load_model(str(weights)):
        raise ExportError(f"{path}: ncnn cannot load it")

    def run(planes: np.ndarray) -> tuple:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(planes[0]).clone())  # a Mat does not keep its array alive
        status, answer = extractor.extract("out0")
        if status:
            raise ExportError(f"{path}: ncnn cannot run it (status {status})")
        return (np.array(answer)[None],)

    try:
        return json.loads(metadata.read_text()), run
    except (OSError, ValueError) as error:
        raise ExportError(f"{metadata}: cannot be read ({error})") from None
