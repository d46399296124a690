"""A detector that is quick to export, with predictions that differ from point to point."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from yolox.config import InputSpec
from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector, initialise
from yolox.nn.blocks import ConvBNAct, DepthwiseConv, Focus, SPPBottleneck
from yolox.nn.functional import upsample2x

SPEC = InputSpec(input_size=(96, 128))
NAMES = ("cat", "dog", "hippopotamus")


class SmallDetector(nn.Cell):
    """Each kind of layer of a published detector, few times: it compiles in a tenth of the time. `test_scales` exports nano."""

    strides = (8, 16, 32)

    def __init__(self, num_classes: int, width: int = 16) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.stem = Focus(3, width, 3)
        self.down = nn.CellList([ConvBNAct(width, width, 3, 2) for _ in range(4)])
        self.spp = SPPBottleneck(width, width)
        self.middle, self.fine = ConvBNAct(2 * width, width, 1, 1), DepthwiseConv(2 * width, width, 3, 1)
        self.preds = nn.CellList([nn.Conv2d(width, 5 + num_classes, 1, has_bias=True) for _ in self.strides])

    def construct(self, images):  # [B,3,H,W] -> [B,5+C,H/8,W/8], [B,5+C,H/16,W/16], [B,5+C,H/32,W/32]
        fine = self.down[1](self.down[0](self.stem(images)))
        middle = self.down[2](fine)
        coarse = self.spp(self.down[3](middle))
        middle = self.middle(ops.cat((upsample2x(coarse), middle), axis=1))
        fine = self.fine(ops.cat((upsample2x(middle), fine), axis=1))
        return self.preds[0](fine), self.preds[1](middle), self.preds[2](coarse)


def small_detector() -> SmallDetector:
    return _filled(SmallDetector(len(NAMES)))


def library_detector() -> Detector:
    """A detector of layers of this library alone, whose exports are kept (`yolox.export.engine`)."""
    args = {"width": 0.125, "depthwise": True}
    return _filled(Detector(CSPDarknet(0.33, **args), PAFPN(0.33, **args), DecoupledHead(len(NAMES), **args)))


def _filled(detector: nn.Cell) -> nn.Cell:
    """Fills a detector with random values, BN statistics too."""
    initialise(detector, seed=0)
    rng = np.random.default_rng(0)
    for parameter in detector.get_parameters():
        values = parameter.asnumpy()
        if parameter.name.endswith(("moving_variance", "gamma")):
            scale = 1.0 if parameter.name.endswith("gamma") else 5000.0 if "stem.conv.bn" in parameter.name else 0.5
            parameter.set_data(Tensor((scale * rng.uniform(0.5, 2.0, values.shape)).astype(np.float32)))
        elif parameter.name.endswith(("moving_mean", "beta")):
            parameter.set_data(Tensor(rng.normal(0, 0.3, values.shape).astype(np.float32)))
        elif "preds" in parameter.name:
            scale = 1.0 if parameter.name.endswith("weight") else 0.5
            parameter.set_data(Tensor(rng.normal(0, scale, values.shape).astype(np.float32)))
    return detector.set_train(False)


def pictures(count: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *SPEC.input_size, 3), np.uint8)
