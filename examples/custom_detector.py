"""A detector of your own: another backbone under YOLOX's neck and head, with the whole command line.

A backbone is any Cell that turns images [B,3,H,W] into three maps at strides 8, 16 and 32. This one is a row of plain
convolutions; its last three maps have the channels 64, 128 and 256 that a neck and a head of width 0.25 take.

    python examples/custom_detector.py info
    python examples/custom_detector.py train --train-json A.json --train-images A --output RUN
    python examples/custom_detector.py predict --weights RUN/best.safetensors --source A --output PICTURES
    python examples/custom_detector.py export --weights RUN/best.safetensors --output plain.onnx
"""

import attrs
from mindspore import nn

from yolox.cli import Experiment, main
from yolox.nn import PAFPN, ConvBNAct, DecoupledHead, Detector
from yolox.recipes import megvii_recipe


class PlainBackbone(nn.Cell):
    """Five convolutions with stride 2, two of them before the first map that counts."""

    def __init__(self):
        super().__init__()
        self.stem = nn.SequentialCell(ConvBNAct(3, 16, 3, 2), ConvBNAct(16, 32, 3, 2))
        self.fine = ConvBNAct(32, 64, 3, 2)
        self.middle = ConvBNAct(64, 128, 3, 2)
        self.coarse = ConvBNAct(128, 256, 3, 2)

    def construct(self, images):  # [B,3,H,W] -> [B,64,H/8,W/8], [B,128,H/16,W/16], [B,256,H/32,W/32]
        fine = self.fine(self.stem(images))
        middle = self.middle(fine)
        return fine, middle, self.coarse(middle)


def build_detector(num_classes=80):
    """Put the backbone under a neck and a head of the library."""
    return Detector(PlainBackbone(), PAFPN(depth=0.33, width=0.25), DecoupledHead(num_classes, width=0.25))


RECIPE = attrs.evolve(megvii_recipe("nano"), epochs=100)

EXPERIMENT = Experiment(name="plain", build_detector=build_detector, recipes={"megvii": RECIPE})

if __name__ == "__main__":
    main(EXPERIMENT)
