"""YOLOX-Darknet53: the backbone and pyramid of YOLOv3 under the decoupled head.

Published on COCO val2017 after 300 epochs at 640 px: AP 47.7 (Megvii's README), 47.7 (MindYOLO's README).
63,724,767 parameters, 185.3 GFLOPs. Training to these numbers was not repeated here; MindYOLO publishes 157
images a second on 8 Ascend 910, which makes about 63 hours. Commands (--help after a command lists its options):

    python examples/yolox_darknet53.py info
    python examples/yolox_darknet53.py train --train-json A.json --train-images A --weights W.pth \\
        --val-json B.json --val-images B --output RUN
    python examples/yolox_darknet53.py eval --weights RUN/best.safetensors --val-json B.json --val-images B
    python examples/yolox_darknet53.py predict --weights RUN/best.safetensors --source A --output PICTURES
"""

from yolox.cli import Experiment, main
from yolox.models import PUBLISHED
from yolox.nn import FPN, Darknet53, DecoupledHead, Detector
from yolox.recipes import published_recipes

RECIPES = published_recipes("darknet53")


def build_detector(num_classes=80, channels=3):
    """Assemble the layers; the weights are MindSpore's until `initialise` or `load_weights` fills them."""
    backbone = Darknet53(act="lrelu", in_channels=channels)
    neck = FPN(act="lrelu")
    head = DecoupledHead(num_classes, in_channels=(128, 256, 512), act="lrelu")
    return Detector(backbone, neck, head)


EXPERIMENT = Experiment(
    name="yolox-darknet53",
    build_detector=build_detector,
    recipes=RECIPES,
    published=PUBLISHED["darknet53"],
)

if __name__ == "__main__":
    main(EXPERIMENT)
