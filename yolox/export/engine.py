"""Choice of the runtime that computes a detector's predictions on CPU, and the cache of exports that it reads."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import attrs
import mindspore as ms
from attrs import frozen
from mindspore import nn

from yolox.config import InputSpec
from yolox.environment import cache_folder
from yolox.errors import ExportError, WeightsError
from yolox.export.metadata import ExportMetadata
from yolox.export.runner import MAX_FILE_BYTES, ExportedDetector, open_onnx_bytes
from yolox.export.write import export_detector
from yolox.wire import read_file

Engine = Literal["auto", "mindspore", "onnxruntime", "openvino"]
TITLES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "mindspore": "MindSpore"}
WORTH_AN_EXPORT = 16
"""Images from which `auto` exports weights that are not in the cache: an export takes some seconds."""
KEPT = 16
"""Exports in the cache; the least recently used ones are deleted."""

log = logging.getLogger("yolox.engine")


@frozen(kw_only=True)
class EngineChoice:
    """A detector and the runtime that computes it."""

    detector: nn.Cell | ExportedDetector
    """The detector itself for MindSpore, else its export, opened in the runtime."""
    engine: str
    """Name of the runtime; empty for an exported file, whose form decides."""
    reason: str
    """Why it was taken, or from where the export comes."""

    def __str__(self) -> str:
        return f"{TITLES[self.engine]} ({self.reason})" if self.engine else self.reason


def choose_engine(
    detector: nn.Cell | Callable,
    engine: Engine = "auto",
    *,
    spec: InputSpec,
    class_names: Sequence[str] | None = None,
    images: int = 0,
    folder: str | os.PathLike | None = None,
) -> EngineChoice:
    """Returns a detector in the runtime that is to compute it.

    The weights are exported to ONNX for one image at a time, compared with the detector (`export_detector`), and kept in the
    user's cache under a hash of weights, layers and pixels. Call it for weights that stay as they are: training evaluates in
    MindSpore, because its weights change.

    Args:
        detector: Cell with its weights; an exported file is returned as it is.
        engine: "auto" takes ONNX Runtime, else OpenVINO, where it is installed and the export is in the cache or `images`
            are worth one (`WORTH_AN_EXPORT`); else MindSpore. Both runtimes take the same time within the scatter of
            measurements, and ONNX Runtime opens a file in a quarter of it. A name takes that one.
        spec: pixels that the detector takes.
        class_names: names of its classes; None numbers them.
        images: images that will be predicted, as far as that is known.
        folder: cache; None takes `engines` in `cache_folder`.

    Returns:
        The choice: detector, engine and reason.

    Raises:
        ExportError: the named engine is not installed or cannot run the detector.
        ValueError: there is no such engine, or one is named for an exported file, whose form decides.
    """
    if engine not in get_args(Engine):
        raise ValueError(f"`engine` is {engine!r}, want one of {', '.join(get_args(Engine))}")
    if not isinstance(detector, nn.Cell):
        if engine != "auto":
            raise ValueError(f"`engine` is {engine!r}, but the form of an exported file decides which runtime reads it")
        return EngineChoice(detector=detector, engine="", reason="an exported file")
    reason = _why_not(detector) if engine == "auto" else "as asked"
    if engine == "mindspore" or (engine == "auto" and reason):
        return EngineChoice(detector=detector, engine="mindspore", reason=reason)
    name = _installed()[0] if engine == "auto" else engine
    cache = Path(folder) if folder is not None else cache_folder() / "engines"
    names = class_names or [str(number) for number in range(detector.num_classes)]
    wanted = ExportMetadata(class_names=tuple(names), input=spec, strides=tuple(detector.strides))
    key = cache_key(detector, wanted)
    can_open = find_spec(name) is not None  # else the file would be taken for a damaged one
    found = _open_cached(cache, key, wanted, name) if can_open and not _own_layer(detector) else None
    if found is not None:
        return EngineChoice(detector=found, engine=name, reason=f"export of these weights in {cache}")
    if engine == "auto" and images < WORTH_AN_EXPORT:
        reason = f"no export of these weights yet; `engine` {name} makes one, and so do {WORTH_AN_EXPORT} images or more"
        return EngineChoice(detector=detector, engine="mindspore", reason=reason)
    try:
        return EngineChoice(detector=_export(detector, cache, key, wanted, name), engine=name, reason=f"exported to {cache}")
    except (ExportError, OSError) as error:
        if engine != "auto":
            raise error if isinstance(error, ExportError) else ExportError(f"{cache}: {error.strerror or error}") from error
        return EngineChoice(detector=detector, engine="mindspore", reason=f"the export failed: {error}")


def cache_key(detector: nn.Cell, metadata: ExportMetadata) -> str:
    """Returns a hash of all that an export depends on: values and layers of a detector, pixels, names, and the library.

    Args:
        detector: Cell; layers count with their types and plain attributes.
        metadata: of the export.

    Returns:
        32 hex digits.
    """
    base = vars(nn.Cell()).keys()
    digest = hashlib.sha256(json.dumps([attrs.asdict(metadata), ms.__version__, _sources()]).encode())
    for name, cell in detector.cells_and_names():
        own = {key: value for key, value in vars(cell).items() if key[:1] != "_" and key not in base}
        plain = {key: value for key, value in own.items() if isinstance(value, (int, float, str, tuple))}
        digest.update(repr((name, _type_name(cell), sorted(plain.items()))).encode())
    for parameter in sorted(detector.get_parameters(), key=lambda each: each.name):
        values = parameter.asnumpy()
        digest.update(f"{parameter.name} {values.dtype} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()[:32]


def _sources() -> str:
    """Returns a hash of the modules that layers and exports are made by: a checkout changes between versions."""
    root = Path(__file__).resolve().parents[1]
    files = sorted([root / "decode.py", *(root / "nn").glob("*.py"), *(root / "export").glob("*.py")])
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files if file.is_file())).hexdigest()


def _type_name(cell: nn.Cell) -> str:
    return f"{type(cell).__module__}.{type(cell).__qualname__}"


def _installed() -> list[str]:
    runtimes = [name for name in ("onnxruntime", "openvino") if find_spec(name)]
    return runtimes if find_spec("onnx") else []  # which writes the file


def _why_not(detector: nn.Cell) -> str:
    """Returns why `auto` cannot leave MindSpore; empty if it can."""
    if ms.get_context("device_target") != "CPU":
        return f"the device is {ms.get_context('device_target')}"
    if own := _own_layer(detector):
        return f"{own} is a layer of your own, whose export may fail"
    return "" if _installed() else "neither ONNX Runtime nor OpenVINO is installed beside onnx"


def _own_layer(detector: nn.Cell) -> str:
    """Returns the name of a layer of another package, whose code is in no hash: its export is made anew by each process."""
    names = (_type_name(cell) for _, cell in detector.cells_and_names())
    return next((name for name in names if not name.startswith(("yolox.", "mindspore."))), "")


def _open_cached(cache: Path, key: str, wanted: ExportMetadata, engine: str) -> ExportedDetector | None:
    """Opens the export of a key. A file that is torn, or of another detector, is deleted."""
    for path in sorted(cache.glob(f"{key}-*.onnx")):
        try:
            data = read_file(path, most=MAX_FILE_BYTES)
            if path.name != _file_name(key, data):
                raise ExportError("its content has another hash than its name")
            found = open_onnx_bytes(data, path=path, engine=engine)
            if found.metadata != wanted or found.batch != 1:
                raise ExportError("it describes another detector")
            path.touch()  # used last
            return found
        except (ExportError, WeightsError, OSError) as error:
            log.warning("%s cannot be used and is made anew: %s", path, error)
            path.unlink(missing_ok=True)
    return None


def _file_name(key: str, data: bytes) -> str:
    return f"{key}-{hashlib.sha256(data).hexdigest()[:32]}.onnx"


def _export(detector: nn.Cell, cache: Path, key: str, wanted: ExportMetadata, engine: str) -> ExportedDetector:
    """Exports a detector into the cache. Each process writes a folder of its own and renames the file at the end."""
    if engine not in _installed():
        raise ExportError(f"needs {TITLES[engine]}: pip install -c constraints.txt -e '.[{_EXTRAS[engine]}]' in the repository")
    log.info("exporting the detector for %s, once for these weights", TITLES[engine])
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        draft = Path(folder) / "draft.onnx"
        export_detector(detector, draft, spec=wanted.input, class_names=wanted.class_names)
        data = draft.read_bytes()
        path = cache / _file_name(key, data)
        os.replace(draft, path)
    for old in sorted(cache.glob("*.onnx"), key=_last_use)[:-KEPT]:
        old.unlink(missing_ok=True)
    return open_onnx_bytes(data, path=path, engine=engine)


_EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino"}


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has deleted it
        return 0.0
