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
