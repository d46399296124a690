"""YOLOX-S: depth 0.33, width 0.5.

Published on COCO val2017 after 300 epochs at 640 px: AP 40.5 (Megvii's README), 40.7 (MindYOLO's README).
8,968,255 parameters, 26.8 GFLOPs. Training to these numbers was not repeated here; MindYOLO publishes 262
images a second on 8 Ascend 910, which makes about 38 hours. Commands (--help after a command lists its options):

    python examples/yolox_s.py info
    python examples/yolox_s.py train --train-json A.json --train-images A --weights W.pth \\
        --val-json B.json --val-images B --output RUN
    python examples/yolox_s.py eval --weights RUN/best.safetensors --val-json B.json --val-images B
    python examples/yolox_s.py predict --weights RUN/best.safetensors --source A --output PICTURES
"""

from yolox.cli import Experiment, main
from yolox.models import PUBLISHED
from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector
from yolox.recipes import published_recipes

RECIPES = published_recipes("s")


def build_detector(num_classes=80, channels=3):
    """Assemble the layers; the weights are MindSpore's until `initialise` or `load_weights` fills them."""
    backbone = CSPDarknet(depth=0.33, width=0.5, in_channels=channels)
    neck = PAFPN(depth=0.33, width=0.5)
    head = DecoupledHead(num_classes, width=0.5)
    return Detector(backbone, neck, head)


EXPERIMENT = Experiment(
    name="yolox-s",
    build_detector=build_detector,
    recipes=RECIPES,
    published=PUBLISHED["s"],
)

if __name__ == "__main__":
    main(EXPERIMENT)
