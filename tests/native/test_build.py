"""Where the kernels cannot be built, everything works without them, and one sentence says why."""

import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from yolox.native import build, native_status, operators
from yolox.nn import ConvBNAct


@pytest.fixture
def wanted(forget, monkeypatch, tmp_path):
    """The kernels are not switched off and the cache is empty."""
    monkeypatch.delenv(build.SWITCH, raising=False)
    monkeypatch.setenv("YOLOX_CACHE", str(tmp_path / "cache"))
    return monkeypatch


def compiler(folder, text):
    """A program in place of the compiler."""
    path = folder / "c++"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def reason(caplog) -> str:
    """The reason why there are no kernels, which is logged once; layers are MindSpore's."""
    caplog.set_level(logging.INFO, "yolox")
    assert not native_status().active
    layer = ConvBNAct(4, 4, 3, 1, groups=4)
    assert not layer.conv.native and not layer.native
    assert [r.message for r in caplog.records if "slower" in r.message] == [
        f"training on CPU is slower than it could be: {native_status().reason}; see docs/performance.md"
    ]
    return native_status().reason


def test_on_unless_switched_off(forget, monkeypatch, library, caplog):
    for value in (None, "", "1"):
        forget()
        monkeypatch.delenv(build.SWITCH, raising=False)
        if value is not None:
            monkeypatch.setenv(build.SWITCH, value)
        assert native_status().active and ConvBNAct(4, 4, 3, 1, groups=4).conv.native
    forget()
    monkeypatch.setenv(build.SWITCH, "0")
    assert native_status() == build.NativeStatus(False, reason="switched off by YOLOX_NATIVE=0")
    assert not ConvBNAct(4, 4, 3, 1, groups=4).conv.native
    assert not caplog.records


def test_nothing_is_built_for_ascend(wanted, tmp_path, caplog):
    wanted.setattr(operators.ms, "get_context", {"device_target": "Ascend"}.get)
    layer = ConvBNAct(4, 4, 3, 1, groups=4)
    assert not layer.native and not layer.conv.native
    assert not caplog.records and not (tmp_path / "cache").exists()


def test_another_value_of_the_switch_is_named(forget, monkeypatch, caplog):
    monkeypatch.setenv(build.SWITCH, "yes")
    assert not native_status().active
    assert [r.message for r in caplog.records] == ["YOLOX_NATIVE is yes, want 1 or 0; taken as 0"]


def test_no_compiler(wanted, caplog):
    wanted.delenv("CXX", raising=False)
    wanted.setenv("PATH", "/nowhere")
    assert reason(caplog) == "no C++ compiler is installed (looked for c++, g++, clang++)"


def test_a_compiler_that_fails(wanted, tmp_path, caplog):
    script = '[ "$1" = --version ] && echo 1 && exit 0; echo "x.cpp:1: error: no such type" >&2; exit 1'
    wanted.setenv("CXX", compiler(tmp_path, script))
    assert reason(caplog).endswith("c++ failed: x.cpp:1: error: no such type")


def test_a_compiler_that_cannot_be_run(wanted, tmp_path, caplog):
    wanted.setenv("CXX", compiler(tmp_path, "exit 3"))
    assert "cannot be run" in reason(caplog)


def test_another_processor(wanted, caplog):
    wanted.setattr(build.platform, "machine", lambda: "s390x")
    assert reason(caplog) == "Linux on s390x is not supported"


def test_a_folder_that_cannot_be_written(wanted, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    wanted.setenv("YOLOX_CACHE", str(tmp_path / "file"))
    wanted.setenv("CXX", compiler(tmp_path, "echo 1"))
    assert "cannot be written" in reason(caplog)


def test_the_name_follows_sources_compiler_and_processor(wanted, tmp_path):
    first, second = (tmp_path / name for name in ("one", "two"))
    for folder, version in ((first, "1"), (second, "2")):
        folder.mkdir()
        compiler(folder, f"echo {version}")
    names = {build.library_path(str(first / "c++")).name, build.library_path(str(second / "c++")).name}
    wanted.setattr(build, "_processor", lambda: "another")
    names.add(build.library_path(str(first / "c++")).name)
    sources = tmp_path / "src"
    sources.mkdir()
    (sources / "a.cpp").write_text("")
    wanted.setattr(build, "SOURCES", sources)
    names.add(build.library_path(str(first / "c++")).name)
    assert len(names) == 4


FORK = """
import os, sys
import numpy as np
import ctypes
from tests.native import calls
library = ctypes.CDLL(sys.argv[1])
library.yolox_start.restype = ctypes.c_char_p
library.yolox_start(2, None)
x = np.random.default_rng(0).standard_normal((2, 8, 64, 64)).astype(np.float32)
w = np.ones((8, 1, 3, 3), np.float32)
before = calls.depthwise(library, x, w, 1, x)
child = os.fork()
same = all((a == b).all() for a, b in zip(before, calls.depthwise(library, x, w, 1, x)))
if child == 0:
    os._exit(0 if same else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or not same)
"""


def test_a_forked_process_computes_too(library):
    """Data workers are forked from the training process; its threads are not in them."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["."] + sys.path)}
    run = subprocess.run([sys.executable, "-c", FORK, library._name], env=environment, timeout=60)
    assert run.returncode == 0


def run_kernel_tests(library: Path, **environment: str) -> None:
    """The tests of the kernels again, in a process of their own with another build of the library."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/native/test_kernels.py"]
    environment = {**os.environ, "YOLOX_TEST_LIBRARY": str(library), **environment}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]


EXACT = "-DYOLOX_EXACT_SCRATCH"  # else memory of a large call would hide that a smaller one reads behind its own


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "runtime"), [("address,undefined", "libasan.so")])
def test_sanitizers_find_nothing(tmp_path, flags, runtime):
    """The library ends the process at an error of memory or arithmetic."""
    cxx = build.find_compiler()
    preload = subprocess.run([cxx, f"-print-file-name={runtime}"], capture_output=True, text=True).stdout.strip()
    if not os.path.isabs(preload):
        pytest.skip(f"no {runtime}")
    path = tmp_path / "sanitized.so"
    build.build_library(path, cxx, flags=(f"-fsanitize={flags}", "-fno-sanitize-recover=all", "-g", "-O1", EXACT))
    options = {"ASAN_OPTIONS": "detect_leaks=0", "OPENBLAS_NUM_THREADS": "1"}
    run_kernel_tests(path, LD_PRELOAD=preload, **options)


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [4, 16])
def test_vectors_of_other_processors(tmp_path, lanes):
    """4 lanes are those of aarch64, 16 those of AVX-512; here the compiler makes them of what this processor has."""
    path = tmp_path / "lanes.so"
    build.build_library(path, build.find_compiler(), flags=(f"-DYOLOX_LANES={lanes}",))
    run_kernel_tests(path)
