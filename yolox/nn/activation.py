"""Activations by name."""

from __future__ import annotations

from mindspore import nn

# Within the noise of a whole training step: x * sigmoid(x) for nn.SiLU, ops.batch_norm for nn.BatchNorm2d.
_ACTIVATIONS = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "lrelu": lambda: nn.LeakyReLU(alpha=0.1),
}


def make_activation(name: str) -> nn.Cell:
    """Make the activation layer called `name`.

    Args:
        name: "silu", "relu" or "lrelu" (slope 0.1).

    Returns:
        A cell without parameters.

    Raises:
        ValueError: `name` is none of the three.

    Example:
        >>> import mindspore as ms
        >>> make_activation("lrelu")(ms.Tensor([-1.0, 2.0]))
        Tensor(shape=[2], dtype=Float32, value= [-1.00000001e-01,  2.00000000e+00])
    """
    if name not in _ACTIVATIONS:
        raise ValueError(f"make_activation: got {name!r}, want one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]()
