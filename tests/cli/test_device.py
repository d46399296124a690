"""The device of a process that has run graphs already, as a notebook's has."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from yolox.cli.device import use_device
from yolox.cli.messages import CommandError


@pytest.fixture(autouse=True)
def a_kernel_has_run():
    assert ops.add(ms.Tensor(np.ones(2, np.float32)), 1).asnumpy().sum() == 4


def test_the_device_in_use_is_kept():
    use_device(ms.get_context("device_target"))
    assert ms.get_context("device_target") == "CPU"


def test_another_device_is_refused_with_the_way_out():
    with pytest.raises(CommandError, match="--device Ascend: not usable here; try --device CPU"):
        use_device("Ascend")
    assert ms.get_context("device_target") == "CPU"


def test_the_compile_cache_is_refused(monkeypatch):
    """Seen with 2.10: a second process, same code and seed, has a loss of 84 in place of 12."""
    monkeypatch.setenv("MS_COMPILER_CACHE_ENABLE", "1")
    with pytest.raises(CommandError, match="gives wrong numbers; unset MS_COMPILER_CACHE_ENABLE"):
        use_device("CPU")
    monkeypatch.setenv("MS_COMPILER_CACHE_ENABLE", "0")
    use_device("CPU")
