"""The graph that is exported: a folded detector with its decoding, one tensor in, one tensor out."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from yolox.decode import MAX_LOG_SIZE, flatten_levels
from yolox.nn.fold import fold_detector
from yolox.points import make_points


class DecodedDetector(nn.Cell):
    """Join a detector and its decoding, for a file that other runtimes read.

    Args:
        detector: Cell that gives raw maps, with the attribute `strides`; copied and folded, left as it is.
        input_size: height and width of the images in pixels.

    Returns:
        (when called) from float32 [B,3,H,W] to [B,P,5+C]: boxes cxcywh in pixels, objectness, class
        probabilities, as `yolox.decode_predictions`.

    Source: as `decode_predictions`, with the limit of sizes as a tensor: the ONNX exporter of MindSpore
        refuses a minimum with a Python number.

    Example:
        >>> from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector
        >>> tiny = Detector(CSPDarknet(0.33, 0.125), PAFPN(0.33, 0.125), DecoupledHead(3, 0.125))
        >>> DecodedDetector(tiny, (32, 64))(ops.zeros((1, 3, 32, 64))).shape
        (1, 42, 8)
    """

    def __init__(self, detector, input_size):
        super().__init__()
        self.detector = fold_detector(detector)
        points, strides = make_points(input_size, detector.strides)
        corners = points - 0.5 * strides[:, None]
        self.corners, self.strides = Tensor(corners), Tensor(strides[:, None])
        self.limit = Tensor(np.float32(MAX_LOG_SIZE))
        self.set_train(False)

    def construct(self, images):  # [B,3,H,W] -> [B,P,5+C]
        raw = flatten_levels(self.detector(images))
        center = raw[..., :2] * self.strides + self.corners
        size = ops.exp(ops.minimum(raw[..., 2:4], self.limit)) * self.strides
        return ops.cat((center, size, ops.sigmoid(raw[..., 4:])), axis=-1)
