"""What is settled before a run begins: its arguments, its datasets, and the lines that tell what will be trained on what."""

from __future__ import annotations

import attrs
import numpy as np
from mindspore import nn
from rich.console import Console

from yolox.config import LossConfig, Recipe, pixel_words
from yolox.data.classes import inverse_class_weights, with_classes
from yolox.data.content import counted, name_some
from yolox.data.dataset import DetectionDataset, select_images
from yolox.distributed import Group
from yolox.errors import UsageError
from yolox.schedule import check_epochs


def check_arguments(
    recipe: Recipe, *, patience: int | None, save_steps: int | None, has_val: bool, save_every: int | None = None
) -> None:
    """Checks what `train` is given beside detector and datasets; call it before anything slow is read.

    Args:
        recipe: of the run.
        patience: as in `train`.
        save_steps: as in `train`.
        save_every: as in `train`.
        has_val: whether there are validation images.

    Raises:
        UsageError: a number is out of range, or patience has no evaluation to count.
        ValueError: the recipe's phases do not fit its epochs.
    """
    if patience is not None and (patience < 1 or not has_val):
        raise UsageError(f"`patience` {patience}: want 1 or more, and validation images")
    for name, number in (("save_steps", save_steps), ("save_every", save_every)):
        if number is not None and number < 1:
            raise UsageError(f"`{name}` {number}: want 1 or more")
    check_epochs(recipe)


def in_classes_of(
    detector: nn.Cell, train_set: DetectionDataset, val_set: DetectionDataset | None
) -> DetectionDataset | None:
    """Returns the validation set in the classes of the training set.

    Args:
        detector: its attribute `num_classes`, where it has one, must be the number of these classes.
        train_set: its class names count.
        val_set: matched by name; None stays None.

    Returns:
        The validation set.

    Raises:
        ValueError: the detector predicts another number of classes.
        DataError: the validation set has an object of a class that the training set does not have.
    """
    names = train_set.class_names
    if getattr(detector, "num_classes", len(names)) != len(names):
        raise ValueError(f"train: the detector predicts {detector.num_classes} classes, the training set has {len(names)}")
    return val_set if val_set is None or val_set.class_names == names else with_classes(val_set, names)


def without_small_images(dataset: DetectionDataset, side: int, console: Console) -> DetectionDataset:
    """Returns the dataset without images that are too small, and prints how many these are.

    Args:
        dataset: any.
        side: smallest height and width in pixels of an image that stays.
        console: where the number and some names are printed.

    Returns:
        The dataset; the same one where no image is too small.
    """
    is_small = (dataset.sizes < side).any(axis=-1)
    if not is_small.any():
        return dataset
    small = [dataset.file_names[index] for index in np.flatnonzero(is_small)]
    count = f"{len(small)} of {len(dataset)} training images are left out, as a side has fewer than {side} px"
    console.print(f"{count}: {name_some(small)}", markup=False)
    return select_images(dataset, np.flatnonzero(~is_small))


def with_class_weights(loss: LossConfig, dataset: DetectionDataset) -> LossConfig:
    """Returns the config with the weights that `class_balance` asks for, as numbers.

    Args:
        loss: config of the recipe.
        dataset: to train on; its classes are counted.

    Returns:
        The config; the same one where it asks for no balance.

    Raises:
        UsageError: weights that are not those of the balance, or not one for each class.

    Source: `inverse_class_weights`.
    """
    names = dataset.class_names
    if loss.class_balance == "inverse":
        weights = inverse_class_weights(dataset)
        if loss.class_weights not in ((), weights):
            raise UsageError("`class_weights`: are not those that `class_balance` inverse gives here; want one of the two")
        return attrs.evolve(loss, class_weights=weights)
    if loss.class_weights and len(loss.class_weights) != len(names):
        raise UsageError(f"`class_weights`: got {len(loss.class_weights)}, want {len(names)}, for {name_some(names, most=5)}")
    return loss


def describe_run(
    train_set: DetectionDataset, val_set: DetectionDataset | None, recipe: Recipe, steps: int, group: Group
) -> str:
    """Returns a line about sizes, images, boxes, classes, epochs and devices.

    Args:
        train_set: to train on.
        val_set: to evaluate on; None for no evaluation.
        recipe: of the run.
        steps: of an epoch.
        group: the processes that train together.

    Returns:
        Text.
    """
    val = "no evaluation" if val_set is None else f"{len(val_set)} for validation"
    classes, epochs = counted(len(train_set.class_names), "class", "classes"), counted(recipe.epochs, "epoch")
    devices = f" on {group.world} devices" if group.world > 1 else ""
    return (
        f"{describe_sizes(recipe)}: {counted(len(train_set), 'image')}, {counted(len(train_set.boxes), 'box', 'boxes')}, "
        f"{classes}; {val}; {epochs} of {counted(steps, 'step')}{devices}"
    )


def describe_pixels(detector: nn.Cell, recipe: Recipe) -> str:
    """Returns a line about images of other than three channels of 8 bits, and what training leaves out for them.

    Args:
        detector: its attribute `in_channels`, where it has one, must be that of the recipe.
        recipe: of the run.

    Returns:
        A line; empty for colour of 8 bits.

    Raises:
        UsageError: the detector takes images of other channels than the recipe's.

    Example:
        >>> describe_pixels(nn.ReLU(), Recipe(input=attrs.evolve(Recipe().input, max_value=4095)))
        'images of 3 channels of 16 bits, values up to 4095; changes of colour are left out'
    """
    spec = recipe.input
    taken = getattr(detector, "in_channels", spec.channels)
    if taken != spec.channels:
        raise UsageError(f"`channels` {spec.channels}: the detector takes images of {taken} channels")
    if spec.is_color:
        return ""
    left_out = "; changes of colour are left out" if recipe.augment.hsv_prob else ""
    return f"images of {pixel_words(spec)}{left_out}"


def describe_sizes(recipe: Recipe) -> str:
    """Returns the size of the images of evaluation, and of training where it differs, as text.

    Args:
        recipe: of the run.

    Returns:
        Text for a line.

    Example:
        >>> from yolox.recipes import megvii_recipe
        >>> describe_sizes(megvii_recipe("s")), describe_sizes(Recipe())
        ('640 x 640 px (training at 11 heights, 480 to 800 px)', '640 x 640 px')
    """
    (height, width), sizes = recipe.input.input_size, sorted(set(recipe.loader.multiscale_sizes))
    if sizes in ([], [height]):
        return f"{height} x {width} px"
    heights = f"{len(sizes)} heights, {sizes[0]} to {sizes[-1]} px" if sizes[1:] else f"height {sizes[0]} px"
    return f"{height} x {width} px (training at {heights})"
