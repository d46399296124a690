"""A command line of a detector of seven convolutions, to run as a process: it compiles in seconds.

`python -m tests.cli.tiny train ...` from the repository.
"""

from mindspore import float32 as f32
from mindspore import nn, ops

from yolox.cli import Experiment, main
from yolox.config import InputSpec, LoaderConfig, OptimConfig, Recipe
from yolox.data.synthetic import SyntheticConfig, write_synthetic
from yolox.training.step import make_recipe_step


class TinyDetector(nn.Cell):
    """Three stages with BN, and a convolution to the maps of each."""

    strides = (8, 16, 32)

    def __init__(self, num_classes=80):
        super().__init__()
        self.num_classes = num_classes
        widths = (3, 4, 6, 8)
        self.down = nn.CellList(
            [nn.Conv2d(a, b, s, s, "valid") for a, b, s in zip(widths[:-1], widths[1:], (8, 2, 2), strict=True)]
        )
        self.bn = nn.CellList([nn.BatchNorm2d(width) for width in widths[1:]])
        self.preds = nn.CellList([nn.Conv2d(width, 5 + num_classes, 1, has_bias=True) for width in widths[1:]])

    def construct(self, x):
        maps = ()
        for down, bn, pred in zip(self.down, self.bn, self.preds):  # noqa: B905 (graph code knows no keyword)
            x = ops.relu(bn(down(x)))
            maps = maps + (pred(x),)
        return maps


def toy_loss(maps, gt_boxes, gt_classes, valid, l1_weight):
    """A loss that every output, every box and the L1 weight move; SimOTA would compile much longer."""
    target = gt_boxes.mean() / 64.0 + gt_classes.astype(f32).mean()
    error = [((m.astype(f32) - target) ** 2).mean() for m in maps]
    l1 = l1_weight * sum([ops.abs(m.astype(f32)).mean() for m in maps])
    total = sum(error) + l1
    losses = {"iou": error[0], "obj": error[1], "cls": error[2], "l1": l1}
    return total, losses, valid.astype(f32).sum()


def make_step(detector, state, recipe, **options):
    return make_recipe_step(detector, state, recipe, **{"loss_fn": toy_loss, **options})


RECIPE = Recipe(
    epochs=6,
    no_aug_epochs=2,
    eval_interval=2,
    input=InputSpec(input_size=(32, 32)),
    loader=LoaderConfig(batch_size=2, max_gt=8, workers=0),
    optim=OptimConfig(warmup_epochs=1, flat_epochs=1, lr=0.05, lr_per_image=None, max_bad_steps=3),
)
EXPERIMENT = Experiment(
    name="tiny", build_detector=TinyDetector, recipes={"megvii": RECIPE}, make_step=make_step
)


def write_data(folder, images=10):
    """Draw a training and a validation set, and give the options that name them."""
    argv = []
    for seed, name in enumerate(("train", "val")):
        config = SyntheticConfig(image_size=(48, 64), sides=(12, 30))
        write_synthetic(folder / name, images=images, seed=seed, config=config)
        argv += [f"--{name}-json", folder / name / "instances.json", f"--{name}-images", folder / name / "images"]
    return [str(part) for part in argv]


if __name__ == "__main__":
    main(EXPERIMENT)
