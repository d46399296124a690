"""Parts of a detector that training leaves as they are."""

from __future__ import annotations

from collections.abc import Callable

from mindspore import nn


def freeze(detector: nn.Cell, predicate: Callable[[str], bool]) -> tuple[str, ...]:
    """Keep every parameter whose name the predicate selects, with all its bits, through training.

    Call it before `create_train_state`. A frozen parameter gets no gradient, no decay and no momentum. Batch normalisation
    whose moving mean or variance is selected normalises by its moving statistics in training too, and no longer updates
    them: a frozen part computes in training what it computes in inference.

    Args:
        detector: a Cell; changed in place.
        predicate: function of a parameter's name, such as ``backbone.stem.conv.conv.weight``, to whether it is frozen.

    Returns:
        Names of the frozen parameters, BN statistics among them, in the order of the detector.

    Raises:
        ValueError: nothing is selected, or nothing that can be trained is left; the detector is then as it was.

    Source:
        Fixed batch normalisation as in the detectors that fine-tune ImageNet backbones, such as Faster R-CNN's.

    Example:
        >>> from yolox.nn import ConvBNAct
        >>> layer = ConvBNAct(3, 8, 3, 2)
        >>> freeze(layer, lambda name: name.startswith("bn."))
        ('bn.moving_mean', 'bn.moving_variance', 'bn.gamma', 'bn.beta')
        >>> [parameter.name for parameter in layer.trainable_params()]
        ['conv.weight']
    """
    selected = [parameter for parameter in detector.get_parameters() if predicate(parameter.name)]
    names = tuple(parameter.name for parameter in selected)
    if not names:
        raise ValueError("freeze: no parameter's name is selected")
    if all(parameter.name in names for parameter in detector.trainable_params()):
        raise ValueError("freeze: every trainable parameter is selected, nothing is left to train")
    for parameter in selected:
        parameter.requires_grad = False
    for _, cell in detector.cells_and_names():
        if hasattr(cell, "use_batch_statistics") and _statistics(cell) & set(names):
            cell.use_batch_statistics = False
    return names


def _statistics(norm: nn.Cell) -> set[str]:
    return {norm.moving_mean.name, norm.moving_variance.name}
