"""YOLOX-M: depth 0.67, width 0.75.

Published on COCO val2017 after 300 epochs at 640 px: AP 46.9 (Megvii's README), 46.7 (MindYOLO's README).
25,326,495 parameters, 73.8 GFLOPs. Training to these numbers was not repeated here; MindYOLO publishes 239
images a second on 8 Ascend 910, which makes about 41 hours. Commands (--help after a command lists its options):

    python examples/yolox_m.py info
    python examples/yolox_m.py train --train-json A.json --train-images A --weights W.pth \\
        --val-json B.json --val-images B --output RUN
    python examples/yolox_m.py eval --weights RUN/best.safetensors --val-json B.json --val-images B
    python examples/yolox_m.py predict --weights RUN/best.safetensors --source A --output PICTURES
"""

from yolox.cli import Experiment, main
from yolox.models import PUBLISHED
from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector
from yolox.recipes import published_recipes

RECIPES = published_recipes("m")


def build_detector(num_classes=80, channels=3):
    """Assemble the layers; the weights are MindSpore's until `initialise` or `load_weights` fills them."""
    backbone = CSPDarknet(depth=0.67, width=0.75, in_channels=channels)
    neck = PAFPN(depth=0.67, width=0.75)
    head = DecoupledHead(num_classes, width=0.75)
    return Detector(backbone, neck, head)


EXPERIMENT = Experiment(
    name="yolox-m",
    build_detector=build_detector,
    recipes=RECIPES,
    published=PUBLISHED["m"],
)

if __name__ == "__main__":
    main(EXPERIMENT)
