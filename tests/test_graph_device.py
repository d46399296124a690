"""The device of a process that has run graphs already, as a notebook's has."""

import atexit
import os
import tempfile

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from yolox.environment import keep_dumps_away
from yolox.errors import CommandError
from yolox.graph import use_device


@pytest.fixture(autouse=True)
def a_kernel_has_run():
    assert ops.add(ms.Tensor(np.ones(2, np.float32)), 1).asnumpy().sum() == 4


def test_the_device_in_use_is_kept():
    use_device(ms.get_context("device_target"))
    assert ms.get_context("device_target") == "CPU"
    use_device()
    assert ms.get_context("device_target") == "CPU"


def test_without_a_name_the_device_in_use_is_checked_too(monkeypatch):
    """`yolox.train` calls it so: a notebook is protected from the compile cache as a command is."""
    monkeypatch.setenv("MS_COMPILER_CACHE_ENABLE", "1")
    with pytest.raises(CommandError, match="gives wrong numbers; unset MS_COMPILER_CACHE_ENABLE"):
        use_device()


def test_another_device_is_refused_with_the_way_out():
    with pytest.raises(CommandError, match="`device` Ascend: not usable here; try `device` CPU"):
        use_device("Ascend")
    assert ms.get_context("device_target") == "CPU"


def test_the_compile_cache_is_refused(monkeypatch):
    """Seen with 2.10: a second process, same code and seed, has a loss of 84 in place of 12."""
    monkeypatch.setenv("MS_COMPILER_CACHE_ENABLE", "1")
    with pytest.raises(CommandError, match="gives wrong numbers; unset MS_COMPILER_CACHE_ENABLE"):
        use_device("CPU")
    monkeypatch.setenv("MS_COMPILER_CACHE_ENABLE", "0")
    use_device("CPU")


@ms.jit
def does_not_compile(x):
    return ops.matmul(x, x)


@pytest.mark.parametrize("given", [False, True])
def test_a_failed_compilation_leaves_nothing_in_the_present_folder(monkeypatch, tmp_path, given):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("MS_OM_PATH", str(elsewhere))
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere / "temporary"))
    if not given:  # as importing the library does
        monkeypatch.delenv("MS_OM_PATH")
        monkeypatch.setattr(atexit, "register", lambda *_, **__: None)
    keep_dumps_away(os.environ)
    with pytest.raises((RuntimeError, ValueError)):
        does_not_compile(ms.Tensor(np.ones((2, 3), np.float32)))
    (dump,) = elsewhere.rglob("analyze_fail.ir")
    assert ("temporary" in dump.parts) != given and not list(here.iterdir())
