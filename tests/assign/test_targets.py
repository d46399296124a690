"""Targets: which rows, which ground truths, which labels."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from yolox.assign.targets import cls_targets, gather_matched, obj_targets, positive_rows


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_rows_are_those_of_matched_points(share):
    rng = np.random.default_rng(1)
    matched_gt = np.where(rng.random((3, 20)) < share, rng.integers(0, 4, (3, 20)), -1).astype(np.int32)

    def run(value):
        return positive_rows(value, capacity=60)

    for function in (run, ms.jit(run)):
        rows, present = (part.asnumpy() for part in function(Tensor(matched_gt)))
        np.testing.assert_array_equal(rows[present], np.flatnonzero(matched_gt >= 0))
        assert present.sum() == (matched_gt >= 0).sum() and (rows >= 0).all() and (rows < 60).all()
    np.testing.assert_array_equal(obj_targets(Tensor(matched_gt)).asnumpy(), matched_gt >= 0)


def test_boxes_and_labels_follow_matched_gt():
    rng = np.random.default_rng(2)
    matched_gt = rng.integers(-1, 4, (3, 20)).astype(np.int32)
    gt_boxes, gt_classes = rng.random((3, 4, 4)).astype(np.float32), rng.integers(0, 6, (3, 4)).astype(np.int32)
    rows = np.flatnonzero(matched_gt >= 0).astype(np.int32)
    boxes, classes = gather_matched(Tensor(matched_gt), Tensor(rows), Tensor(gt_boxes), Tensor(gt_classes))
    image, index = rows // 20, matched_gt.reshape(-1)[rows]
    np.testing.assert_array_equal(boxes.asnumpy(), gt_boxes[image, index])
    np.testing.assert_array_equal(classes.asnumpy(), gt_classes[image, index])
    iou = rng.random(len(rows)).astype(np.float32)
    labels = cls_targets(classes, Tensor(iou), num_classes=6).asnumpy()
    np.testing.assert_array_equal(labels, np.eye(6, dtype=np.float32)[classes.asnumpy()] * iou[:, None])


def test_says_what_does_not_fit():
    with pytest.raises(ValueError, match=r"positive_rows: matched_gt has shape \(3,\), want \[B,P\]"):
        positive_rows(Tensor([0, 1, 2]), capacity=2)
