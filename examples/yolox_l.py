"""YOLOX-L: depth 1.0, width 1.0.

Published on COCO val2017 after 300 epochs at 640 px: AP 49.7 (Megvii's README), 49.2 (MindYOLO's README).
54,208,895 parameters, 155.6 GFLOPs. Training to these numbers was not repeated here; MindYOLO publishes 202
images a second on 8 Ascend 910, which makes about 49 hours. Commands (--help after a command lists its options):

    python examples/yolox_l.py info
    python examples/yolox_l.py train --train-json A.json --train-images A --weights W.pth \\
        --val-json B.json --val-images B --output RUN
    python examples/yolox_l.py eval --weights RUN/best.safetensors --val-json B.json --val-images B
    python examples/yolox_l.py predict --weights RUN/best.safetensors --source A --output PICTURES
"""

from yolox.cli import Experiment, main
from yolox.models import PUBLISHED
from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector
from yolox.recipes import published_recipes

RECIPES = published_recipes("l")


def build_detector(num_classes=80, channels=3):
    """Assemble the layers; the weights are MindSpore's until `initialise` or `load_weights` fills them."""
    backbone = CSPDarknet(depth=1.0, width=1.0, in_channels=channels)
    neck = PAFPN(depth=1.0, width=1.0)
    head = DecoupledHead(num_classes, width=1.0)
    return Detector(backbone, neck, head)


EXPERIMENT = Experiment(
    name="yolox-l",
    build_detector=build_detector,
    recipes=RECIPES,
    published=PUBLISHED["l"],
)

if __name__ == "__main__":
    main(EXPERIMENT)
