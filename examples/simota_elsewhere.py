"""SimOTA in a detector that is not YOLOX: one map, and a head that predicts distances to the four sides, as FCOS does.

Everything of the detector is in this file. From the library come the points, the assignment, the targets and the
single-prediction losses. Train it on drawn shapes for a few seconds:

    python examples/simota_elsewhere.py
"""

import sys

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

import yolox
from yolox.data.synthetic import SyntheticConfig, draw_shapes

SIZE, STRIDE, CLASSES, BATCH, MAX_GT = 64, 8, 3, 8, 4
POINTS, STRIDES = (Tensor(part) for part in yolox.make_points((SIZE, SIZE), (STRIDE,)))


def block(channels_in, channels_out, stride):
    """Convolution, normalisation, activation."""
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride, "pad", 1)
    return convolution, nn.BatchNorm2d(channels_out), nn.ReLU()


class DistanceDetector(nn.Cell):
    """Five convolutions and one map: left, top, right, bottom in strides (logarithms), objectness, classes."""

    def __init__(self):
        super().__init__()
        widths, strides = (3, 16, 32, 64, 64, 64), (2, 2, 2, 1, 1)
        shapes = zip(widths[:-1], widths[1:], strides, strict=True)
        self.layers = nn.SequentialCell([layer for shape in shapes for layer in block(*shape)])
        self.predict = nn.Conv2d(64, 5 + CLASSES, 1, has_bias=True)

    def construct(self, images):  # [B,3,H,W] -> [B,P,5+C]
        maps = self.predict(self.layers(images))
        return maps.reshape(maps.shape[0], maps.shape[1], -1).transpose(0, 2, 1)


def decode(raw):  # [B,P,5+C] -> [B,P,4] cxcywh px
    """Computes boxes from distances to the four sides."""
    sides = ops.exp(ops.minimum(raw[..., :4], Tensor(4.0))) * ops.expand_dims(STRIDES, -1)
    low, high = POINTS - sides[..., :2], POINTS + sides[..., 2:]
    return ops.cat(((low + high) / 2, high - low), axis=-1)


def loss_of(raw, gt_boxes, gt_classes, valid):  # [B,P,5+C],[B,G,4],[B,G],[B,G] -> []
    """Assign ground truths to points, then compare: boxes by IoU, objectness and classes by cross-entropy."""
    boxes = decode(raw)
    matched_gt, overlap = yolox.simota_assign(boxes, raw[..., 4], raw[..., 5:], POINTS, STRIDES, gt_boxes, gt_classes, valid)
    positive = yolox.obj_targets(matched_gt)
    rows, present = yolox.positive_rows(matched_gt, capacity=BATCH * 10 * MAX_GT)
    mine, kinds = yolox.gather_matched(matched_gt, rows, gt_boxes, gt_classes)
    share = present.astype(ms.float32)
    iou = yolox.elementwise_iou(yolox.cxcywh_to_xyxy(boxes.reshape(-1, 4)[rows]), mine)
    labels = yolox.cls_targets(kinds, overlap.reshape(-1)[rows], num_classes=CLASSES)
    cls = yolox.binary_cross_entropy_with_logits(raw[..., 5:].reshape(-1, CLASSES)[rows], labels).sum(-1)
    obj = yolox.binary_cross_entropy_with_logits(raw[..., 4], positive).sum()
    total = (5.0 * yolox.iou_loss(iou) * share).sum() + (cls * share).sum() + obj
    return total / ops.maximum(positive.sum(), Tensor(1.0))


def make_step(detector, rate=3e-3):
    """Returns the jitted step: loss, gradients, AdamW."""
    optimizer = nn.AdamWeightDecay(detector.trainable_params(), rate)

    def forward(images, gt_boxes, gt_classes, valid):
        return loss_of(detector(images), gt_boxes, gt_classes, valid)

    gradient_fn = ms.value_and_grad(forward, None, weights=optimizer.parameters)

    @ms.jit
    def step(images, gt_boxes, gt_classes, valid):
        loss, gradients = gradient_fn(images, gt_boxes, gt_classes, valid)
        optimizer(gradients)
        return loss

    return step


def draw_batch(rng):
    """Draws images with shapes, and pads their ground truths to MAX_GT rows."""
    config = SyntheticConfig(image_size=(SIZE, SIZE), sides=(14, 36), shapes=(1, MAX_GT))
    samples = [draw_shapes(rng=rng, config=config) for _ in range(BATCH)]
    boxes, classes = np.zeros((BATCH, MAX_GT, 4), np.float32), np.zeros((BATCH, MAX_GT), np.int32)
    valid = np.zeros((BATCH, MAX_GT), bool)
    for row, sample in enumerate(samples):
        count = len(sample.boxes)
        boxes[row, :count], classes[row, :count], valid[row, :count] = sample.boxes, sample.classes, True
    images = np.stack([sample.image for sample in samples]).transpose(0, 3, 1, 2).astype(np.float32) / 255
    return tuple(Tensor(part) for part in (images, boxes, classes, valid))


def train(steps=120, seed=0):
    """Train on drawn shapes.

    Returns:
        The detector, and the loss of each step.
    """
    ms.set_seed(seed)
    detector, rng = DistanceDetector().set_train(), np.random.default_rng(seed)
    step = make_step(detector)
    return detector, [float(step(*draw_batch(rng)).asnumpy()) for _ in range(steps)]


def main() -> int:
    """Train, and say how the loss fell."""
    _, losses = train()
    first, last = np.mean(losses[:5]), np.mean(losses[-5:])
    print(f"loss of the first five steps {first:.2f}, of the last five {last:.2f}")
    return 0 if last < first / 2 else 1


if __name__ == "__main__":
    sys.exit(main())
