"""The native library, without MindSpore; its tests are skipped where it cannot be built."""

import ctypes

import pytest

from yolox.native.build import NativeUnavailable, build_library, find_compiler, library_path


@pytest.fixture(scope="session")
def library():
    """The library of this machine, built if need be, with two threads: YOLOX_NATIVE does not count here."""
    try:
        compiler = find_compiler()
        path = library_path(compiler)
        build_library(path, compiler)
    except NativeUnavailable as error:
        pytest.skip(str(error))
    loaded = ctypes.CDLL(str(path))
    loaded.yolox_start.restype = ctypes.c_char_p
    if not loaded.yolox_start(2, None):
        pytest.skip("the processor has no AVX2")
    return loaded
