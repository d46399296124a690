"""YOLOX-Nano: the smallest scale, with depthwise convolutions.

Published on COCO val2017 after 300 epochs at 416 px: AP 25.8 (Megvii's README), 24.1 (MindYOLO's README).
912,159 parameters, 1.08 GFLOPs. Training to these numbers was not repeated here; MindYOLO publishes 461
images a second on 8 Ascend 910, which makes about 21 hours. Commands (--help after a command lists its options):

    python examples/yolox_nano.py info
    python examples/yolox_nano.py train --train-json A.json --train-images A --weights W.pth \\
        --val-json B.json --val-images B --output RUN
    python examples/yolox_nano.py eval --weights RUN/best.safetensors --val-json B.json --val-images B
    python examples/yolox_nano.py predict --weights RUN/best.safetensors --source A --output PICTURES
"""

from yolox.cli import Experiment, main
from yolox.models import PUBLISHED
from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector
from yolox.recipes import published_recipes

RECIPES = published_recipes("nano")


def build_detector(num_classes=80, channels=3):
    """Assemble the layers; the weights are MindSpore's until `initialise` or `load_weights` fills them."""
    backbone = CSPDarknet(depth=0.33, width=0.25, depthwise=True, in_channels=channels)
    neck = PAFPN(depth=0.33, width=0.25, depthwise=True)
    head = DecoupledHead(num_classes, width=0.25, depthwise=True)
    return Detector(backbone, neck, head)


EXPERIMENT = Experiment(
    name="yolox-nano",
    build_detector=build_detector,
    recipes=RECIPES,
    published=PUBLISHED["nano"],
)

if __name__ == "__main__":
    main(EXPERIMENT)
