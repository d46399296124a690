"""The native library, without MindSpore; its tests are skipped where it cannot be built."""

import ctypes
import os

import pytest

from yolox.errors import NativeUnavailable
from yolox.native import build, operators

LIBRARY = "YOLOX_TEST_LIBRARY"  # another build of the library, such as one with sanitizers


@pytest.fixture(scope="session", params=[None, b"avx2"], ids=["widest", "avx2"])
def library(request):
    """The library of this machine, built if need be, with two threads: YOLOX_NATIVE does not count here.

    Once with the widest instructions of the processor, and once with AVX2, whose vectors and tiles have other sizes.
    """
    loaded = ctypes.CDLL(os.environ.get(LIBRARY) or built_library())
    loaded.yolox_start.restype = ctypes.c_char_p
    widest = loaded.yolox_start(2, None)
    if not widest:
        pytest.skip("the processor has no AVX2")
    if request.param and loaded.yolox_start(2, request.param) == widest:
        pytest.skip(f"the processor has nothing but {widest.decode()}")
    yield loaded
    loaded.yolox_start(2, None)


def built_library() -> str:
    try:
        compiler = build.find_compiler()
        path = build.library_path(compiler)
        build.build_library(path, compiler)
    except NativeUnavailable as error:
        pytest.skip(str(error))
    return str(path)


@pytest.fixture
def forget():
    """A function that makes the next use of the package read YOLOX_NATIVE again; called after the test, too."""

    def clear():
        build.load_library.cache_clear()
        for made in vars(operators).values():
            if hasattr(made, "cache_clear"):
                made.cache_clear()

    clear()
    yield clear
    clear()


@pytest.fixture
def kernels_on(forget, monkeypatch):
    """Layers that are built in the test use the kernels."""
    monkeypatch.setenv(build.SWITCH, build.ON)
    status = build.load_library()[0]
    if not status.active:
        pytest.skip(status.reason)
