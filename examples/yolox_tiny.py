"""YOLOX-Tiny: the smallest scale of dense convolutions.

Published on COCO val2017 after 300 epochs at 416 px: AP 32.8 (Megvii's README), 33.3 (MindYOLO's README).
5,055,855 parameters, 6.45 GFLOPs. Training to these numbers was not repeated here; MindYOLO publishes 505
images a second on 8 Ascend 910, which makes about 20 hours. Commands (--help after a command lists its options):

    python examples/yolox_tiny.py info
    python examples/yolox_tiny.py train --train-json A.json --train-images A --weights W.pth \\
        --val-json B.json --val-images B --output RUN
    python examples/yolox_tiny.py eval --weights RUN/best.safetensors --val-json B.json --val-images B
    python examples/yolox_tiny.py predict --weights RUN/best.safetensors --source A --output PICTURES
"""

from yolox.cli import Experiment, main
from yolox.models import PUBLISHED
from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector
from yolox.recipes import published_recipes

RECIPES = published_recipes("tiny")


def build_detector(num_classes=80, channels=3):
    """Assemble the layers; the weights are MindSpore's until `initialise` or `load_weights` fills them."""
    backbone = CSPDarknet(depth=0.33, width=0.375, in_channels=channels)
    neck = PAFPN(depth=0.33, width=0.375)
    head = DecoupledHead(num_classes, width=0.375)
    return Detector(backbone, neck, head)


EXPERIMENT = Experiment(
    name="yolox-tiny",
    build_detector=build_detector,
    recipes=RECIPES,
    published=PUBLISHED["tiny"],
)

if __name__ == "__main__":
    main(EXPERIMENT)
