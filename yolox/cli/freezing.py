"""``train --freeze``: parts of the detector named by the beginnings of their parameters' names."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mindspore import nn

from yolox.errors import UsageError
from yolox.training.freeze import freeze


def freeze_parts(detector: nn.Cell, prefixes: Sequence[str], *, fresh: Collection[str] = ()) -> str:
    """Freeze the parameters whose names begin with one of the prefixes.

    Args:
        detector: with its weights loaded; changed in place.
        prefixes: such as ``backbone`` or ``head.reg_``.
        fresh: names of parameters that no weights have filled.

    Returns:
        How much is frozen, for a line of the log.

    Raises:
        UsageError: a prefix that no name has, a frozen part of random weights, or nothing left to train.
    """
    sizes = {parameter.name: parameter.size for parameter in detector.get_parameters()}
    for prefix in prefixes:
        _check_prefix(prefix, [name for name in sizes if name.startswith(prefix)], sizes, fresh)
    try:
        names = freeze(detector, lambda name: name.startswith(tuple(prefixes)))
    except ValueError:
        raise UsageError(f"--freeze {' '.join(prefixes)}: nothing is left to train; want less") from None
    share = sum(sizes[name] for name in names) / sum(sizes.values())
    return f"{len(names)} of {len(sizes)} tensors ({share:.0%} of the numbers)"


def _check_prefix(prefix: str, selected: Sequence[str], names: Collection[str], fresh: Collection[str]) -> None:
    if not selected:
        tops = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
        raise UsageError(f"--freeze {prefix}: no parameter's name begins so; want {tops}, or more of a name: {next(iter(names))}")
    random = [name for name in selected if name in fresh]
    if random:
        raise UsageError(f"--freeze {prefix}: {random[0]} would stay random; want --weights that have it, or freeze less")
