"""The detector that stands in for the scales on most pages: nine convolutions, with the published names of its classes."""

from mindspore import nn, ops

from tests.cli.tiny import TinyDetector


class SmallHead(nn.Cell):
    """Box and objectness from one convolution a level, classes from another, called as in YOLOX's head."""

    def __init__(self, widths, num_classes):
        super().__init__()
        self.box_preds = nn.CellList([nn.Conv2d(width, 5, 1, has_bias=True) for width in widths])
        self.cls_preds = nn.CellList([nn.Conv2d(width, num_classes, 1, has_bias=True) for width in widths])


class SmallDetector(TinyDetector):
    """The stages of the tiny detector under such a head, so that weights of another number of classes fit."""

    def __init__(self, num_classes=80):
        super().__init__(num_classes)
        del self.preds
        self.head = SmallHead((4, 6, 8), num_classes)

    def construct(self, x):
        maps = ()
        for down, bn, box, kinds in zip(self.down, self.bn, self.head.box_preds, self.head.cls_preds):  # noqa: B905
            x = ops.relu(bn(down(x)))
            maps = maps + (ops.concat((box(x), kinds(x)), 1),)
        return maps
