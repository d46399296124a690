"""The gathered form against the dense one: the same matches, bit for bit, on a thousand awkward images."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from tests.assign.cases import random_case
from tests.oracles.simota import near_center
from yolox.assign.gathered import FEW_POINTS, simota_assign_gathered
from yolox.assign.simota import simota_assign
from yolox.config import AssignConfig

KINDS = ("mixed", "tiny", "crowded", "edges", "twins", "good", "spread")
MINDYOLO = AssignConfig(prior="box_and_center", outside_penalty=1000.0)


def _jitted(assign, config=None):
    options = {} if config is None else {"config": config}

    @ms.jit
    def run(boxes, obj, cls, points, strides, gt_boxes, gt_classes, valid):
        return assign(boxes, obj, cls, points, strides, gt_boxes, gt_classes, valid, **options)

    return run


def arguments(case):
    raw, boxes, points, strides, gt_boxes, gt_classes, valid = case
    arrays = (boxes, raw[..., 4], raw[..., 5:], points, strides, gt_boxes, gt_classes, valid)
    return tuple(Tensor(np.ascontiguousarray(array)) for array in arrays)


# Images, rows and size; the third has more points than FEW_POINTS and uses both branches.
SHAPES = [(10, 11, (32, 32), 35), (10, 8, (64, 96), 35), (6, 120, (160, 192), 50)]


@pytest.mark.parametrize(
    "config",
    [pytest.param(None, id="center"), pytest.param(MINDYOLO, id="box_and_center", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("batch, rows, size, calls", SHAPES, ids=["1x1", "8x12", "20x24"])
def test_matches_equal_those_of_the_dense_form(batch, rows, size, calls, config):
    dense, gathered = _jitted(simota_assign, config), _jitted(simota_assign_gathered, config)
    rng = np.random.default_rng(7)
    owned, many = 0, 0
    for call in range(calls if config is None else 7):
        kind = KINDS[call % len(KINDS)]
        case = arguments(random_case(rng, kind=kind, batch=batch, rows=rows, size=size))
        want_owner, want_iou = (part.asnumpy() for part in dense(*case))
        matched_gt, iou = (part.asnumpy() for part in gathered(*case))
        np.testing.assert_array_equal(matched_gt, want_owner, err_msg=f"{kind}, call {call}")
        np.testing.assert_array_equal(iou, want_iou, err_msg=f"{kind}, call {call}")
        owned += (matched_gt >= 0).sum()
        many += (matched_gt >= 0).any()
    assert owned > 0 and many > 0


def test_both_branches_are_taken_by_the_random_images():
    rng = np.random.default_rng(7)
    most = []
    for kind in ("spread", "tiny"):
        _, _, points, strides, gt_boxes, _, valid = random_case(rng, kind=kind, batch=6, rows=120, size=(160, 192))
        valid[:, 8:] &= kind == "spread"
        most.append(
            max(
                sum(any(near_center(p, s, box) for box in boxes[keep]) for p, s in zip(points, strides, strict=True))
                for boxes, keep in zip(gt_boxes, valid, strict=True)
            )
        )
    assert most[0] > FEW_POINTS >= most[1] > 0


def test_views_are_read_rightly_in_loops_and_branches():
    # MindSpore 2.10 misreads views that go into control flow; the function must not hand them on.
    raw, boxes, points, strides, gt_boxes, gt_classes, valid = random_case(
        np.random.default_rng(3), kind="crowded", batch=2, rows=8, size=(160, 192)
    )
    decoded = Tensor(np.concatenate([boxes, raw[..., 4:]], -1))
    table = Tensor(np.concatenate([gt_classes[..., None], gt_boxes], -1).astype(np.float32))
    views = (decoded[..., :4], decoded[..., 4], decoded[..., 5:], Tensor(points), Tensor(strides))
    gt = (table[..., 1:], Tensor(gt_classes), Tensor(valid))
    assert not decoded[..., 4].is_contiguous()
    matched_gt, _ = _jitted(simota_assign_gathered)(*views, *gt)
    want, _ = simota_assign(*views, *gt)
    assert (want.asnumpy() >= 0).any()
    np.testing.assert_array_equal(matched_gt.asnumpy(), want.asnumpy())


def test_says_what_does_not_fit():
    case = list(arguments(random_case(np.random.default_rng(0), batch=1, rows=2, size=(32, 32))))
    case[6] = case[6][:, :1]
    with pytest.raises(ValueError, match=r"simota_assign_gathered: gt_boxes \(1, 2, 4\), gt_classes \(1, 1\)"):
        simota_assign_gathered(*case)
