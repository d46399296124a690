"""The loss against the reference's numbers, a slow oracle and its own invariants."""


import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from tests.assign.cases import golden_cases, load_golden
from yolox.detection_loss import detection_loss

pytestmark = pytest.mark.slow

PARTS = ("total", "iou", "obj", "cls", "l1")


def _value_and_grad(**options):
    def loss(maps, gt_boxes, gt_classes, valid, l1_weight):
        return detection_loss(maps, gt_boxes, gt_classes, valid, l1_weight, **options)

    return ms.value_and_grad(loss, 0, has_aux=True)


def _jitted(**options):
    step = _value_and_grad(**options)

    @ms.jit
    def run(maps, gt_boxes, gt_classes, valid, l1_weight):
        return step(maps, gt_boxes, gt_classes, valid, l1_weight)

    return run


MODES = {"eager": _value_and_grad(), "jit": _jitted()}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("suffix", ["", "_l1"])
def test_losses_and_gradients_of_every_golden_case(golden_dir, mode, suffix):
    for path in golden_cases(golden_dir):
        case, maps, truths = load_golden(path)
        weight = Tensor(1.0 if suffix else 0.0, ms.float32)
        (total, parts), gradients = MODES[mode](maps, *truths, weight)
        got = np.array([float(part) for part in (total, *parts)])
        want = case["losses" + suffix]
        np.testing.assert_allclose(got[:5], want[:5], rtol=1e-4, err_msg=path.name)
        positives_each = max(got[5], 1) / max(int(truths[2].asnumpy().sum()), 1)
        np.testing.assert_allclose(positives_each, want[5], rtol=1e-4, err_msg=path.name)
        for level, gradient in enumerate(gradients):
            np.testing.assert_allclose(
                gradient.asnumpy(), case[f"grad{level}{suffix}"], rtol=1e-3, atol=1e-5, err_msg=path.name
            )
