"""Shape checks whose message says what came and what was wanted. They run while a graph is traced, at no cost later."""

from __future__ import annotations


def check_last_dim(function: str, name: str, shape: tuple[int, ...], want: int, meaning: str = "") -> None:
    """Raises ValueError unless the last dimension of `shape` is `want`.

    Args:
        function: name of the function that checks, for the message.
        name: of the array.
        shape: of the array, any length.
        want: its last dimension.
        meaning: text for the message, where the number comes from.

    Raises:
        ValueError: another last dimension, or none.
    """
    if len(shape) == 0 or shape[-1] != want:
        raise ValueError(f"{function}: {name} has shape {tuple(shape)}, want last dimension {want}{meaning}")


def check_rank(function: str, name: str, shape: tuple[int, ...], want: str) -> None:
    """Raises ValueError unless `shape` has as many dimensions as the comma-separated names in `want`, e.g. ``B,G,4``.

    Args:
        function: name of the function that checks, for the message.
        name: of the array.
        shape: of the array.
        want: names of the dimensions.

    Raises:
        ValueError: another number of dimensions.
    """
    if len(shape) != want.count(",") + 1:
        raise ValueError(f"{function}: {name} has shape {tuple(shape)}, want [{want}]")
