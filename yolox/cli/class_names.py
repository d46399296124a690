"""Class names of weights beside those of the dataset that they are trained on."""

from __future__ import annotations

from collections.abc import Sequence


def compare_names(weights: Sequence[str] | None, dataset: Sequence[str]) -> str | None:
    """Say where weights that fit a dataset by the number of classes name them differently.

    Their class predictions are kept, which is right for names that were only spelt otherwise, and a bad start for
    other classes or another order.

    Args:
        weights: class names of the weights; None where the file names none.
        dataset: class names of the dataset.

    Returns:
        A line, or None where nothing is known to differ: the same names, no names, or another number of classes, whose
        predictions are not kept.

    Example:
        >>> compare_names(["cat", "dog"], ["cat", "cow"])
        "the weights' names of 1 of 2 classes are others than the dataset's (class 1: dog, now cow); their predictions are kept"
    """
    if weights is None or len(weights) != len(dataset):
        return None
    differ = [i for i, pair in enumerate(zip(weights, dataset, strict=True)) if pair[0] != pair[1]]
    if not differ:
        return None
    first = differ[0]
    return (
        f"the weights' names of {len(differ)} of {len(dataset)} classes are others than the dataset's "
        f"(class {first}: {weights[first]}, now {dataset[first]}); their predictions are kept"
    )
