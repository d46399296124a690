"""Freezing: parameters and BN statistics that training does not change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mindspore import nn

from yolox.errors import UsageError


def freeze(detector: nn.Cell, predicate: Callable[[str], bool]) -> tuple[str, ...]:
    """Excludes every parameter whose name the predicate selects from training; it keeps all its bits.

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


def freeze_parts(detector: nn.Cell, prefixes: Sequence[str]) -> str:
    """Freezes the parameters whose names begin with one of the prefixes.

    Args:
        detector: changed in place.
        prefixes: such as ``backbone`` or ``head.reg_``.

    Returns:
        How much is frozen, for a line of the log.

    Raises:
        UsageError: a prefix that no name has, or nothing left to train.
    """
    sizes = {parameter.name: parameter.size for parameter in detector.get_parameters()}
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in sizes):
            tops = ", ".join(dict.fromkeys(name.split(".")[0] for name in sizes))
            raise UsageError(
                f"`freeze` {prefix}: no parameter's name begins so; want {tops}, or more of a name: {next(iter(sizes))}"
            )
    try:
        names = freeze(detector, lambda name: name.startswith(tuple(prefixes)))
    except ValueError:
        raise UsageError(f"`freeze` {' '.join(prefixes)}: nothing is left to train; want less") from None
    share = sum(sizes[name] for name in names) / sum(sizes.values())
    return f"{len(names)} of {len(sizes)} tensors ({share:.0%} of the numbers)"


def check_frozen_loaded(prefixes: Sequence[str], random: Sequence[str]) -> None:
    """Refuses to freeze parameters that no weights have filled.

    Args:
        prefixes: as in `freeze_parts`.
        random: names of the parameters that still have random values.

    Raises:
        UsageError: a frozen parameter would stay random.
    """
    for prefix in prefixes:
        for name in random:
            if name.startswith(prefix):
                raise UsageError(f"`freeze` {prefix}: {name} would stay random; want `weights` that have it, or freeze less")
