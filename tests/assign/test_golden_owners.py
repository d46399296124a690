"""SimOTA's owners against the reference's, exactly, in every golden case: both forms, eager and compiled."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from yolox.assign.gathered import simota_assign_gathered
from yolox.assign.simota import simota_assign
from yolox.boxes import cxcywh_to_xyxy
from yolox.decode import decode_boxes, flatten_levels, split_predictions
from yolox.points import make_points

FORMS = {"dense": simota_assign, "gathered": simota_assign_gathered}


def arguments(case):
    """Give the arguments of an assignment from the arrays of a golden case."""
    maps = tuple(Tensor(case[f"map{level}"]) for level in range(3))
    height, width = case["map0"].shape[2:]
    points, strides = (Tensor(part) for part in make_points((8 * height, 8 * width), (8, 16, 32)))
    raw = flatten_levels(maps)
    _, obj_logits, cls_logits = split_predictions(raw)
    truths = case["truths"]
    boxes = cxcywh_to_xyxy(Tensor(truths[..., 1:]))
    classes, valid = Tensor(truths[..., 0].astype(np.int32)), Tensor(truths[..., 3] > 0)
    return decode_boxes(raw, points, strides), obj_logits, cls_logits, points, strides, boxes, classes, valid


def compiled(form):
    @ms.jit
    def run(pred, obj, cls, points, strides, boxes, classes, valid):
        return form(pred, obj, cls, points, strides, boxes, classes, valid)

    return run


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("mode", ["eager", "jit"])
def test_owners_are_the_reference_s(golden_dir, name, mode):
    assign = FORMS[name] if mode == "eager" else compiled(FORMS[name])
    paths = sorted(golden_dir.glob("assign_*.npz"))
    assert paths, f"no assign_*.npz in {golden_dir}"
    for path in paths:
        with np.load(path) as arrays:
            case = dict(arrays)
        owner, iou = assign(*arguments(case))
        np.testing.assert_array_equal(owner.asnumpy(), case["owner"], err_msg=path.name)
        np.testing.assert_allclose(iou.asnumpy(), case["matched_iou"], atol=1e-5, err_msg=path.name)
