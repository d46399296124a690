"""Checks at import: refuses packages that cannot work together, and selects the fast convolutions on CPU.

On processors with AVX-512, MindSpore 2.9 and 2.10 (oneDNN 3.10) send most convolutions larger than 1x1 through a
reference kernel that is about seventy times slower. Capping oneDNN at AVX2 avoids it. MindSpore 2.7 and 2.8 are not
affected and keep their faster instructions. `yolox.convolutions` measures which setting is fast, and its answer goes before
these rules. A value that the user has set is never changed.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import MutableMapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from yolox.errors import ExportError, UnusableEnvironment

ONEDNN_VARIABLE = "ONEDNN_MAX_CPU_ISA"
DUMPS_VARIABLE = "MS_OM_PATH"
FIRST_SLOW_VERSION = (2, 9)
DEFAULT_SETTING = "DEFAULT"
"""Value of the variable that is oneDNN's own: it uses every instruction of the processor."""
SLOW_SETTING = "slow"
"""What is kept where no value makes convolutions fast."""
MEASURED = "convolutions.json"

_logger = logging.getLogger("yolox")


def parse_version(text: str) -> tuple[int, int]:
    """Returns the first two numbers of a version, to compare releases.

    Args:
        text: a version such as ``"2.10.0"`` or ``"2.9.0rc1"``.

    Returns:
        Major and minor number.

    Raises:
        ValueError: if the text does not start with two numbers.

    Example:
        >>> parse_version("2.10.0rc1")
        (2, 10)
    """
    parts = text.split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        raise ValueError(f"parse_version: got {text!r}, want something like '2.10.0'")
    return int(parts[0]), int(parts[1])


def needs_cap(mindspore_version: str) -> bool:
    """Returns whether this MindSpore has the slow convolutions on AVX-512.

    Args:
        mindspore_version: such as ``2.10.0``.

    Returns:
        True from 2.9 on.

    Example:
        >>> needs_cap("2.8.0"), needs_cap("2.10.0")
        (False, True)
    """
    return parse_version(mindspore_version) >= FIRST_SLOW_VERSION


def use_fast_convolutions(environment: MutableMapping[str, str], mindspore_version: str) -> bool:
    """Caps oneDNN at AVX2 in `environment` where that is fast and the user has set nothing.

    What was measured on this processor decides, else the version of MindSpore.

    Args:
        environment: usually ``os.environ``; changed in place.
        mindspore_version: such as ``"2.10.0"``.

    Returns:
        True if the variable was set by this call.
    """
    if ONEDNN_VARIABLE in environment:
        return False
    measured = known_setting(mindspore_version)
    is_capped = measured == "AVX2" if measured in ("AVX2", DEFAULT_SETTING) else needs_cap(mindspore_version)
    if is_capped:
        environment[ONEDNN_VARIABLE] = "AVX2"
        _logger.info("%s=AVX2 set: MindSpore %s is slow with AVX-512", ONEDNN_VARIABLE, mindspore_version)
    return is_capped


def known_setting(mindspore_version: str) -> str | None:
    """Returns the oneDNN setting that was measured to be fast for a MindSpore on this processor.

    Args:
        mindspore_version: such as ``"2.10.0"``.

    Returns:
        "AVX2", `DEFAULT_SETTING`, or `SLOW_SETTING` where none is; None where nothing readable was kept.
    """
    found = _measured().get(_machine(mindspore_version))
    return found if found in ("AVX2", DEFAULT_SETTING, SLOW_SETTING) else None


