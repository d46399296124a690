"""A folder with a web page that runs an exported detector in the browser, by ONNX Runtime Web.

The page is `web_page/`: index.html, app.js (what the user does) and yolox.js (letterbox, pixels and NMS as plain functions).
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path

import attrs
import pooch

from yolox.errors import ExportError, WeightsError
from yolox.export.metadata import ExportMetadata
from yolox.weights.download import Downloader, DownloadPolicy, Progress
from yolox.weights.hub import cache_folder

VERSION = "1.30.0"
ARCHIVE = f"onnxruntime-web-{VERSION}.tgz"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
REGISTRY = "https://registry.npmjs.org"
REGISTRY_VARIABLE = "npm_config_registry"
"""Variable of npm itself with the address of another registry."""
RUNTIME_FILES = {"ort.js": "ort.wasm.bundle.min.mjs", "ort.wasm": "ort-wasm-simd-threaded.wasm"}
"""Name in the written folder to name in `dist/` of the package: the smallest build, without WebGL and WebGPU. Static servers
know the type of .js, not all of them that of .mjs."""
PAGE = Path(__file__).with_name("web_page")
MODEL, METADATA = "model.onnx", "model.json"
MAX_RUNTIME_BYTES = 64 << 20


def fetch_web_runtime(
    *, folder: str | os.PathLike | None = None, policy: DownloadPolicy | None = None, on_progress: Progress | None = None
) -> Path:
    """Returns the npm package of ONNX Runtime Web, downloaded the first time; its SHA-256 is pinned.

    The registry is that of the variable `npm_config_registry`, as for npm, else the public one.

    Args:
        folder: where the file is kept; None takes the cache folder of downloaded weights.
        policy: limits of the download.
        on_progress: called with the bytes that are there and the bytes of the file.

    Returns:
        `onnxruntime-web-VERSION.tgz`, 33 MB.

    Raises:
        ExportError: the download fails, or another file came.
    """
    folder = cache_folder() if folder is None else Path(folder)
    registry = os.environ.get(REGISTRY_VARIABLE) or REGISTRY
    url = f"{registry.rstrip('/')}/onnxruntime-web/-/{ARCHIVE}"
    policy = policy or DownloadPolicy(max_bytes=MAX_RUNTIME_BYTES, attempts=2)
    try:
        return Path(pooch.retrieve(url, SHA256, ARCHIVE, folder, downloader=Downloader(policy, on_progress=on_progress)))
    except (WeightsError, ValueError, OSError) as error:  # ValueError is pooch's for another hash
        raise ExportError(
            f"ONNX Runtime Web cannot be downloaded ({error}). On a machine with a network: npm pack onnxruntime-web@{VERSION}; "
            "then give the file as `web_runtime`"
        ) from None


def read_web_runtime(path: str | os.PathLike) -> dict[str, bytes]:
    """Reads the files of ONNX Runtime Web that the page needs.

    Args:
        path: the archive that `fetch_web_runtime` or `npm pack onnxruntime-web` wrote, or the folder of the installed or
            unpacked package. Versions from 1.20 on have these files; that of `VERSION` is tested.

    Returns:
        `ort.js` and `ort.wasm`.

    Raises:
        ExportError: there is no such file or folder, or it has not these files.
    """
    path = Path(path)
    if not path.exists():
        raise ExportError(f"{path}: no such file or folder; want the npm package onnxruntime-web")
    try:
        found = _files_of_folder(path) if path.is_dir() else _files_of_archive(path)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ExportError(f"{path}: cannot be read as the npm package onnxruntime-web ({error})") from None
    missing = [source for name, source in RUNTIME_FILES.items() if name not in found]
    if missing:
        raise ExportError(f"{path}: has no dist/{missing[0]}; want the npm package onnxruntime-web, version {VERSION}")
    return found


def _files_of_folder(folder: Path) -> dict[str, bytes]:
    root = next((each for each in (folder / "dist", folder / "package/dist") if each.is_dir()), folder)
    return {name: (root / source).read_bytes() for name, source in RUNTIME_FILES.items() if (root / source).is_file()}


def _files_of_archive(path: Path) -> dict[str, bytes]:
    wanted, found = {f"package/dist/{source}": name for name, source in RUNTIME_FILES.items()}, {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if member.isfile() and member.name in wanted and member.size <= MAX_RUNTIME_BYTES:
                found[wanted[member.name]] = archive.extractfile(member).read()
    return found


def write_web(model: Path, folder: Path, metadata: ExportMetadata, *, runtime: dict[str, bytes]) -> None:
    """Writes the folder: the page, the runtime, the model, and its metadata as `model.json`.

    Args:
        model: an ONNX file for one image, decoded and without NMS; it is moved into the folder.
        folder: is made.
        metadata: of the model.
        runtime: from `read_web_runtime`.
    """
    shutil.copytree(PAGE, folder, ignore=lambda _, names: [name for name in names if name.startswith("__")])
    for name, content in runtime.items():
        (folder / name).write_bytes(content)
    (folder / METADATA).write_text(json.dumps(attrs.asdict(metadata), indent=1) + "\n")
    model.rename(folder / MODEL)


def check_web_folder(folder: Path) -> None:
    """Raises ExportError where a folder has files that an export would mix with its own.

    Args:
        folder: the output; need not exist. One that an export wrote before is replaced.

    Raises:
        ExportError: it is a file, or a folder with other files.
    """
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder}: is a file; a web page is a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / METADATA).is_file():
        raise ExportError(f"{folder}: has other files; want a folder that is new, empty, or of an earlier export")
