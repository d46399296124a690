"""Compiles the C++ sources once for this machine and loads the library.

The library lies in the cache folder under a name made of a hash of the sources, the compiler and the processor, so that a
new version, another compiler or a home folder shared by different machines each get their own.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import fcntl
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from attrs import frozen

from yolox.errors import NativeUnavailable

SWITCH = "YOLOX_NATIVE"
ON, OFF = "1", "0"
SOURCES = Path(__file__).parent / "src"
COMMON_FLAGS = ("-O3", "-std=c++17", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra")
# Compiled once for each instruction set, and once.
PER_ISA = (
    "convolution.cpp", "winograd.cpp", "depthwise.cpp", "batch_norm.cpp", "pooling.cpp", "pixels.cpp", "update.cpp", "table.cpp"
)  # fmt: skip
ONCE = ("threads.cpp", "library.cpp")
_X86 = {
    "avx2": ("-mavx2", "-mfma"),
    "avx512": ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma"),
}
INSTRUCTION_SETS = {"x86_64": _X86, "aarch64": {"generic": ()}}
LIMIT_SECONDS = 300  # for each file; it takes about five

_logger = logging.getLogger("yolox")


@frozen
class NativeStatus:
    """Which kernels run in this process.

    Attributes:
        active: whether the kernels of this package run where they fit.
        instruction_set: "avx2", "avx512" or "generic"; "" when not active.
        reason: why not, in one sentence; "" when active.
        library: the compiled file; "" when not active.
    """

    active: bool
    instruction_set: str = ""
    reason: str = ""
    library: str = ""


def find_compiler() -> str:
    """Finds the C++ compiler: that of CXX, else the first of c++, g++ and clang++ in PATH.

    Returns:
        Its path.

    Raises:
        NativeUnavailable: there is none.
    """
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    raise NativeUnavailable(f"no C++ compiler is installed (looked for {', '.join(names)})")


def cache_folder() -> Path:
    """Returns the folder of compiled libraries, beside the downloaded weights (`yolox.weights.hub.cache_folder`).

    Returns:
        The folder; it may not exist yet.
    """
    base = os.environ.get("YOLOX_CACHE")
    folder = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yolox"
    return folder / "native"


def library_path(compiler: str) -> Path:
    """Returns where the library of these sources, this compiler and this processor lies or will lie.

    Args:
        compiler: path of the C++ compiler.

    Returns:
        Path in `cache_folder`.

    Raises:
        NativeUnavailable: the compiler cannot be run.
    """
    try:
        version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise NativeUnavailable(f"the compiler {compiler} cannot be run ({error})") from None
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    digest.update(version + repr((COMMON_FLAGS, INSTRUCTION_SETS, _processor())).encode())
    return cache_folder() / f"yolox-{digest.hexdigest()[:24]}.so"


def _processor() -> str:
    """Returns the machine and, on Linux, the model and features of its first processor."""
    wanted, lines = ("model name", "flags", "Features", "CPU part"), []
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.partition("\n\n")[0].splitlines():
        if line.startswith(wanted):
            lines.append(line)
    return "\n".join([platform.machine(), *lines])


def build_library(path: Path, compiler: str, *, flags: tuple[str, ...] = ()) -> None:
    """Compiles and links the library; several processes that want it at once build it once.

    Args:
        path: where it is put, whole or not at all.
        compiler: path of the C++ compiler.
        flags: further flags for compiling and linking, such as those of a sanitizer.

    Raises:
        NativeUnavailable: the compiler fails, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                    _compile_all(Path(folder), compiler, flags).replace(path)
    except OSError as error:
        raise NativeUnavailable(f"the folder {path.parent} cannot be written ({error.strerror})") from None


def _compile_all(folder: Path, compiler: str, flags: tuple[str, ...]) -> Path:
    """Compiles every source for every instruction set and links them; returns the library in `folder`."""
    jobs = [(name, "", ()) for name in ONCE]
    for isa, isa_flags in INSTRUCTION_SETS[platform.machine()].items():
        jobs += [(name, isa, (f"-DYOLOX_ISA={isa}", *isa_flags)) for name in PER_ISA]
    commands, objects = [], []
    for name, isa, isa_flags in jobs:
        objects.append(str(folder / f"{name}{isa}.o"))
        source = str(SOURCES / name)
        commands.append([compiler, *COMMON_FLAGS, *isa_flags, *flags, "-c", source, "-o", objects[-1]])
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(_run_compiler, commands))
    library = folder / "library.so"
    _run_compiler([compiler, "-shared", *flags, *objects, "-o", str(library), "-pthread"])
    return library


def _run_compiler(command: list[str]) -> None:
    try:
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        raise NativeUnavailable(f"the compiler {command[0]} took more than {LIMIT_SECONDS} s") from None
    if run.returncode != 0:
        errors = [line for line in run.stderr.splitlines() if "error" in line] or run.stderr.splitlines() or [""]
        raise NativeUnavailable(f"the compiler {command[0]} failed: {errors[0].strip()}")


@cache
def load_library() -> tuple[NativeStatus, ctypes.CDLL | None]:
    """Builds the library if need be and loads it, once in a process; a warning says why where that fails.

    Returns:
        The status, and the library where it is active.
    """
    switch = os.environ.get(SWITCH) or ON
    if switch not in (ON, OFF):
        _logger.warning("%s is %s, want %s or %s; taken as %s", SWITCH, switch, ON, OFF, OFF)
    if switch != ON:
        return NativeStatus(False, reason=f"switched off by {SWITCH}={switch}"), None
    try:
        path, library, instruction_set = _open_library()
    except (NativeUnavailable, OSError) as error:
        _logger.warning("training on CPU is slower than it could be: %s; see docs/performance.md", error)
        return NativeStatus(False, reason=str(error)), None
    return NativeStatus(True, instruction_set, library=str(path)), library


def _open_library() -> tuple[Path, ctypes.CDLL, str]:
    if platform.system() != "Linux" or platform.machine() not in INSTRUCTION_SETS:
        raise NativeUnavailable(f"{platform.system()} on {platform.machine()} is not supported")
    compiler = find_compiler()
    path = library_path(compiler)
    if not path.exists():
        _logger.info("building native kernels with %s, which takes about 20 s once", compiler)
        build_library(path, compiler)
    library = ctypes.CDLL(str(path))
    library.yolox_start.restype = ctypes.c_char_p
    instruction_set = library.yolox_start(1, None).decode()
    if not instruction_set:
        raise NativeUnavailable("the processor has no AVX2")
    return path, library, instruction_set