def remember_setting(mindspore_version: str, setting: str) -> None:
    """Keeps a measured setting in the cache folder; a folder that cannot be written is left alone.

    Args:
        mindspore_version: that was measured.
        setting: as `known_setting` returns it.
    """
    path, content = cache_folder() / MEASURED, {**_measured(), _machine(mindspore_version): setting}
    own = path.with_name(f"{MEASURED}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(json.dumps(content, indent=1) + "\n")
        own.replace(path)


def _measured() -> dict:
    try:
        content = json.loads((cache_folder() / MEASURED).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _machine(mindspore_version: str) -> str:
    """Returns MindSpore's version and the name of the processor."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), name)
    return f"MindSpore {mindspore_version}, {name}"


def installed_mindspore() -> str:
    """Returns the version of the installed MindSpore without importing it.

    Returns:
        The version, such as ``2.10.0``.

    Raises:
        UnusableEnvironment: if MindSpore is not installed.
    """
    try:
        return version("mindspore")
    except PackageNotFoundError:
        raise UnusableEnvironment("yolox needs MindSpore 2.7 to 2.10: pip install mindspore") from None


def library_version() -> str:
    """Returns the version of this library.

    Returns:
        The version; "unknown" for a checkout that is not installed.

    Example:
        >>> isinstance(library_version(), str)
        True
    """
    try:
        return version("yolox-mindspore")
    except PackageNotFoundError:
        return "unknown"


def import_extra(name: str, extra: str) -> ModuleType:
    """Imports a package that only an extra of this library asks for.

    Args:
        name: of the package.
        extra: of this library.

    Returns:
        The module.

    Raises:
        ExportError: it is not installed; the message says how to install it.

    Example:
        >>> import_extra("no_such_package", "onnx")
        Traceback (most recent call last):
        yolox.errors.ExportError: needs the package no_such_package: pip install -c constraints.txt -e '.[onnx]' in the repository
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ExportError(f"needs the package {name}: pip install -c constraints.txt -e '.[{extra}]' in the repository") from None


def installed_numpy() -> str:
    """Returns the version of the numpy that this Python imports, which may be another than its metadata says.

    Returns:
        The version, such as "1.26.4".

    Raises:
        UnusableEnvironment: if it cannot be imported.
    """
    try:
        import numpy
    except ImportError as error:
        raise UnusableEnvironment(f"numpy cannot be loaded ({error}): pip install 'numpy<2'") from None
    return numpy.__version__


def check_numpy(numpy_version: str) -> None:
    """Refuses numpy 2, with which MindSpore fails later and less clearly.

    Args:
        numpy_version: such as ``1.26.4``.

    Raises:
        UnusableEnvironment: with the command that mends it.

    Example:
        >>> check_numpy("1.26.4")
    """
    if parse_version(numpy_version)[0] >= 2:
        command = "pip install 'numpy<2' 'opencv-python-headless<4.12'"
        raise UnusableEnvironment(f"MindSpore fails with numpy {numpy_version}: {command}")


def explain_opencv(error: ImportError) -> str:
    """Returns a message with the command that helps if OpenCV cannot be imported: most often for lack of a display library.

    Args:
        error: that importing cv2 raised.

    Returns:
        Two lines: what happened, and the command that mends it.

    Example:
        >>> explain_opencv(ImportError("libGL.so.1: cannot open shared object file")).splitlines()[1]
        "pip uninstall -y opencv-python; pip install --force-reinstall 'opencv-python-headless<4.12'"
    """
    command = "pip uninstall -y opencv-python; pip install --force-reinstall 'opencv-python-headless<4.12'"
    return f"OpenCV cannot be loaded ({error}); this library needs the headless build:\n{command}"


def check_opencv() -> None:
    """Imports OpenCV; if that fails, the error names the command that helps.

    Raises:
        UnusableEnvironment: OpenCV is missing or cannot be loaded.
    """
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise UnusableEnvironment(explain_opencv(error)) from None


def print_plainly(before, kind, error, trace) -> None:
    """Replaces ``sys.excepthook``: prints of an `UnusableEnvironment` the message alone, unless ``--debug`` is an argument.

    Args:
        before: the hook for everything else.
        kind: type of the error.
        error: which nothing has caught.
        trace: its traceback.
    """
    if isinstance(error, UnusableEnvironment) and "--debug" not in sys.argv:
        print(f"error: {error}", file=sys.stderr)
    else:
        before(kind, error, trace)


def cache_folder() -> Path:
    """Returns the folder of downloaded weights and of engines: YOLOX_CACHE, else `yolox` in the user's cache folder.

    Returns:
        The path; the folder may not be there yet.
    """
    if folder := os.environ.get("YOLOX_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yolox"


def keep_dumps_away(environment: MutableMapping[str, str]) -> None:
    """Keeps ``rank_0/om/analyze_fail.ir`` out of the working directory.

    MindSpore writes this file, megabytes, when a compilation fails or is interrupted. Unless the environment has
    MS_OM_PATH, it goes to a folder for temporary files, which MindSpore makes when it has something to write, and which is
    removed when the process ends.

    Args:
        environment: usually ``os.environ``; changed in place.
    """
    if DUMPS_VARIABLE not in environment:
        environment[DUMPS_VARIABLE] = os.path.join(tempfile.gettempdir(), f"yolox-{os.getpid()}")
        atexit.register(shutil.rmtree, environment[DUMPS_VARIABLE], ignore_errors=True)


if "GLOG_v" not in os.environ:  # errors only: MindSpore's CommManager warns at each start, its Python at each compilation
    os.environ["GLOG_v"] = "3"  # read when MindSpore is imported; where that has been done, its Python logger is set:
    logging.getLogger(f"ME.mindspore.log.{os.getpid()}").setLevel(logging.ERROR)
keep_dumps_away(os.environ)
try:
    use_fast_convolutions(os.environ, installed_mindspore())
    check_numpy(installed_numpy())
    check_opencv()
except UnusableEnvironment:  # the scripts end with it before their first line
    sys.excepthook = partial(print_plainly, sys.excepthook)
    raise
