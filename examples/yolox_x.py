"""YOLOX-X: depth 1.33, width 1.25.

Published on COCO val2017 after 300 epochs at 640 px: AP 51.1 (Megvii's README), 51.6 (MindYOLO's README).
99,071,455 parameters, 281.9 GFLOPs. Training to these numbers was not repeated here; MindYOLO publishes 154
images a second on 8 Ascend 910, which makes about 64 hours. Commands (--help after a command lists its options):

    python examples/yolox_x.py info
    python examples/yolox_x.py train --train-json A.json --train-images A --weights W.pth \\
        --val-json B.json --val-images B --output RUN
    python examples/yolox_x.py eval --weights RUN/best.safetensors --val-json B.json --val-images B
    python examples/yolox_x.py predict --weights RUN/best.safetensors --source A --output PICTURES
"""

from yolox.cli import Experiment, main
from yolox.models import PUBLISHED
from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector
from yolox.recipes import published_recipes

RECIPES = published_recipes("x")


def build_detector(num_classes=80, channels=3):
    """Assemble the layers; the weights are MindSpore's until `initialise` or `load_weights` fills them."""
    backbone = CSPDarknet(depth=1.33, width=1.25, in_channels=channels)
    neck = PAFPN(depth=1.33, width=1.25)
    head = DecoupledHead(num_classes, width=1.25)
    return Detector(backbone, neck, head)


EXPERIMENT = Experiment(
    name="yolox-x",
    build_detector=build_detector,
    recipes=RECIPES,
    published=PUBLISHED["x"],
)

if __name__ == "__main__":
    main(EXPERIMENT)
